"""The front end: two seconds of audio in, the picture the network was trained on out.

Equal to what librosa 0.11 and matplotlib made in training, with numpy and ``scipy.fft``
alone. The stages, each a public function of the module named after it::

    stft      Hann-windowed Fourier transform, and back
    hpss      harmonic and percussive masks from two running medians (module median)
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

LARGEST = 1e15  # of a sample; squares of larger ones are beyond float32


class FrontEnd:
    """The whole front end for windows of one length; kernels and maps are computed once.

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
        """The percussive part of ``y``, in its unit.

        ``y`` is (n_samples,) float32; the result is float32, (n_frames - 1) * hop_length samples
        (44 032 of 44 100): it ends at the centre of the last frame. Raises SignalError for
        another shape or dtype and for values that are not finite.
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

        What matplotlib drew; the network's picture is this enlarged, but made without it.
        SignalError unless ``S_db`` is finite (n_bins, n_frames), dB.
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
        """From audio to the network's input in one go: (network_px, network_px, 3) uint8 RGB.

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
        if not np.abs(y).max() <= LARGEST:  # nor is NaN
            raise SignalError("window holds NaN, infinite or absurd samples: scale it to [-1, 1)")

    def _check_spectrogram(self, S_db: NDArray[np.float32]) -> None:
        shape = (self.config.n_bins, self.config.n_frames)
        if not isinstance(S_db, np.ndarray) or S_db.dtype.kind != "f":
            kind = getattr(S_db, "dtype", type(S_db).__name__)
            raise SignalError(f"spectrogram has dtype {kind}: float32, finite {shape} is needed")
        if S_db.shape != shape:
            raise SignalError(f"spectrogram has shape {S_db.shape}: finite {shape} is needed")
        if not np.isfinite(S_db).all():
            raise SignalError(
                "spectrogram holds NaN or infinite values: finite ones, dB, are needed"
            )
