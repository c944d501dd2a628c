"""Where recordings lie: below folders, behind links, in folders named after labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from convert.errors import DatasetError
from convert.labels import FOLDERS, TABLE, spelt
from convert.paths import what_is
from edge.decoders import SOUNDFILE_SUFFIXES

SUFFIXES = SOUNDFILE_SUFFIXES | {
    *(".wav", ".wave", ".mp3", ".m4a", ".mp4", ".mov"),
    *(".aac", ".avi", ".mkv", ".webm", ".3gp", ".wma", ".amr"),
}

LOST_AND_FOUND = "lost+found"  # of a disk, closed to all but root: nobody's recordings


def table_of(folder: Path) -> Path | None:
    """The labels.csv of ``folder``, if it has one; DatasetError if what is called so is no use.

    Without it all in ``normal/`` would be healthy engines, whatever kinds the table tells apart.
    """
    table = folder / TABLE
    for path in sorted(folder.iterdir()):
        if path.name.lower() != TABLE:
            continue
        if not path.exists():
            raise DatasetError(f"{path} is a link that leads nowhere: mend it, or remove it")
        if not path.is_file():
            raise DatasetError(f"{path} is no file: put the table of labels there, or rename it")
        # Where disks know no capitals, both names are one file's.
        if path.name != TABLE and not (table.exists() and path.samefile(table)):
            raise DatasetError(f"{path} is not read: a table of labels must be called {TABLE}")
    return table if table.is_file() else None


def sounds(folder: Path) -> list[Path]:
    """All files below ``folder`` that are recordings by their names, those behind links, too."""
    return [path for path in called_sounds(folder) if what_is(path) == "file"]


def called_sounds(folder: Path) -> list[Path]:
    """The same with what is no file: a link that leads nowhere, a device.

    A folder counts once, under its own name rather than that of a link to it.
    """
    return sorted(path for path in _all_below(folder) if path.suffix.lower() in SUFFIXES)


def closed(folder: Path) -> list[Path]:
    """What below ``folder`` cannot be opened: links that lead nowhere, what others keep closed.

    Recordings may lie behind them, on a stick that is not plugged in.
    """
    return sorted(path for path in _all_below(folder) if what_is(path) in ("closed", "folder"))


def _all_below(folder: Path) -> list[Path]:
    """All that is no folder, and the folders that may not be opened."""
    found: list[Path] = []
    seen: set[Path] = set()
    own: list[Path] = [folder]
    linked: list[Path] = []
    while own or linked:
        here = own.pop() if own else linked.pop(0)
        real = here.resolve()
        if real in seen:  # links may lead round in a circle
            continue
        seen.add(real)
        try:
            inside = sorted(here.iterdir())
        except PermissionError:
            found += [here] if here.name != LOST_AND_FOUND else []
            continue
        for path in inside:
            if path.name.startswith("."):  # a Mac leaves ._golf_1.wav beside golf_1.wav
                continue
            if what_is(path) != "folder":
                found.append(path)
            elif not path.is_symlink():
                own.append(path)
            elif not real.is_relative_to(path.resolve()):  # one upwards holds other labels
                linked.append(path)
    return found


def by_label(folder: Path) -> list[tuple[Path, str]]:
    """Recordings in the folders of ``folder`` that are named after labels, each with its label.

    ``Not-Engine`` is one, too. DatasetError if two folders with recordings are of one label: one
    may be what its owner has sorted out.
    """
    children = sorted(path for path in folder.iterdir() if what_is(path) == "folder")
    found = []
    for label in FOLDERS:
        named = {path: sounds(path) for path in children if spelt(path.name) == label}
        held = {path.resolve(): path for path, inside in reversed(named.items()) if inside}
        if len(held) > 1:
            names = " and ".join(sorted(repr(path.name) for path in held.values()))
            raise DatasetError(f"{folder} has {names} for the label {label}: make them one folder")
        found += [(path, label) for home in held.values() for path in named[home]]
    return found


def besides(folder: Path, used: Iterable[Path]) -> list[Path]:
    """The recordings below ``folder`` that are none of ``used``, whatever links lead there."""
    known = {path.resolve() for path in used}
    return [path for path in sounds(folder) if path.resolve() not in known]
