"""Leaving out copies of recordings, which a split could separate from the original."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from convert.errors import DatasetError
from convert.fingerprint import fingerprint
from convert.progress import bar
from convert.skipped import SILENT, count_and_name
from edge.errors import RecordingError
from edge.recording import Recording

if TYPE_CHECKING:
    from convert.dataset import Clip

BEGINNING_S = 1.0  # recordings that differ in their first second are not decoded any further


def without_copies(clips: Sequence[Clip]) -> list[Clip]:
    """``clips`` without those of the same bytes, or samples, as one before; they are named.

    Samples are compared as ``edge`` decodes them, so a FLAC is a copy of the WAV it was made from,
    but an MP3 is not. DatasetError if copies contradict each other in label, health or side of the
    split.
    """
    copies: list[str] = []
    twice: list[str] = []
    clips = _first_of_each(clips, _size, lambda clip: fingerprint(clip.path), copies, twice)
    beginnings = {id(clip): _beginning(clip) for clip in bar(clips, "comparing recordings")}
    clips = _first_of_each(clips, lambda clip: beginnings[id(clip)], _whole, copies, twice)
    count_and_name("left out", "recording", "copied from another", copies)
    count_and_name("left out", "line", "naming a recording again", twice)
    return clips


def _first_of_each(
    clips: Sequence[Clip],
    coarse: Callable[[Clip], Hashable],
    fine: Callable[[Clip], str],
    copies: list[str],
    twice: list[str],
) -> list[Clip]:
    """Without clips equal to an earlier one in ``fine``, which is slow, and so also in ``coarse``.

    Clips for which either is empty equal no other. What is left out is added to ``copies``, or to
    ``twice`` if it is the same file.
    """
    alike: dict[Hashable, list[Clip]] = {}
    for clip in clips:
        alike.setdefault(coarse(clip), []).append(clip)
    out: set[int] = set()  # by identity: one file may be listed twice
    for key, group in alike.items():
        seen: dict[str, Clip] = {}
        for clip in group if key and len(group) > 1 else ():
            if (value := fine(clip)) and (twin := seen.setdefault(value, clip)) is not clip:
                _note(twin, clip, copies, twice)
                out.add(id(clip))
    return [clip for clip in clips if id(clip) not in out]


def _note(twin: Clip, clip: Clip, copies: list[str], twice: list[str]) -> None:
    """Add ``clip`` to ``twice`` or ``copies``; DatasetError if it contradicts ``twin``."""
    # Not samefile: a link to a recording has a path of its own, which must be named.
    again = os.path.abspath(clip.path) == os.path.abspath(twin.path)  # noqa: PTH100
    if differs := _contradiction(twin, clip):
        both = f"{twin.path} and {clip.path} are the same audio"
        both = f"{clip.path} is listed twice" if again else both
        raise DatasetError(f"{both}, {differs}: one of them is wrong")
    if again:
        twice.append(str(clip.path))
    else:
        copies.append(f"{clip.path} of {twin.path}")


def _contradiction(one: Clip, other: Clip) -> str:
    """How two copies contradict each other, in label, health or side of the split; or ""."""
    if one.label != other.label:
        return f"labelled {one.label} and {other.label}"
    if one.is_healthy != other.is_healthy:
        return f"of kind {one.kind} and {other.kind}, of which one is healthy and one is not"
    if (one.split == "valid") != (other.split == "valid"):  # an empty split means training
        return f"of split {one.split!r} and {other.split!r}"
    return ""


def _size(clip: Clip) -> int:
    return clip.path.stat().st_size  # 0, an empty file, is unreadable and no copy


def _beginning(clip: Clip) -> str:
    """SHA-256 of the samples of the first BEGINNING_S, or "" if it is unreadable."""
    try:
        return _hash(Recording(clip.path, end_s=BEGINNING_S).read())
    except RecordingError:
        return ""


def _whole(clip: Clip) -> str:
    """SHA-256 of all samples, or "" if they are unreadable or silent, which is reported later."""
    try:
        y = Recording(clip.path).read()
    except RecordingError:
        return ""
    return _hash(y) if np.abs(y).max() > SILENT else ""


def _hash(y: NDArray[np.float32]) -> str:
    return hashlib.sha256(y.tobytes()).hexdigest()
