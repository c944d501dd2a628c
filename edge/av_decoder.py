"""All that FFmpeg reads, decoded by PyAV, which is in this package's extra ``media``."""

from __future__ import annotations

import ctypes
import logging
from collections.abc import Callable, Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from edge.errors import RecordingError
from edge.missing_sound import (
    FramePlacer,
    declared_end_s,
    is_chained,
    share_present,
    warn_if_truncated,
    warn_if_unterminated,
)
from edge.piece import Part, Piece, headerless_error, import_optional, piece_frames

log = logging.getLogger(__name__)

# Formats that FFmpeg assumes from a file's suffix alone, whatever it holds.
HEADERLESS = {
    *("adp", "afc", "alaw", "aptx", "aptx_hd", "bit", "daud", "dfpwm", "mulaw", "sln"),
    *("g722", "g723_1", "g728", "g729", "gsm", "s8", "u8", "s16le", "u16le"),
}
SKIP_MANUAL = 1 << 29  # FFmpeg's AV_CODEC_FLAG2_SKIP_MANUAL: the decoder does not trim padding
SPEECH_CODERS = {"amrnb", "amrwb", "gsm", "gsm_ms", "g723_1", "real_144", "nellymoser", "wmavoice"}
# Bits per sample below which what the gate refuses may pass it. Bare hiss gets a structure from AAC
# and MP3 at 1.1, not at 1.4; overdriven sound may look clean after Opus at 0.7, not at 1; AMR and
# other coders of speech hide noise, hum and overdrive at any rate.
MIN_BITS = {
    "aac": 1.3,
    "mp3": 1.3,
    "mp3float": 1.3,
    "opus": 0.8,
    "wmav1": 3.0,
    "wmav2": 1.3,
    "ac3": 1.0,
    "eac3": 1.0,
} | dict.fromkeys(SPEECH_CODERS, 99.0)
MEASURED_S = 10.0  # of a track that declares no bit rate
UNREADABLE = "is damaged or not decodable as audio: record or copy it again, or convert it to WAV"


def pieces(path: Path, part: Part) -> Iterator[Piece]:
    """Decode the first audio track of anything that FFmpeg's libraries support."""
    av = import_optional("av", path)
    placer = FramePlacer()
    try:
        # An absolute path: FFmpeg would take 12:30.mp3 for a network address.
        with av.open(str(path.absolute()), **_how_to_open(av)) as container:
            if container.format.name in HEADERLESS:
                raise headerless_error(path)
            stream = _audio_track(path, container)
            _number_channels(stream)
            _warn_if_coarse(path, stream)
            if container.format.name == "caf" and stream.codec_context.name == "alac":
                # The last packet is already short; FFmpeg would trim its padding a second time.
                stream.codec_context.flags2 |= SKIP_MANUAL
            chained = container.format.name == "ogg" and is_chained(path)
            placer = FramePlacer(chained=chained)
            placer.origin_s = (container.start_time or 0) / av.time_base
            frames = _frames(path, container, stream, av.error.FFmpegError)
            # Converts the sample format only, not the rate. Interleaved: of planar frames with 8
            # channels or more, PyAV reads beyond the last plane.
            converter = partial(av.AudioResampler, format="flt")
            read_to_end = yield from _placed(frames, part, converter, placer)
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


def _how_to_open(av: Any) -> dict[str, str]:
    """Further arguments of ``av.open``: titles, which are not used here, may not be UTF-8.

    Version 19 takes them as they are, and no longer has the argument.
    """
    return {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


def _placed(
    frames: Iterator[Any], part: Part, converter: Callable[[], Any], placer: FramePlacer
) -> Generator[Piece, None, bool]:
    """Yield what of ``frames`` lies in ``part``; returns whether they were read to their end.

    A track may begin later than the video, or have holes: frames are placed by their time stamps.
    """
    interleaved, form, first_rate = converter(), None, 0
    for frame in frames:
        if frame is None:
            placer.note_undecodable()
            continue
        rate = frame.sample_rate
        first_rate = first_rate or rate
        # Of a chained file FFmpeg counts all samples as if they had the rate of the first link.
        time_s = None if placer.chained and rate != first_rate else frame.time
        placer.place(time_s, frame.samples / rate)
        if form != (form := (frame.format.name, frame.layout.name, rate)):  # of another link, say
            interleaved = converter()
        start, remaining = part.frames(rate)
        for converted in interleaved.resample(frame):
            samples = converted.to_ndarray().reshape(-1, converted.layout.nb_channels)
            position = round(placer.position_s * rate)
            first = max(0, start - position)
            last = len(samples) if remaining is None else start + remaining - position
            if last <= 0:
                return False
            n, last = piece_frames(rate), min(last, len(samples))
            for at in range(first, last, n):
                start_s = (position + at) / rate if placer.discontinuous else None
                yield Piece(samples[at : min(at + n, last)], rate, start_s)
                placer.discontinuous = False
            placer.position_s += len(samples) / rate
            placer.any_decoded = True
    return True


def _audio_track(path: Path, container: Any) -> Any:
    """The first audio track; RecordingError if there is none."""
    if container.streams.audio:
        if container.streams.audio[0].codec_context is None:  # unknown to this FFmpeg
            raise RecordingError(f"{path} {UNREADABLE}")
        return container.streams.audio[0]
    # FFmpeg reads a text file as a video of a terminal, "tty".
    is_video = container.streams.video and container.format.name != "tty"
    raise RecordingError(f"{path} {'has no audio track' if is_video else UNREADABLE}")


def _number_channels(stream: Any) -> None:
    """Have a track decoded as numbered channels if FFmpeg has no name for their order.

    PyAV 18, the last for Python 3.11, frees the list of their names twice, which ends the process.
    """
    layout = stream.codec_context.layout
    if " channels (" in layout.name:  # "2 channels (FR+FL)"
        # Never freed: the decoder frees the list.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(layout))
        stream.codec_context.options = {"ch_layout": f"{layout.nb_channels}C"}
        stream.codec_context.open()


def _warn_if_coarse(path: Path, stream: Any) -> None:
    """Warn if the sound was coded with so few bits that the gate may not know what it is of."""
    codec = stream.codec_context
    if codec.name not in MIN_BITS:
        return
    total = stream.bit_rate or _measured_bit_rate(path, stream.index)
    bit_rate = total / max(1, len(codec.layout.channels))
    if 0 < bit_rate < MIN_BITS[codec.name] * codec.sample_rate:
        message = "%s has only %.0f kbit/s a channel: noise or overdriven sound may pass for an "
        log.warning(message + "engine; record WAV, or at a higher bit rate", path, bit_rate / 1000)


def _measured_bit_rate(path: Path, index: int) -> float:
    """Bits per second at the beginning of track ``index``, 0.0 if its packets have no length.

    Ogg, Matroska and WebM declare no track's bit rate, and a browser's WebM not even its length.
    """
    av = import_optional("av", path)
    size, seconds = 0, 0.0
    with av.open(str(path.absolute()), **_how_to_open(av)) as container:
        for packet in container.demux(container.streams[index]):
            size += packet.size
            seconds += float((packet.duration or 0) * (packet.time_base or 0))
            if seconds > MEASURED_S:
                break
    return 8 * size / seconds if seconds else 0.0


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
