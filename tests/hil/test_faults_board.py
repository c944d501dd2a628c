"""Faults of everything but the sound: disk, clock, lamp, settings, model, a board that is slow."""

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.hil.program import engine, note
from tests.hil.virtual_microphone import missing
from tests.test_blackbox import kill_while_writing

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(bool(missing()), reason=f"needs Debian's {missing()}: make test-hil"),
]
FAKE_TIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketime.so.1")), None)
SLOWER = 10
SLICE_S = 0.5


def test_settings_broken_while_running(listening, table):
    good = listening.settings.read_text()
    listening.settings.write_text("[audoi]\n")
    listening.process.send_signal(signal.SIGHUP)
    after = listening.wait("fault", 10, "did you mean audio")
    status = listening.status()
    listening.settings.write_text(good)
    listening.process.send_signal(signal.SIGHUP)
    back = listening.wait("listening", 10)
    note(table, "settings broken at SIGHUP", "fault", status, (after, f"{back:.1f} s, at SIGHUP"))


def test_records_cannot_be_written(program, table):
    (program.folder / "state").mkdir()
    (program.folder / "state" / "records").write_text("in the way")
    program.rig.start_server()
    program.rig.play(engine())
    program.start()
    after = program.wait("fault", 30, "black box")
    status = program.status()
    (program.folder / "state" / "records").unlink()
    back = program.wait("listening", 15)
    note(table, "records cannot be written", "fault", status, (after, f"{back:.1f} s"))


def test_the_state_folder_is_deleted(listening, table):
    records = listening.folder / "state" / "records"
    shutil.rmtree(records)
    began = time.monotonic()
    while not records.is_dir():
        assert time.monotonic() - began < 15
        time.sleep(0.1)
    back = time.monotonic() - began
    status = listening.status()
    assert status["state"] == "listening"
    note(table, "records deleted", "listening", status, (None, f"{back:.1f} s, made again"))


@pytest.mark.parametrize(
    ("fault", "settings", "code"),
    [
        ("model file is garbage", '[listen]\nmodel = "{}/m.tflite"\n', 4),
        ("settings broken at start", "[indicator]\nled_pin = 17\n[audoi]\n", 2),
    ],
)
def test_a_start_that_cannot_work(program, table, fault, settings, code):
    (program.folder / "m.tflite").write_bytes(b"garbage")
    program.settings.write_text(settings.format(program.folder))
    record, systemd = program.folder / "lamp", program.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(systemd))
        program.environment |= {"LAMP_RECORD": str(record), "NOTIFY_SOCKET": str(systemd)}
        began = time.monotonic()
        program.start("-m", "tests.hil.recorded_lamp")
        while not record.is_file() or len(record.read_text().splitlines()) < 10:
            assert time.monotonic() - began < 20
            time.sleep(0.1)
        after = time.monotonic() - began  # of three blinks in two seconds, the second row
        assert program.process.wait(30) == code
    # After the lamp test and for ten seconds, six changes every two.
    assert len(record.read_text().splitlines()) >= 24
    status = {"problems": [f"exit code {code}, the reason in the journal"]}
    note(table, fault, "fault", status, (after, "systemd tries again for ever"))


@pytest.fixture
def small_disk(program):
    """Where the records go, a disk of 40 MB."""
    folder = program.folder / "state" / "records"
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40m", "records", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_the_disk_is_full(listening_on_small_disk, table):
    program, folder = listening_on_small_disk
    (folder / "filler").write_bytes(bytes(30_000_000))
    after = program.wait("fault", 20, "no room")
    status = program.status()
    (folder / "filler").unlink()
    back = program.wait("listening", 20)
    note(table, "disk full", "fault", status, (after, f"{back:.1f} s"))


def test_the_disk_is_read_only(listening_on_small_disk, table):
    program, folder = listening_on_small_disk
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    after = program.wait("fault", 20, "Read-only")
    status = program.status()
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    back = program.wait("listening", 20)
    note(table, "disk read-only", "fault", status, (after, f"{back:.1f} s"))


