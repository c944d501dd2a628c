import numpy as np
import pytest

from convert.plain import plain_knock
from convert.synth import SR


def test_a_plain_knock_is_regular_and_broad():
    centres = []
    for seed in range(12):
        y = plain_knock(np.random.default_rng(seed), 4, np.ones(4 * SR))
        assert y.shape == (4 * SR,)
        assert np.abs(y).max() == pytest.approx(1)
        level = np.sqrt(np.square(y[: y.size // 220 * 220]).reshape(-1, 220).mean(axis=1))
        level -= level.mean()
        likeness = np.correlate(level, level, "full")[level.size - 1 :] / (level @ level)
        # It repeats after one or two turns at 500 to 3500 rpm, 17 to 240 ms. Seen: 0.47 and more
        # where a frame of 10 ms is half a turn; of noise 0.14.
        assert likeness[2:25].max() > 0.4
        power = np.abs(np.fft.rfft(y)) ** 2
        centres.append((power @ np.fft.rfftfreq(y.size, 1 / SR)) / power.sum())
    assert max(centres) / min(centres) > 2  # from dull to bright


def test_a_plain_knock_keeps_step_with_an_engine_that_revs_up():
    n = 4 * SR
    speed = np.repeat([0.5, 1.5], n // 2)
    denser = louder = 0
    for seed in range(20):
        y = np.abs(plain_knock(np.random.default_rng(seed), 4, speed))
        early, late = (np.mean(half > 0.02 * half.max()) for half in (y[: n // 2], y[n // 2 :]))
        denser += late > early
        louder += y[n // 2 :].max() > y[: n // 2].max()
    # Three times as many blows in the faster half; where all run together they are hard to count.
    assert denser >= 16
    assert louder >= 18  # a power of the speed, from none to four, against a spread of 0.2


def test_some_plain_knocks_come_and_go_and_none_is_hardly_there():
    shares = []
    for seed in range(60):
        y = np.abs(plain_knock(np.random.default_rng(seed), 2, np.ones(2 * SR)))
        loudest = y.reshape(-1, SR // 5).max(
            axis=1
        )  # fifths of a second hold a blow at 300 a minute
        shares.append(np.mean(loudest > 0.1 * loudest.max()))
    assert np.mean(np.array(shares) < 0.95) > 0.05  # one in four; not all of them end in the clip
    assert min(shares) >= 0.2
