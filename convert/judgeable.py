"""The windows of recordings that the device would judge, without those its gate refuses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.dataset import Clip
from convert.progress import bar
from convert.skipped import say_unreadable
from edge.errors import RecordingError
from edge.frontend import FrontEndConfig
from edge.gate import Gate
from edge.recording import Recording
from edge.window import Windower

HOP_S = 1.0


def judgeable(path: Path, config: FrontEndConfig) -> Iterator[NDArray[np.float32]]:
    """Yield the windows (n_samples,) of a recording that the device would judge, ``HOP_S`` apart.

    They are views of a larger buffer: copy what must be kept. RecordingError if the recording
    cannot be read or decoded, from the start or from some point on.
    """
    gate = Gate(sr=config.sr)
    windower = Windower(config.n_samples, round(HOP_S * config.sr), config.sr)
    for block in Recording(path, sr=config.sr).blocks():
        for window in windower.push(block):
            if gate.check(window.y, window.flaws) is None:
                yield window.y


def all_judgeable(
    clips: Sequence[Clip],
    config: FrontEndConfig,
    *,
    quiet: bool = False,
    unreadable: list[str] | None = None,
) -> Iterator[tuple[Clip, NDArray[np.float32]]]:
    """Yield the :func:`judgeable` windows of all ``clips``, each with its clip.

    A recording that becomes unreadable is abandoned at that point. The error is added to
    ``unreadable`` if that is given; otherwise such recordings are named on standard error at the
    end, unless ``quiet`` because they have been named before.
    """
    found: list[str] = [] if unreadable is None else unreadable
    for clip in bar(clips, "reading recordings", unit=""):
        try:
            for y in judgeable(clip.path, config):
                yield clip, y
        except RecordingError as error:  # but not a missing decoder
            found.append(str(error))
    if not quiet and unreadable is None:
        say_unreadable(found)
