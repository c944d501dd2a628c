"""Recordings as blocks of sound: WAV is read by this package, the rest by soundfile or PyAV."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.decoders import pieces
from edge.errors import RecordingError
from edge.frontend.config import FrontEndConfig
from edge.frontend.resample import Resampler
from edge.gate import measure_flaws
from edge.piece import Part
from edge.rates import RATES
from edge.window import Block, FlawAverage, Flaws


class Recording:
    """One channel of a recording, from ``start_s`` to ``end_s`` (None: the end), at ``sr`` Hz.

    WAV needs nothing but this package; FLAC, AIFF and AU need soundfile; Ogg, MP3, video and
    everything else need PyAV. Both come with this package's extra ``media``.
    """

    def __init__(
        self,
        path: Path,
        *,
        channel: int = 0,
        start_s: float = 0.0,
        end_s: float | None = None,
        sr: int = FrontEndConfig.sr,
    ) -> None:
        self.path = path
        self.sr = sr
        self.channels = 0  # of the file; known once some of it has been read
        self._channel = channel
        self._part = Part(start_s, end_s, sr)

    def blocks(self) -> Generator[Block]:
        """The audio as blocks; ``start_s`` of each counts from the beginning of the file.

        RecordingError if the file cannot be read, or if it, the channel or the requested part does
        not exist.
        """
        try:
            yield from self._wanted()
        except OSError as error:  # whose own message names no file, or names it twice
            reason = error.strerror or error
            raise RecordingError(f"{self.path} cannot be read: {reason}") from error

    def _wanted(self) -> Iterator[Block]:
        if self.path.is_dir():
            raise RecordingError(f"{self.path} is a folder: name the recordings in it")
        if not self.path.is_file():
            pipe = "is not a file: save the sound to one first"
            what = pipe if self.path.exists() else "does not exist"
            raise RecordingError(f"{self.path} {what}")
        heard = False
        first, last = self._part.samples()
        for y, at, continues, input_flaws in self._resampled():
            gap = heard and not continues
            wanted = slice(max(0, first - at), None if last is None else max(0, last - at))
            if y[wanted].size:
                yield Block(y[wanted], (at + wanted.start) / self.sr, gap, input_flaws)
                heard = True
        if not heard:
            start_s, end_s, _ = self._part
            reason = "it ends before --start, or sound is missing there"
            if end_s is not None and end_s - start_s < 1 / RATES[0]:
                reason = f"no sample lies between that and {end_s:g} s"
            raise RecordingError(f"{self.path} has no audio at {start_s:g} s: {reason}")

    def _resampled(self) -> Iterator[tuple[NDArray[np.float32], int, bool, Flaws]]:
        """The requested part at ``sr``, and a little more on both sides.

        Yields samples, the index of the first of them in the file (at ``sr``), whether they
        continue those before, and their flaws as recorded.
        """
        resampler: Resampler | None = None
        rate, at, continues, input_flaws = 0, 0, False, FlawAverage()
        for piece in pieces(self.path, self._part):
            if piece.start_s is not None or piece.rate != rate:
                if resampler is not None:
                    rest = resampler.flush()
                    yield rest, at, continues, input_flaws.mean_and_reset()
                    at += rest.size
                self._check_rate(piece.rate)
                if piece.start_s is not None:
                    at = round(piece.start_s * self.sr)
                elif rate == 0:
                    at = self._part.input_span(piece.rate).first_output
                rate = piece.rate
                resampler = None if rate == self.sr else Resampler(rate, self.sr)
                continues, input_flaws = False, FlawAverage()
            y = self._pick_channel(piece.samples)
            input_flaws.add(measure_flaws(y, rate), y.size)
            y = y if resampler is None else resampler.push(y)
            if y.size:
                yield y, at, continues, input_flaws.mean_and_reset()
                at, continues = at + y.size, True
        if resampler is not None:
            yield resampler.flush(), at, continues, input_flaws.mean_and_reset()

    def read(self) -> NDArray[np.float32]:
        """The whole requested part at once: (n,) float32.

        Gaps are not filled: the sound before and after one is joined.
        """
        return np.concatenate([block.y for block in self.blocks()])

    def _pick_channel(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        self.channels = channels = samples.shape[1]
        if self._channel >= channels:
            raise RecordingError(
                f"{self.path} has {channels} channel{'s' if channels > 1 else ''}: "
                f"there is no channel {self._channel} (the first is 0)"
            )
        return np.ascontiguousarray(samples[:, self._channel])

    def _check_rate(self, rate: int) -> None:
        if not RATES[0] <= rate <= RATES[1]:
            raise RecordingError(
                f"{self.path} has a sampling rate of {rate} Hz: only {RATES[0]} to {RATES[1]} Hz "
                "can be judged"
            )
