"""Every fault of the sound, really caused while the whole program runs.

What lamp and status show, and which records survive, becomes ``docs/faults.md``: ``make faults``.
"""

import signal
import subprocess
import threading
import time

import numpy as np
import pytest

from edge.status import LOSS_GAPS
from tests.hil.program import Program, engine
from tests.hil.virtual_microphone import RATE, missing

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(bool(missing()), reason=f"needs Debian's {missing()}: make test-hil"),
]


def whine():
    """A tone of 9 kHz, loud."""
    y = 0.3 * np.sin(2 * np.pi * 9000 * np.arange(RATE) / RATE)
    return (32767 * y).astype(np.int16)


def hum():
    """What an open input picks up: 50 Hz and its multiples, hiss 40 dB below."""
    t = np.arange(RATE) / RATE
    y = sum(np.sin(2 * np.pi * 50 * k * t) / k for k in range(1, 20))
    y = 0.1 * (y / np.std(y) + 0.01 * np.random.default_rng(0).normal(size=RATE))
    return (32767 * y).astype(np.int16)


def hiss():
    """The noise of a dead capsule, turned up by automatic gain control."""
    return (3000 * np.random.default_rng(0).normal(size=5 * RATE)).astype(np.int16)


class Stutter:
    """A machine so busy that its capture process stalls again and again."""

    # STILL_S is long enough for a gap. Sound buffered meanwhile follows; with that of RUNS_S it is
    # still shorter than a window.
    STILL_S, RUNS_S = 1.2, 0.5

    def __init__(self, program):
        self._parent = str(program.process.pid)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._ended.is_set():
            for sign, seconds in (("-STOP", self.STILL_S), ("-CONT", self.RUNS_S)):
                subprocess.run(["pkill", sign, "-P", self._parent], check=False)
                self._ended.wait(seconds)
        subprocess.run(["pkill", "-CONT", "-P", self._parent], check=False)

    def end(self):
        """Let the process run again."""
        self._ended.set()
        self._thread.join()


# How each is caused, how it is mended (None: it mends itself), and the state that is shown.
FAULTS = {
    "no samples arrive (cable out)": (
        lambda p: p.rig.pause(),
        lambda p: p.rig._writing.set(),
        "microphone_lost",
    ),
    "source suspended": (
        lambda p: p.rig.pactl("suspend-source", "pmic", "1"),
        lambda p: p.rig.pactl("suspend-source", "pmic", "0"),
        "microphone_lost",
    ),
    "microphone pulled out": (
        lambda p: p.rig.pactl("unload-module", "module-pipe-source"),
        lambda p: p.rig.put_in(),
        "microphone_lost",
    ),
    "sound server killed": (
        lambda p: p.rig.kill_server(),
        lambda p: p.rig.start_server(),
        "microphone_lost",
    ),
    "capture process stopped for ever": (
        lambda p: subprocess.run(["pkill", "-STOP", "-P", str(p.process.pid)], check=True),
        None,
        "microphone_lost",
    ),
    "digital silence": (
        lambda p: p.rig.play(np.zeros(RATE, dtype=np.int16)),
        lambda p: p.rig.play(engine()),
        "unjudged",
    ),
    "a whine above the network's frequency range": (
        lambda p: p.rig.play(whine()),
        lambda p: p.rig.play(engine()),
        "unjudged",
    ),
    "mains hum of an open input": (
        lambda p: p.rig.play(hum()),
        lambda p: p.rig.play(engine()),
        "unjudged",
    ),
    "hiss of a dead capsule": (
        lambda p: p.rig.play(hiss()),
        lambda p: p.rig.play(engine()),
        "unjudged",
    ),
    "a driver that repeats its last buffer for ever": (
        lambda p: p.rig.play(engine(0.25)),
        lambda p: p.rig.play(engine()),
        "unjudged",
    ),
    "overdriven": (
        lambda p: p.rig.play(np.clip(engine().astype(int) * 100, -32768, 32767).astype(np.int16)),
        lambda p: p.rig.play(engine()),
        "unjudged",
    ),
}


def test_sound_in_pieces_too_short_to_judge(listening, table):
    stutter = Stutter(listening)
    try:
        sight = listening.see("unjudged", 12)
        assert listening.status()["last_reason"] == "gap"
        while listening.status()["gaps"] < LOSS_GAPS:  # two may have been enough for the lamp
            assert time.monotonic() - sight.at < 12
            time.sleep(0.1)
    finally:
        stutter.end()
    mended = time.monotonic()
    back = listening.see("degraded", 45, since=mended)  # until the losses are a minute old
    assert listening.status()["restarts"] == 0
    how = f"{back.at - mended:.1f} s, then `degraded` for a minute"
    table.append(listening.row("sound in pieces shorter than a window", sight, how))


@pytest.mark.parametrize("fault", FAULTS)
def test_sound_that_goes_and_comes_back(listening, table, fault):
    break_it, mend_it, shown = FAULTS[fault]
    break_it(listening)
    sight = listening.see(shown, 12)
    mended = sight.at  # it may recover before the lamp's pattern is recognised
    if mend_it:
        mend_it(listening)
        mended = time.monotonic()
    back = listening.see("listening", 45, since=mended)
    table.append(listening.row(fault, sight, f"{back.at - mended:.1f} s"))


def test_no_microphone_at_start(program, table):
    program.start()
    sight = program.see("microphone_lost", 20)
    program.rig.start_server()
    program.rig.play(engine())
    back = program.see("listening", 45)
    table.append(program.row("no microphone at start", sight, f"{back.after_s:.1f} s"))


def test_capture_process_killed(listening, table):
    restarts = listening.status()["restarts"]
    subprocess.run(["pkill", "-KILL", "-P", str(listening.process.pid)], check=True)
    sight = listening.see("microphone_lost", 5, "the capture process has died")
    back = listening.see("listening", 20)
    assert listening.status()["restarts"] == restarts + 1
    table.append(listening.row("capture process killed", sight, f"{back.at - sight.at:.1f} s"))


def test_two_microphones_of_the_same_name(tmp_path, table):
    program = Program(tmp_path, names=("garagemic_a", "garagemic_b"), device="garagemic")
    try:
        program.rig.start_server()
        program.rig.play(engine())
        program.start()
        sight = program.see("microphone_lost", 20, "ambiguous")
        program.rig.name_devices(("garagemic_a",))
        back = program.see("listening", 45)
        table.append(program.row("two microphones match", sight, f"{back.after_s:.1f} s"))
    finally:
        program.close()


def test_a_rate_the_card_refuses(tmp_path, table):
    program = Program(tmp_path, "rates = [48000]\n")
    try:
        program.rig.one_rate(RATE)
        program.rig.start_server()
        program.rig.play(engine())
        program.start()
        sight = program.see("microphone_lost", 20, "opens at none of audio.rates: 48000 Hz")
        program.configure(f'[audio]\ndevice = "knockmic"\nrates = [48000, 96000, {RATE}]\n')
        program.restart()
        back = program.see("listening", 30)
        how = f"{back.after_s:.1f} s, restarted with another rate in the settings"
        table.append(program.row("rate refused", sight, how))
    finally:
        program.close()


def test_stopping_is_quick_and_said(listening):
    listening.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert listening.process.wait(5) == 0
    assert time.monotonic() - began < 2
    assert listening.status()["state"] == "stopped"
