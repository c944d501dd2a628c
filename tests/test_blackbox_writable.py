"""How the black box finds out, before an alert, whether records can be written."""

import resource
import signal
from unittest.mock import Mock

import pytest

from edge.blackbox import RESERVE_BYTES, BlackBox
from edge.config import BlackBoxConfig
from tests.listener import SR
from tests.test_blackbox import alert
from tests.wait import wait_for


def test_a_disk_that_refused_is_well_only_when_it_takes_something(tmp_path, monkeypatch):
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    wait_for(lambda: box._write_tested)

    def refuse(*_, **__):
        raise OSError(5, "Input/output error")

    with monkeypatch.context() as broken:
        broken.setattr("edge.blackbox.write_atomically", refuse)
        box.keep(alert(1))
        wait_for(lambda: box.problem)
        assert not box._attempt(box._prepare)
        assert "Input/output error" in box.problem
    assert box._attempt(box._prepare)
    assert box.problem == ""
    box.close(20.0)


def test_a_card_that_takes_only_short_files_stays_a_problem(tmp_path):
    """Bad blocks, or a quota: an empty test file says nothing about a record."""
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    wait_for(lambda: box._write_tested)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
        box.keep(alert(1))
        wait_for(lambda: box.problem)
        assert not box._attempt(box._prepare)
        assert "File too large" in box.problem
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert box._attempt(box._prepare)
    assert (box.problem, box.written) == ("", 0)
    box.close(20.0)
    assert [(p.name, p.stat().st_size) for p in tmp_path.iterdir()] == [(".writable", 0)]


def test_a_want_of_room_wears_out_no_card(tmp_path, monkeypatch):
    box = BlackBox(tmp_path, BlackBoxConfig(max_records=0), SR)
    wait_for(lambda: "no room" in box.problem)
    written = Mock()
    monkeypatch.setattr("edge.blackbox.write_atomically", written)
    assert not box._attempt(box._prepare)
    assert not written.called
    box.close(20.0)


def test_no_room_is_said_before_the_first_alert(tmp_path):
    box = BlackBox(tmp_path, BlackBoxConfig(max_records=0), SR)
    wait_for(lambda: "no room" in box.problem, seconds=5)
    box.close(20.0)


def test_a_folder_that_becomes_unwritable_is_a_problem_before_the_next_alert(tmp_path, monkeypatch):
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    wait_for(lambda: box._write_tested)
    monkeypatch.setattr("edge.blackbox.os.access", lambda *_: False)

    def refuse(*_):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("edge.blackbox.write_atomically", refuse)
    box._attempt(box._prepare)
    assert "Read-only" in box.problem
    box.close(20.0)


def test_of_a_record_that_could_not_be_written_nothing_is_left(tmp_path, monkeypatch):
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    wait_for(lambda: box._write_tested)
    refuse = Mock(side_effect=OSError(28, "No space left on device"))
    monkeypatch.setattr("edge.blackbox.write_png", refuse)  # after the sound
    box.keep(alert(1))
    wait_for(lambda: "No space" in box.problem)
    assert [path.name for path in tmp_path.iterdir()] == [".writable"]
    box.close(20.0)


@pytest.mark.parametrize(("spare", "written"), [(600_000, [500_000, 0]), (70, [70, 0]), (-1, [0])])
def test_a_test_of_the_disk_takes_nothing_of_what_stays_free(tmp_path, monkeypatch, spare, written):
    """Otherwise a full one would seem broken, though records may be deleted to make room."""
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    box.close(20.0)
    usage = Mock(return_value=Mock(free=RESERVE_BYTES + spare))
    monkeypatch.setattr("edge.blackbox.shutil.disk_usage", usage)
    write = Mock()
    monkeypatch.setattr("edge.blackbox.write_atomically", write)
    box._test_size = 500_000
    box._test_writing()
    assert [len(call.args[1]) for call in write.call_args_list] == written


@pytest.mark.parametrize(("spare", "left"), [(1000, ["000001"]), (-1000, [])])
def test_a_record_that_cannot_be_written_costs_an_older_one_only_for_room(
    tmp_path, monkeypatch, spare, left
):
    box = BlackBox(tmp_path, BlackBoxConfig(max_records=1, min_interval_s=0), SR)
    box.keep(alert(1))
    wait_for(lambda: box.written == 1)
    free = RESERVE_BYTES + BlackBox._max_bytes(alert(2).sound.size) + spare
    usage = Mock(return_value=Mock(free=free))
    monkeypatch.setattr("edge.blackbox.shutil.disk_usage", usage)
    monkeypatch.setattr("edge.blackbox.write_wav", Mock(side_effect=OSError(5, "I/O error")))
    box.keep(alert(2))
    wait_for(lambda: "I/O error" in box.problem)
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == left
    box.close(20.0)
