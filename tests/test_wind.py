"""Wind over a microphone: how steep, how gusty, how often and how loud."""

import numpy as np
import pytest

from convert import bay
from convert.synth import SR
from tests.audio import tone
from tests.scripted_rng import ScriptedRng


def octaves(y, edges):
    """Mean power between each two of ``edges``, Hz."""
    power = np.abs(np.fft.rfft(y)) ** 2
    hz = np.fft.rfftfreq(y.size, 1 / SR)
    return np.array([power[(hz >= f) & (hz < 2 * f)].mean() for f in edges])


@pytest.mark.parametrize("exponent", [5 / 3, 2.0])
def test_wind_falls_with_frequency_as_turbulence_does(exponent):
    fixed = {
        ("uniform", 5 / 3, 2): exponent,
        ("uniform", 3, 15): 5.0,
        ("uniform", 100, 250): 1000.0,
    }
    power = np.mean(
        [
            octaves(bay.wind(ScriptedRng(seed, fixed), 8 * SR, SR), (20, 40, 80))
            for seed in range(10)
        ],
        axis=0,
    )
    # Means of 1600 values and more: each known to 0.1 dB. The microphone is too small
    # here to matter; gusts smear by a hertz.
    fall = np.log2(power[:-1] / power[1:])
    assert fall == pytest.approx([exponent, exponent], abs=0.1)


def test_wind_is_low():
    for seed in range(20):
        y = bay.wind(np.random.default_rng(seed), 4 * SR, SR)
        assert y.std() == pytest.approx(1)
        power = np.abs(np.fft.rfft(y)) ** 2
        hz = np.fft.rfftfreq(y.size, 1 / SR)
        assert power[hz > 500].sum() < 1e-3 * power.sum()  # 30 dB
        assert power[hz > 20].sum() > 0.05 * power.sum()  # and yet to be heard
        assert abs(y.mean()) < 1e-9  # a steady push is cut off by any microphone


@pytest.mark.parametrize("correlation_time", [100, 1000])
def test_gusts_last_as_long_as_they_should(correlation_time):
    y = bay._ornstein_uhlenbeck(np.random.default_rng(0), 4000 * correlation_time, correlation_time)
    assert y.std() == pytest.approx(1, abs=0.1)  # 2000 gusts that know nothing of each other: 2 %
    for lags in (0.5, 1, 2):
        k = int(lags * correlation_time)
        alike = np.corrcoef(y[:-k], y[k:])[0, 1]
        assert alike == pytest.approx(np.exp(-lags), abs=0.08)


def test_gusts_come_and_go_within_about_a_second():
    asked = []

    def wander(rng, n, correlation_time):
        asked.append(correlation_time / SR)
        return rng.normal(size=n)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bay, "_ornstein_uhlenbeck", wander)
        for seed in range(100):
            bay.wind(np.random.default_rng(seed), SR, SR)
    assert 0.7 <= min(asked) < 0.8
    assert 1.4 < max(asked) <= 1.5


def swing_db(strength):
    """How far the levels of half seconds lie apart above 30 Hz, where half a second is long."""
    fixed = {("uniform", 0.2, 0.5): strength}
    found = []
    for seed in range(10):
        y = bay.band_limit(bay.wind(ScriptedRng(seed, fixed), 20 * SR, SR), SR, 60, 5000)
        power = np.square(y[: y.size // (SR // 2) * (SR // 2)]).reshape(-1, SR // 2).mean(axis=1)
        found.append(np.std(10 * np.log10(power)))
    return np.mean(found)


def test_a_gusty_wind_swells_and_a_steady_one_does_not():
    steady, little, much = (swing_db(strength) for strength in (0.0, 0.2, 0.5))
    assert steady < 1.5  # by chance, of noise of some 50 Hz in half a second
    # 20 dB of the logarithm of a speed that varies by a fifth are 3.5 dB in the level, less what
    # half a second of a gust of one averages.
    assert little > steady + 1
    assert much > little + 2


@pytest.mark.parametrize("level", [-25.0, -10.0, 6.0])
def test_wind_is_as_loud_as_it_says(level):
    doors = [0.99, 0.99, 0.99, 0.0, 0.99, 0.99, 0.99]
    draws = {("random",): doors, ("uniform", -25, 6): level, ("uniform", 0.05, 1): 1.0}
    y = bay.record(ScriptedRng(0, draws), tone(2, SR, 1000), SR)
    power = np.abs(np.fft.rfft(y)) ** 2  # of whole periods: the tone is one value
    ratio = (power.sum() - power[2000]) / power[2000]
    assert 10 * np.log10(ratio) == pytest.approx(level, abs=0.1)


def test_some_recordings_have_wind(monkeypatch):
    blown = []

    def wind(_rng, n, _sr):
        blown.append(n)
        return np.zeros(n)

    monkeypatch.setattr(bay, "wind", wind)
    y = tone(0.2, SR, 500)
    for seed in range(400):
        bay.record(np.random.default_rng(seed), y, SR)
    # 15 % of 400 are 60, give or take 7.
    assert 38 < len(blown) < 82


def test_a_seed_gives_the_same_wind():
    first, again, other = (bay.wind(np.random.default_rng(seed), SR, SR) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1


def test_wind_presses_as_the_square_of_its_speed_and_not_when_there_is_none(monkeypatch):
    gusts = np.repeat([1.0, -1.0, -3.0], 10 * SR)  # at 0.5 of the mean: 1.5, 0.5, below none
    monkeypatch.setattr(bay, "_ornstein_uhlenbeck", lambda *_: gusts)
    y = bay.wind(ScriptedRng(0, {("uniform", 0.2, 0.5): 0.5}), gusts.size, SR)
    fast, slow, none = np.std(bay.band_limit(y, SR, 60, 5000).reshape(3, -1)[:, SR:-SR], axis=1)
    # Noise of some 50 Hz and more over 8 s: a deviation is known to 3 %.
    assert fast / slow == pytest.approx(3**2, rel=0.1)
    assert none < 0.01 * slow
