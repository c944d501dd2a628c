"""Constant-Q transform: every bin at its frequency, even gain across octaves, soxr's halving."""

import numpy as np
import pytest

from edge.frontend import FrontEndConfig
from edge.frontend.cqt import ConstantQ, RateHalver, amplitude_to_db, filter_lengths, halving_taps

CONFIG = FrontEndConfig()
N = 44_032
T = np.arange(N) / CONFIG.sr
FREQS = CONFIG.fmin * 2 ** (np.arange(84) / 12)


@pytest.fixture(scope="module")
def constant_q() -> ConstantQ:
    return ConstantQ(CONFIG, N)


def peak(constant_q, freq):
    C = constant_q(np.sin(2 * np.pi * freq * T).astype(np.float32))
    middle = np.median(C[:, 20:-20], axis=1)
    return int(middle.argmax()), float(middle.max())


def test_every_tone_lands_in_its_bin(constant_q):
    assert [peak(constant_q, freq)[0] for freq in FREQS] == list(range(84))


def test_gain_is_even_within_and_across_octaves(constant_q):
    gains = np.array([peak(constant_q, freq)[1] for freq in FREQS])
    # A tone of amplitude 1 gives half the square root of the filter's length (L1 norm, then scaled
    # by it). 2 %: sparse kernels lose up to 1 % of their magnitude, whole samples some more.
    np.testing.assert_allclose(gains / (np.sqrt(filter_lengths(CONFIG)) / 2), 1, rtol=0.02)


def test_a_click_is_where_it_was_in_every_bin(constant_q):
    y = np.zeros(N, dtype=np.float32)
    y[43 * 512] = 1
    C = constant_q(y)
    # Low filters are longer than a frame apart; all are symmetric about the click.
    np.testing.assert_allclose(C[:, 40], C[:, 46], rtol=1e-2, atol=1e-2 * C.max())
    assert (C[36:].argmax(axis=1) == 43).all()


def test_halving_keeps_the_pass_band_and_empties_the_rest():
    gain = np.abs(np.fft.rfft(halving_taps(), 1 << 16))
    nyquist = np.linspace(0, 2, gain.size)  # in units of the new one
    # Designed for 126 dB, which is 5e-7 of ripple.
    np.testing.assert_allclose(gain[nyquist < 0.91], 1, atol=6e-7)
    # Anything above the new Nyquist frequency would fold into the picture.
    assert 20 * np.log10(gain[nyquist > 1].max()) < -125


def test_halving_is_what_soxr_does():
    soxr = pytest.importorskip("soxr", reason="the reference library is not installed")
    y = np.random.default_rng(3).standard_normal(N).astype(np.float32)
    expected = soxr.resample(y, 2, 1, quality="HQ")
    # Three of our numbers stand for soxr's whole design; they are good to 2e-8 rms, float32 to
    # 1e-7, and 389 terms of order 1 add up: 2.3e-6 is seen.
    np.testing.assert_allclose(RateHalver(N)(y), expected, atol=5e-6)


def test_odd_lengths_are_halved_upwards():
    assert RateHalver(689)(np.ones(689, dtype=np.float32)).shape == (345,)


def test_decibels():
    S = np.array([[1.0, 0.1, 1e-3, 0.0]], dtype=np.float32)
    # float32 tells numbers around 60 to 4e-6, by which it is off.
    np.testing.assert_allclose(amplitude_to_db(S, top_db=80), [[0, -20, -60, -80]], atol=1e-4)
    assert (amplitude_to_db(np.zeros((2, 2), np.float32), top_db=80) == 0).all()
