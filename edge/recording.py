"""Recordings as blocks of sound: WAV by this package alone, the rest by soundfile or PyAV."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import MissingPackageError, RecordingError
from edge.frontend.resample import RATES, Resampler
from edge.gate import flaws
from edge.wav import CodingError, WavReader
from edge.window import Block, FlawsOfInput

log = logging.getLogger(__name__)

# As a microphone gives them: longer pieces would make several windows due at once, and a listener
# to whom a recording is played skips all but the newest.
PIECE_SECONDS = 0.05
# Not MP3: libsndfile's decoder comes back from a seek, as to --start, without the bits that earlier
# frames lent to later ones: the first 20 ms are then wrong.
SOUNDFILE_SUFFIXES = {".flac", ".ogg", ".oga", ".opus", ".aif", ".aiff", ".au", ".caf"}
SOUNDFILE_MAGICS = (b"fLaC", b"OggS", b"FORM", b"RF64")
AV_MAGICS = (b"#!AMR", b"\x1aE\xdf\xa3")  # the second: Matroska and WebM
UNKNOWN_S = 1e9  # a file that does not say how long it is counts as longer
HOLE_S = 0.1  # a later time than this in a file, and sound is missing before it


class _Piece(NamedTuple):
    """What a decoder gives at a time."""

    samples: NDArray[np.float32]  # (n, channels)
    rate: int  # Hz
    start_s: float | None = None  # in the file, where it does not go on from the piece before


class Recording:
    """One channel of a recording, between two times, as blocks at ``sr``.

    WAV needs nothing but this package; FLAC, OGG and the like need soundfile; MP3, video and
    everything else PyAV: this package's extra ``media``.
    """

    def __init__(
        self,
        path: Path,
        *,
        channel: int = 0,
        start_s: float = 0.0,
        end_s: float | None = None,
        sr: int = 22_050,
    ) -> None:
        self.path = path
        self.sr = sr
        self._channel = channel
        self._start_s = start_s
        self._end_s = end_s

    def blocks(self) -> Iterator[Block]:
        """The audio as blocks; ``start_s`` of each counts from the beginning of the file.

        RecordingError where the file, the channel or the part asked for does not exist.
        """
        if self.path.is_dir():
            raise RecordingError(f"{self.path} is a folder: name the recordings in it")
        if not self.path.is_file():
            raise RecordingError(f"{self.path} does not exist or is no file")
        heard = gap = False
        resampler: Resampler | None = None
        rate, at_s, met = 0, self._start_s, FlawsOfInput()  # at_s: where the next block begins
        for piece in self._pieces():
            if piece.start_s is not None or piece.rate != rate:
                if resampler is not None:
                    rest = resampler.flush()
                    yield Block(rest, at_s, gap, met.take())
                    at_s += rest.size / self.sr
                at_s, rate = at_s if piece.start_s is None else piece.start_s, piece.rate
                self._check_rate(rate)
                resampler = None if rate == self.sr else Resampler(rate, self.sr)
                gap, met = heard, FlawsOfInput()
            heard = True
            y = self._pick(piece.samples)
            met.add(flaws(y, rate), y.size)
            y = y if resampler is None else resampler.push(y)
            if y.size:
                yield Block(y, at_s, gap, met.take())
                at_s += y.size / self.sr
                gap = False
        if resampler is not None:
            yield Block(resampler.flush(), at_s, gap, met.take())
        if not heard:
            why = "it ends before --start"
            if self._end_s is not None and self._end_s - self._start_s < 1 / RATES[0]:
                why = f"no sample lies between that and {self._end_s:g} s"
            raise RecordingError(f"{self.path} has no audio at {self._start_s:g} s: {why}")

    def read(self) -> NDArray[np.float32]:
        """The whole part asked for at once: (n,) float32.

        Gaps are closed up: what lay on both sides of one is joined.
        """
        return np.concatenate([block.y for block in self.blocks()])

    def _pick(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        channels = samples.shape[1]
        if self._channel >= channels:
            raise RecordingError(
                f"{self.path} has {channels} channel{'s' if channels > 1 else ''}: "
                f"there is no channel {self._channel} (the first is 0)"
            )
        return np.ascontiguousarray(samples[:, self._channel])

    def _check_rate(self, rate: int) -> None:
        if not RATES[0] <= rate <= RATES[1]:
            raise RecordingError(
                f"{self.path} has a sampling rate of {rate} Hz: {RATES[0]} to {RATES[1]} Hz "
                "can be judged"
            )

    def _range(self, rate: int) -> tuple[int, int | None]:
        """First frame and number of frames of the part asked for."""
        start = round(self._start_s * rate)
        return start, None if self._end_s is None else round(self._end_s * rate) - start

    def _pieces(self) -> Iterator[_Piece]:
        """Pieces of the part asked for."""
        with self.path.open("rb") as file:
            magic = file.read(12)
        if not magic:
            raise RecordingError(f"{self.path} is empty: nothing was recorded")
        if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
            return self._from_wav()
        if _only_av_knows(magic):
            return self._from_av()
        suffix = self.path.suffix.lower()
        wave = suffix in {".wav", ".wave"}
        # Recorders write RF64 into files called .wav; others are misnamed.
        if suffix in SOUNDFILE_SUFFIXES or (wave and magic.startswith(SOUNDFILE_MAGICS)):
            return self._from_soundfile()
        if wave and not magic.startswith(b"ID3"):
            return self._from_wav()  # which says what is wrong
        return self._from_av()

    def _from_wav(self) -> Iterator[_Piece]:
        try:
            wav = WavReader(self.path)
        except CodingError as error:
            try:
                yield from self._from_av()
            except MissingPackageError as missing:
                raise MissingPackageError(f"{error}, or install av: pip install av") from missing
            return
        with wav:
            start, left = self._range(wav.sr)
            wav.skip(start)
            for piece in wav.pieces(_piece(wav.sr)):
                part = piece if left is None else piece[:left]
                if part.size == 0:
                    return
                yield _Piece(part, wav.sr)
                left = None if left is None else left - len(part)

    def _from_soundfile(self) -> Iterator[_Piece]:
        soundfile = _import("soundfile", self.path)
        done = 0
        try:
            # As bytes: a name that is no UTF-8 is no text to it.
            with soundfile.SoundFile(os.fsencode(self.path)) as file:
                start, left = self._range(file.samplerate)
                file.seek(min(start, file.frames))
                # After each read soundfile seeks to where it is if it can, and libsndfile gets lost
                # behind damage: four seconds of an Opus file were heard twice.
                file.seekable = lambda: False
                while left is None or left > 0:
                    n = _piece(file.samplerate)
                    n = n if left is None else min(n, left)
                    piece = file.read(n, dtype="float32", always_2d=True)
                    if not len(piece):
                        self._say_short((file.frames - start - done) / file.samplerate)
                        return
                    yield _Piece(piece, file.samplerate)
                    done += len(piece)
                    left = None if left is None else left - len(piece)
        except soundfile.SoundFileError as error:
            if done:  # a recorder lost power, a copy was cut off: what is there is there
                at_s = (start + done) / file.samplerate
                log.warning("%s is damaged at %.1f s: its rest is left out", self.path, at_s)
                return
            words = str(getattr(error, "error_string", error)).strip(" .")
            raise RecordingError(
                f"{self.path} cannot be decoded ({words}): record or copy it again"
            ) from error

    def _say_short(self, missing_s: float) -> None:
        """At the end: damaged pages of an Ogg file were passed over, what lies behind closed up."""
        if HOLE_S < missing_s < UNKNOWN_S:
            words = (
                "%s is damaged: %.1f s of it are missing, and what follows seems so much earlier"
            )
            log.warning(words, self.path, missing_s)

    def _from_av(self) -> Iterator[_Piece]:
        """Through FFmpeg's libraries: the first audio track of anything they know.

        A track may begin later than the picture, or leave something out: the file's own times say.
        """
        av = _import("av", self.path)
        try:
            # The whole path: FFmpeg would take 12:30.mp3 for an address on the network.
            with av.open(str(self.path.absolute())) as container:
                if not container.streams.audio:
                    raise RecordingError(f"{self.path} has no audio track")
                stream = container.streams.audio[0]
                planar = av.AudioResampler(format="fltp")  # sample format only, rate untouched
                origin_s = (container.start_time or 0) / av.time_base
                at_s, jumped = 0.0, False  # time of the next decoded frame; after a hole
                for frame in self._frames(container, stream, av.error.FFmpegError):
                    if frame is None:  # damaged: what follows does not go on from here
                        jumped = True
                        continue
                    rate = frame.sample_rate
                    due_s = at_s if frame.time is None else frame.time - origin_s
                    if due_s > at_s + (0 if jumped else HOLE_S):
                        at_s, jumped = due_s, True
                    start, left = self._range(rate)
                    for plain in planar.resample(frame):
                        samples, at = plain.to_ndarray().T, round(at_s * rate)
                        first = max(0, start - at)
                        last = len(samples) if left is None else start + left - at
                        if last <= 0:
                            return
                        if first < len(samples):
                            hole_to = (at + first) / rate if jumped else None
                            yield _Piece(samples[first:last], rate, hole_to)
                            jumped = False
                        at_s += len(samples) / rate
        except (av.error.FFmpegError, ValueError) as error:
            if isinstance(error, RecordingError):
                raise
            if isinstance(error, av.error.InvalidDataError):
                raise RecordingError(f"{self.path} is damaged or no recording") from error
            raise RecordingError(f"{self.path} cannot be decoded: {error}") from error

    def _frames(self, container: Any, stream: Any, damaged: type[Exception]) -> Iterator[Any]:
        """Decoded frames of ``stream``, None for each packet that cannot be.

        A player skips those, too. ``damaged``, what the decoder raises, where more packets are lost
        than read.
        """
        good = bad = 0
        last: Exception | None = None
        for packet in container.demux(stream):
            try:
                frames = packet.decode()
            except damaged as error:
                bad, last = bad + 1, error
                if bad == 1:
                    log.warning("%s is damaged: what cannot be decoded is left out", self.path)
                yield None
                continue
            good += bool(frames)
            yield from frames
        if last is not None and bad > good:
            raise last


def _only_av_knows(magic: bytes) -> bool:
    """Whether a file that begins so is what telephones record, by whatever name: MP4, MP3, AMR.

    MP3 and AAC without a container begin with eleven bits that are set, but never with 32: so does
    what is left of a card's erased block.
    """
    bare = magic[:2] >= b"\xff\xe0" and magic[:4] != b"\xff" * 4
    return bare or magic[4:8] == b"ftyp" or magic.startswith(AV_MAGICS)


def _piece(rate: int) -> int:
    """Frames to be read at a time."""
    return max(1, round(PIECE_SECONDS * rate))


def _import(name: str, path: Path) -> Any:
    """Import an optional decoder, or say which package to install."""
    try:
        return __import__(name)
    except ImportError as error:
        raise MissingPackageError(f"{path} needs the package {name}: pip install {name}") from error
    except OSError as error:  # soundfile, where its wheel brings no libsndfile
        raise MissingPackageError(
            f"{path} needs a library of the package {name} ({error}): apt install libsndfile1"
        ) from error
