"""What the programs of make targets say where something is wrong, as their user meets it."""

import subprocess
import sys

import pytest

from benchmarks import __main__ as benchmarks
from convert.errors import DatasetError
from edge.errors import EdgeError
from scripts import ablations, hearing, held_out, lengths, rotation

MODEL = "models/knock-int8.tflite"


@pytest.fixture
def made(recordings_made):
    return recordings_made


@pytest.fixture
def say(monkeypatch, capsys):
    """Exit code of a program, and what it said on standard error."""

    def said(program, *arguments):
        monkeypatch.setattr(sys, "argv", ["x", *map(str, arguments)])
        code = program.main()
        return code, capsys.readouterr().err

    return said


@pytest.mark.parametrize(
    ("program", "option", "named"),
    [
        (ablations, "--out", 1),
        (hearing, "--out", 2),
        (lengths, "--work", 1),
        (rotation, "--work", 1),
        (benchmarks, "--out", 0),
    ],
    ids=["ablations", "hearing", "lengths", "rotation", "benchmarks"],
)
def test_a_place_that_cannot_be_written_to_is_named_at_once(program, option, named, say, made):
    """``named``: how many of a model and a folder of recordings it is given."""
    place = made / "labels.csv" / "folder" / "x"
    code, said = say(program, *[MODEL, made][2 - named :], option, place)
    assert code == 2
    assert f"{option}: {place if option == '--work' else place.parent} cannot be made" in said


def test_a_folder_is_no_file_to_write_to(say, tmp_path, made):
    code, said = say(ablations, made, "--out", tmp_path)
    assert code == 2
    assert f"--out {tmp_path} is a folder" in said


def test_what_goes_wrong_between_variations_is_one_line(say, tmp_path, made, monkeypatch):
    def killed(*_):
        raise DatasetError("a process that made examples was killed")

    monkeypatch.setattr(held_out, "N_STRANGE", 1)
    monkeypatch.setattr(ablations, "make_examples", killed)
    code, said = say(ablations, made, "--out", tmp_path / "a" / "x.json")
    assert code == DatasetError.exit_code
    assert "was killed" in said


def test_a_model_that_is_not_there_is_one_line(say, monkeypatch, tmp_path):
    monkeypatch.setenv("KNOCKKNOCK_MODEL", "/nowhere")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    code, said = say(benchmarks, "--rounds", 1, "--out", tmp_path / "x.json")
    assert code == 4
    assert "/nowhere" in said


def test_no_rounds_are_refused(say):
    assert say(benchmarks, "--rounds", 0) == (2, "benchmarks: --rounds 0 must be 1 or more\n")


def test_a_fresh_process_that_fails_is_heard(monkeypatch):
    done = subprocess.CompletedProcess([], 1, "", "Traceback\nMemoryError: no room\n")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    with pytest.raises(EdgeError, match="edge, exited with 1: MemoryError: no room"):
        benchmarks._first_verdict("edge")


def test_ctrl_c_ends_it_without_a_word(say, monkeypatch, made):
    def pressed(*_):
        raise KeyboardInterrupt

    for program in (ablations, hearing, lengths, rotation):
        monkeypatch.setattr(program, "find_clips", pressed)
        folders = [MODEL, made] if program is hearing else [made]
        assert say(program, *folders) == (130, "")
