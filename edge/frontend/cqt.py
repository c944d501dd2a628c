"""Constant-Q transform by recursive downsampling by two (Schoerkhuber & Klapuri, SMC 2010).

Bin ``k`` lies at ``f_k = fmin * 2^(k / bins_per_octave)``; its filter is a windowed complex
exponential of ``N_k = Q sr / f_k`` samples. One octave lower, every filter is twice as long, so
instead of using longer filters, the signal is downsampled by two and the *same* filters are applied
again: one kernel of 12 short filters serves all seven octaves.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from edge.frontend.config import FrontEndConfig
from edge.frontend.stft import frames

# Filter for halving the rate. librosa does it with soxr's "HQ" recipe, whose impulse response is,
# to within 2e-8 rms, a sinc under a Kaiser window (Kaiser 1974) with these three parameters. They
# were found by least squares and are checked against soxr in the tests. The filter is flat up to
# 0.913 of the new Nyquist frequency and 126 dB down from 1.0 of it on.
HALVING_CUTOFF = 0.956872  # -6 dB point, in units of the new Nyquist frequency
HALVING_TAPS = 389  # the window reaches zero half a sample beyond the outermost taps
HALVING_BETA = 13.04


def filter_lengths(config: FrontEndConfig) -> NDArray[np.float64]:
    """Length ``N_k = Q sr / f_k`` of every bin's filter at the full rate, samples; shape (n_bins,).

    ``Q = (r^2 + 1) / (r^2 - 1)`` with the step ``r = 2^(1 / bins_per_octave)``: neighbouring
    filters overlap at half their height.
    """
    step = 2.0 ** (2 / config.bins_per_octave)
    freqs = config.fmin * 2.0 ** (np.arange(config.n_bins) / config.bins_per_octave)
    return (step + 1) / (step - 1) * config.sr / freqs


def octave_kernel(config: FrontEndConfig) -> NDArray[np.float32]:
    """The filters of one octave as real arrays in time: shape (n, 2 * bins_per_octave), float32.

    Columns are real parts, then imaginary parts, lowest bin first; ``frames @ kernel`` gives the
    complex response to each frame of ``n`` samples. The kernel is built as in librosa: each filter
    is Hann-windowed, L1-normalised and Fourier-transformed at length ``n`` (the next power of two);
    the weakest coefficients, up to ``sparsity`` of the magnitude, and the negative frequencies are
    dropped. It is then transformed back to time, where applying it is one small matrix product.
    """
    lengths = filter_lengths(config)[-config.bins_per_octave :]
    freqs = config.fmax * 2.0 ** (np.arange(1 - config.bins_per_octave, 1) / config.bins_per_octave)
    n = 2 ** int(np.ceil(np.log2(lengths.max())))
    basis = np.zeros((lengths.size, n), dtype=np.complex128)
    for row, length, freq in zip(basis, lengths, freqs, strict=True):
        k = np.arange(-length // 2, length // 2)
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(k.size) / k.size)
        wave = np.exp(2j * np.pi * freq / config.sr * k) * window
        start = (n - k.size) // 2
        row[start : start + k.size] = wave / np.abs(wave).sum() * length / n
    spectrum = sparsify_rows(np.fft.fft(basis, axis=1)[:, : n // 2 + 1], config.sparsity)
    # sum_f B[f] rfft(x)[f] = sum_f B[f] sum_k x[k] e^(-2 pi i f k / n): swap the sums.
    dft = np.exp(-2j * np.pi * np.outer(np.arange(n // 2 + 1), np.arange(n)) / n)
    kernel = (spectrum @ dft).T
    return np.concatenate([kernel.real, kernel.imag], axis=1).astype(np.float32)


def sparsify_rows(spectrum: NDArray[np.complex128], share: float) -> NDArray[np.complex128]:
    """Zero each row's weakest coefficients, which hold less than ``share`` of its L1 norm."""
    magnitude = np.abs(spectrum)
    ascending = np.sort(magnitude, axis=1)
    cumulative = np.cumsum(ascending, axis=1) / magnitude.sum(axis=1, keepdims=True)
    first_kept = np.argmin(cumulative < share, axis=1)
    threshold = np.take_along_axis(ascending, first_kept[:, None], axis=1)
    return np.where(magnitude >= threshold, spectrum, 0)


