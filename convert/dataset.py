"""Folders of labelled recordings: found, read, cut into windows, split by source.

Recordings of one *source* share car, place and microphone. Whatever is learnt from one of them
helps on the others, so a split that puts slices of one source on both sides flatters itself; all
splits here are by source.
"""

from __future__ import annotations

import csv
import hashlib
import io
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from convert.errors import DatasetError
from edge.capture import Recording
from edge.errors import EdgeError
from edge.frontend import FrontEndConfig

LABELS = ("knocking", "normal")  # the network's classes, in the original's order
FOLDERS = {"knocking": "engine", "normal": "engine", "not_engine": "not_engine"}  # label -> kind
SILENT = 1e-4  # full scale is 1: three steps of 16 bits
SPLITS = ("train", "valid")
SUFFIXES = {".wav", ".flac", ".ogg", ".mp3", ".m4a", ".mp4", ".mov", ".aiff", ".aif"}


@dataclass(frozen=True)
class Clip:
    """One labelled recording."""

    path: Path
    label: str  # knocking, normal or not_engine
    kind: str  # engine, engine_other_fault, not_engine ...: what figures are grouped by
    source: str
    split: str = ""  # train or valid where the recordings' owner has decided; "" where not

    @property
    def knocks(self) -> bool:
        """Whether this recording is of the class knocking."""
        return self.label == "knocking"


def find_clips(folders: Iterable[Path]) -> list[Clip]:
    """All recordings below ``folders``, each with a labels.csv or folders named after labels.

    Without a ``source`` column a recording's source is the part of its name before the last
    underscore (``ford_003.wav`` -> ``ford``), or all of it if that part is a mere label
    (``normal_003.wav``). DatasetError names what is wrong: a missing folder,
    an unknown label, a file that is not there, the same audio under two labels.
    """
    clips: list[Clip] = []
    for folder in folders:
        if not folder.is_dir():
            raise DatasetError(f"{folder} is no folder: give folders of recordings")
        table = folder / "labels.csv"
        clips += _from_table(table) if table.is_file() else _from_folders(folder)
    if not clips:
        names = ", ".join(str(folder) for folder in folders)
        raise DatasetError(
            f"no recordings in {names}: a labels.csv or folders {', '.join(FOLDERS)} are needed"
        )
    _refuse_contradictions(clips)
    return clips


def _from_table(table: Path) -> list[Clip]:
    try:
        text = table.read_text(encoding="utf-8-sig")  # with the mark that spreadsheets put first
    except UnicodeDecodeError as error:
        raise DatasetError(f"{table} is not in UTF-8: save it so") from error
    with io.StringIO(text, newline="") as lines:
        rows = csv.DictReader(lines)
        missing = {"file", "label"} - set(rows.fieldnames or ())
        if missing:
            raise DatasetError(f"{table} lacks the column {' and '.join(sorted(missing))}")
        clips = []
        for row in rows:
            where = f"{table}, line {rows.line_num}"
            if not row["file"] or not row["label"]:
                raise DatasetError(f"{where}: file and label are needed in every line")
            path, label = table.parent / row["file"], row["label"]
            if label not in FOLDERS:
                raise DatasetError(f"{where}: label {label!r} is none of {', '.join(FOLDERS)}")
            if not path.is_file():
                raise DatasetError(f"{where}: there is no file {row['file']!r}")
            split = row.get("split") or ""
            if split not in ("", *SPLITS):
                raise DatasetError(f"{where}: split {split!r} is none of {', '.join(SPLITS)}")
            kind = row.get("kind") or FOLDERS[label]
            clips.append(Clip(path, label, kind, row.get("source") or _source_of(path), split))
    return clips


def _from_folders(folder: Path) -> list[Clip]:
    return [
        Clip(path, label, kind, _source_of(path))
        for label, kind in FOLDERS.items()
        for path in sorted((folder / label).rglob("*"))
        if path.suffix.lower() in SUFFIXES
    ]


def _source_of(path: Path) -> str:
    source = path.stem.rpartition("_")[0]
    # "normal_0042" says no more than the folder does: as one source, nothing could be held out.
    return path.stem if source.lower() in ("", *FOLDERS) else source


def _refuse_contradictions(clips: Sequence[Clip]) -> None:
    by_size: dict[int, list[Clip]] = {}
    for clip in clips:
        by_size.setdefault(clip.path.stat().st_size, []).append(clip)
    for group in by_size.values():
        seen: dict[bytes, Clip] = {}
        for clip in group if len(group) > 1 else ():
            digest = hashlib.sha256(clip.path.read_bytes()).digest()
            twin = seen.setdefault(digest, clip)
            if twin.knocks != clip.knocks:
                raise DatasetError(
                    f"{twin.path} and {clip.path} are the same audio, "
                    f"labelled {twin.label} and {clip.label}: one of them is wrong"
                )


def load(clip: Clip) -> NDArray[np.float32]:
    """The whole recording at the model's rate: (n,) float32. RecordingError if it is unreadable."""
    return Recording(clip.path, sr=FrontEndConfig().sr).read()


