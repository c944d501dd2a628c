"""The black box on a disk that is slow, full or broken."""

import errno
import os
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from edge.blackbox import RESERVE_BYTES, STALL_S, BlackBox, _size
from edge.config import BlackBoxConfig
from edge.sound_memory import SoundMemory
from edge.window import Block
from tests.listener import SR
from tests.test_blackbox import alert, keep, records
from tests.wait import wait_for


# With three, the queue has no room for the request to end.
@pytest.mark.parametrize("kept", [1, 2, 3])
def test_a_disk_that_hangs_holds_up_no_end_and_what_is_lost_is_said(
    tmp_path, monkeypatch, caplog, kept
):
    slow = threading.Event()
    monkeypatch.setattr(BlackBox, "_write", lambda *_: slow.wait(20))
    box = BlackBox(tmp_path, BlackBoxConfig(min_interval_s=0), 22_050)
    box.keep(alert(1))
    wait_for(box._queue.empty)
    for number in range(2, kept + 1):
        assert box.keep(alert(number))
    closing = threading.Thread(target=box.close, daemon=True)
    closing.start()
    closing.join(3)
    late = closing.is_alive()
    skipped = box.skipped
    slow.set()
    box.close(20.0)
    assert not late
    assert skipped == kept
    (said,) = caplog.messages
    assert said == f"black box: the disk is too slow, records lost at the end: {kept}"


