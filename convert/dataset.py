"""Finding and reading folders of labelled recordings.

Recordings of one *source* share car, place and microphone. What is learnt from one of them helps on
the others, so figures are too good if recordings of one source are on both sides of a split. All
splits are therefore by source, and by *car* if the owner of the recordings names it
(:mod:`convert.split`).
"""

from __future__ import annotations

import dataclasses
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from convert.copies import without_copies
from convert.errors import DatasetError
from convert.faults import FAULT_KINDS
from convert.fingerprint import fingerprint
from convert.folders import besides, by_label, closed, of_no_known_suffix, table_of
from convert.labels import (
    FOLDERS,
    SPLITS,
    canonical,
    file_called,
    need_one_spelling,
    one_spelling,
    read_table,
    sources_of,
)
from convert.paths import what_is
from convert.progress import bar
from convert.skipped import MIN_CLIP_S, SILENT, Skipped, count_and_name
from edge.errors import RecordingError
from edge.frontend import FrontEndConfig
from edge.recording import Recording

LABELS = ("knocking", "normal")  # the network's classes, in the original's order
# Kinds of normal recordings that do not count as healthy engines: other faults, by their names in
# convert synth and common ones, and words that contradict the label. Spelt as by canonical().
NOT_HEALTHY = frozenset(
    {"engine_other_fault", "other_fault", *FAULT_KINDS, "knocking", "not_engine"}
)
SILENT_DRAWS = 50  # attempts to draw a cut that is not silent
Cut = TypeVar("Cut", NDArray[np.float32], NDArray[np.float64])


@dataclass(frozen=True)
class Clip:
    """One labelled recording."""

    path: Path
    label: str  # knocking, normal or not_engine
    kind: str  # engine, engine_other_fault, not_engine ...: figures are grouped by it
    source: str
    split: str = ""  # train or valid if labels.csv says so, else ""
    car: str = ""  # shared by several sources, if labels.csv names it

    @property
    def knocks(self) -> bool:
        """Whether this recording belongs to the class knocking."""
        return self.label == "knocking"

    @property
    def is_healthy(self) -> bool:
        """Whether it is of a healthy engine: kind ``diesel`` is, ``Other fault`` is not."""
        return self.label == "normal" and canonical(self.kind) not in NOT_HEALTHY

    @property
    def group(self) -> str:
        """What every split keeps together: the car if it is named, else the source."""
        return self.car or self.source


def find_clips(folders: Iterable[Path]) -> list[Clip]:
    """All recordings below ``folders``, each with a labels.csv or sub-folders named after labels.

    The source of a recording is the first of these that it has: a ``source`` in the table; a
    ``car``; the folder directly inside its label's (``normal/ford/003.wav`` -> ``ford``; not
    ``train`` or ``valid``); outside such folders, its outermost one that distinguishes it from
    other files of the table (``ford/cold/003.wav``; not ``audio`` or the like); its file name up to
    the last underscore (``ford_003.wav``). A mere number, or label and number, is a source of its
    own (``003.wav``, ``normal_003.wav``). Left out and named are copies and recordings not in the
    labels.csv or in no label's folder. The result is ordered by name, independently of tables and
    folders. DatasetError names what is wrong: a missing folder, a labels.csv that is not a file, an
    unknown label, a missing recording, sources or cars that differ only in case, or the same audio
    under two labels, both as healthy and as not, or on both sides of the split.
    """
    found: list[_Found] = []
    for folder in folders:
        if not folder.is_dir():
            raise DatasetError(f"{folder} is not there or not a folder: give folders of recordings")
        table = table_of(folder)
        here = _from_table(table) if table else _from_folders(folder)
        count_and_name(
            "note:", "place", "that cannot be opened, not used", [str(p) for p in closed(folder)]
        )
        if not here:  # skipped silently, it would be missed only in the figures
            raise DatasetError(
                f"no recordings in {folder}: needs a labels.csv, or folders {', '.join(FOLDERS)} "
                "with sound files in them"
            )
        found += here
    clips = _with_cars([clip for clip, _ in found])
    # Two spellings of a source are harmless within a car, whose sources stay together anyway.
    need_one_spelling(
        ("car" if clip.car else "source", clip.group, where)
        for clip, (before, where) in zip(clips, found, strict=True)
        if where and clip.group == before.group
    )
    spelt = one_spelling(clip.kind for clip in clips)
    clips = [dataclasses.replace(clip, kind=spelt[clip.kind]) for clip in clips]
    clips = without_copies(_in_order(clips))
    _say_healthy(clips)
    return clips


def _in_order(clips: Sequence[Clip]) -> list[Clip]:
    """Sort ``clips`` independently of the order in tables and of where folders are.

    A seed must always draw the same recordings, and draws depend on their order.
    """

    def named(clip: Clip) -> tuple[str, ...]:
        return clip.path.name, clip.label, clip.kind, clip.source, clip.car, clip.split

    alike = Counter(map(named, clips))
    return sorted(  # by content only if all else is equal, because that reads whole files
        clips, key=lambda c: (*named(c), fingerprint(c.path) if alike[named(c)] > 1 else "")
    )


