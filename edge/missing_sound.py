"""What of a recording is missing: what its file says it has, against what a decoder gives."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from typing import Any

log = logging.getLogger(__name__)

UNKNOWN_S = 1e9  # a file that does not say how long it is counts as longer
# A picture may go on a little after the sound; more than both is missing.
MISSING_S, MISSING = 0.5, 0.02
# Formats, as FFmpeg names them, in which a track says how long it is. Elsewhere FFmpeg guesses,
# from the size of the file, or gives what is the whole film's.
SAY_IT = {"mov,mp4,m4a,3gp,3g2,mj2", "mp3", "w64", "wav"}
MP3_LENGTHS = (b"Xing", b"Info", b"VBRI")  # in the first frame of one that says how long it is
# What writers put where they do not know the size yet, or near enough.
NO_SIZE_AIFF, NO_SIZE_RF64 = 0x7F000000, 2**62
LENGTH = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)")
HOLE_S = 0.1  # a later time than this in a file, and sound is missing before it


def say_short(path: Path, missing_s: float) -> None:
    """At the end: damaged pages of an Ogg file were passed over, what lies behind closed up."""
    if HOLE_S < missing_s < UNKNOWN_S:
        words = "%s is damaged: %.1f s of it are missing, and what follows seems so much earlier"
        log.warning(words, path, missing_s)


def share_there(path: Path) -> float:
    """Of the bytes that an AIFF or RF64 says it has: libsndfile takes what is there for all."""
    with path.open("rb") as file:
        head = file.read(28)
        there = file.seek(0, os.SEEK_END)
    said, most = 0, 0
    if head[:4] == b"FORM":
        said, most = int.from_bytes(head[4:8], "big"), NO_SIZE_AIFF
    elif head[:4] == b"RF64" and head[12:16] == b"ds64":
        said, most = int.from_bytes(head[20:28], "little"), NO_SIZE_RF64
    return there / (said + 8) if there < said + 8 and said < most else 1.0


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

    def look(self, time_s: float | None, seconds: float, origin_s: float) -> None:
        """Take the next frame, of ``time_s``, if it has one, and so many ``seconds``."""
        if time_s is None:
            self._ended_s = None
            return
        missing_s = 0.0 if self._ended_s is None else time_s - self._ended_s
        if missing_s > HOLE_S:
            self._first_s = self._first_s if self._count else time_s - missing_s - origin_s
            self._count, self._sum_s = self._count + 1, self._sum_s + missing_s
        self._ended_s = time_s + seconds

    def say(self, path: Path) -> None:
        """Once, how much is missing."""
        if self._count:
            places = "1 place" if self._count == 1 else f"{self._count} places"
            words = "%s: %.1f s of sound are missing in %s, the first at %.1f s"
            log.warning(words, path, self._sum_s, places, self._first_s)


def say_cut_off(path: Path, ends_s: float, share: float) -> None:
    """``share``: of the sound, or of the file, that is there; what is only rounded is no loss."""
    if 0 < share < 1 and ends_s / share - ends_s > max(MISSING_S, MISSING * ends_s):
        words = "%s is damaged at %.1f s: the rest of its %.1f s is missing, copy it again"
        log.warning(words, path, ends_s, ends_s / share)
