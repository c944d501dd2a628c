import numpy as np
import pytest

from edge.repetition import LAG_RANGE_S, repetition
from tests.audio import noise, tone

SR = 22_050


@pytest.mark.parametrize("rate", [SR, 48_000])
@pytest.mark.parametrize("period_s", [0.0061, 0.02, 0.1234567, 0.37, 0.59, 0.75, 0.92])
@pytest.mark.parametrize("slow", [False, True])
def test_what_repeats_itself_does_so_by_one(rate, period_s, slow):
    piece = noise(period_s, rate)
    if slow:  # an engine's rumble, not hiss
        piece = np.cumsum(piece - piece.mean())
    y = np.resize(piece, 2 * rate)
    y = (0.1 * y / y.std()).astype(np.float32)
    # The filter is heard a little at both ends, more so of slow sounds: 8e-4 at the most.
    assert repetition(y, rate) == pytest.approx(1, abs=2e-3)
    # Steps of 16 bits change nothing.
    assert repetition((y * 32767).round() / np.float32(32767), rate) == pytest.approx(1, abs=2e-3)


def test_the_lag_need_be_no_whole_number_of_samples():
    t = np.arange(2 * SR) / SR
    y = sum(np.sin(2 * np.pi * 10.37 * k * t + k * k) for k in range(3, 100)).astype(np.float32)
    # 2e-4 is missing, by the same filter and by what lies between two samples.
    assert repetition(y, SR) == pytest.approx(1, abs=1e-3)


def test_noise_is_never_the_same_again():
    # Independent over some 1300 Hz and 1.9 s: a deviation of 0.02, and 1600 lags to choose from.
    assert repetition(noise(2), SR) < 0.15


@pytest.mark.parametrize("signal_to_noise_db", [0, 10, 20])
def test_likeness_is_the_share_of_what_is_the_same(signal_to_noise_db):
    y = np.resize(noise(0.1), 2 * SR)
    k = 10 ** (signal_to_noise_db / 10)
    mixed = y + noise(2, seed=1) / np.float32(np.sqrt(k))
    # By chance the noise is a little like itself, by 0.02 as above, and the best of many lags is
    # taken: 0.025 too much at 0 dB, 0.006 at 10.
    assert repetition(mixed, SR) == pytest.approx(k / (k + 1), abs=0.05)


def test_a_longer_while_than_a_buffer_holds_is_not_looked_at():
    assert repetition(np.resize(noise(LAG_RANGE_S[1] + 0.1), 2 * SR), SR) < 0.2


@pytest.mark.parametrize("at_s", [0.07, 0.3, 1.0, 1.7, 1.93])
def test_a_single_bang_does_not_repeat_itself(at_s):
    t = np.arange(2 * SR) / SR - at_s
    bang = np.where(t >= 0, np.exp(-np.maximum(t, 0) / 0.03), 0) * np.sin(2 * np.pi * 170 * t)
    y = (bang + 1e-5 * noise(2)).astype(np.float32)
    assert repetition(y, SR) < 0.01  # what overlaps is next to nothing


@pytest.mark.parametrize(("low", "high"), [(25, 60), (97, 103), (440, 446)])
def test_a_rumble_or_a_tone_that_wavers_is_like_itself_at_once_and_not_again(low, high):
    """Its correlation falls from lag 0 on, over a sixth of a second and more."""
    spectrum = np.fft.rfft(noise(2, seed=3))
    hz = np.fft.rfftfreq(2 * SR, 1 / SR)
    y = np.fft.irfft(np.where((hz > low) & (hz < high), spectrum, 0)).astype(np.float32)
    assert 0 < repetition(y, SR) < 0.95


def test_silence_and_what_is_too_short_say_nothing():
    assert repetition(np.zeros(2 * SR, dtype=np.float32), SR) == 0
    assert repetition(tone(1, SR).astype(np.float32), SR) == 0
    assert repetition(np.empty(0, dtype=np.float32), SR) == 0


def test_what_is_shorter_than_twice_the_longest_lag_is_not_looked_at():
    y = np.resize(noise(0.1), 2 * SR)
    least = round(2 * (LAG_RANGE_S[1] + 0.06) * SR)
    assert repetition(y[: least - 1], SR) == 0
    assert repetition(y[:least], SR) == pytest.approx(1, abs=2e-3)  # as above


@pytest.mark.parametrize("nepers_per_s", [-1, 1])
def test_a_loop_that_swells_or_fades_repeats_itself_all_the_same(nepers_per_s):
    swell = np.exp(nepers_per_s * np.arange(2 * SR) / SR)
    y = (0.02 * np.resize(noise(0.37), 2 * SR) * swell).astype(np.float32)
    assert repetition(y, SR) == pytest.approx(1, abs=2e-3)
