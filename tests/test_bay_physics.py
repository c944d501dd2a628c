"""What lies between engine and recording, measured from outside: levels, decays, responses."""

import numpy as np
import pytest

from convert import bay
from convert.synth import SR
from tests.audio import tone
from tests.scripted_rng import ScriptedRng


def db(ratio):
    return 10 * np.log10(ratio)


def echo(seed, t60, gain):
    """What an impulse leaves behind it: (n,), the impulse itself at 0."""
    y = np.zeros(SR)
    y[0] = 1
    rng = np.random.default_rng(seed)
    return bay.reverberate(rng, y, SR, t60=(t60, t60), gain=(gain, gain))


@pytest.mark.parametrize("gain", [0.5, 2.0])
def test_an_echo_has_the_square_of_its_gain_of_the_direct_sounds_energy(gain):
    for seed in range(5):
        wet = echo(seed, 0.1, gain)
        assert wet[0] == pytest.approx(1)
        # The direct sound stands in place of the echo's first of some 160 samples that count:
        # 0.6 % of its energy, at a peak of the noise five times that.
        assert np.square(wet[1:]).sum() == pytest.approx(gain**2, rel=0.05)


@pytest.mark.parametrize("t60", [0.05, 0.1, 0.2])
def test_an_echo_falls_by_60_db_in_its_time(t60):
    power = np.mean([np.square(echo(seed, t60, 1)[1:]) for seed in range(40)], axis=0)
    n = round(t60 * SR)
    early, late = (power[at : at + n // 10].mean() for at in (0, n // 2))
    # Means of 40 times 110 values and more of noise squared: each is off by 2 % or 0.1 dB.
    assert db(early / late) == pytest.approx(30, abs=0.5)


def test_an_echo_is_cut_off_after_three_tenths_of_a_second():
    wet = echo(0, 1.0, 1)
    assert np.abs(wet[round(0.29 * SR) : int(0.3 * SR)]).max() > 1e-4
    assert np.abs(wet[int(0.3 * SR) :]).max() < 1e-9  # rounding of the transform


def response_db(rng):
    """What a microphone does to each frequency, in steps of half a hertz."""
    y = np.zeros(2 * SR)
    y[0] = 1
    return 2 * db(np.abs(np.fft.rfft(bay.random_response(rng, y, SR))))


def test_a_tilt_is_as_many_db_an_octave_as_it_says():
    fixed = {("normal", 0, 1.5): 3.0, ("integers", 0, 5): 0}
    gain = response_db(ScriptedRng(0, fixed))
    for hz, wanted in ((250, -6), (500, -3), (1000, 0), (2000, 3), (8000, 9)):
        assert gain[2 * hz] == pytest.approx(wanted, abs=1e-6)


def test_a_resonance_is_as_many_db_as_it_says_and_as_wide():
    fixed = {
        ("normal", 0, 1.5): 0.0,
        ("integers", 0, 5): 1,
        ("normal", 0, 6): 8.0,
        ("uniform", -4, 3): 1.0,  # octaves above 1 kHz
        ("uniform", 0.15, 1.0): 0.5,
    }
    gain = response_db(ScriptedRng(0, fixed))
    assert gain[2 * 2000] == pytest.approx(8, abs=1e-6)
    # Half an octave away it is down to exp(-1/2) of that; in steps of half a hertz.
    assert gain[round(2 * 2000 * 2**0.5)] == pytest.approx(8 * np.exp(-0.5), abs=0.01)
    assert gain[2 * 200] == pytest.approx(0, abs=0.01)


def test_microphones_differ_by_what_is_said_of_them():
    at = [response_db(np.random.default_rng(seed))[2 * 125] for seed in range(200)]
    # Three octaves of tilt of 1.5 dB, 4.5 dB; with up to four resonances of 6 dB, each of which
    # reaches here now and then, some 6. Of 200 the deviation is known to 5 %, with tails to 10 %.
    assert 4.5 * 0.9 < np.std(at) < 8
    assert abs(np.mean(at)) < 1.5  # 6 dB / sqrt(200), three and a half times


def spread_db(y):
    """How far the levels of 50 ms lie apart."""
    frame = SR // 20
    return np.std(db(np.square(y[: y.size // frame * frame]).reshape(-1, frame).mean(axis=1)))


def loud_and_soft():
    """Noise that changes by 20 dB twice a second: (4 s,)."""
    half = np.resize(np.repeat([1.0, 0.1], SR // 2), 4 * SR)
    return half * np.random.default_rng(9).normal(size=4 * SR)


@pytest.mark.parametrize(("power", "left"), [(0.1, 0.8), (0.35, 0.3)])
def test_gain_control_brings_loud_and_soft_together(power, left):
    fixed = {("uniform", 0.03, 0.3): 0.05, ("uniform", 0.1, 0.35): power}
    y = loud_and_soft()
    # Its gain is the level to that power, twice that in dB: of the spread 1 - 2 * power stays.
    # Of 10 dB. Beside a step the level is neither the loud nor the soft one: seen 0.3 dB more.
    controlled = bay.gain_control(ScriptedRng(0, fixed), y, SR)
    assert spread_db(controlled) == pytest.approx(left * spread_db(y), abs=0.5)


def test_any_gain_control_lessens_and_any_sharpening_raises_the_spread():
    y = loud_and_soft()
    for seed in range(10):
        # By a fifth at least, less what a window of 0.3 s blurs.
        controlled = bay.gain_control(np.random.default_rng(seed), y, SR)
        assert spread_db(controlled) < 0.9 * spread_db(y)
        # By 0.2 at least, until its bound of 30 times.
        sharp = bay.sharpen(np.random.default_rng(seed), y, SR)
        assert spread_db(sharp) > 1.15 * spread_db(y)


BRANCHES = {"equalise": 0, "echo": 1, "noise": 2, "wind": 3, "control": 4, "band": 5, "drive": 6}


def recorded(y, branch, seed=0, **fixed):
    """``y`` with nothing but one ``branch`` of what may happen to it: peak 1."""
    doors = [0.99] * len(BRANCHES)
    doors[BRANCHES[branch]] = 0.0
    if branch == "drive":
        doors.append(fixed.pop("soft"))  # which way it saturates
    draws = {("random",): doors, ("uniform", 0.05, 1): 1.0}
    return bay.record(ScriptedRng(seed, draws | fixed.pop("draws", {})), y, SR)


@pytest.mark.parametrize("level", [-45.0, -20.0, -8.0])
def test_noise_lies_as_far_below_the_sound_as_it_says(level):
    draws = {("uniform", -45, -8): level, ("uniform", -8, 0): 0.0}
    y = recorded(tone(2, SR, 1000), "noise", draws=draws)
    power = np.abs(np.fft.rfft(y)) ** 2  # of whole periods: the tone is one value
    signal = power[2000]
    # White noise of 22 050 values: its sum is known to 1 %, 0.05 dB.
    assert db((power.sum() - signal) / signal) == pytest.approx(level, abs=0.1)


def test_noise_comes_at_45_to_8_db_below():
    found = []
    for seed in range(40):
        power = np.abs(np.fft.rfft(recorded(tone(2, SR, 1000), "noise", seed))) ** 2
        found.append(db((power.sum() - power[2000]) / power[2000]))
    # Rumble has few values to its sum, but its deviation is set after they are drawn.
    assert -45.2 < min(found) < -35
    assert -15 < max(found) < -7.8


def flat(y):
    """The share of samples at the very top or bottom."""
    return np.mean(np.abs(y) > np.abs(y).max() * (1 - 1e-9))


def test_a_clipped_sine_has_flat_tops():
    sine = tone(1, SR, 100.3)
    hard = recorded(sine, "drive", soft=0.99, draws={("uniform", 1, 6): 4.0})
    # |sin| is above 1/4 for 1 - 2 / pi * arcsin(1 / 4) of the time; 1 of 220 samples a period.
    assert flat(hard) == pytest.approx(1 - 2 / np.pi * np.arcsin(0.25), abs=0.01)
    assert np.abs(hard).max() == pytest.approx(1)


def test_soft_saturation_rounds_them():
    sine = tone(1, SR, 100.3)
    soft = recorded(sine, "drive", soft=0.0, draws={("uniform", 1, 6): 4.0})
    assert flat(soft) < 0.01
    # It is louder for the same peak: a square wave's rms is 1, a sine's 0.71; of tanh(4 sin) 0.915.
    assert np.sqrt(np.mean(soft**2)) == pytest.approx(0.915, abs=0.01)
    assert np.corrcoef(soft, sine)[0, 1] > 0.9


def test_a_recording_without_any_of_it_is_the_sound_itself():
    draws = {("random",): 0.99, ("uniform", 0.05, 1): 0.3}
    y = tone(1, SR, 700)
    np.testing.assert_allclose(
        bay.record(ScriptedRng(0, draws), y, SR), 0.3 * y / y.max(), rtol=1e-9
    )


def test_shaping_leaves_the_loudness_of_what_is_heard_best():
    rng = np.random.default_rng(0)
    y, model = rng.normal(size=2 * SR), bay.coloured_noise(rng, 2 * SR, SR, slope_db=-6)
    gain = np.abs(np.fft.rfft(bay.shaped_like(y, 100 * model, SR, 0.7)) / np.fft.rfft(y))
    hz = np.fft.rfftfreq(y.size, 1 / SR)
    assert np.log(gain[(hz > 250) & (hz < 4500)]).mean() == pytest.approx(0, abs=1e-6)


def test_sharpening_ends_at_thirty_times():
    y = np.random.default_rng(0).normal(size=2 * SR)
    y[SR : SR + SR // 10] *= 1000  # 60 dB, to the power of 0.6 a gain of 4000
    sharp = bay.sharpen(ScriptedRng(0, {("uniform", 0.1, 0.6): 0.6}), y, SR)
    assert np.abs(sharp / y).max() == pytest.approx(30)


def test_a_band_ends_where_cheap_microphones_and_codecs_end(monkeypatch):
    ends = []

    def noted(y, _sr, low, high):
        ends.append((low, high))
        return y

    monkeypatch.setattr(bay, "band_limit", noted)
    for seed in range(60):
        recorded(tone(0.1, SR, 700), "band", seed)
    (lowest, least), (highest, most) = np.min(ends, axis=0), np.max(ends, axis=0)
    assert 15 <= lowest < 20
    assert 200 < highest <= 250
    assert 3000 <= least < 4000
    assert 15_000 < most <= 16_000


def test_sharpening_is_of_what_is_loud_for_some_10_ms(monkeypatch):
    asked, power = [], bay._running_power

    def noted(y, n):
        asked.append(n / SR)
        return power(y, n)

    monkeypatch.setattr(bay, "_running_power", noted)
    for seed in range(60):
        bay.sharpen(np.random.default_rng(seed), tone(0.1, SR, 700), SR)
    assert 0.0079 < min(asked) < 0.009
    assert 0.026 < max(asked) <= 0.03