def halving_taps() -> NDArray[np.float64]:
    """Zero-phase low-pass for halving the rate: shape (HALVING_TAPS,), unit gain at 0 Hz."""
    k = np.arange(HALVING_TAPS) - HALVING_TAPS // 2
    bend = np.sqrt(1 - (2 * k / HALVING_TAPS) ** 2)
    taps = np.sinc(k * HALVING_CUTOFF / 2) * np.i0(HALVING_BETA * bend)
    return np.asarray(taps / taps.sum())


class RateHalver:
    """Halves the rate of signals of one length ``n``: filter and decimate, in the frequency domain.

    Output ``m`` is the filtered input at sample ``2 m``; there are ``ceil(n / 2)`` outputs.
    Decimation folds the spectrum, so the inverse transform only needs the shorter, folded one.
    """

    def __init__(self, n: int) -> None:
        self.n = n
        half = HALVING_TAPS // 2
        # Zeros after the signal make room for the filter's tails, so that nothing wraps around.
        # Lengths with many factors of two transform 1.5 times as fast as the next 5-smooth one.
        unit = 1 << max(2, (n + half).bit_length() - 5)
        self._n_fft = unit * scipy.fft.next_fast_len(-(-(n + half) // unit))
        impulse = np.zeros(self._n_fft)
        impulse[np.arange(-half, half + 1)] = halving_taps()
        self._gain = scipy.fft.rfft(impulse).real.astype(np.float32)  # real: zero phase

    def __call__(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Halve ``y`` (n,) float32 -> (ceil(n / 2),) float32."""
        spectrum = scipy.fft.rfft(y, n=self._n_fft) * self._gain
        quarter = self._n_fft // 4
        folded = spectrum[: quarter + 1] + spectrum[quarter:][::-1].conj()
        halved: NDArray[np.float32] = scipy.fft.irfft(folded, n=self._n_fft // 2)
        return halved[: -(-self.n // 2)] * np.float32(0.5)


class ConstantQ:
    """Constant-Q magnitudes of signals of one length; filters are precomputed."""

    def __init__(self, config: FrontEndConfig, n: int) -> None:
        """Prepare for signals of ``n`` samples at ``config.sr``."""
        self._config = config
        self._kernel = octave_kernel(config)
        self._halvers = []
        for _ in range(config.n_octaves - 1):
            self._halvers.append(RateHalver(n))
            n = -(-n // 2)
        # librosa's scaling: sqrt(2) per halving for the signal and again for the filters, over the
        # square root of the filter's length at the full rate.
        octave = np.repeat(np.arange(config.n_octaves)[::-1], config.bins_per_octave)
        self._scale = (2.0**octave / np.sqrt(filter_lengths(config))).astype(np.float32)

    def __call__(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Magnitudes of ``y`` (n,) float32: shape (n_bins, 1 + n // hop_length), lowest bin first.

        Column ``t`` is centred on sample ``t * hop_length``. With the default settings equals
        ``abs(librosa.cqt(y, sr=sr))`` up to float32 rounding; with other ``sr``, ``n_bins`` or
        ``bins_per_octave``, bins may differ by several dB. The unit is that of ``y`` times the
        square root of a number of samples.
        """
        hop = self._config.hop_length
        n = self._kernel.shape[0]
        octaves = [frames(y, frame_length=n, hop_length=hop)]
        for halve in self._halvers:
            y = halve(y)
            hop //= 2
            octaves.append(frames(y, frame_length=n, hop_length=hop))
        n_frames = min(octave.shape[0] for octave in octaves)
        stacked = np.concatenate([octave[:n_frames] for octave in octaves[::-1]])
        response = (stacked @ self._kernel).reshape(len(octaves), n_frames, 2, -1)
        magnitude = np.hypot(response[:, :, 0], response[:, :, 1])  # (octave, frame, bin)
        bins = magnitude.transpose(0, 2, 1).reshape(self._config.n_bins, n_frames)
        return bins * self._scale[:, None]


def amplitude_to_db(S: NDArray[np.float32], *, top_db: float) -> NDArray[np.float32]:
    """``20 log10(S / max S)``, dB, clipped below at ``-top_db``; the shape of ``S``, maximum 0.

    Amplitudes below 1e-5 count as 1e-5, as in librosa, so an all-zero ``S`` is 0 dB throughout.
    """
    power = np.maximum(np.square(S), np.float32(1e-10))
    db = 10 * np.log10(power)
    db -= db.max()
    return np.maximum(db, np.float32(-top_db))
