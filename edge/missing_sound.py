"""Sound missing from a recording: what its file claims to hold against what a decoder gives."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any, BinaryIO, Literal

log = logging.getLogger(__name__)

UNKNOWN_LENGTH_S = 1e9  # lengths from here on are placeholders for an unknown one
# A loss counts if it exceeds both, the first in s and the second as a share of the whole: a video
# may go on a little after its sound.
MISSING_S, MISSING_SHARE = 0.5, 0.02
# Formats, by their FFmpeg names, that store the duration of each track. For others FFmpeg guesses
# it from the file size, or gives that of the whole video.
FORMATS_WITH_DURATION = {"mov,mp4,m4a,3gp,3g2,mj2", "mp3", "ogg", "wav"}
MP3_LENGTH_TAGS = (b"Xing", b"Info", b"VBRI")  # headers in the first frame that hold the length
# Sizes from here on are placeholders of writers that did not know the size yet.
UNKNOWN_SIZE_32, UNKNOWN_SIZE_64 = 0x7F000000, 2**62
MAX_CHUNKS = 100  # before the sound; a real file has a handful
W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")  # "riff" as a GUID, which begins Wave64
MAX_OGG_PAGE = 65_307  # bytes
OGG_END_OF_STREAM = 4  # flag of a page
DURATION_TAG = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
# Sound is missing where a time stamp is later than expected by more than HOLE_S or, if the samples
# before it lag behind, too, by most of a frame: time stamps are rounded, jitter and drift.
HOLE_S, STEP_S, STEP = 0.1, 0.015, 0.75  # the last as a share of the frame
# Time stamps going back by more begin another recording; by less is a writer's error.
BACK_JUMP_S = 1.0
# FFmpeg lets the time stamps of each link of a chained file continue those of the link before. The
# padding of the last Vorbis or Opus block makes them lag behind the sound by more than this; of
# FLAC in Ogg nothing shows.
SPLICE_S = 0.002
SCAN_BYTES = 2**20
ANOTHER_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")  # with its first block's header


def warn_if_shorter(path: Path, end_s: float, whole_s: float) -> None:
    """Warn if a file whose length is known to the sample (as of FLAC) ends before ``whole_s``."""
    if HOLE_S < whole_s - end_s < UNKNOWN_LENGTH_S:
        _warn_rest_missing(path, end_s, whole_s)


def share_present(path: Path) -> float:
    """Share of the claimed bytes that are present; 1.0 if all are, or if no size is claimed.

    Claimed by the headers of AIFF, RF64 and AVI for the whole file, of AU, CAF and Sony's Wave64 up
    to the end of the sound. Decoders do not notice: they take what is there for the whole.
    """
    with path.open("rb") as file:
        head = file.read(28)
        present = file.seek(0, os.SEEK_END)
        claimed, placeholder = 0, UNKNOWN_SIZE_32
        if head[:4] == b"FORM":
            claimed = 8 + int.from_bytes(head[4:8], "big")
        elif head[:4] == b"RIFF" and head[8:11] == b"AVI":
            claimed = 8 + int.from_bytes(head[4:8], "little")
        elif head[:4] == b".snd":
            claimed = int.from_bytes(head[4:8], "big") + int.from_bytes(head[8:12], "big")
        elif head[:4] == b"RF64" and head[12:16] == b"ds64":
            claimed, placeholder = 8 + int.from_bytes(head[20:28], "little"), UNKNOWN_SIZE_64
        elif head[:4] == b"caff":
            claimed, placeholder = _data_end(file, 8, 4, "big"), UNKNOWN_SIZE_64
        elif head[:16] == W64:
            claimed, placeholder = _data_end(file, 40, 16, "little"), UNKNOWN_SIZE_64
    return present / claimed if present < claimed < placeholder else 1.0


def warn_if_another_follows(path: Path, end_s: float) -> None:
    """Warn if a FLAC file, or its sound alone, was appended to another: decoders stop before it."""
    with path.open("rb") as file:
        if not (first := _first_frame(file)):
            return
        # ``ffmpeg -c copy`` joins frames alone, whose numbers begin at 0 again.
        another = re.compile(ANOTHER_FLAC.pattern + b"|" + re.escape(first), re.DOTALL)
        tail = b""
        while piece := file.read(SCAN_BYTES):
            if another.search(tail + piece):
                message = "%s goes on after %.1f s with another FLAC file, which is left out"
                log.warning(message + ": copy each to a file of its own, or to WAV", path, end_s)
                return
            tail = piece[-7:]  # the rest of a header that two pieces share


def begins_midway(path: Path) -> bool:
    """Whether the first frame of a FLAC file is not number 0, as ``ffmpeg -c copy`` cuts them.

    libsndfile seeks by that number, even to the beginning, and finds nothing before it.
    """
    with path.open("rb") as file:
        first = _first_frame(file)
    return bool(first) and first[4] != 0


def _first_frame(file: BinaryIO) -> bytes:
    """The first six bytes of a FLAC file's first frame: sync, codes, number; empty if none."""
    if file.read(4) != b"fLaC":
        return b""
    last = False
    while not last:
        head = file.read(4)
        if len(head) < 4:
            return b""
        last = bool(head[0] & 0x80)
        file.seek(int.from_bytes(head[1:], "big"), os.SEEK_CUR)
    frame = file.read(6)
    return frame if len(frame) == 6 and frame[:2] in (b"\xff\xf8", b"\xff\xf9") else b""


