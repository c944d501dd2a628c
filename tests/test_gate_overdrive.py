"""Overdriven sound is not judged, wherever in the chain it was cut off."""

import numpy as np
import pytest
from scipy.signal import lfilter

from convert.bay import band_limit
from edge.frontend.resample import resample
from edge.gate import (
    MIN_PEAK_TO_PEAK,
    Fault,
    Gate,
    estimated_clipped_share,
    flat_top_share,
    measure_flaws,
)
from edge.window import Flaws
from tests.audio import hiss, noise

SR = 22_050


@pytest.fixture(scope="module")
def gate():
    return Gate(sr=SR)


def test_overdriven(gate):
    y = noise(2)
    assert gate.check(np.clip(y * 4, -1, 1)) is None  # the loudest samples only
    assert gate.check(np.clip(y * 100, -1, 1)) is Fault.CLIPPING


@pytest.mark.parametrize("level", [0.012, 0.024, 0.06, 0.4, 0.9, 1.0])
@pytest.mark.parametrize("one_sided", [False, True])
def test_overdriven_at_any_level(gate, level, one_sided):
    y = 10 * noise(2)
    y = np.clip(y, -np.inf if one_sided else -0.4, 0.4)
    assert gate.check(np.float32(level) * y / np.abs(y).max()) is Fault.CLIPPING


@pytest.mark.parametrize("level", [0.4, 0.9, 1.0])
def test_overdriven_before_the_resampler(gate, level):
    rng = np.random.default_rng(0)
    hard = level * np.clip(10 * rng.standard_normal(4 * SR), -1, 1).astype(np.float32)
    y = resample(hard, 2 * SR, SR)
    assert gate.check(y, measure_flaws(hard, 2 * SR)) is Fault.CLIPPING
    # Without that word only what is at full scale gives it away.
    assert gate.check(y) is (Fault.CLIPPING if level == 1 else Fault.HISS)


def through_a_capacitor(y, hz):
    """First-order high-pass."""
    decay = np.exp(-2 * np.pi * hz / SR)
    return lfilter([1, -1], [1, -decay], y).astype(np.float32)


@pytest.mark.parametrize("hz", [3, 10])
@pytest.mark.parametrize("gain", [15, 30, 100])
def test_overdriven_before_a_capacitor(gate, hz, gain):
    """What was cut off flat sags, and no two tops are at one height any more."""
    rumble = band_limit(np.random.default_rng(0).standard_normal(2 * SR), SR, 30, 400)
    y = through_a_capacitor(np.clip(gain * rumble / rumble.std(), -10, 10) / 40, hz)
    assert gate.check(y) is Fault.CLIPPING
    assert gate.check(through_a_capacitor(rumble / rumble.std() / 40, hz)) is Fault.HISS


def test_smeared_tops_are_the_share_of_a_noise_that_was_cut_off():
    y = hiss(20)
    for share, told in (
        (0.1, 0.1),
        (0.3, 0.3),
        (0.6, 0.5),
    ):  # a half is where the median is cut, too
        limit = np.quantile(np.abs(y), 1 - share)
        # Quantiles of 44 100 samples, no exact normal distribution: off by 0.0007.
        clipped = np.clip(y, -limit, limit)
        assert estimated_clipped_share(clipped) == pytest.approx(told, abs=0.01)
        louder = 3 * clipped + np.float32(0.2)
        assert estimated_clipped_share(louder) == pytest.approx(told, abs=0.01)
    # The peak is the 99.5th percentile: 0.005 lie beyond, of these samples 0.00496.
    assert estimated_clipped_share(y) == pytest.approx(0.005, abs=0.002)
    assert estimated_clipped_share(np.zeros(100, dtype=np.float32)) == 0
    assert estimated_clipped_share(np.eye(1, 100, dtype=np.float32)[0]) < 0.01


@pytest.mark.parametrize("offset", [-0.15, 0.15])
def test_overdriven_and_off_centre(gate, offset):
    y = np.clip(noise(2), -0.1, 0.1)
    assert gate.check(y + np.float32(offset)) is Fault.CLIPPING


def test_flat_tops_are_what_was_cut_off():
    y = noise(2)
    for share in (0.1, 0.3, 0.6):
        limit = np.quantile(np.abs(y), 1 - share)
        # And what lies within a hundredth of the range below the limit: 0.008 at the most.
        assert flat_top_share(np.clip(y, -limit, limit)) == pytest.approx(share, abs=0.03)
    assert flat_top_share(y) < 0.01
    coarse = np.float32(MIN_PEAK_TO_PEAK / 3) * np.sign(y)  # a few steps of 8 bits
    assert flat_top_share(coarse) == 0


@pytest.mark.parametrize("y", [[], [np.nan, 1], [np.inf, np.inf], [np.inf, -np.inf]])
def test_flat_tops_of_what_is_no_sound(y):
    assert flat_top_share(np.array(y, dtype=np.float32)) == 0


def test_a_sine_is_no_clipping(gate):
    # Share of a sine above 0.98 of its peak, a hundredth of its range: 2 acos(0.98) / pi = 13 %.
    sine = np.sin(2 * np.pi * 441.3 * np.arange(2 * SR) / SR).astype(np.float32)
    # 883 periods of 50 samples, of which some lie on either side of that edge: 3e-5 off.
    assert flat_top_share(sine) == pytest.approx(0.1275, abs=0.003)
    assert gate.check(sine) is Fault.TONE  # which is asked after clipping


@pytest.mark.parametrize("offset", [0.0, 0.3, 0.5])
@pytest.mark.parametrize("gain", [200, 5000])
def test_the_worst_overdrive_has_few_levels_and_is_overdriven(gate, offset, gain):
    """Not symmetric, and resampled: what is left of its flat tops then says nothing."""
    y = band_limit(noise(2, 44_100).astype("f8"), 30, 4000, 44_100)
    y = np.clip(gain * (y / y.std() + offset), -0.4, 0.4)
    y = (np.round(y * 32768) / 32768).astype(np.float32)
    pieces = [measure_flaws(piece, 44_100) for piece in y.reshape(40, -1)]
    found = Flaws(*np.mean(pieces, axis=0).tolist())
    assert gate.check(resample(y, 44_100, SR), found) is Fault.CLIPPING


def test_a_comparator_in_place_of_a_converter_is_overdriven(gate):
    """Two levels only, but no silence between them."""
    y = np.where(noise(2) > 0, 0.4, -0.4).astype(np.float32)
    assert gate.check(y, measure_flaws(y, SR)) is Fault.CLIPPING