def _say_healthy(clips: Iterable[Clip]) -> None:
    """Name kinds that count as healthy only because they are unknown: one may be a fault."""
    kinds = Counter(c.kind for c in clips if c.is_healthy and canonical(c.kind) != "engine")
    if kinds:
        names = ", ".join(f"{kind} {count}" for kind, count in sorted(kinds.items()))
        print(f"counted as healthy engines: {names}", file=sys.stderr)


# With the line or path that names its car, or else its source; "" if that was guessed.
_Found = tuple[Clip, str]


def _from_table(table: Path) -> list[_Found]:
    rows = read_table(table)
    for where, row in rows:
        _check(row, table.parent, where)
    guesses = sources_of([(Path(row["file"]), row["label"]) for _, row in rows], table.parent)
    found = []
    for (where, row), guess in zip(rows, guesses, strict=True):
        label, car = row["label"], row.get("car", "")
        given = row.get("source") or car
        kind = row.get("kind") or FOLDERS[label]
        path, split = file_called(table.parent, row["file"]), row.get("split", "")
        clip = Clip(path, label, kind, given or guess.named(path), split, car)
        found.append((clip, where if given or guess.by_folder else ""))
    _say_besides(table.parent, found, f"not listed in {table}")
    return found


def _say_besides(folder: Path, found: Sequence[_Found], why: str) -> None:
    others = besides(folder, (clip.path for clip, _ in found))
    count_and_name("note:", "recording", f"{why}, not used", [str(path) for path in others])


def _check(row: dict[str, str], folder: Path, where: str) -> None:
    if not row["file"] or not row["label"]:
        raise DatasetError(f"{where}: file and label are needed in every line")
    if row["label"] not in FOLDERS:
        raise DatasetError(f"{where}: label {row['label']!r} is not one of {', '.join(FOLDERS)}")
    if what_is(file_called(folder, row["file"])) != "file":
        raise DatasetError(f"{where}: there is no file {row['file']!r}, or access to it is denied")
    split = row.get("split", "")
    if split not in ("", *SPLITS):
        raise DatasetError(f"{where}: split {split!r} is not one of {', '.join(SPLITS)}")


def _from_folders(folder: Path) -> list[_Found]:
    files = by_label(folder)
    guesses = sources_of([(path.relative_to(folder), label) for path, label in files], folder)
    found = [
        (Clip(path, label, FOLDERS[label], guess.named(path)), str(path) if guess.by_folder else "")
        for (path, label), guess in zip(files, guesses, strict=True)
    ]
    others = [str(path.relative_to(folder)) for path in of_no_known_suffix(folder)]
    count_and_name("note:", "file", "with the suffix of no recording, not used", others)
    if found:  # else find_clips refuses the folder
        *most, last = FOLDERS
        _say_besides(folder, found, f"in no folder {', '.join(most)} or {last}")
    return found


def _with_cars(clips: Sequence[Clip]) -> list[Clip]:
    """Give all clips of a source the car that any names; DatasetError if they name two."""
    cars: dict[str, str] = {}
    for clip in clips:
        if clip.car and cars.setdefault(clip.source, clip.car) != clip.car:
            raise DatasetError(
                f"source {clip.source} is of car {cars[clip.source]!r} in one line "
                f"and of car {clip.car!r} in another: a source is of one car"
            )
    return [dataclasses.replace(clip, car=cars.get(clip.source, "")) for clip in clips]


def load(clip: Clip) -> NDArray[np.float32]:
    """The whole recording at the model's rate, (n,) float32; RecordingError if it is unreadable."""
    return Recording(clip.path, sr=FrontEndConfig().sr).read()


def readable(
    clips: Sequence[Clip], *, quiet: bool = False, skipped: Skipped | None = None
) -> Iterator[tuple[Clip, NDArray[np.float32]]]:
    """Yield every readable recording of ``MIN_CLIP_S`` or longer with its samples.

    The others are added to ``skipped`` and named at the end, unless ``quiet`` because they have
    been named before.
    """
    skipped = Skipped() if skipped is None else skipped
    for clip in bar(clips, "reading recordings", unit=""):
        try:
            sound = load(clip)
        except RecordingError as error:  # but not a missing decoder
            skipped.unreadable.append(str(error))
            continue
        if not np.isfinite(sound).all() or np.abs(sound).max() < SILENT:
            skipped.unreadable.append(f"{clip.path} holds silence, or samples that are not finite")
        elif sound.size < MIN_CLIP_S * FrontEndConfig().sr:
            skipped.short.append(str(clip.path))
        else:
            yield clip, sound
    if not quiet:
        skipped.say()


def not_silent(draw: Callable[[], Cut]) -> Cut:
    """Call ``draw`` until the cut is not silent, at most SILENT_DRAWS times.

    A knock cannot be mixed into silence: its level is relative to the background.
    """
    for _ in range(SILENT_DRAWS):
        y = draw()
        if np.abs(y).max() > SILENT:
            break
    return y


def describe(clips: Sequence[Clip]) -> str:
    """One line with the number of recordings and sources of every label and kind."""
    files = Counter(f"{clip.label}/{clip.kind}" for clip in clips)
    sources = Counter(
        f"{label}/{kind}" for label, kind, _ in {(c.label, c.kind, c.source) for c in clips}
    )
    return ", ".join(f"{name} {files[name]} ({sources[name]} sources)" for name in sorted(files))
