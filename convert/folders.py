"""Finding recordings: in sub-folders, behind links, in folders named after labels."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from convert.errors import DatasetError
from convert.labels import FOLDERS, TABLE, canonical
from convert.paths import what_is

# Not taken from edge.decoders: which decoder reads a format does not matter here.
SUFFIXES = {
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".aif", ".aiff", ".aifc", ".au", ".caf"),
    *(".ogg", ".oga", ".opus", ".mp2", ".mp3", ".aac", ".m4a", ".m4b", ".amr", ".awb", ".wma"),
    *(".3gp", ".3gpp", ".3ga", ".3g2", ".3gpp2", ".m4r", ".mp4", ".m4v", ".mov", ".qt", ".mka"),
    *(".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".vob", ".mts", ".m2ts", ".ts", ".flv", ".f4v"),
}
# Lie beside recordings and are none; to name them each time would hide a recording among them.
NO_SOUND = {
    *(".csv", ".tsv", ".txt", ".md", ".json", ".xml", ".html", ".pdf", ".ods", ".xlsx", ".zip"),
    *(".jpg", ".jpeg", ".heic", ".png", ".gif", ".db", ".ini", ".lnk", ".m3u", ".py", ".log"),
}

LOST_AND_FOUND = "lost+found"  # of a file system; only root may open it, and it holds no recordings


def table_of(folder: Path) -> Path | None:
    """The labels.csv of ``folder``, if it has one; DatasetError if it cannot be used.

    Ignoring it would label everything in ``normal/`` as healthy engines, whatever kinds it lists.
    """
    table = folder / TABLE
    for path in sorted(folder.iterdir()):
        if path.name.lower() != TABLE:
            continue
        if not path.exists():
            raise DatasetError(f"{path} is a broken link: repair it, or remove it")
        if not path.is_file():
            raise DatasetError(f"{path} is not a file: put the table of labels there, or rename it")
        # On a case-insensitive file system both names are the same file.
        if path.name != TABLE and not (table.exists() and path.samefile(table)):
            raise DatasetError(f"{path} is not read: a table of labels must be called {TABLE}")
    return table if table.is_file() else None


def sounds(folder: Path) -> list[Path]:
    """All files below ``folder`` with the suffix of a recording, including those behind links."""
    return [path for path in called_sounds(folder) if what_is(path) == "file"]


def called_sounds(folder: Path) -> list[Path]:
    """As :func:`sounds`, including what is not a file: broken links, devices.

    A folder is listed once, under its own name rather than that of a link to it.
    """
    return sorted(path for path in _all_below(folder) if path.suffix.lower() in SUFFIXES)


def closed(folder: Path) -> list[Path]:
    """Everything below ``folder`` that cannot be opened: broken links, missing permissions.

    Recordings may lie behind it, on a USB stick that is not plugged in, say.
    """
    return sorted(path for path in _all_below(folder) if what_is(path) in ("closed", "folder"))


def _all_below(folder: Path) -> list[Path]:
    """Everything below ``folder`` that is not a folder, and the folders that cannot be opened."""
    found: list[Path] = []
    seen: set[Path] = set()
    own: list[Path] = [folder]
    linked: list[Path] = []
    while own or linked:
        here = own.pop() if own else linked.pop(0)
        real = here.resolve()
        if real in seen:  # links may form a cycle
            continue
        seen.add(real)
        try:
            inside = sorted(here.iterdir())
        except PermissionError:
            found += [here] if here.name != LOST_AND_FOUND else []
            continue
        for path in inside:
            if path.name.startswith("."):  # macOS leaves ._golf_1.wav beside golf_1.wav
                continue
            if what_is(path) != "folder":
                found.append(path)
            elif not path.is_symlink():
                own.append(path)
            elif not real.is_relative_to(path.resolve()):  # a parent holds other labels
                linked.append(path)
    return found


def by_label(folder: Path) -> list[tuple[Path, str]]:
    """Recordings in those sub-folders of ``folder`` that are named after labels, with the labels.

    ``Not-Engine`` counts as ``not_engine``. DatasetError if two folders with recordings have the
    same label: one of them may hold what its owner has discarded.
    """
    children = sorted(path for path in folder.iterdir() if what_is(path) == "folder")
    found = []
    for label in FOLDERS:
        named = {path: sounds(path) for path in children if canonical(path.name) == label}
        held = {path.resolve(): path for path, inside in reversed(named.items()) if inside}
        if len(held) > 1:
            names = " and ".join(sorted(repr(path.name) for path in held.values()))
            raise DatasetError(f"{folder} has {names} for the label {label}: make them one folder")
        found += [(path, label) for home in held.values() for path in named[home]]
    return found


def of_no_known_suffix(folder: Path) -> list[Path]:
    """Files in the sub-folders named after labels that may be recordings all the same."""
    children = [path for path in folder.iterdir() if what_is(path) == "folder"]
    homes = [path for path in children if canonical(path.name) in FOLDERS]
    inside = {path for home in homes for path in _all_below(home) if what_is(path) == "file"}
    return sorted(path for path in inside if path.suffix.lower() not in SUFFIXES | NO_SOUND)


def besides(folder: Path, used: Iterable[Path]) -> list[Path]:
    """The recordings below ``folder`` that are not in ``used``; links are resolved."""
    known = {path.resolve() for path in used}
    return [path for path in sounds(folder) if path.resolve() not in known]