@pytest.fixture
def listening_on_small_disk(program, small_disk):
    program.rig.start_server()
    program.rig.play(engine())
    program.start()
    program.wait("listening", 30)
    return program, small_disk


def test_the_lamps_pin_is_taken(program, table):
    busy, record = program.folder / "busy", program.folder / "lamp"
    busy.touch()
    program.environment |= {"LAMP_BUSY": str(busy), "LAMP_RECORD": str(record)}
    program.rig.start_server()
    program.rig.play(engine())
    program.start("-m", "tests.hil.recorded_lamp")
    after = program.wait("fault", 30, "no lamp on GPIO 17")
    (problem,) = [p for p in program.status()["problems"] if p.startswith("no lamp")]
    busy.unlink()
    began = time.monotonic()
    while program.status()["problems"]:
        assert time.monotonic() - began < 15
        time.sleep(0.1)
    back = time.monotonic() - began
    lit = len(record.read_text().splitlines())
    time.sleep(6)
    assert len(record.read_text().splitlines()) >= lit + 4  # it blinks: two changes every 2 s
    status = {"problems": [re.sub("^no lamp", "The lamp: no lamp", problem)]}
    times = (after, f"{back:.1f} s")
    note(table, "lamp's pin in use", "fault", status, times, lamp="as whoever has the pin wants")


def test_killed_a_hundred_times_while_a_record_is_written(tmp_path, table):
    checked = kill_while_writing(tmp_path, 100)
    assert checked > 100
    status = {
        "problems": [f"after 100 kills at random moments {checked} records read, none broken"]
    }
    note(table, "killed while a record is written", "", status, (None, "at the next start"))


@pytest.mark.skipif(FAKE_TIME is None, reason="needs Debian's libfaketime: make test-hil")
def test_the_clock_goes_back_a_year(program, table):
    clock = program.folder / "clock"
    clock.write_text("+0\n")
    program.environment |= {
        "LD_PRELOAD": str(FAKE_TIME),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }
    program.rig.start_server()
    program.rig.play(engine())
    program.start()
    program.wait("listening", 30)
    before = program.status()
    clock.write_text("-1y\n")
    time.sleep(10)
    status = program.status()
    assert status["state"] == "listening"
    judged = status["windows_judged"] - before["windows_judged"]
    elapsed = status["monotonic_s"] - before["monotonic_s"]
    assert abs(judged - elapsed / 0.5) <= 3  # a window every half second, as if nothing were
    assert status["windows_skipped"] == before["windows_skipped"]
    note(table, "clock set back a year", "listening", status, (None, "nothing to mend"))


def test_analysis_ten_times_slower(program, table):
    # A workstation is fast enough for two windows a second even then; not for ten.
    program.configure('[audio]\ndevice = "knockmic"\n[listen]\nhop_s = 0.1\n')
    program.rig.start_server()
    program.rig.play(engine())
    program.start()
    program.wait("listening", 30)
    stop = threading.Event()

    def slow():
        while not stop.is_set():
            os.kill(program.process.pid, signal.SIGSTOP)
            time.sleep(SLICE_S * (1 - 1 / SLOWER))
            os.kill(program.process.pid, signal.SIGCONT)
            time.sleep(SLICE_S / SLOWER)

    thread = threading.Thread(target=slow)
    thread.start()
    with contextlib.ExitStack() as stack:
        stack.callback(thread.join)
        stack.callback(stop.set)
        after = program.wait("degraded", 30, "behind")
        time.sleep(10)
        status = program.status()
    assert status["windows_skipped"] > 0
    assert status["restarts"] == 0
    back = program.wait("listening", 20)
    note(table, "analysis 10 times slower", "degraded", status, (after, f"{back:.1f} s"))
