"""What of a recording is missing: what its file says it has, against what a decoder gives."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any, BinaryIO, Literal

log = logging.getLogger(__name__)

UNKNOWN_S = 1e9  # a file that does not say how long it is counts as longer
# A picture may go on a little after the sound; more than both is missing.
MISSING_S, MISSING = 0.5, 0.02
# Formats, as FFmpeg names them, in which a track says how long it is. Elsewhere FFmpeg guesses,
# from the size of the file, or gives what is the whole film's.
SAY_IT = {"mov,mp4,m4a,3gp,3g2,mj2", "mp3", "ogg", "wav"}
MP3_LENGTHS = (b"Xing", b"Info", b"VBRI")  # in the first frame of one that says how long it is
# What writers put where they do not know the size yet, or near enough.
NO_SIZE_32, NO_SIZE_64 = 0x7F000000, 2**62
MAX_CHUNKS = 100  # before the sound; a real file has a handful
W64 = bytes.fromhex("726966662e91cf11a5d628db04c10000")
OGG_PAGE = 65_307  # bytes at most
OGG_ENDS = 4  # of a page's flags
LENGTH = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
HOLE_S = 0.1  # a later time than this in a file, and sound is missing before it
BACK_S = 1.0  # a clock that goes back by more begins anew; by less writers slip
# Where several recordings follow one another in a file FFmpeg joins their times. What fills the
# last block of Vorbis or Opus makes them lag behind the sound; of FLAC in Ogg nothing shows.
SPLICE_S = 0.002
SCAN_BYTES = 2**20


def say_short(path: Path, ends_s: float, whole_s: float) -> None:
    """At the end of a file that says to the sample how long it is, as FLAC does."""
    if HOLE_S < whole_s - ends_s < UNKNOWN_S:
        _say_missing(path, ends_s, whole_s)


def share_there(path: Path) -> float:
    """Of the bytes that a file says it has, or needs to its sound's end; 1.0 if it says nothing.

    Of AIFF, RF64, AU, AVI, CAF and Sony's Wave64: decoders take what is there for all.
    """
    with path.open("rb") as file:
        head = file.read(28)
        there = file.seek(0, os.SEEK_END)
        said, most = 0, NO_SIZE_32
        if head[:4] == b"FORM":
            said = 8 + int.from_bytes(head[4:8], "big")
        elif head[:4] == b"RIFF" and head[8:11] == b"AVI":
            said = 8 + int.from_bytes(head[4:8], "little")
        elif head[:4] == b".snd":
            said = int.from_bytes(head[4:8], "big") + int.from_bytes(head[8:12], "big")
        elif head[:4] == b"RF64" and head[12:16] == b"ds64":
            said, most = 8 + int.from_bytes(head[20:28], "little"), NO_SIZE_64
        elif head[:4] == b"caff":
            said, most = _data_end(file, 8, 4, "big"), NO_SIZE_64
        elif head[:16] == W64:
            said, most = _data_end(file, 40, 16, "little"), NO_SIZE_64
    return there / said if there < said < most else 1.0


def _data_end(file: BinaryIO, at: int, name: int, order: Literal["big", "little"]) -> int:
    """Where the chunk of sound ends by its own words, bytes; 0 if none is found.

    The first chunk is ``at``; each begins with a ``name`` of so many bytes and a size of eight. In
    Wave64 a chunk counts its head, too, and the next begins at a multiple of eight.
    """
    for _ in range(MAX_CHUNKS):
        file.seek(at)
        head = file.read(name + 8)
        size = int.from_bytes(head[name:], order) + (0 if name == 16 else len(head))
        if len(head) < name + 8 or at + size >= 2**63:
            break
        if head.startswith(b"data"):
            return at + size
        at += -(-size // 8) * 8 if name == 16 else size
    return 0


def said_to_end_s(path: Path, container: Any, stream: Any, units: int) -> float:
    """When the sound of a file ends by its own words, s; 0.0 if it says nothing, or guesses."""
    named = container.format.name
    origin_s = (container.start_time or 0) / units
    if named == "matroska,webm":
        if written := LENGTH.fullmatch(stream.metadata.get("DURATION", "")):
            hours, minutes, seconds = map(float, written.groups())
            return 3600 * hours + 60 * minutes + seconds - origin_s
        # Of the whole: a picture may go on for long after the sound.
        return 0.0 if container.streams.video else (container.duration or 0) / units - origin_s
    if named not in SAY_IT or (named == "mp3" and not _mp3_says_how_long(path)):
        return 0.0
    if not stream.duration or not stream.time_base:
        return 0.0
    ends = (stream.start_time or 0) + stream.duration
    return float(ends * stream.time_base) - origin_s


def _mp3_says_how_long(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(10)
        if head[:3] == b"ID3":  # its size in four times seven bits
            file.seek(10 + sum(byte << 7 * (3 - n) for n, byte in enumerate(head[6:10])))
        first = file.read(2000)
    return any(mark in first for mark in MP3_LENGTHS)


class Holes:
    """Between neighbouring frames, by their own times: not what drifts apart over minutes."""

    def __init__(self) -> None:
        self._ended_s: float | None = None
        self._first_s, self._count, self._sum_s = 0.0, 0, 0.0

    def look(self, time_s: float | None, seconds: float, origin_s: float) -> float:
        """Take the next frame, of ``time_s``, if it has one, and so many ``seconds``.

        How much is missing before it, s; less than nothing where its time lies back.
        """
        if time_s is None:
            self._ended_s = None
            return 0.0
        missing_s = 0.0 if self._ended_s is None else time_s - self._ended_s
        if missing_s > HOLE_S:
            self._first_s = self._first_s if self._count else time_s - missing_s - origin_s
            self._count, self._sum_s = self._count + 1, self._sum_s + missing_s
        self._ended_s = time_s + seconds
        return missing_s

    def say(self, path: Path) -> None:
        """Once, how much is missing."""
        if self._count:
            places = "1 place" if self._count == 1 else f"{self._count} places"
            words = "%s: %.1f s of sound are missing in %s, the first at %.1f s"
            log.warning(words, path, self._sum_s, places, self._first_s)


class Clock:
    """When the decoded frames of a file sound: by its own times, or behind the frame before."""

    def __init__(self, *, links: bool = False) -> None:
        """``links``: of several recordings in one file, none of which goes on from the other."""
        self._links = links
        self.origin_s = 0.0  # the file's time of its beginning
        self.at_s = 0.0  # of the next samples, from the beginning
        self.heard = False  # whether anything was decoded
        self.jumped = False  # the next samples do not go on from those before
        self.holes = Holes()

    def lose(self) -> None:
        """A frame cannot be decoded: what follows does not go on from here."""
        self.jumped = True
        self.holes.look(None, 0.0, 0.0)

    def look(self, time_s: float | None, seconds: float) -> None:
        """Place the next frame, of ``time_s`` by the file's clock, if it has one."""
        step_s = self.holes.look(time_s, seconds, self.origin_s)
        if time_s is None:
            return
        lag_s = self.at_s + self.origin_s - time_s
        if step_s < -BACK_S or (self._links and lag_s > SPLICE_S):  # another recording
            self.origin_s, self.jumped = time_s - self.at_s, True
        due_s = time_s - self.origin_s
        if due_s > self.at_s + (0 if self.jumped else HOLE_S):
            self.at_s, self.jumped = due_s, True


