"""FLAC, AIFF and AU, decoded by soundfile, which is in this package's extra ``media``."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.errors import RecordingError
from edge.missing_sound import (
    Holes,
    share_present,
    warn_if_another_follows,
    warn_if_shorter,
    warn_if_truncated,
)
from edge.piece import Part, Piece, headerless_error, import_optional, piece_frames

log = logging.getLogger(__name__)


def pieces(path: Path, part: Part) -> Iterator[Piece]:
    """Decode ``part`` of the recording ``path``; RecordingError if none of it can be decoded.

    What follows damage is decoded, too: in FLAC each frame stands alone.
    """
    soundfile = import_optional("soundfile", path)
    try:
        with _opened(soundfile, path) as file:
            if file.format == "RAW":
                raise headerless_error(path)
            rate, whole = file.samplerate, file.frames
    except soundfile.SoundFileError as error:
        raise _undecodable(path, error) from error
    start, count = part.frames(rate)
    at = done = min(start, whole)  # next frame to read; one after the last that was read
    stop = whole if count is None else min(whole, start + count)
    heard, holes, step = False, Holes(), piece_frames(rate)
    failure: Exception | None = None
    while at < stop:
        try:
            for samples in _read(soundfile, path, at, stop):
                if hole := at > done:
                    holes.add(done / rate, at / rate)
                yield Piece(samples, rate, at / rate if hole else None)
                at = done = at + len(samples)
                heard, step = True, piece_frames(rate)
            failure = None
            break
        except soundfile.SoundFileError as error:
            failure = error
            at, step = at + step, 2 * step  # however much is damaged, few attempts
    if failure and not heard:
        raise _undecodable(path, failure) from failure
    holes.warn(path)
    if failure:  # a recorder lost power or a copy was cut off
        log.warning("%s is damaged at %.1f s: the rest is left out", path, done / rate)
    elif count is None or done < start + count:
        warn_if_shorter(path, done / rate, whole / rate)
        warn_if_truncated(path, done / rate, share_present(path))
        warn_if_another_follows(path, done / rate)


def _read(soundfile: Any, path: Path, at: int, stop: int) -> Iterator[NDArray[np.float32]]:
    """Pieces (n, channels) from frame ``at`` to ``stop`` or the end of the file."""
    with _opened(soundfile, path) as file:
        file.seek(at)
        # After each read soundfile seeks to the current position if the file is seekable; after
        # damage libsndfile then loses its place.
        file.seekable = lambda: False
        n = piece_frames(file.samplerate)
        while at < stop and len(
            piece := file.read(min(n, stop - at), dtype="float32", always_2d=True)
        ):
            yield piece
            at += len(piece)


def _opened(soundfile: Any, path: Path) -> Any:
    # As bytes: soundfile cannot encode a name that is not UTF-8.
    return soundfile.SoundFile(os.fsencode(path))


def _undecodable(path: Path, error: Exception) -> RecordingError:
    reason = str(getattr(error, "error_string", error)).strip(" .")
    return RecordingError(f"{path} cannot be decoded ({reason}): record or copy it again")