def test_an_alert_whose_record_cannot_be_written_is_counted(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    box = BlackBox(tmp_path, BlackBoxConfig(min_interval_s=0), SR)
    monkeypatch.setattr("edge.blackbox.write_wav", full)
    assert box.keep(alert(1))
    wait_for(lambda: box.problem)
    monkeypatch.undo()
    assert box.keep(alert(2))
    box.close(20.0)
    assert (box.written, box.skipped) == (1, 1)


def test_nothing_is_said_to_be_lost_where_nothing_was(tmp_path, monkeypatch, caplog):
    slow = threading.Event()
    box = BlackBox(tmp_path / "well", BlackBoxConfig(min_interval_s=0), SR)
    assert box.keep(alert(1))
    box.close(20.0)
    assert (box.written, box.skipped) == (1, 0)
    monkeypatch.setattr(BlackBox, "_prepare", lambda *_: slow.wait(20))
    box = BlackBox(tmp_path / "hangs", BlackBoxConfig(), SR)
    box.close(0.2)  # it was given no record
    slow.set()
    assert box.skipped == 0
    assert caplog.messages == []


def test_sound_beyond_full_scale_or_none_at_all_is_remembered_as_it_can_be():
    memory = SoundMemory(2.0, SR)
    y = np.array([2, -2, np.nan, np.inf, -np.inf, 0.5], dtype=np.float32)
    with np.errstate(all="raise"):
        memory.add(Block(y, 0.0))
    np.testing.assert_allclose(memory.read(), [1, -1, 0, 1, -1, 0.5], atol=1e-4)


def test_a_disk_that_is_behind_costs_records_not_memory(tmp_path, monkeypatch):
    slow = threading.Event()
    write = BlackBox._write
    monkeypatch.setattr(BlackBox, "_write", lambda box, a: (slow.wait(20), write(box, a)))
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    assert box.keep(alert(1, at=0.0))
    wait_for(box._queue.empty)
    assert box.keep(alert(2, at=100.0))
    assert box.keep(alert(3, at=200.0))
    assert not box.keep(alert(4, at=300.0))
    assert box.skipped == 1
    slow.set()
    wait_for(lambda: box.written == 3)
    assert box.keep(alert(5, at=301.0))  # a record that was not kept does not block others
    box.close(20.0)


def test_a_disk_that_does_not_answer_is_told_of_once_and_until_it_does(
    tmp_path, monkeypatch, caplog
):
    """No write fails, it just hangs: further alerts would be lost without any message."""
    slow, begun, now = threading.Event(), threading.Event(), [1000.0]
    write = BlackBox._write

    def stuck(box, kept):
        begun.set()
        slow.wait(20)
        write(box, kept)

    monkeypatch.setattr(BlackBox, "_write", stuck)
    box = BlackBox(tmp_path, BlackBoxConfig(), SR, clock=lambda: now[0])
    wait_for(lambda: box._write_tested)
    box.keep(alert(1))
    assert begun.wait(20)
    for now[0] in (1000.0, 1000.0 + STALL_S):
        assert box.problem == ""
        box.watch()
    for now[0] in (1000.1 + STALL_S, 9000.0):
        assert box.problem == f"black box {tmp_path}: the disk has not responded for 30 s"
        box.watch()
    assert [said for said in caplog.messages if "not responded" in said] == [
        f"black box {tmp_path}: the disk has not responded for 30 s; alerts go on without records"
    ]
    slow.set()
    wait_for(lambda: not box.problem)
    assert box.written == 1
    for event in (slow, begun):
        event.clear()
    assert box.keep(alert(20))
    assert begun.wait(20)
    now[0] += STALL_S + 1
    box.watch()
    assert sum("not responded" in said for said in caplog.messages) == 2  # another time, told anew
    slow.set()
    box.close(20.0)


def test_a_writer_with_nothing_to_write_is_no_disk_that_hangs(tmp_path):
    now = [0.0]
    box = BlackBox(tmp_path, BlackBoxConfig(), SR, clock=lambda: now[0])
    keep(box, 1)
    wait_for(lambda: box.written == 1)
    wait_for(lambda: box._busy_since is None)
    now[0] = 1e6
    assert box.problem == ""
    box.close(20.0)


def test_a_disk_that_hung_and_then_refused_says_why(tmp_path, monkeypatch):
    slow, now = threading.Event(), [0.0]

    def refuse(*_):
        slow.wait(20)
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(BlackBox, "_prepare", refuse)
    box = BlackBox(tmp_path, BlackBoxConfig(), SR, clock=lambda: now[0])
    wait_for(lambda: box._busy_since is not None)
    now[0] = 31.0
    assert "not responded" in box.problem
    slow.set()
    wait_for(lambda: "Input/output error" in box.problem)
    box.close(20.0)


def test_the_oldest_goes_though_its_number_has_fewer_digits(tmp_path):
    (tmp_path / "999999").mkdir()
    (tmp_path / "999999" / "alert.json").write_text("{}")
    box = BlackBox(tmp_path, BlackBoxConfig(max_records=2), SR)
    keep(box, 1, 2)
    box.close(20.0)
    assert records(tmp_path) == ["1000000", "1000001"]


def test_what_is_half_written_is_in_nobodys_way(tmp_path):
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    wait_for(lambda: box._write_tested)
    (tmp_path / ".000001.part").mkdir()
    keep(box, 1)
    box.close(20.0)
    assert box.problem == ""
    assert records(tmp_path) == ["000001"]


def test_a_record_that_goes_meanwhile_has_no_size(tmp_path):
    assert _size(tmp_path / "gone") == 0


def closed(monkeypatch, *names):
    """Make ``names`` behave as folders of another owner, even if the tests run as root."""
    rmtree, access = shutil.rmtree, os.access

    def refuse(path, *rest, **options):
        if Path(path).name in names and not options.get("ignore_errors"):
            raise PermissionError(errno.EACCES, "Permission denied")
        rmtree(path, *rest, **options)

    monkeypatch.setattr("edge.blackbox.shutil.rmtree", refuse)
    monkeypatch.setattr(
        "edge.blackbox.os.access", lambda p, how: Path(p).name not in names and access(p, how)
    )


def test_a_record_of_another_owner_stays_and_the_next_oldest_goes(tmp_path, monkeypatch):
    """Such as one copied back by root, which could be renamed but not emptied."""
    box = BlackBox(tmp_path, BlackBoxConfig(max_records=3), SR)
    keep(box, 1, 2, 3)
    wait_for(lambda: box.written == 3)
    closed(monkeypatch, "000001", ".000001.part")
    keep(box, 4)
    box.close(20.0)
    assert (box.written, box.problem) == (4, "")
    assert records(tmp_path) == ["000001", "000003", "000004"]


def test_a_leftover_that_cannot_be_removed_is_named_once_and_in_no_way(
    tmp_path, monkeypatch, caplog
):
    (tmp_path / ".000001.part").mkdir()
    closed(monkeypatch, ".000001.part")
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    keep(box, 1, 2)
    wait_for(lambda: box.written == 2)
    assert box._attempt(box._prepare)
    box.close(20.0)
    assert box.problem == ""
    assert records(tmp_path) == ["000002", "000003"]
    said = [line for line in caplog.messages if "cannot be removed" in line]
    assert said == [f"black box: {tmp_path}/.000001.part cannot be removed: Permission denied"]


def test_a_folder_that_vanishes_is_made_again(tmp_path):
    folder = tmp_path / "box"
    box = BlackBox(folder, BlackBoxConfig(), SR)
    keep(box, 1)
    wait_for(lambda: box.written == 1)
    shutil.rmtree(folder)
    keep(box, 2)
    box.close(20.0)
    assert records(folder) == ["000001"]
    assert box.problem == ""


def test_a_folder_that_cannot_be_written_is_a_problem_not_an_end(tmp_path):
    (tmp_path / "file").write_text("in the way")
    box = BlackBox(tmp_path / "file" / "box", BlackBoxConfig(), SR)
    wait_for(lambda: box.problem)
    assert str(tmp_path / "file" / "box") in box.problem
    assert box.keep(alert(1))
    (tmp_path / "file").unlink()
    wait_for(box._queue.empty)
    box.keep(alert(2))
    box.close(20.0)
    assert box.problem == ""
    assert records(tmp_path / "file" / "box")[-1:] != []


def test_it_looks_at_the_disk_between_alerts_and_goes_on_writing(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.blackbox.CHECK_INTERVAL_S", 0.05)
    (tmp_path / "file").write_text("x")
    box = BlackBox(tmp_path / "file" / "box", BlackBoxConfig(), SR)
    wait_for(lambda: box.problem)
    (tmp_path / "file").unlink()
    wait_for(lambda: not box.problem)
    time.sleep(0.2)  # time for several checks of a healthy disk
    assert box.keep(alert(1))
    wait_for(lambda: box.written == 1)
    box.close(20.0)


def test_a_disk_that_is_nearly_full_drops_the_oldest_and_then_refuses(tmp_path, monkeypatch):
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    keep(box, 1, 2, 3)
    wait_for(lambda: box.written == 3)
    record = sum(f.stat().st_size for f in (tmp_path / "000001").iterdir())
    needed = BlackBox._max_bytes(alert(4).sound.size) + RESERVE_BYTES
    free = needed - record - 1  # two records must be dropped
    monkeypatch.setattr(
        "edge.blackbox.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 0, free)
    )
    box.keep(alert(4))
    wait_for(lambda: box.written == 4)
    assert records(tmp_path) == ["000003", "000004"]
    free = 1000
    box.keep(alert(5))
    wait_for(lambda: box.problem)
    assert "no room for a record" in box.problem
    assert records(tmp_path) == ["000003", "000004"]  # nothing is dropped if that does not help
    box.close(20.0)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EUCLEAN])
