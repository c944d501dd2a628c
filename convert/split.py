"""Which recordings are trained on and which are left out, by source or car."""

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
    """``(training, held out)``: about ``share`` of the sources of every kind is held out.

    Sources of one car count as one. ``always_held_out`` names sources that are never trained on;
    at least one source of each kind and label stays on the training side unless all are named
    there. The order of ``clips`` does not matter. Where labels.csv has a column ``split``, that
    decides instead of ``share``;
    DatasetError if it tears a source or a car apart.
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
    # Sorted, or the same recordings in another order would be split otherwise.
    groups = [sorted(kinds[kind]) for kind in sorted(kinds)]
    for sources in groups:
        count = min(round(share * len(sources)), len(sources) - 1)
        held |= {str(name) for name in rng.permutation(sources)[: max(count, 0)]}
    for sources in groups:
        if sources and held.issuperset(sources):  # by way of another label of theirs
            held.discard(sources[0])
    return _parted(clips, held)


def _parted(clips: Sequence[Clip], held: set[str]) -> tuple[list[Clip], list[Clip]]:
    training = [clip for clip in clips if clip.group not in held]
    return training, [clip for clip in clips if clip.group in held]


def fold_sources(clips: Sequence[Clip], folds: int) -> list[frozenset[str]]:
    """All sources dealt out into ``folds`` parts, those of every label and kind evenly.

    Trained ``folds`` times, each time without one part, every source is judged once by a network
    that never heard it (cross-validation by groups). The sources of one car fall into one part,
    the same recordings into the same parts.
    """
    rng = np.random.default_rng(123)
    parts: list[set[str]] = [set() for _ in range(folds)]
    dealt = 0
    for kind in sorted({(clip.label, clip.kind) for clip in clips}):
        names = {clip.group for clip in clips if (clip.label, clip.kind) == kind}
        # A car heard before and after its repair has two labels and is still one source.
        new = sorted(names.difference(*parts))
        # Of fewer than there are parts, the next ones go on where these have ended.
        first = dealt if len(new) < folds else 0
        for place, which in enumerate(rng.permutation(len(new)), start=first):
            parts[place % folds].add(new[which])
        dealt += len(new)
    if not all(parts):
        count = sum(map(len, parts))
        raise DatasetError(
            f"{count} sources, those of a car counting as one, cannot be dealt out into {folds} "
            "parts: ask for fewer or give recordings of more"
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
class Learnt:
    """What a network was trained on, as far as its file says."""

    sources: frozenset[str] = frozenset()
    files: frozenset[str] = frozenset()  # fingerprints: sources may have other names by now
    cars: frozenset[str] = frozenset()  # where they were named: another drive may be of one
    complete: bool = False  # whether that is all

    def to_meta(self) -> dict[str, object]:
        """For a checkpoint, which gives it back."""
        return {
            "trained_on": sorted(self.sources),
            "trained_on_files": sorted(self.files),
            "trained_on_cars": sorted(self.cars),
            "start_unknown": not self.complete,
        }

    def and_also(self, clips: Iterable[Clip]) -> Self:
        """The same after learning from ``clips``, too."""
        clips = list(clips)
        return replace(
            self,
            sources=self.sources | {clip.source for clip in clips},
            files=self.files | {fingerprint(clip.path) for clip in clips},
            cars=self.cars | {clip.car for clip in clips if clip.car},
        )


def heard(clips: Sequence[Clip], learnt: Learnt) -> set[str]:
    """Groups of ``clips`` of which a network that has ``learnt`` so much has heard some.

    What one table calls a source may be a car's name in another.
    """
    names = learnt.sources | learnt.cars
    return {
        clip.group
        for clip in clips
        if clip.source in names
        or clip.car in names
        or (learnt.files and fingerprint(clip.path) in learnt.files)
    }
