"""What the gate makes of real recordings: it must not cost the ears an engine."""

import numpy as np
import pytest

from edge.gate import Fault, Gate
from edge.hiss import structure
from edge.recording import Recording
from edge.window import Windower

SR = 22_050


def windows(path):
    windower = Windower(2 * SR, SR, SR)
    for block in Recording(path).blocks():
        yield from windower.push(block)


def test_no_real_engine_is_refused(recordings):
    gate, judged, least = Gate(sr=SR), 0, float("inf")
    engines = [recording for recording in recordings if recording.kind != "not_engine"]
    assert len(engines) > 200
    for recording in engines:
        for window in windows(recording.path):
            assert gate.check(window.y, window.flaws) is None, (recording.path, window.start_s)
            least = min(least, structure(window.y, SR))
            judged += 1
    assert judged > 700
    assert least > 1.3 * gate.config.hiss  # seen: 1.52, of all half seconds


@pytest.mark.parametrize("level_db", [-50, -55])  # in the band; the quietest has -42 dB
def test_no_quiet_engine_is_silence(recordings, level_db):
    gate = Gate(sr=SR)
    engines = [recording for recording in recordings if recording.kind != "not_engine"]
    faults = [
        gate.check(
            (window.y * np.float32(10 ** (level_db / 20) / np.sqrt(power))).astype(np.float32)
        )
        for recording in engines[::3]
        for window in windows(recording.path)
        if (power := gate.power_in_band(window.y).sum())
    ]
    assert faults.count(Fault.SILENCE) == 0
    assert len(faults) > 200


def test_most_of_the_rain_is_hiss(recordings):
    gate = Gate(sr=SR)
    faults = [
        gate.check(window.y, window.flaws)
        for recording in recordings
        if recording.source == "weather"
        for window in windows(recording.path)
    ]
    assert faults.count(Fault.HISS) > 0.8 * len(faults) > 10
