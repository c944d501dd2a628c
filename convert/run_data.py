"""The data a training run learns from and is graded on, made once and cached in files."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.dataset import LABELS, Clip, readable
from convert.errors import DatasetError
from convert.example_cache import (
    EXAMPLE_MODULES,
    SHAPE,
    digest_of_code,
    load_arrays,
    load_or_make,
)
from convert.examples import KNOCKING, NORMAL, ExampleMaker, fill_pools
from convert.fingerprint import fingerprint
from convert.fit import Examples
from convert.judgeable import all_judgeable
from convert.recipe import Recipe
from convert.skipped import MIN_CLIP_S, Skipped, say_unreadable
from edge.files import remove_leftovers, write_atomically
from edge.frontend import FrontEnd
from edge.frontend.picture import colour_indices

MAX_WINDOWS = 2000  # per class, to grade each epoch on: takes minutes on two cores
NO_ENGINE = "no recording of a healthy engine is left to train on"
NONE_TO_JUDGE_BY = "no recording of a healthy engine is left among those held out: hold out others"


def identity(clip: Clip) -> list[str]:
    """Everything about ``clip`` that examples made from it depend on, as JSON data."""
    return [clip.path.name, fingerprint(clip.path), clip.label, clip.kind, clip.source, clip.car]


def digest(*settings: object) -> str:
    """Short hash of ``settings`` for file names, so that other settings never reuse the files."""
    return hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:12]


def examples_of(
    place: Path,
    clips: list[Clip],
    recipe: Recipe,
    count: int,
    seed: int,
    *,
    quiet: bool = False,
    no_engine: str = "",
) -> Examples:
    """Return examples made from ``clips``, cached beside ``place`` for other runs that need them.

    Recordings that cannot be used are named, also if an earlier run found them, unless ``quiet``.
    If ``no_engine`` is given, it is the message of the DatasetError raised when no recording of a
    healthy engine can be used.
    """
    code = digest_of_code(EXAMPLE_MODULES)
    known = digest(list(map(identity, clips)), dataclasses.asdict(recipe), seed, code)
    folder = place.with_name(f"{place.name}-{known}")
    note = folder / "skipped.json"
    say_unused(folder)
    recordings_read = False

    def maker() -> ExampleMaker:
        nonlocal recordings_read
        recordings_read, skipped = True, Skipped()
        pools = fill_pools(readable(clips, quiet=quiet, skipped=skipped))
        _write_note(note, skipped)
        if no_engine and not pools.engine:
            raise DatasetError(
                f"{no_engine}: those there are cannot be read, or are shorter than {MIN_CLIP_S:g} s"
            )
        if recipe.real_knocks and not pools.knocking:
            print("no recording of a knock can be used: the network learns only synthetic ones")
        return ExampleMaker(pools, recipe, seed)

    cached = load_or_make(
        maker, (), count, folder, workers=len(os.sched_getaffinity(0)), name=place.name
    )
    if not recordings_read and not quiet:
        _read_note(note).say()
    return Examples(cached.indices, cached.labels)


def _write_note(note: Path, skipped: Skipped) -> None:
    write_atomically(note, json.dumps(dataclasses.asdict(skipped)).encode())


def _read_note(note: Path) -> Skipped:
    """The recordings skipped when the examples were made; none if the note is missing or damaged.

    The cached examples are valid without it.
    """
    try:
        content = json.loads(note.read_bytes())
        unreadable, short = content["unreadable"], content["short"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return Skipped()
    if not (isinstance(unreadable, list) and isinstance(short, list)):
        return Skipped()
    return Skipped(list(map(str, unreadable)), list(map(str, short)))


def say_unused(wanted: Path) -> None:
    """If ``wanted`` does not exist yet, report caches of the same kind for other settings.

    They are not removed: after going back to those settings, making them again would take hours.
    """
    if wanted.exists():
        return
    kind, suffix = wanted.stem.rpartition("-")[0], wanted.suffix
    named = re.compile(rf"{re.escape(kind)}-[0-9a-f]{{12}}{re.escape(suffix)}")
    others = [p for p in sorted(wanted.parent.glob(f"*{suffix}")) if named.fullmatch(p.name)]
    if others:
        size = sum(_size(p) for other in others for p in (other, *other.rglob("*")))
        print(
            f"{wanted.parent} holds {', '.join(other.name for other in others)} from other "
            f"recordings, settings or another version of this program, {size / 1e6:.1f} MB that "
            "are not used: remove them, unless you want to go back to those",
            file=sys.stderr,
        )


def _size(path: Path) -> int:
    """Size in bytes, without following links; 0 if ``path`` has just been removed."""
    try:
        return path.lstat().st_size
    except OSError:
        return 0


def real_windows(cache: Path, clips: list[Clip], *, quiet: bool = True) -> Examples:
    """Windows of ``clips``, one per second, that the device would judge, cached in ``cache``.

    A class with more than MAX_WINDOWS is sampled down to that number, always the same ones.
    Unreadable recordings are named, also if an earlier run found them, unless ``quiet`` because
    they have been named before. A damaged ``cache`` is made again.
    """
    note = cache.with_suffix(".json")
    say_unused(cache)
    remove_leftovers(cache.parent, "real-*.npz", "real-*.json")
    kept = load_arrays(cache, None, indices=SHAPE, labels=()) if cache.is_file() else None
    if kept is not None:
        if not quiet:
            _read_note(note).say()
        return Examples(kept["indices"], kept["labels"])
    unreadable: list[str] = []
    made = _sample_windows(clips, unreadable)
    _write_note(note, Skipped(unreadable))
    if not quiet:
        say_unreadable(unreadable)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, indices=made.indices, labels=made.labels)
    write_atomically(cache, buffer.getvalue())
    return made


def _sample_windows(clips: list[Clip], unreadable: list[str]) -> Examples:
    """Sample at most MAX_WINDOWS of each class uniformly (reservoir sampling, Vitter 1985, R).

    A spectrogram is computed only when a window enters the sample: days of recordings have
    hundreds of thousands of windows. Errors of unreadable recordings are added to ``unreadable``.
    """
    front_end, rng = FrontEnd(), np.random.default_rng(0)
    taken: dict[int, list[tuple[int, NDArray[np.uint8]]]] = {KNOCKING: [], NORMAL: []}
    met = dict.fromkeys(taken, 0)
    for clip, y in all_judgeable(clips, front_end.config, unreadable=unreadable):
        label = KNOCKING if clip.knocks else NORMAL
        kept, met[label] = taken[label], met[label] + 1
        place = len(kept) if len(kept) < MAX_WINDOWS else int(rng.integers(met[label]))
        if place < MAX_WINDOWS:
            window = colour_indices(front_end.spectrogram(y))
            kept[place : place + 1] = [(sum(met.values()), window)]
    for label, kept in taken.items():
        if met[label] > len(kept):
            print(
                f"real_auc and real_false use {len(kept)} of {met[label]} held-out "
                f"windows of class {LABELS[label]}"
            )
    chosen = [(at, label, window) for label, kept in taken.items() for at, window in kept]
    chosen.sort(key=lambda one: one[0])  # in the order of the recordings
    return Examples(
        np.array([window for _, _, window in chosen], dtype=np.uint8).reshape(-1, *SHAPE),
        np.array([label for _, label, _ in chosen], dtype=np.int64),
    )
