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

from convert.dataset import LABELS, Clip, load_all
from convert.drawn import SHAPE, arrays, draw, makers
from convert.errors import DatasetError
from convert.examples import KNOCKING, NORMAL, ExampleMaker, fill_pools
from convert.fingerprint import fingerprint
from convert.fit import Examples
from convert.judgeable import all_judgeable
from convert.recipe import Recipe
from edge.files import remove_leftovers, write_atomically
from edge.frontend import FrontEnd
from edge.frontend.picture import colour_indices

MOST_WINDOWS = 2000  # of a class, for real_auc and real_false of each epoch: minutes on two cores
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
        if needs_engine and not pools.engine:
            raise DatasetError(f"{NO_ENGINE}: none of them could be read, and lasts 1 s")
        return ExampleMaker(pools, recipe, seed)

    drawn = draw(maker, (), count, folder, workers=len(os.sched_getaffinity(0)), name=place.name)
    return Examples(drawn.indices, drawn.labels)


def real_windows(cache: Path, clips: list[Clip]) -> Examples:
    """Every second of the held-out recordings that the device would judge, kept in ``cache``.

    Of a class with more than MOST_WINDOWS, as many of them, drawn at random, always the same.
    Unreadable recordings were named before. A damaged ``cache`` is made again.
    """
    remove_leftovers(cache.parent, "real-*.npz")
    kept = arrays(cache, None, indices=SHAPE, labels=()) if cache.is_file() else None
    if kept is not None:
        return Examples(kept["indices"], kept["labels"])
    made = _drawn(clips)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, indices=made.indices, labels=made.labels)
    write_atomically(cache, buffer.getvalue())
    return made


def _drawn(clips: list[Clip]) -> Examples:
    """Of each class at most MOST_WINDOWS, any as likely as any other (Vitter's algorithm R, 1985).

    Only those are transformed: days of recordings have hundreds of thousands.
    """
    front_end, rng = FrontEnd(), np.random.default_rng(0)
    taken: dict[int, list[tuple[int, NDArray[np.uint8]]]] = {KNOCKING: [], NORMAL: []}
    met = dict.fromkeys(taken, 0)
    for clip, y in all_judgeable(clips, front_end.config, quiet=True):
        label = KNOCKING if clip.knocks else NORMAL
        kept, met[label] = taken[label], met[label] + 1
        place = len(kept) if len(kept) < MOST_WINDOWS else int(rng.integers(met[label]))
        if place < MOST_WINDOWS:
            window = colour_indices(front_end.spectrogram(y))
            kept[place : place + 1] = [(sum(met.values()), window)]
    for label, kept in taken.items():
        if met[label] > len(kept):
            print(
                f"real_auc and real_false are taken on {len(kept)} of {met[label]} held-out "
                f"windows of class {LABELS[label]}"
            )
    chosen = [(at, label, window) for label, kept in taken.items() for at, window in kept]
    chosen.sort(key=lambda one: one[0])  # as they were met
    return Examples(
        np.array([window for _, _, window in chosen], dtype=np.uint8).reshape(-1, *SHAPE),
        np.array([label for _, label, _ in chosen], dtype=np.int64),
    )
