"""What the decoders of recordings share: the part that is wanted, and the pieces they yield."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import MissingPackageError, RecordingError
from edge.frontend.resample import InputSpan, input_span
from edge.packages import pip_install
from edge.rates import RATES

# As long as a microphone's packets: longer pieces would make several windows due at once, and a
# listener that plays a recording skips all but the newest of them.
PIECE_SECONDS = 0.05


class Piece(NamedTuple):
    """What a decoder yields at a time."""

    samples: NDArray[np.float32]  # (n, channels)
    rate: int  # Hz
    start_s: float | None = None  # time in the file; None if it continues the piece before


class Part(NamedTuple):
    """The requested part of a recording."""

    start_s: float
    end_s: float | None  # None: the end
    sr: int  # rate it is resampled to, Hz

    def samples(self) -> tuple[int, int | None]:
        """First sample and the one after the last (None: the end), at ``sr``."""
        last = None if self.end_s is None else round(self.end_s * self.sr)
        return round(self.start_s * self.sr), last

    def input_span(self, rate: int) -> InputSpan:
        """The samples needed at ``rate`` Hz: a resampler looks a little beyond both ends."""
        if not RATES[0] <= rate <= RATES[1]:
            return InputSpan(0, None, 0)  # Recording refuses the rate at the first piece
        return input_span(*self.samples(), rate, self.sr)

    def frames(self, rate: int) -> tuple[int, int | None]:
        """First frame and number of frames (None: to the end) needed at ``rate`` Hz."""
        start, stop, _ = self.input_span(rate)
        return start, None if stop is None else stop - start


def piece_frames(rate: int) -> int:
    """Number of frames in a piece; few at any rate, as a damaged header may claim any."""
    return max(1, round(PIECE_SECONDS * min(rate, RATES[1])))


def headerless_error(path: Path) -> RecordingError:
    """The error for a format that does not state its rate and encoding."""
    return RecordingError(
        f"{path} has no header with its sampling rate and encoding: convert it to WAV"
    )


def import_optional(name: str, path: Path) -> Any:
    """Import an optional decoder, or say which package to install."""
    try:
        return __import__(name)
    except ImportError as error:
        raise MissingPackageError(
            f"{path} needs the package {name}: {pip_install(name)}"
        ) from error
    except OSError as error:  # soundfile, where its wheel brings no libsndfile
        raise MissingPackageError(
            f"{path} needs a library of the package {name} ({error}): apt install libsndfile1"
        ) from error
