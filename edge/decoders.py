"""Decoders: WAV by this package alone, FLAC, AIFF and AU by soundfile, the rest by PyAV.

soundfile and PyAV (this package's extra ``media``) are used in this module only.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from edge.errors import MissingPackageError, RecordingError
from edge.frontend.resample import InputSpan, input_span
from edge.missing_sound import (
    FramePlacer,
    declared_end_s,
    is_chained,
    share_present,
    warn_if_shorter,
    warn_if_truncated,
    warn_if_unterminated,
)
from edge.rates import RATES
from edge.wav import EncodingError, WavReader

log = logging.getLogger(__name__)

# As long as a microphone's packets: longer pieces would make several windows due at once, and a
# listener that plays a recording skips all but the newest of them.
PIECE_SECONDS = 0.05
# Not MP3: after a seek (for --start) libsndfile's decoder lacks the bit reservoir of earlier
# frames, so the first 20 ms are wrong.
# Nor Ogg: it reads only the first link of a chained file, and after damage it joins what follows.
# Nor CAF: it refuses a file that was cut off, or whose length was never filled in.
SOUNDFILE_SUFFIXES = {".flac", ".aif", ".aiff", ".au"}
SOUNDFILE_MAGICS = (b"fLaC", b"FORM", b"RF64")
AV_MAGICS = (b"#!AMR", b"OggS", b"\x1aE\xdf\xa3")  # the last: Matroska and WebM
# Formats that FFmpeg assumes from a file's suffix alone, whatever it holds; libsndfile's is "RAW".
HEADERLESS = {
    *("adp", "afc", "alaw", "aptx", "aptx_hd", "bit", "daud", "dfpwm", "mulaw", "sln"),
    *("g722", "g723_1", "g728", "g729", "gsm", "s8", "u8", "s16le", "u16le"),
}
SKIP_MANUAL = 1 << 29  # FFmpeg's AV_CODEC_FLAG2_SKIP_MANUAL: the decoder does not trim padding
UNREADABLE = "is damaged or not decodable as audio: record or copy it again, or convert it to WAV"


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


def pieces(path: Path, part: Part) -> Iterator[Piece]:
    """Decode ``part`` of the recording ``path``; RecordingError if none of it can be decoded."""
    with path.open("rb") as file:
        magic = file.read(12)
    if not magic:
        raise RecordingError(f"{path} is empty: nothing was recorded")
    if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
        return _from_wav(path, part)
    if _needs_av(magic):
        return _from_av(path, part)
    suffix = path.suffix.lower()
    wave = suffix in {".wav", ".wave"}
    # Some recorders write RF64 into files named .wav; other such files are misnamed.
    if suffix in SOUNDFILE_SUFFIXES or (wave and magic.startswith(SOUNDFILE_MAGICS)):
        return _from_soundfile(path, part)
    if wave and not magic.startswith(b"ID3"):
        return _from_wav(path, part)  # raises an error that says what is wrong
    return _from_av(path, part)


def _from_wav(path: Path, part: Part) -> Iterator[Piece]:
    try:
        wav = WavReader(path)
    except EncodingError as error:
        try:
            yield from _from_av(path, part)
        except MissingPackageError as missing:
            raise MissingPackageError(f"{error}, or install av: pip install av") from missing
        return
    with wav:
        start, remaining = part.frames(wav.sr)
        wav.skip(start)
        for piece in wav.pieces(_piece_frames(wav.sr)):
            cut = piece if remaining is None else piece[:remaining]
            if cut.size == 0:
                return
            yield Piece(cut, wav.sr)
            remaining = None if remaining is None else remaining - len(cut)


def _from_soundfile(path: Path, part: Part) -> Iterator[Piece]:
    soundfile = _import("soundfile", path)
    done = 0
    try:
        # As bytes: soundfile cannot encode a name that is not UTF-8.
        with soundfile.SoundFile(os.fsencode(path)) as file:
            if file.format == "RAW":
                raise _headerless_error(path)
            start, remaining = part.frames(file.samplerate)
            start = min(start, file.frames)
            file.seek(start)
            # After each read soundfile seeks to the current position if the file is seekable; after
            # damage libsndfile then loses its place.
            file.seekable = lambda: False
            while remaining is None or remaining > 0:
                n = _piece_frames(file.samplerate)
                n = n if remaining is None else min(n, remaining)
                piece = file.read(n, dtype="float32", always_2d=True)
                if not len(piece):
                    at_s = (start + done) / file.samplerate
                    warn_if_shorter(path, at_s, file.frames / file.samplerate)
                    warn_if_truncated(path, at_s, share_present(path))
                    return
                yield Piece(piece, file.samplerate)
                done += len(piece)
                remaining = None if remaining is None else remaining - len(piece)
    except soundfile.SoundFileError as error:
        if done:  # a recorder lost power or a copy was cut off: keep what was decoded
            at_s = (start + done) / file.samplerate
            log.warning("%s is damaged at %.1f s: the rest is left out", path, at_s)
            return
        reason = str(getattr(error, "error_string", error)).strip(" .")
        raise RecordingError(
            f"{path} cannot be decoded ({reason}): record or copy it again"
        ) from error


def _from_av(path: Path, part: Part) -> Iterator[Piece]:
    """Decode the first audio track of anything that FFmpeg's libraries support."""
    av = _import("av", path)
    placer = FramePlacer()
    try:
        # An absolute path: FFmpeg would take 12:30.mp3 for a network address. "replace": titles
        # may not be UTF-8, and are not used here.
        with av.open(str(path.absolute()), metadata_errors="replace") as container:
            if container.format.name in HEADERLESS:
                raise _headerless_error(path)
            stream = _audio_track(path, container)
            if container.format.name == "caf" and stream.codec_context.name == "alac":
                # The last packet is already short; FFmpeg would trim its padding a second time.
                stream.codec_context.flags2 |= SKIP_MANUAL
            chained = container.format.name == "ogg" and is_chained(path)
            placer = FramePlacer(chained=chained)
            placer.origin_s = (container.start_time or 0) / av.time_base
            frames = _frames(path, container, stream, av.error.FFmpegError)
            # Converts the sample format only, not the rate.
            planar = av.AudioResampler(format="fltp")
            read_to_end = yield from _placed(frames, part, planar, placer)
            placer.holes.warn(path)
            if read_to_end and placer.any_decoded:
                # FFmpeg only guesses the length of a chained file.
                declared_s = 0.0
                if not chained:
                    declared_s = declared_end_s(path, container, stream, av.time_base)
                share = placer.position_s / declared_s if declared_s > 0 else share_present(path)
                warn_if_truncated(path, placer.position_s, share)
                warn_if_unterminated(path, placer.position_s)
    except (av.error.FFmpegError, ValueError) as error:
        if isinstance(error, RecordingError):
            raise
        if placer.any_decoded:
            placer.holes.warn(path)
            message = "%s cannot be decoded from %.1f s on: the rest is left out"
            log.warning(message, path, placer.position_s)
            return
        raise RecordingError(f"{path} {UNREADABLE}") from error