def chained(path: Path) -> bool:
    """Whether an Ogg file holds several recordings, one after another.

    Each begins with pages of its own kind, once those of the first have come to their sound.
    """
    content, sound = b"", -1
    with path.open("rb") as file:
        while piece := file.read(SCAN_BYTES):
            content = content[-5:] + piece
            sound = 0 if sound >= 0 else content.find(b"OggS\0\0")
            if sound >= 0 and content.find(b"OggS\0\2", sound) >= 0:
                return True
    return False


def say_no_end(path: Path, ends_s: float) -> None:
    """Of an Ogg file whose last page is not marked as such, or is not whole."""
    with path.open("rb") as file:
        if file.read(4) != b"OggS":
            return
        file.seek(max(0, file.seek(0, os.SEEK_END) - 2 * OGG_PAGE))  # a tag may follow
        tail = file.read()
    page = tail[max(0, tail.rfind(b"OggS")) :]
    segments = page[26] if len(page) > 26 else 0
    size = 27 + segments + sum(page[27 : 27 + segments])
    if len(page) < size or not page[5] & OGG_ENDS:
        log.warning("%s: its end is missing after %.1f s, if its recorder writes one", path, ends_s)


def say_cut_off(path: Path, ends_s: float, share: float) -> None:
    """``share``: of the sound, or of the file, that is there; what is only rounded is no loss."""
    if 0 < share < 1 and ends_s / share - ends_s > max(MISSING_S, MISSING * ends_s):
        _say_missing(path, ends_s, ends_s / share)


def _say_missing(path: Path, ends_s: float, whole_s: float) -> None:
    words = "%s is damaged at %.1f s: the rest of its %.1f s is missing, copy it again"
    log.warning(words, path, ends_s, whole_s)
