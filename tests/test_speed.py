import numpy as np
import pytest

from convert.speed import at_speed, at_speeds, revs, samples_needed
from convert.synth import SR


def tone(hz, n):
    return np.sin(2 * np.pi * hz * np.arange(n) / SR).astype("f4")


def strongest(y):
    """Frequency of the strongest component, Hz; bins of SR / len(y)."""
    spectrum = np.abs(np.fft.rfft(y * np.hanning(y.size)))
    return np.fft.rfftfreq(y.size, 1 / SR)[spectrum.argmax()]


@pytest.mark.parametrize("speed", [0.6, 1.0, 1.37, 1.6])
def test_played_faster_a_tone_is_higher_by_as_much(speed):
    n = SR
    y = at_speed(tone(1000, int(np.ceil(n * speed))), n, speed)
    assert y.shape == (n,)
    middle = y[n // 4 : 3 * n // 4]
    assert strongest(middle) == pytest.approx(1000 * speed, abs=2)  # bins of 2 Hz
    assert np.abs(middle).max() == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("speed", [0.6, 1.0, 1.37, 2.2])
def test_at_an_even_speed_both_ways_of_playing_agree(speed):
    n = SR
    speeds = np.full(n, speed)
    y = at_speeds(tone(1000, samples_needed(speeds)), speeds, SR)
    assert y.shape == (n,)
    middle = y[n // 4 : 3 * n // 4]
    assert strongest(middle) == pytest.approx(1000 * speed, abs=2)
    assert np.abs(middle).max() == pytest.approx(1, abs=0.05)


def test_a_tone_follows_the_speed_from_moment_to_moment():
    speeds = np.concatenate([np.full(SR, 0.7), np.full(SR, 1.6)])
    y = at_speeds(tone(1000, samples_needed(speeds)), speeds, SR)
    assert strongest(y[: SR - 500]) == pytest.approx(700, abs=2)
    assert strongest(y[SR + 500 :]) == pytest.approx(1600, abs=2)


def test_nothing_folds_down_from_above_the_nyquist_frequency():
    speeds = np.full(SR, 2.0)
    whole = at_speeds(tone(1000, samples_needed(speeds)), speeds, SR)
    # 9.5 kHz played twice as fast would be heard at 22.05 - 19 = 3.05 kHz, where the network looks.
    folded = at_speeds(tone(9500, samples_needed(speeds)), speeds, SR)
    assert np.std(folded) < 0.35 * np.std(whole)  # second-order filter; 1.0 without


def test_all_samples_said_to_be_needed_are_read_and_no_more():
    speeds = np.linspace(0.5, 2.0, 1000)
    y = np.random.default_rng(0).normal(size=samples_needed(speeds)).astype("f4")
    longer = np.concatenate([y, np.full(50, np.nan, dtype="f4")])
    np.testing.assert_array_equal(at_speeds(longer, speeds, SR), at_speeds(y, speeds, SR))
    assert np.cumsum(speeds)[-1] - speeds[0] > samples_needed(speeds) - 3


def test_revs_are_smooth_and_of_mean_one():
    spans = []
    for seed in range(50):
        speed = revs(np.random.default_rng(seed), 2 * SR, SR)
        assert speed.shape == (2 * SR,)
        assert speed.mean() == pytest.approx(1)
        assert speed.min() > 0.25  # two falls by 0.45 from a mean not much above the lowest
        # The fastest change there is: 2.17 times as fast, a quarter of it in 0.08 s, from lowest.
        assert np.abs(np.diff(speed)).max() * SR < 15  # in a second
        spans.append(speed.max() / speed.min())
    assert min(spans) < 1.05  # at times nothing falls into the clip
    assert max(spans) > 1.6
