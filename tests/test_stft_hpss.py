"""Fourier transform, medians and masks: identities and physics, then scipy as a second opinion."""

import numpy as np
import pytest
from scipy import ndimage

from edge.frontend.hpss import percussive_mask
from edge.frontend.median import running_median
from edge.frontend.stft import istft, stft
from edge.hann import hann

SR, N_FFT, HOP = 22_050, 2048, 512
RNG = np.random.default_rng(7)


def mask(S, *, margin=1.0, power=2.0):
    return percussive_mask(S, kernel_size=31, margin=margin, power=power)


def spectrum(y):
    return stft(y.astype(np.float32), n_fft=N_FFT, hop_length=HOP)


def test_inverse_gives_the_signal_back():
    y = RNG.standard_normal(44_100).astype(np.float32)
    back = istft(spectrum(y), n_fft=N_FFT, hop_length=HOP)
    assert back.shape == (86 * HOP,)
    # float32 has 1.2e-7; a transform of 2048 points there and back loses a few of those.
    np.testing.assert_allclose(back, y[: back.size], atol=3e-6)


def test_a_tone_on_a_bin_has_hann_s_three_lines():
    k = 100
    y = np.cos(2 * np.pi * k / N_FFT * np.arange(44_100))
    frame = np.abs(spectrum(y)[40])
    assert frame.argmax() == k
    # The Hann window's own transform: n/4 in the bin, half of that beside it, nothing elsewhere.
    np.testing.assert_allclose(frame[k - 1 : k + 2], [N_FFT / 8, N_FFT / 4, N_FFT / 8], rtol=1e-4)
    assert frame[: k - 2].max() < 1e-3 * N_FFT / 4


def test_frames_are_centred():
    y = np.zeros(44_100)
    y[10 * HOP] = 1
    # A click in the middle of frame 10's window: magnitude 1 in every bin of that frame.
    np.testing.assert_allclose(np.abs(spectrum(y)[10]), 1, atol=1e-5)


def test_power_is_kept():
    """Parseval: mean power in time is mean power over bins, weighted by the window's."""
    y = RNG.standard_normal(44_100)
    D = spectrum(y)[4:-4]
    two_sided = np.abs(D) ** 2 @ np.r_[1, np.full(N_FFT // 2 - 1, 2), 1]
    # A random signal's power over 70 frames is known to about 1 %.
    assert two_sided.mean() / N_FFT / np.sum(hann(N_FFT) ** 2) == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize("kernel_size", [1, 3, 5, 7, 9, 13, 15, 17, 31, 33])
@pytest.mark.parametrize("rows", [31, 40, 41, 42, 43, 87])
def test_running_median_is_scipy_s_to_the_bit(kernel_size, rows):
    S = RNG.random((rows, 9), dtype=np.float32)
    S[3:9, 2:5] = 0.5  # ties
    expected = ndimage.median_filter(S, size=(kernel_size, 1), mode="reflect")
    np.testing.assert_array_equal(running_median(S, kernel_size), expected)


def test_running_median_of_many_columns_is_that_of_each():
    """Columns are filtered in blocks; the seams must not show."""
    S = RNG.random((87, 1025), dtype=np.float32)
    expected = ndimage.median_filter(S, size=(31, 1), mode="reflect")
    np.testing.assert_array_equal(running_median(S, 31), expected)


def test_masks_share_out_everything():
    S = np.abs(RNG.standard_normal((87, 200))).astype(np.float32)
    S[:, 50:120] = 0  # wide enough that both medians vanish somewhere
    mask_h, mask_p = mask(S.T).T, mask(S)
    # Two float32 roundings of numbers below 1.
    np.testing.assert_allclose(mask_h + mask_p, 1, atol=2.4e-7)
    assert mask_h.min() >= 0 and mask_p.min() >= 0
    assert (mask_p[:, 80:90] == 0.5).all()


def test_margin_leaves_a_residual():
    S = np.abs(RNG.standard_normal((87, 200))).astype(np.float32)
    mask_h, mask_p = mask(S.T, margin=3.0).T, mask(S, margin=3.0)
    assert (mask_h + mask_p).max() < 1
    assert (mask_p < mask(S)).all()
    S[:, 50:120] = 0
    assert (mask(S, margin=3.0)[:, 80:90] == 0).all()  # nothing stands above nothing


def test_the_masks_follow_their_formula():
    """Fitzgerald 2010 and Driedger 2014, on a spectrogram whose medians are known without any."""
    S = np.full((87, 200), 2, np.float32)  # both medians are 2 everywhere
    assert np.allclose(mask(S), 0.5)
    assert np.allclose(mask(S, margin=3.0), 1 / (1 + 9))
    assert np.allclose(mask(S, margin=3.0, power=1.0), 1 / (1 + 3))


def test_a_steady_tone_is_harmonic_and_a_click_percussive():
    t = np.arange(44_100) / SR
    tone = 0.5 * np.sin(2 * np.pi * 1000 * t)
    click = np.zeros(44_100)
    click[20_000:20_010] = 1
    for y, share_of_percussion in ((tone, (0, 0.05)), (click, (0.95, 1))):
        D = spectrum(y)[4:-4]  # the tone's sudden beginning and end are percussive in truth
        energy = np.abs(D) ** 2
        share = (energy * mask(np.abs(D))).sum() / energy.sum()
        assert share_of_percussion[0] <= share <= share_of_percussion[1]
