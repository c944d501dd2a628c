"""The front end: turns two seconds of audio into the kind of picture the network was trained on.

It matches what librosa 0.11 and matplotlib produced in training, using only numpy and
``scipy.fft``. Each stage is a module with public functions::

    stft      Hann-windowed Fourier transform and its inverse
    hpss      percussive mask from two running medians (module median)
    cqt       constant-Q magnitudes, decibels
    picture   colours, figure, network input
    resample  any microphone rate to the model's (before the front end)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.errors import SignalError
from edge.frontend import cqt, hpss, picture, stft
from edge.frontend.config import FrontEndConfig

__all__ = ["FrontEnd", "FrontEndConfig"]

MAX_AMPLITUDE = 1e15  # squares of spectra of larger ones overflow float32


class FrontEnd:
    """The whole front end for windows of one length; kernels and pixel maps are computed once.

    >>> front_end = FrontEnd()
    >>> front_end.picture(np.random.default_rng(0).standard_normal(44100).astype("float32")).shape
    (224, 224, 3)
    """

    def __init__(self, config: FrontEndConfig | None = None) -> None:
        """Prepare for ``config``, by default that of the original network."""
        self.config = config or FrontEndConfig()
        n_percussive = (self.config.n_frames - 1) * self.config.hop_length
        self._constant_q = cqt.ConstantQ(self.config, n_percussive)
        self._renderer = picture.Renderer(self.config)

    def percussive(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """The percussive part of ``y``, in the unit of ``y``.

        ``y`` is (n_samples,) float32. The result is float32 and has (n_frames - 1) * hop_length
        samples (44 032 of 44 100): it ends at the centre of the last frame. Raises SignalError for
        another shape or dtype, for values that are not finite and for those above MAX_AMPLITUDE.
        """
        config = self.config
        self._check(y)
        D = stft.stft(y, n_fft=config.n_fft, hop_length=config.hop_length)
        mask = hpss.percussive_mask(
            np.abs(D),
            kernel_size=config.hpss_kernel,
            power=config.hpss_power,
            margin=config.hpss_margin,
        )
        return stft.istft(D * mask, n_fft=config.n_fft, hop_length=config.hop_length)

    def spectrogram(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """Constant-Q spectrogram of the percussive part: (n_bins, n_frames) float32, dB.

        (84, 87) for 2 s; row 0 is the lowest frequency, the maximum is 0 dB, nothing is below
        ``-top_db``. ``y`` and errors as for :meth:`percussive`.
        """
        C = self._constant_q(self.percussive(y))
        return cqt.amplitude_to_db(C, top_db=self.config.top_db)

    def figure(self, S_db: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The training figure of a spectrogram: (figure_px, figure_px, 3) uint8 RGB, top first.

        This is what matplotlib drew. The network's input is an enlargement of it, but
        :meth:`network_picture` does not need it. SignalError unless ``S_db`` is (n_bins, n_frames)
        floats, dB, all finite.
        """
        self._check_spectrogram(S_db)
        return self._renderer.figure(S_db)

    def network_picture(self, S_db: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The network's input for a spectrogram: (network_px, network_px, 3) uint8 RGB.

        SignalError as for :meth:`figure`.
        """
        self._check_spectrogram(S_db)
        return self._renderer.network_picture(picture.colour_indices(S_db))

    def picture(self, y: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The network's input from audio: (network_px, network_px, 3) uint8 RGB.

        (224, 224, 3) by default. ``y`` and errors as for :meth:`percussive`.
        """
        return self.network_picture(self.spectrogram(y))

    def _check(self, y: NDArray[np.float32]) -> None:
        if not isinstance(y, np.ndarray) or y.dtype != np.float32:
            kind = getattr(y, "dtype", type(y).__name__)
            raise SignalError(f"window has dtype {kind}: convert it to float32 in [-1, 1)")
        if y.shape != (self.config.n_samples,):
            raise SignalError(
                f"window has shape {y.shape}: {self.config.n_samples} samples at "
                f"{self.config.sr} Hz, one channel, are needed"
            )
        if not np.abs(y).max() <= MAX_AMPLITUDE:  # true for NaN as well
            raise SignalError(
                "window contains NaN, infinite or absurdly large samples: scale it to [-1, 1)"
            )

    def _check_spectrogram(self, S_db: NDArray[np.float32]) -> None:
        shape = (self.config.n_bins, self.config.n_frames)
        if not isinstance(S_db, np.ndarray) or S_db.dtype.kind != "f":
            kind = getattr(S_db, "dtype", type(S_db).__name__)
            raise SignalError(
                f"spectrogram has dtype {kind}: finite floats of shape {shape} are needed"
            )
        if S_db.shape != shape:
            raise SignalError(
                f"spectrogram has shape {S_db.shape}: finite floats of shape {shape} are needed"
            )
        if not np.isfinite(S_db).all():
            raise SignalError(
                "spectrogram contains NaN or infinite values: finite ones, in dB, are needed"
            )