def _placed(
    frames: Iterator[Any], part: Part, planar: Any, placer: FramePlacer
) -> Generator[Piece, None, bool]:
    """Yield what of ``frames`` lies in ``part``; returns whether they were read to their end.

    A track may begin later than the video, or have holes: frames are placed by their time stamps.
    """
    for frame in frames:
        if frame is None:
            placer.note_undecodable()
            continue
        rate = frame.sample_rate
        placer.place(frame.time, frame.samples / rate)
        start, remaining = part.frames(rate)
        for planar_frame in planar.resample(frame):
            samples, position = planar_frame.to_ndarray().T, round(placer.position_s * rate)
            first = max(0, start - position)
            last = len(samples) if remaining is None else start + remaining - position
            if last <= 0:
                return False
            if first < len(samples):
                start_s = (position + first) / rate if placer.discontinuous else None
                yield Piece(samples[first:last], rate, start_s)
                placer.discontinuous = False
            placer.position_s += len(samples) / rate
            placer.any_decoded = True
    return True


def _audio_track(path: Path, container: Any) -> Any:
    """The first audio track; RecordingError if there is none."""
    if container.streams.audio:
        return container.streams.audio[0]
    # FFmpeg reads a text file as a video of a terminal, "tty".
    is_video = container.streams.video and container.format.name != "tty"
    raise RecordingError(f"{path} {'has no audio track' if is_video else UNREADABLE}")


def _headerless_error(path: Path) -> RecordingError:
    return RecordingError(
        f"{path} has no header with its sampling rate and encoding: convert it to WAV"
    )


def _frames(
    path: Path, container: Any, stream: Any, decode_error: type[Exception]
) -> Iterator[Any]:
    """Decoded frames of ``stream``; None for each packet that cannot be decoded.

    Such packets are skipped, as a player does. ``decode_error``: what the decoder raises.
    RecordingError at the end if more packets failed than were decoded.
    """
    decoded = failed = 0
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except decode_error:
            failed += 1
            if failed == 1:
                log.warning("%s is damaged: what cannot be decoded is left out", path)
            yield None
            continue
        decoded += bool(frames)
        yield from frames
    if failed > decoded:
        raise RecordingError(f"{path} {UNREADABLE}")


def _needs_av(magic: bytes) -> bool:
    """Whether a file that begins with ``magic`` needs PyAV, whatever its name.

    That is MP4, MP3, AAC, AMR, Ogg, Matroska: what telephones record. MP3 and AAC without a
    container begin with eleven set bits (their frame sync), but never with 32, as an erased block
    of a memory card does.
    """
    frame_sync = magic[:2] >= b"\xff\xe0" and magic[:4] != b"\xff" * 4
    return frame_sync or magic[4:8] == b"ftyp" or magic.startswith(AV_MAGICS)


def _piece_frames(rate: int) -> int:
    """Number of frames to read at a time."""
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
