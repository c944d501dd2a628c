"""What a training run learns from and is graded on, made once and kept in files."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.dataset import Clip, fingerprint, load_all, windows
from convert.drawn import draw, makers
from convert.errors import DatasetError
from convert.examples import ExampleMaker, fill_pools
from convert.fit import Examples
from convert.recipe import Recipe
from edge.files import remove_leftovers, write_atomically
from edge.frontend import FrontEnd
from edge.frontend.picture import colour_indices

NO_ENGINE = "no recording of a healthy engine is left to train on"


def identity(clip: Clip) -> list[str]:
    """What must be as it was for examples made of ``clip`` to hold still; for JSON."""
    return [clip.path.name, fingerprint(clip.path), clip.label, clip.kind, clip.source, clip.car]


def digest(*settings: object) -> str:
    """A name for ``settings``: other ones never go on with what these have left in a folder."""
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]


def examples_of(
    place: Path,
    clips: list[Clip],
    recipe: Recipe,
    count: int,
    seed: int,
    *,
    quiet: bool = False,
    needs_engine: bool = False,
) -> Examples:
    """Made once, kept at ``place`` for every run that learns from the same ones.

    ``quiet`` about unreadable recordings.
    """
    known = digest(list(map(identity, clips)), dataclasses.asdict(recipe), seed, makers())
    folder = place.with_name(f"{place.name}-{known}")

    def maker() -> ExampleMaker:
        pools = fill_pools(load_all(clips, quiet=quiet))
        if needs_engine and not (pools.engine or pools.other_fault):
            raise DatasetError(f"{NO_ENGINE}: none of them could be read")
        return ExampleMaker(pools, recipe, seed)

    drawn = draw(maker, (), count, folder, workers=os.cpu_count() or 1, name=place.name)
    return Examples(drawn.indices, drawn.labels)


def real_windows(cache: Path, clips: list[Clip]) -> Examples:
    """Every second of the held-out recordings as it is; unreadable ones were named before."""
    remove_leftovers(cache.parent, "real-*.npz")
    if not cache.is_file():
        front_end = FrontEnd()
        indices, labels = [], []
        for clip, sound in load_all(clips, quiet=True):
            for y in windows(sound, 1.0):
                indices.append(colour_indices(front_end.spectrogram(y)))
                labels.append(0 if clip.knocks else 1)
        _save(cache, indices, labels)
    with np.load(cache) as stored:
        return Examples(stored["indices"], stored["labels"])


def _save(path: Path, indices: list[NDArray[np.uint8]], labels: list[int]) -> None:
    buffer = io.BytesIO()
    stack = np.array(indices, dtype=np.uint8).reshape(-1, 84, 87)
    np.savez_compressed(buffer, indices=stack, labels=np.array(labels, dtype=np.int64))
    write_atomically(path, buffer.getvalue())
