"""Faults of everything but the sound: disk, clock, lamp, settings, model, a slow board."""

import contextlib
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

import pytest

from edge.assembly import load_network
from edge.blackbox import BlackBox
from edge.config import BlackBoxConfig, Config
from edge.frontend import FrontEnd
from edge.indicator import Signal
from tests.audio import noise
from tests.hil.fault_table import NOT_AT_ALL, Row, in_words, looks
from tests.hil.kept import Kept, contents
from tests.hil.lamp_record import settings_of
from tests.hil.program import Sight, engine
from tests.hil.virtual_microphone import missing
from tests.listener import SR
from tests.test_blackbox import kill_while_writing

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(bool(missing()), reason=f"needs Debian's {missing()}: make test-hil"),
]
SLOWER = 10
SLICE_S = 0.02  # shorter than the sleep of the lamp's thread, which is late, as on a slow board


def test_settings_broken_while_running(listening, table):
    good = listening.settings.read_text()
    listening.settings.write_text("[audoi]\n")
    listening.process.send_signal(signal.SIGHUP)
    sight = listening.see("fault", 10, "did you mean audio")
    listening.settings.write_text(good)
    listening.process.send_signal(signal.SIGHUP)
    back = listening.see("listening", 10)
    how = f"{back.after_s:.1f} s, at SIGHUP"
    table.append(listening.row("settings broken at SIGHUP", sight, how))


def test_records_cannot_be_written(program, table):
    program.keep()
    aside = program.records.rename(program.folder / "aside")
    program.records.write_text("in the way")
    program.rig.start_server()
    program.rig.play(engine())
    program.start()
    sight = program.see("fault", 30, "black box")
    assert program.records.read_text() == "in the way"
    program.records.unlink()
    aside.rename(program.records)
    back = program.see("listening", 15)
    table.append(program.row("records cannot be written", sight, f"{back.after_s:.1f} s"))


def test_the_state_folder_is_deleted(listening, table):
    shutil.rmtree(listening.records)
    began = time.monotonic()
    while not listening.records.is_dir():
        assert time.monotonic() - began < 15
        time.sleep(0.1)
    back = time.monotonic() - began
    assert listening.status()["state"] == "listening"
    sight = listening.see("listening", 1, since=began)
    how = f"{back:.1f} s, folder created again"
    table.append(
        listening.row("records deleted", sight, how, kept="no: their deletion is the fault")
    )
    assert contents(listening.records) == {}


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
    systemd = program.folder / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(systemd))
        program.environment["NOTIFY_SOCKET"] = str(systemd)
        began = time.monotonic()
        program.start()
        at = program.wait_lamp(Signal.FAULT, began, 20)
        assert program.process.wait(30) == code
    # Three blinks, so six changes, every two seconds for ten seconds after the lamp test.
    settings = settings_of(program.lamp)
    assert sum(lit is not was for (_, was), (_, lit) in itertools.pairwise(settings)) >= 24
    assert not program.status()["state"]
    says = f"exit code {code}, the reason in the journal"
    sight = Sight("", looks(Signal.FAULT), says, at - began, at)
    table.append(program.row(fault, sight, "systemd restarts it again and again"))


@pytest.fixture
def small_disk(program):
    """A disk of 40 MB, mounted where the records go."""
    folder = program.records
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
    sight = program.see("fault", 20, "no room")
    (folder / "filler").unlink()
    back = program.see("listening", 20)
    table.append(program.row("disk full", sight, f"{back.after_s:.1f} s"))


def test_the_disk_is_read_only(listening_on_small_disk, table):
    program, folder = listening_on_small_disk
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    sight = program.see("fault", 20, "Read-only")
    subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
    back = program.see("listening", 20)
    table.append(program.row("disk read-only", sight, f"{back.after_s:.1f} s"))


@pytest.fixture
def listening_on_small_disk(program, small_disk):
    program.rig.start_server()
    program.rig.play(engine())
    program.start()
    program.wait("listening", 30)
    return program, small_disk


def test_the_lamps_pin_is_taken(program, table):
    busy = program.folder / "busy"
    busy.touch()
    program.environment["LAMP_BUSY"] = str(busy)
    program.rig.start_server()
    program.rig.play(engine())
    program.start()
    after = program.wait("fault", 30, "no lamp on GPIO 17")
    says = in_words(program.status())
    of_others = settings_of(program.lamp)
    assert not any(lit for _, lit in of_others)
    time.sleep(1)
    assert settings_of(program.lamp) == of_others  # the listener does not touch the pin
    busy.unlink()
    began = time.monotonic()
    while program.status()["problems"]:
        assert time.monotonic() - began < 15
        time.sleep(0.1)
    back = time.monotonic() - began
    program.wait_lamp(Signal.LISTENING, began)
    sight = Sight("fault", "as the pin's other user sets it: here dark", says, after, began)
    table.append(program.row("lamp's pin in use", sight, f"{back:.1f} s"))


def test_killed_a_hundred_times_while_a_record_is_written(tmp_path, table):
    kept = Kept(tmp_path, pinned=True)  # room is made by dropping other records only
    checked = kill_while_writing(tmp_path, 100)
    assert checked > 100
    BlackBox(tmp_path, BlackBoxConfig(), SR).close(20.0)  # removes what the last kill left behind
    says = f"{checked} records read after 100 kills at random moments, none damaged"
    # This is the black box alone: no listener runs, so there is no status and no lamp.
    nothing, back = NOT_AT_ALL, "at the next start"
    fault = "killed while a record is written"
    table.append(Row(fault, nothing, nothing, says, nothing, back, kept.check()))


def test_the_clock_goes_back_a_year(program, table):
    past = program.folder / "past"
    program.rig.preload("past_clock.c", PAST_CLOCK=str(past))
    program.rig.start_server()
    program.rig.play(engine())
    program.start()
    program.wait("listening", 30)
    before = program.status()
    changed = time.monotonic()
    past.touch()
    time.sleep(10)
    status = program.status()
    command = [sys.executable, "-c", "import time; print(time.time())"]
    clock = subprocess.run(command, env=program.environment, capture_output=True, check=True)
    assert time.time() - float(clock.stdout) > 360 * 86400  # it is set back in such a program
    assert status["state"] == "listening", status["problems"]
    judged = status["windows_judged"] - before["windows_judged"]
    elapsed = status["monotonic_s"] - before["monotonic_s"]
    due = elapsed / Config().listen.hop_s
    assert abs(judged - due) <= 3  # as often as before, give or take a round of the status
    assert status["windows_skipped"] == before["windows_skipped"]
    sight = program.see("listening", 1, since=changed)
    table.append(program.row("clock set back a year", sight, "nothing to mend"))


def seconds_per_window():
    model, classifier = load_network(Config())
    front_end, y = FrontEnd(model.manifest.front_end), noise(2.0)
    taken = []
    for _ in range(3):
        began = time.monotonic()
        classifier.predict(front_end.picture(y))
        taken.append(time.monotonic() - began)
    return min(taken)


def test_analysis_ten_times_slower(program, table):
    # Twice as much time for each window as this machine needs, whatever machine it is.
    hop_s = max(0.1, 2 * seconds_per_window())
    program.configure(f'[audio]\ndevice = "knockmic"\n[listen]\nhop_s = {hop_s:.2f}\n')
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
        sight = program.see("degraded", 30, "behind")
        time.sleep(6)  # about ten with the wait for the lamp
        status = program.status()
    assert status["windows_skipped"] > 0
    assert status["restarts"] == 0
    back = program.see("listening", 20)
    table.append(program.row("analysis 10 times slower", sight, f"{back.after_s:.1f} s"))
