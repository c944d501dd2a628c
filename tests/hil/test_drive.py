"""A long drive with one knock in it: real recordings, in real time, with a recorded lamp.

Healthy engines play for ``KNOCK_DRIVE_SECONDS``, with one knock among them.
"""

import itertools
import json
import os
import time

import numpy as np
import pytest

from edge.config import ListenConfig
from edge.detector import DetectorConfig
from edge.frontend import FrontEndConfig
from edge.recording import Recording
from tests.hil.lamp_record import settings_of
from tests.hil.virtual_microphone import RATE, missing

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(bool(missing()), reason=f"needs Debian's {missing()}: make test-hil"),
]
SECONDS = float(os.environ.get("KNOCK_DRIVE_SECONDS", "90"))
KNOCK_SECONDS = 12.0
HEALTHY = ("avanza_normal", "vafd_noise2")  # the longest recordings of healthy engines
KNOCK = "knock_amr_2_001"
RMS = 0.1  # of all recordings, as one microphone at one gain would give


def joined(recordings, seconds):
    """Recordings in a loop, all at the same level: int16 at the microphone's rate."""
    pieces = [Recording(r.path, sr=RATE).read() for r in recordings]
    y = np.concatenate([RMS * p / max(float(np.sqrt(np.mean(p**2))), 1e-6) for p in pieces])
    return np.clip(np.resize(y, round(seconds * RATE)) * 32767, -32767, 32767).astype(np.int16)


def solid_spans(path, since):
    """``(on, off)``, after ``since``, of each time the lamp was lit for longer than any blink."""
    settings = settings_of(path)
    ends = [(t, lit) for (_, was), (t, lit) in itertools.pairwise(settings) if lit is not was]
    return [
        (on, off)
        for (on, lit), (off, _) in itertools.pairwise(ends)
        if lit and on > since and off - on > 1.5
    ]


def test_one_knock_in_a_long_drive(program, recordings):
    healthy = joined([r for r in recordings if r.source in HEALTHY], SECONDS)
    knock = joined([r for r in recordings if r.path.stem == KNOCK], KNOCK_SECONDS)
    at = healthy.size // 2
    drive = healthy.copy()
    drive[at : at + knock.size] = knock
    program.rig.start_server()
    program.rig.play(healthy)
    program.start()
    program.wait("listening", 60)
    program.rig.play(drive)
    began = time.monotonic()  # the lamp test is over
    knocks_at = began + at / RATE
    time.sleep(SECONDS)
    program.rig.play(healthy)
    status = program.status()
    program.process.terminate()
    assert program.process.wait(5) == 0
    spans = solid_spans(program.lamp, began)
    shown = [f"{on - knocks_at:.1f} to {off - knocks_at:.1f} s" for on, off in spans]
    print(f"{SECONDS:.0f} s, {KNOCK_SECONDS:g} s of knock at {at / RATE:.0f} s; solid: {shown}")
    assert status["alerts"] == 1
    ((on, off),) = spans
    detector, listen = DetectorConfig(), ListenConfig()
    window_s = FrontEndConfig().n_samples / FrontEndConfig().sr
    judged = window_s + (detector.needed - 1) * listen.hop_s  # K windows of the knock alone
    assert 0 < on - knocks_at < judged + 3
    assert off - (knocks_at + KNOCK_SECONDS) < detector.clear_s + 3
    (record,) = program.kept.later()
    assert json.loads((program.records / record / "alert.json").read_text())["p_knocking"] > 0.5
    assert program.kept.check()
    assert status["windows_skipped"] == 0
    assert status["windows_due"] >= (SECONDS - 2) / listen.hop_s - 2
