"""Short-time Fourier transform and its inverse, with centred frames and a periodic Hann window.

Frame ``t`` is centred on sample ``t * hop_length``; the signal is extended by ``n_fft / 2`` zeros
at both ends so that the first frame is centred on sample 0 (librosa's ``center=True``,
``pad_mode="constant"``).
"""

from __future__ import annotations

import functools

import numpy as np
import scipy.fft
from numpy.typing import NDArray

from edge.hann import hann


def frames(y: NDArray[np.float32], *, frame_length: int, hop_length: int) -> NDArray[np.float32]:
    """Centred frames of ``y`` (n,), a read-only view: (1 + n // hop_length, frame_length)."""
    padded = np.zeros(y.size + frame_length, dtype=np.float32)
    padded[frame_length // 2 : frame_length // 2 + y.size] = y
    return np.lib.stride_tricks.sliding_window_view(padded, frame_length)[::hop_length]


def stft(y: NDArray[np.float32], *, n_fft: int, hop_length: int) -> NDArray[np.complex64]:
    """Spectrum of every frame, time first: shape (1 + n // hop_length, 1 + n_fft // 2).

    ``D[t, f] = sum_k w[k] y[t * hop_length - n_fft / 2 + k] exp(-2 pi i f k / n_fft)`` with the
    Hann window ``w``. ``y`` is (n,) float32 in any unit; ``D`` is complex64 in the same unit.
    Time comes first so that each frame is contiguous, which makes the FFT fast.
    """
    windowed = frames(y, frame_length=n_fft, hop_length=hop_length) * hann(n_fft)
    D: NDArray[np.complex64] = scipy.fft.rfft(windowed, axis=1, overwrite_x=True)
    return D


def istft(D: NDArray[np.complex64], *, n_fft: int, hop_length: int) -> NDArray[np.float32]:
    """Signal whose STFT is nearest to ``D`` (Griffin & Lim 1984): shape ((T - 1) * hop_length,).

    This is the overlap-add of the windowed inverse transforms, divided by the sum of the squared
    windows. ``D`` is (T, F) complex64 as :func:`stft` returns it; ``F`` may be less than
    ``1 + n_fft // 2``, the missing high bins then count as zero. The result is float32; it ends at
    the centre of the last frame, as in librosa without ``length``.
    """
    n_frames = D.shape[0]
    pieces = scipy.fft.irfft(D, n=n_fft, axis=1)
    pieces *= hann(n_fft)
    y = overlap_add(pieces, hop_length)
    y *= _inverse_weight(n_frames, n_fft, hop_length)
    return y[n_fft // 2 : n_fft // 2 + hop_length * (n_frames - 1)]


@functools.lru_cache(maxsize=8)
def _inverse_weight(n_frames: int, n_fft: int, hop_length: int) -> NDArray[np.float32]:
    """One over the sum of the squared windows; 1 where no window reaches."""
    squares = np.broadcast_to(hann(n_fft) ** 2, (n_frames, n_fft))
    weight = overlap_add(squares, hop_length)
    return 1 / np.where(weight > np.finfo(np.float32).tiny, weight, np.float32(1))


def overlap_add(pieces: NDArray[np.float32], hop_length: int) -> NDArray[np.float32]:
    """Sum of ``pieces`` (T, n), the t-th one shifted by ``t * hop_length``.

    Shape ((T - 1 + ceil(n / hop_length)) * hop_length,): the end is padded to a whole hop.

    The pieces are cut into hops first. Adding the j-th hop of all pieces at once needs one pass per
    hop of a frame (four by default) instead of one per frame.
    """
    n_frames, n = pieces.shape
    n_hops = -(-n // hop_length)
    hops = np.zeros((n_frames + n_hops - 1, hop_length), dtype=np.float32)
    for j in range(n_hops):
        piece = pieces[:, j * hop_length : (j + 1) * hop_length]
        hops[j : j + n_frames, : piece.shape[1]] += piece
    return hops.reshape(-1)