def load_all(
    clips: Sequence[Clip], *, quiet: bool = False
) -> list[tuple[Clip, NDArray[np.float32]]]:
    """Every readable recording; the others are counted and named on standard error.

    ``quiet``: they have been named before.
    """
    loaded, unreadable = [], []
    for clip in tqdm(clips, desc="reading recordings", unit="", leave=False, disable=None):
        try:
            sound = load(clip)
        except EdgeError as error:
            unreadable.append(str(error))
            continue
        if not np.isfinite(sound).all() or np.abs(sound).max() < SILENT:
            unreadable.append(f"{clip.path} holds silence, or samples that are not finite")
            continue
        loaded.append((clip, sound))
    say_unreadable([] if quiet else unreadable)
    return loaded


def say_unreadable(unreadable: Sequence[str]) -> None:
    """One line about recordings that were skipped, if any were."""
    if unreadable:
        shown = "; ".join(unreadable[:3]) + (" ..." if len(unreadable) > 3 else "")
        print(f"skipped {len(unreadable)} unreadable recordings: {shown}", file=sys.stderr)


def windows(y: NDArray[np.float32], hop_s: float) -> list[NDArray[np.float32]]:
    """Windows of the front end's length, one every ``hop_s`` seconds; none of a shorter signal."""
    config = FrontEndConfig()
    hop = max(1, round(hop_s * config.sr))
    starts = range(0, y.size - config.n_samples + 1, hop)
    return [y[start : start + config.n_samples] for start in starts]


def split_sources(
    clips: Sequence[Clip], *, share: float, seed: int, always_held_out: frozenset[str] = frozenset()
) -> tuple[list[Clip], list[Clip]]:
    """``(training, held out)``: about ``share`` of the sources of every kind is held out.

    ``always_held_out`` names sources that are never trained on; at least one source of each kind
    and label stays on the training side unless all are named there. Where labels.csv has a column
    ``split``, that decides instead of ``share``; DatasetError if it tears a source apart.
    """
    held = set(always_held_out)
    unknown = held - {clip.source for clip in clips}
    if unknown:
        raise DatasetError(f"no recording of source {', '.join(sorted(unknown))} to hold out")
    if any(clip.split for clip in clips):
        return _forced_split(clips, always_held_out)
    rng = np.random.default_rng(seed)
    groups: dict[tuple[str, str], list[str]] = {}
    for clip in clips:
        sources = groups.setdefault((clip.label, clip.kind), [])
        if clip.source not in sources and clip.source not in always_held_out:
            sources.append(clip.source)
    for sources in groups.values():
        count = min(round(share * len(sources)), len(sources) - 1)
        held |= {str(name) for name in rng.permutation(sources)[: max(count, 0)]}
    for sources in groups.values():
        if sources and held.issuperset(sources):  # by way of another label of theirs
            held.discard(sources[0])
    training = [clip for clip in clips if clip.source not in held]
    return training, [clip for clip in clips if clip.source in held]


def fold_sources(clips: Sequence[Clip], folds: int) -> list[frozenset[str]]:
    """All sources dealt out into ``folds`` parts, those of every label and kind evenly.

    Trained ``folds`` times, each time without one part, every source is judged once by a network
    that never heard it (cross-validation by groups). The same recordings fall into the same parts.
    """
    rng = np.random.default_rng(123)
    parts: list[set[str]] = [set() for _ in range(folds)]
    for kind in sorted({(clip.label, clip.kind) for clip in clips}):
        names = {clip.source for clip in clips if (clip.label, clip.kind) == kind}
        # A car heard before and after its repair has two labels and is still one source.
        new = sorted(names.difference(*parts))
        for place, which in enumerate(rng.permutation(len(new))):
            parts[place % folds].add(new[which])
    if not all(parts):
        count = sum(map(len, parts))
        raise DatasetError(
            f"{count} sources cannot be dealt out into {folds} parts: "
            "ask for fewer or give recordings of more"
        )
    return [frozenset(part) for part in parts]


def _forced_split(
    clips: Sequence[Clip], always_held_out: frozenset[str]
) -> tuple[list[Clip], list[Clip]]:
    valid = {clip.source for clip in clips if clip.split == "valid"}
    torn = sorted(valid & {clip.source for clip in clips if clip.split != "valid"})
    if torn:
        raise DatasetError(
            f"on both sides of the split: {', '.join(torn[:5])}{' ...' if len(torn) > 5 else ''}; "
            "recordings of one car, place and microphone belong together"
        )
    held = valid | always_held_out
    training = [clip for clip in clips if clip.source not in held]
    return training, [clip for clip in clips if clip.source in held]


def describe(clips: Sequence[Clip]) -> str:
    """One line: how many recordings and sources of every kind."""
    files = Counter(f"{clip.label}/{clip.kind}" for clip in clips)
    sources = Counter(
        f"{label}/{kind}" for label, kind, _ in {(c.label, c.kind, c.source) for c in clips}
    )
    return ", ".join(f"{name} {files[name]} ({sources[name]} sources)" for name in sorted(files))
