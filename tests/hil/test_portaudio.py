"""Real PortAudio on a virtual microphone: not one sample lost, and every fault survived."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge.config import AudioConfig
from edge.microphone import STUCK, STUCK_S, Microphone
from tests.hil.virtual_microphone import RATE, VirtualMicrophone, missing

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(bool(missing()), reason=f"needs Debian's {missing()}: make test-hil"),
]
ROOT = Path(__file__).resolve().parents[2]
COUNT_SECONDS = float(os.environ.get("KNOCK_COUNT_SECONDS", "60"))


@pytest.fixture
def rig(tmp_path, monkeypatch):
    rig = VirtualMicrophone(tmp_path)
    rig.start_server()
    for name, value in rig.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(ROOT)
    yield rig
    rig.close()


@pytest.fixture
def microphone(rig):
    microphone = Microphone(AudioConfig(device="knockmic", rates=(RATE,)), RATE)
    yield microphone
    microphone.close()


def counter(seconds=3.0):
    """Samples that rise by one each, so that any two neighbours reveal a loss or repetition."""
    return (np.arange(round(seconds * RATE)) % 30_000 + 1).astype(np.int16)


def read_until(microphone, condition, seconds):
    deadline = time.monotonic() + seconds
    blocks = []
    while time.monotonic() < deadline and not condition():
        blocks += microphone.read(0.1)
    return blocks


def test_not_one_sample_is_lost_or_repeated(rig, microphone):
    rig.play(counter(30_000 * 20 / RATE))  # a whole number of its periods
    ending = time.monotonic() + COUNT_SECONDS
    blocks = read_until(microphone, lambda: time.monotonic() > ending, COUNT_SECONDS + 5)
    y = np.round(np.concatenate([b.y for b in blocks]) * 32768).astype(int)
    y = y[np.flatnonzero(y)[0] :]  # there was silence before the first sample came
    print(f"{y.size / RATE:.1f} s counted")
    assert y.size > 0.9 * (COUNT_SECONDS - 5) * RATE
    steps = np.diff(y) % 30_000
    assert np.count_nonzero(steps != 1) == 0
    assert [b.gap for b in blocks].count(True) == 1
    assert (microphone.overflows, microphone.restarts) == (0, 0)


@pytest.mark.parametrize(("name", "number"), [("S16_LE", 2), ("S32_LE", 10), ("S24_3LE", 32)])
def test_samples_of_any_card_are_exact_up_to_full_scale(rig, microphone, monkeypatch, name, number):
    """An I2S microphone has 32 bits only; PortAudio would dither them to 16, and wrap the peaks."""
    rig.one_format(number)
    monkeypatch.setenv("LD_PRELOAD", rig.environment["LD_PRELOAD"])
    monkeypatch.setenv("ONE_FORMAT", rig.environment["ONE_FORMAT"])
    rig.play(np.arange(-(2**15), 2**15).astype(np.int16))
    blocks = read_until(microphone, lambda: microphone.samples > 4 * RATE, 15)
    assert microphone.problem == ""
    y = np.round(np.concatenate([b.y for b in blocks]) * 32768).astype(int)
    y = y[np.flatnonzero(y)[0] :]
    assert y.size > 2 * RATE, name
    assert set(np.unique(np.diff(y) % 2**16)) == {1}, name
    assert (y.min(), y.max()) == (-(2**15), 2**15 - 1), name


def broken_and_mended(rig, microphone, break_it, mend_it):
    """Break and mend it; print the times until the loss is noticed and until sound is back."""
    rig.play(counter())
    read_until(microphone, lambda: microphone.samples > RATE, 15)
    assert microphone.problem == ""
    began = time.monotonic()
    break_it()
    read_until(microphone, lambda: bool(microphone.problem), 5)
    assert microphone.problem, "nothing was noticed"
    noticed = time.monotonic() - began
    mend_it()
    began = time.monotonic()
    read_until(microphone, lambda: microphone.problem == "" and microphone.samples > 0, 45)
    assert microphone.problem == ""
    print(f"noticed after {noticed:.1f} s, back after {time.monotonic() - began:.1f} s")


def test_samples_stop(rig, microphone):
    broken_and_mended(rig, microphone, rig.pause, rig._writing.set)


def test_the_sound_server_dies(rig, microphone):
    broken_and_mended(rig, microphone, rig.kill_server, rig.start_server)


def test_the_source_is_suspended(rig, microphone):
    broken_and_mended(
        rig,
        microphone,
        lambda: rig.pactl("suspend-source", "pmic", "1"),
        lambda: rig.pactl("suspend-source", "pmic", "0"),
    )


def test_the_card_is_pulled_out(rig, microphone):
    broken_and_mended(
        rig, microphone, lambda: rig.pactl("unload-module", "module-pipe-source"), rig.put_in
    )


def test_the_capture_process_is_killed(rig, microphone):
    def kill():
        assert microphone._process is not None
        os.kill(microphone._process.pid, signal.SIGKILL)

    broken_and_mended(rig, microphone, kill, lambda: None)
    assert microphone.restarts == 1


def test_devices_lists_it_with_the_rates_that_open(rig):
    rig.play(counter())
    done = subprocess.run(
        [sys.executable, "-m", "edge", "devices", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    (device,) = [d for d in json.loads(done.stdout) if "knockmic" in d["name"]]
    assert 44_100 in device["rates"]
    assert device["channels"] >= 1


def test_two_of_the_same_name_are_ambiguous(tmp_path, monkeypatch):
    rig = VirtualMicrophone(tmp_path, names=("garagemic_a", "garagemic_b"))
    try:
        rig.start_server()
        for name, value in rig.environment.items():
            monkeypatch.setenv(name, value)
        microphone = Microphone(AudioConfig(device="garagemic"), RATE)
        read_until(microphone, lambda: "ambiguous" in microphone.problem, 15)
        assert "garagemic_a" in microphone.problem
        assert "garagemic_b" in microphone.problem
        microphone.close()
    finally:
        rig.close()


def test_a_rate_nobody_takes_is_named(rig):
    microphone = Microphone(AudioConfig(device="knockmic", channel=63), RATE)
    read_until(microphone, lambda: "channels" in microphone.problem, 15)
    assert "there is no channel 63" in microphone.problem
    microphone.close()


def test_a_card_that_sends_zeros_is_opened_anew_and_then_heard(rig, microphone):
    rig.play(np.zeros(RATE, dtype=np.int16))
    opened_s = time.monotonic()
    read_until(microphone, lambda: microphone.problem == STUCK, STUCK_S[0] + 15)
    assert microphone.problem == STUCK
    assert time.monotonic() - opened_s > STUCK_S[0]
    rig.play(counter())
    blocks = read_until(microphone, lambda: not microphone.problem, 15)
    assert microphone.problem == ""
    assert microphone.restarts == 1
    assert blocks[0].gap
    blocks = read_until(microphone, lambda: microphone.samples > RATE, 5)
    assert any(block.y.any() for block in blocks)
