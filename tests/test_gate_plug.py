"""A loose plug is refused, whatever its gaps sound like; the pauses between loud knocks are not."""

import numpy as np
import pytest

from convert.bay import band_limit, coloured_noise
from edge.frontend.resample import resample
from edge.gate import Fault, Gate, measure_flaws
from tests.audio import noise

SR = 22_050


@pytest.fixture(scope="module")
def gate():
    return Gate(sr=SR)


@pytest.mark.parametrize(("silent_s", "fault"), [(0.4, None), (0.6, Fault.SILENCE)])
def test_a_loose_plug_hisses(gate, silent_s, fault):
    y = noise(2)
    y[SR : SR + round(silent_s * SR)] *= np.float32(1e-3)  # -80 dB
    assert gate.check(y) is fault


@pytest.mark.parametrize(("on_ms", "off_ms"), [(5, 5), (20, 80), (30, 30), (90, 90), (500, 300)])
def test_a_loose_plug_however_short_the_gaps(gate, on_ms, off_ms):
    t = np.arange(2 * SR)
    on = t % ((on_ms + off_ms) * SR // 1000) < on_ms * SR // 1000
    gap = np.float32(10 ** (-70 / 20)) * np.random.default_rng(1).standard_normal(2 * SR)
    y = np.where(on, noise(2), gap.astype(np.float32))
    assert gate.check(y) is Fault.SILENCE
    assert gate.check(np.where(on | (t > SR // 2), noise(2), gap).astype(np.float32)) is None


@pytest.mark.parametrize("hum_db", [-200, -65])
@pytest.mark.parametrize("hiss_db", [-70, -90, -100])
@pytest.mark.parametrize("rate", [SR, 16_000, 8000])
def test_a_loose_plug_that_hums_or_of_a_narrow_microphone(gate, rate, hiss_db, hum_db):
    t = np.arange(2 * rate) / rate
    gap = 10 ** (hiss_db / 20) * np.random.default_rng(1).standard_normal(t.size)
    for k, part in ((1, 1), (2, 0.2), (3, 0.3)):
        gap += 10 ** (hum_db / 20) * part * np.sin(2 * np.pi * 50 * k * t)
    y = np.where(t % 0.06 < 0.03, noise(2, rate), gap)
    y = (np.round(32768 * y) / 32768).astype(np.float32)  # of 16 bits, which hide the faintest hiss
    heard = y if rate == SR else resample(y, rate, SR)
    assert gate.check(heard, measure_flaws(y, rate)) in (Fault.SILENCE, Fault.FLAT_LINE)


@pytest.mark.parametrize("hole", ["brown", "dull", "mains", "whine"])
@pytest.mark.parametrize(("on_ms", "off_ms"), [(20, 80), (90, 90), (500, 300)])
def test_a_loose_plug_whatever_its_holes_sound_like(gate, hole, on_ms, off_ms):
    rng, t = np.random.default_rng(1), np.arange(2 * SR) / SR
    left = 1e-4 * rng.standard_normal(t.size)
    if hole == "brown":
        left = coloured_noise(rng, t.size, SR, slope_db=-6) * 10 ** (-68 / 20)
    elif hole == "dull":
        left = band_limit(10 * left, SR, 20, 1000)
    elif hole == "mains":
        left = 0.5 * left + 10 ** (-62 / 20) * sum(
            np.sin(100 * np.pi * k * t + k * k) / k for k in range(1, 21)
        )
    else:
        left += 10 ** (-75 / 20) * np.sin(2 * np.pi * 1500 * t)
    on = t * 1000 % (on_ms + off_ms) < on_ms
    y = np.where(on, noise(2), left)
    assert gate.check((np.round(32768 * y) / 32768).astype(np.float32)) is Fault.SILENCE


def knocking(every_s, above_db, level_db):
    """A quiet, rumbling engine (n,) with a knock ``above_db`` it, at ``level_db`` together."""
    rng = np.random.default_rng(3)
    rumble, rattle = (band_limit(rng.normal(size=2 * SR), SR, 40, f) for f in (120, 1500))
    engine = rumble / rumble.std() + 0.05 * rattle / rattle.std()
    t = np.arange(2 * SR) / SR % every_s
    knock = np.sin(2 * np.pi * 900 * t) * np.exp(-t / 0.006)
    y = engine / engine.std() + 10 ** (above_db / 20) * knock / knock.std()
    return 10 ** (level_db / 20) * y / y.std()


@pytest.mark.parametrize("every_s", [0.125, 0.45])
@pytest.mark.parametrize("level_db", [-34, -40])
@pytest.mark.parametrize("above_db", [14, 18])
def test_a_quiet_engine_between_loud_knocks_is_no_loose_plug(gate, above_db, level_db, every_s):
    y = knocking(every_s, above_db, level_db)
    assert gate.check(y.astype(np.float32)) is None


def test_a_loose_plug_of_an_engine_that_knocks(gate):
    rng, t = np.random.default_rng(1), np.arange(2 * SR) / SR
    gap = 10 ** (-80 / 20) * rng.standard_normal(t.size)
    y = np.where(t % 0.2 < 0.1, gap, knocking(0.125, 14, -34))
    assert gate.check(y.astype(np.float32)) is Fault.SILENCE


def test_a_whine_above_the_band_hides_no_loose_plug(gate):
    t = np.arange(2 * SR) / SR
    y = np.where(t % 0.5 < 0.25, noise(2), np.float32(1e-4) * noise(2, seed=1))
    whine = 10 ** (-50 / 20) * np.sqrt(2) * np.sin(2 * np.pi * 8000 * t)
    assert gate.check(y + whine.astype(np.float32)) is Fault.SILENCE


@pytest.mark.parametrize("hum_db", [-60, -80])
def test_a_loose_plug_that_leaves_hum_alone(gate, hum_db):
    t = np.arange(2 * SR) / SR
    y = np.where(t % 0.5 < 0.25, noise(2), 10 ** (hum_db / 20) * np.sin(2 * np.pi * 100 * t))
    y = (np.round(32768 * y) / 32768).astype(np.float32)  # of 16 bits
    assert gate.check(y, measure_flaws(y, SR)) is Fault.SILENCE


@pytest.mark.parametrize("off", [0.3, 0.45])
@pytest.mark.parametrize("level", [0.1, 0.02])
def test_a_loose_plug_of_an_engine_that_rumbles(gate, off, level):
    rng, t = np.random.default_rng(3), np.arange(2 * SR) / SR
    engine = band_limit(rng.normal(size=2 * SR), SR, 40, 1500)
    gap = 10 ** (-70 / 20) * rng.standard_normal(t.size)
    y = np.where(t % 0.2 < 0.2 * off, gap, level * engine / engine.std())
    assert gate.check(y.astype(np.float32)) is Fault.SILENCE


@pytest.mark.parametrize(("fade_s", "fault"), [(0.3, None), (0.7, Fault.SILENCE)])
def test_sound_that_dies_away_is_silence_once_it_is_gone_for_long(gate, fade_s, fault):
    """As an engine that is switched off: no abrupt hole, but a long one."""
    t = np.arange(2 * SR) / SR
    end = 2 - fade_s
    gain = np.clip((end - t) / 0.6, 0.03, 1) ** 2
    assert gate.check((gain * noise(2)).astype(np.float32)) is fault
