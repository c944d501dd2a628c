"""Rate conversion: what passes, what does not, nothing delayed, and streams equal to wholes."""

import numpy as np
import pytest

from edge.errors import SignalError
from edge.frontend.resample import Resampler, resample

TO = 22_050
RATES = [8_000, 11_025, 16_000, 32_000, 44_100, 48_000, 96_000, 192_000, 12_345]


def tone(freq, sr, seconds=1.0):
    return np.sin(2 * np.pi * freq * np.arange(int(sr * seconds)) / sr).astype(np.float32)


@pytest.mark.parametrize("sr", RATES)
def test_a_tone_keeps_its_pitch_phase_and_level(sr):
    for freq in (100, 1000, 0.44 * min(sr, TO)):  # 0.44: inside the pass band, 0.9 of Nyquist
        out = resample(tone(freq, sr), sr, TO)[500:-500]
        expected = tone(freq, TO)[500:-500]
        # 0.01 dB of pass-band ripple is 1.2e-3; any delay or error of pitch would be far more.
        np.testing.assert_allclose(out, expected[: out.size], atol=1.2e-3)


@pytest.mark.parametrize("sr", [32_000, 44_100, 48_000, 96_000, 192_000])
def test_what_would_fold_back_is_80_db_down(sr):
    for freq in np.linspace(TO / 2, sr / 2 * 0.99, 25):
        out = resample(tone(freq, sr), sr, TO)[500:-500]
        assert 20 * np.log10(np.sqrt(2 * np.mean(out**2)) + 1e-12) < -80


@pytest.mark.parametrize("sr", [8_000, 16_000])
def test_images_of_a_low_rate_are_80_db_down(sr):
    freq = sr / 2 * 0.9
    spectrum = np.abs(np.fft.rfft(resample(tone(freq, sr), sr, TO) * np.hanning(TO)))
    images = spectrum[int(sr - freq) - 5 :]  # 1 Hz a bin
    assert 20 * np.log10(images.max() / spectrum.max()) < -80


@pytest.mark.parametrize("sr", RATES)
def test_a_stream_gives_the_very_same_samples(sr):
    rng = np.random.default_rng(sr)
    y = rng.standard_normal(int(sr * 1.3) + 7).astype(np.float32)
    resampler = Resampler(sr, TO)
    pieces, at = [], 0
    while at < y.size:
        n = int(rng.choice([1, 7, 160, 1024, 4999]))
        pieces.append(resampler.push(y[at : at + n]))
        at += n
    pieces.append(resampler.flush())
    whole = resample(y, sr, TO)
    assert whole.size == -(-y.size * TO // sr)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)


@pytest.mark.parametrize("sr", [44_101, 22_051, 22_052, 191_999])
def test_odd_rates_take_little_memory_and_are_near_enough(sr):
    resampler = Resampler(sr, TO)
    assert resampler._bank.nbytes < 20e6
    # Crystals of sound cards are off by as much; a picture's rows are 6 % apart.
    assert resampler._down / resampler._up == pytest.approx(sr / TO, rel=100e-6)


def test_the_same_rate_is_left_alone():
    y = tone(440, TO)
    assert resample(y, TO, TO) is y


@pytest.mark.parametrize("sr", [0, 7_999, 192_001])
def test_impossible_rates_are_named(sr):
    with pytest.raises(SignalError, match=f"{sr} Hz"):
        Resampler(sr, TO)