def test_a_record_that_is_closed_or_damaged_keeps_out_no_other(tmp_path, monkeypatch, number):
    (tmp_path / "000001").mkdir()
    is_file = Path.is_file

    def damaged(path):
        if path.parent.name == "000001":
            raise OSError(number, os.strerror(number))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", damaged)
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    box.keep(alert(0))
    box.close(20.0)
    assert (box.written, box.problem) == (1, "")
    assert (tmp_path / "000002" / "alert.json").exists()


def test_only_what_is_not_written_yet_counts_as_lost(tmp_path, monkeypatch, caplog):
    goes_on = threading.Event()
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    keep(box, 1, 2)
    wait_for(lambda: box.written == 2)
    monkeypatch.setattr(BlackBox, "_write", lambda *_: goes_on.wait(20))
    keep(box, 3)
    box.close(0.2)
    goes_on.set()
    box._thread.join()
    assert (box.written, box.skipped) == (2, 1)
    assert caplog.messages[-1] == "black box: the disk is too slow, records lost at the end: 1"


def test_a_folder_that_stays_unwritable_is_said_once(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr("edge.blackbox.CHECK_INTERVAL_S", 0.02)
    (tmp_path / "file").write_text("in the way")
    tried = []
    prepare = BlackBox._prepare

    def noted(box):
        tried.append(1)
        prepare(box)

    monkeypatch.setattr(BlackBox, "_prepare", noted)
    box = BlackBox(tmp_path / "file" / "box", BlackBoxConfig(), SR)
    wait_for(lambda: len(tried) > 3)
    box.close(20.0)
    assert len([line for line in caplog.messages if "without records" in line]) == 1


def test_what_stays_free_on_the_disk_is_more_than_nothing():
    """The rest of the system logs to it, too."""
    assert RESERVE_BYTES == 20_000_000
