"""Splits of recordings into training and held-out sets, by source or car."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from convert.dataset import Clip
from convert.errors import DatasetError
from convert.fingerprint import fingerprint


def split_sources(
    clips: Sequence[Clip], *, share: float, seed: int, always_held_out: frozenset[str] = frozenset()
) -> tuple[list[Clip], list[Clip]]:
    """Return ``(training, held_out)``, with about ``share`` of the sources of every kind held out.

    Sources of one car count as one. ``always_held_out`` names sources that are never trained on;
    at least one source of each label and kind stays in the training set unless all are named there.
    The result does not depend on the order of ``clips``. A column ``split`` in labels.csv replaces
    ``share``; DatasetError if it puts a source or a car on both sides, or if ``always_held_out``
    names a source that does not exist.
    """
    there = {clip.source for clip in clips}
    if unknown := sorted(always_held_out - there):
        raise DatasetError(
            f"no recording of source {', '.join(map(repr, unknown))} to hold out: there are "
            f"{', '.join(map(repr, sorted(there)[:5]))}{' ...' if len(there) > 5 else ''}"
        )
    named = {clip.group for clip in clips if clip.source in always_held_out}
    if any(clip.split for clip in clips):
        return _parted(clips, _forced_split(clips) | named)
    held = set(named)
    rng = np.random.default_rng(seed)
    kinds: dict[tuple[str, str], set[str]] = {}
    for clip in clips:
        kinds.setdefault((clip.label, clip.kind), set()).update({clip.group} - named)
    # Sorted, so that the split does not depend on the order of the recordings.
    groups = [sorted(kinds[kind]) for kind in sorted(kinds)]
    for sources in groups:
        count = min(round(share * len(sources)), len(sources) - 1)
        held |= {str(name) for name in rng.permutation(sources)[: max(count, 0)]}
    for sources in groups:
        if sources and held.issuperset(sources):  # because they also have another label
            held.discard(sources[0])
    return _parted(clips, held)


def _parted(clips: Sequence[Clip], held: set[str]) -> tuple[list[Clip], list[Clip]]:
    training = [clip for clip in clips if clip.group not in held]
    return training, [clip for clip in clips if clip.group in held]


def fold_sources(clips: Sequence[Clip], folds: int) -> list[frozenset[str]]:
    """Divide all sources into ``folds`` parts, with every label and kind spread evenly.

    With one training run per part, which holds that part out, every source is graded once by a
    network not trained on it (grouped cross-validation). The sources of one car are in the same
    part, and the same recordings always give the same parts. DatasetError if a part would be empty.
    """
    rng = np.random.default_rng(123)
    parts: list[set[str]] = [set() for _ in range(folds)]
    dealt = 0
    for kind in sorted({(clip.label, clip.kind) for clip in clips}):
        names = {clip.group for clip in clips if (clip.label, clip.kind) == kind}
        # A car recorded before and after its repair has two labels but is still one group.
        new = sorted(names.difference(*parts))
        # A kind with fewer sources than parts starts where the previous one ended.
        first = dealt if len(new) < folds else 0
        for place, which in enumerate(rng.permutation(len(new)), start=first):
            parts[place % folds].add(new[which])
        dealt += len(new)
    if not all(parts):
        count = sum(map(len, parts))
        raise DatasetError(
            f"{count} sources, those of a car counting as one, cannot be divided into {folds} "
            "parts: ask for fewer parts or give recordings of more sources"
        )
    return [frozenset(clip.source for clip in clips if clip.group in part) for part in parts]


def _forced_split(clips: Sequence[Clip]) -> set[str]:
    valid = {clip.group for clip in clips if clip.split == "valid"}
    torn = sorted(valid & {clip.group for clip in clips if clip.split != "valid"})
    if torn:
        raise DatasetError(
            f"on both sides of the split: {', '.join(torn[:5])}{' ...' if len(torn) > 5 else ''}; "
            "recordings of one car, place and microphone belong together"
        )
    return valid


@dataclass(frozen=True)
class TrainedOn:
    """What a network was trained on, as far as its file records it."""

    sources: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()  # fingerprints: sources may have been renamed since
    cars: frozenset[str] = frozenset()  # where named: another source may be of the same car
    complete: bool = False  # whether this is everything

    def to_meta(self) -> dict[str, object]:
        """The same as entries of a checkpoint's metadata."""
        return {
            "trained_on": sorted(self.sources),
            "trained_on_files": sorted(self.files),
            "trained_on_cars": sorted(self.cars),
            "start_unknown": not self.complete,
        }

    def extended_with(self, clips: Iterable[Clip]) -> Self:
        """The same after also training on ``clips``."""
        clips = list(clips)
        return replace(
            self,
            sources=self.sources | {clip.source for clip in clips},
            files=self.files | {fingerprint(clip.path) for clip in clips},
            cars=self.cars | {clip.car for clip in clips if clip.car},
        )


def groups_trained_on(clips: Sequence[Clip], trained_on: TrainedOn) -> set[str]:
    """Groups of ``clips`` of which at least one recording is in ``trained_on``.

    The name of a source in one table may be the name of a car in another, so both are compared.
    """
    names = trained_on.sources | trained_on.cars
    return {
        clip.group
        for clip in clips
        if clip.source in names
        or clip.car in names
        or (trained_on.files and fingerprint(clip.path) in trained_on.files)
    }