def _data_end(file: BinaryIO, at: int, name_bytes: int, order: Literal["big", "little"]) -> int:
    """Offset, bytes, at which the data chunk ends by its own header; 0 if there is none.

    The first chunk is at ``at``. Each begins with a name of ``name_bytes`` and a size of eight. In
    Wave64 (names of 16 bytes) the size includes this header, and chunks are aligned to eight bytes.
    """
    end = os.fstat(file.fileno()).st_size
    for _ in range(MAX_CHUNKS):
        if at >= end:  # seeking far beyond the end is an error
            break
        file.seek(at)
        head = file.read(name_bytes + 8)
        size = int.from_bytes(head[name_bytes:], order) + (0 if name_bytes == 16 else len(head))
        if len(head) < name_bytes + 8 or at + size >= 2**63:
            break
        if head.startswith(b"data"):
            return at + size
        at += -(-size // 8) * 8 if name_bytes == 16 else size
    return 0


def declared_end_s(path: Path, container: Any, stream: Any, units_per_s: int) -> float:
    """When the sound ends by the file's metadata, s; 0.0 if unknown or only FFmpeg's guess.

    Counted from the start of ``container``. ``units_per_s``: of FFmpeg's times.
    """
    container_format = container.format.name
    origin_s = (container.start_time or 0) / units_per_s
    if container_format == "matroska,webm":
        if match := DURATION_TAG.fullmatch(stream.metadata.get("DURATION", "")):
            hours, minutes, seconds = map(float, match.groups())
            return 3600 * hours + 60 * minutes + seconds - origin_s
        if container.streams.video:  # the duration is the whole file's: it may go on for long
            return 0.0
        return (container.duration or 0) / units_per_s - origin_s
    if container_format not in FORMATS_WITH_DURATION:
        return 0.0
    # Of Ogg cut from a longer one, FFmpeg takes the end for the length.
    guessed = (container_format == "ogg" and origin_s > BACK_JUMP_S) or (
        container_format == "mp3" and not _mp3_declares_length(path)
    )
    if guessed or not stream.duration or not stream.time_base:
        return 0.0
    end = (stream.start_time or 0) + stream.duration
    return float(end * stream.time_base) - origin_s


def _mp3_declares_length(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3":  # its size is four bytes of seven bits each
            file.seek(10 + sum(byte << 7 * (3 - n) for n, byte in enumerate(head[6:10])))
        first = file.read(2000)
    return any(mark in first for mark in MP3_LENGTH_TAGS)


class Holes:
    """Counts the places where sound is missing, for one message about all of them."""

    def __init__(self) -> None:
        self._first_s, self._count, self._sum_s = 0.0, 0, 0.0

    def add(self, start_s: float, end_s: float) -> None:
        """Take a hole between two times in the file."""
        self._first_s = self._first_s if self._count else start_s
        self._count, self._sum_s = self._count + 1, self._sum_s + end_s - start_s

    def warn(self, path: Path) -> None:
        """Log one warning with all holes so far, if there are any."""
        if self._count:
            places = "1 place" if self._count == 1 else f"{self._count} places"
            much = f"{self._sum_s:.{1 if self._sum_s >= HOLE_S else 2}f}"
            message = "%s: %s s of sound are missing in %s, the first at %.1f s"
            log.warning(message, path, much, places, self._first_s)


class FramePlacer:
    """Places decoded frames in time: by their time stamps, or right after the frame before."""

    def __init__(self, *, chained: bool = False) -> None:
        """``chained``: whether the file is a chain of independent recordings."""
        self.chained = chained
        self.origin_s = 0.0  # time stamp that stands for time 0; a new one for each recording
        self.position_s = 0.0  # time of the next samples, from the beginning of the file
        self.any_decoded = False  # whether anything was decoded
        self.discontinuous = False  # whether the next samples do not continue those before
        self.holes = Holes()
        self._expected_s: float | None = None  # the next frame's time stamp, if nothing is missing

    def note_undecodable(self) -> None:
        """Note a packet that cannot be decoded: the next frame does not continue the last one."""
        self.discontinuous, self._expected_s = True, None

    def place(self, time_s: float | None, duration_s: float) -> None:
        """Place the next frame, which starts at time stamp ``time_s`` (None: it has none)."""
        expected_s, self._expected_s = self._expected_s, None
        if time_s is None:
            return
        step_s = 0.0 if expected_s is None else time_s - expected_s
        self._expected_s = time_s + duration_s
        lag_s = self.position_s + self.origin_s - time_s
        if step_s < -BACK_JUMP_S or (self.chained and lag_s > SPLICE_S):  # another recording
            self.origin_s, self.discontinuous = time_s - self.position_s, True
        due_s = time_s - self.origin_s
        lost = min(step_s, due_s - self.position_s) > min(HOLE_S, max(STEP_S, STEP * duration_s))
        if lost or step_s > HOLE_S:
            self.holes.add(due_s - step_s, due_s)
        if lost or due_s > self.position_s + (0 if self.discontinuous else HOLE_S):
            self.position_s, self.discontinuous = due_s, True


def is_chained(path: Path) -> bool:
    """Whether an Ogg file is a chain: several recordings, one after another.

    Pages that begin a stream come first in a recording. One after any other page begins the next.
    """
    content, sound = b"", -1
    with path.open("rb") as file:
        while piece := file.read(SCAN_BYTES):
            content = content[-5:] + piece
            sound = 0 if sound >= 0 else content.find(b"OggS\0\0")
            if sound >= 0 and content.find(b"OggS\0\2", sound) >= 0:
                return True
    return False


def warn_if_unterminated(path: Path, end_s: float) -> None:
    """Warn if the last page of an Ogg file is incomplete or not marked as end of stream."""
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return
        file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * MAX_OGG_PAGE))  # a tag may follow
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    segments = page[26] if len(page) > 26 else 0
    size = 27 + segments + sum(page[27 : 27 + segments])
    if len(page) < size or not page[5] & OGG_END_OF_STREAM:
        log.warning(
            "%s may be cut off at %.1f s: it has no complete end-of-stream page "
            "(some recorders never write one)",
            path,
            end_s,
        )


def warn_if_truncated(path: Path, end_s: float, share: float) -> None:
    """Warn that a file is cut off if only ``share`` of its sound, or bytes, is present.

    Losses below MISSING_S or MISSING_SHARE may be rounding and are ignored.
    """
    if 0 < share < 1 and end_s / share - end_s > max(MISSING_S, MISSING_SHARE * end_s):
        _warn_rest_missing(path, end_s, end_s / share)


def _warn_rest_missing(path: Path, end_s: float, whole_s: float) -> None:
    message = "%s is damaged at %.1f s: the rest of its %.1f s is missing, copy it again"
    log.warning(message, path, end_s, whole_s)
