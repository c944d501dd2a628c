"""The table of faults as it is written: ``make faults`` alone writes it, nothing else reads it."""

import pytest

from edge.indicator import Signal
from tests.hil.conftest import TABLE
from tests.hil.fault_table import COLUMNS, HEAD, NOT_AT_ALL, Row, document, in_words, looks
from tests.hil.program import Program, Sight

LOST = Sight("microphone_lost", looks(Signal.MICROPHONE_LOST), "no samples arrive", 2.04, 0.0)


def cells(line):
    assert line.startswith("| ")
    assert line.endswith(" |")
    return line[2:-2].split(" | ")


def test_the_table_that_is_there_was_written_by_this_code():
    rows = TABLE.read_text().removeprefix(HEAD).splitlines()
    assert len(rows) > 20
    assert {len(cells(row)) for row in rows} == {len(COLUMNS)}


def test_each_row_fills_the_columns():
    row = Row("cable out", "`a`", "solid", "no samples", "2.0 s", "3.0 s", "yes, 2 records")
    lines = document([row, row]).splitlines()
    head = lines.index("|---|---|---|---|---|---|---|")
    assert cells(lines[head - 1]) == list(COLUMNS)
    assert [len(cells(line)) for line in lines[head + 1 :]] == [len(COLUMNS)] * 2


def test_a_row_says_what_was_seen_and_that_nothing_was_lost(tmp_path):
    program = Program(tmp_path)
    program.keep()
    row = program.row("cable out", LOST, "3.2 s")
    assert cells(row.line().strip()) == [
        "cable out",
        "`microphone_lost`",
        "fast, 4 a second",
        "no samples arrive",
        "2.0 s",
        "3.2 s",
        "yes, 2 records",
    ]


def test_there_is_no_row_where_a_record_was_lost(tmp_path):
    program = Program(tmp_path)
    program.keep()
    (program.records / "000001" / "sound.wav").unlink()
    with pytest.raises(AssertionError, match=r"000001/sound\.wav"):
        program.row("cable out", LOST, "3.2 s")
    assert program.row("deleted", LOST, "3.2 s", kept="no").kept == "no"


def test_where_it_goes_on_listening_nothing_was_shown(tmp_path):
    program = Program(tmp_path)
    program.keep()
    well = Sight("listening", looks(Signal.LISTENING), NOT_AT_ALL, 0.1, 0.0)
    assert program.row("clock", well, "-").after == NOT_AT_ALL


def test_what_the_status_says_is_the_gravest_without_folders():
    busy = "no lamp on GPIO 17: pin GPIO17 is already in use"
    assert in_words({"problems": [f"{busy} by <gpiozero.LED object>", "hot"]}) == busy
    assert in_words({"problems": ["/srv/x-0/edge.toml: no"]}) == "edge.toml: no"
    assert in_words({"problems": [], "last_reason": "tone"}) == "last_reason: tone"
    assert in_words({"problems": [], "last_reason": None}) == NOT_AT_ALL


def test_a_lamp_that_shows_something_else_is_told_of(tmp_path):
    program = Program(tmp_path)
    times = [i * 0.05 for i in range(2000)]
    program.lamp.write_text("".join(f"{t:.3f} {int(t % 2 < 0.1)}\n" for t in times))
    with pytest.raises(AssertionError, match=r"listening.*not fault"):
        program.wait_lamp(Signal.FAULT, -1.0, seconds=0)
    assert program.wait_lamp(Signal.LISTENING, -1.0, seconds=0) < 3
    with pytest.raises(AssertionError, match="not listening"):
        program.wait_lamp(Signal.LISTENING, times[-1], seconds=0)
