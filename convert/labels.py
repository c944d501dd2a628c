"""What a labels.csv and the names of folders and files say of recordings."""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from convert.errors import DatasetError
from convert.paths import what_is

TABLE = "labels.csv"  # what a folder's table of recordings is called
FOLDERS = {"knocking": "engine", "normal": "engine", "not_engine": "not_engine"}  # label -> kind
END = "#end of the table"  # a quote that is left open swallows it
OURS = ("label", "source", "kind", "car", "split")  # columns that mean something, besides file
SPLITS = ("train", "valid")
PARTS = {*SPLITS, "test", "validation"}  # folders of these names say nothing of a source
# Outside the labels' own folders these say nothing either, or no more than that it is sound.
GENERIC = {
    *(*FOLDERS, *FOLDERS.values(), "..", os.sep),
    *("audio", "clips", "data", "dataset", "files", "recordings", "samples", "sounds", "wav"),
}


def read_table(table: Path) -> list[tuple[str, dict[str, str]]]:
    """The lines of a labels.csv: ``(where it stands, cells by column)``, no blanks at their ends.

    A cell that is not there is empty. DatasetError if the columns file and label are missing, if a
    line has more cells than there are columns, or if it is no CSV in UTF-8.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")  # with the mark that spreadsheets put first
    except UnicodeDecodeError as error:
        raise DatasetError(f"{table} is not in UTF-8: save it so") from error
    lines = csv.reader(io.StringIO(f"{text}\n{END}\n", newline=""))
    found, ended = [], 0
    try:
        columns = [cell.strip().lower() for cell in next(lines)]
        _need_closed_quotes(columns, columns, f"{table}, line 1")
        if missing := {"file", "label"} - set(columns):
            raise DatasetError(
                f"{table} lacks the column {' and '.join(sorted(missing))}: its first line names "
                "the columns, with commas between them"
            )
        if twice := sorted(name for name, n in Counter(columns).items() if name and n > 1):
            raise DatasetError(f"{table} names the column {twice[0]} twice: which one counts?")
        ended = lines.line_num
        for line in lines:
            where, ended = f"{table}, line {ended + 1}", lines.line_num
            if line == [END]:
                break
            cells = [cell.strip() for cell in line]
            _need_closed_quotes(cells, columns, where)
            while cells and not cells[-1]:  # spreadsheets fill lines up with commas
                cells.pop()
            if not cells:
                continue
            if len(cells) > len(columns):
                raise DatasetError(
                    f"{where} has {len(cells)} cells for {len(columns)} columns: "
                    'put "quotes" around what holds a comma'
                )
            cells += [""] * (len(columns) - len(cells))
            row = dict(zip(columns, cells, strict=True))
            if spelt(row["label"]) in FOLDERS:
                row["label"] = spelt(row["label"])
            # A file's name is the disk's business, the others are compared.
            found.append((where, {k: v if k == "file" else composed(v) for k, v in row.items()}))
    except csv.Error as error:
        raise DatasetError(f"{table}, line {ended + 1}: {error}; is a quote open?") from error
    return found


def _need_closed_quotes(cells: Sequence[str], columns: Sequence[str], where: str) -> None:
    """DatasetError if one of ``cells`` has swallowed lines, by a quote that is never closed.

    Or by one that is closed by the next such slip. Notes may go over several lines.
    """
    at = columns.index("label") if "label" in columns else 0
    for name, cell in zip_longest(columns, cells, fillvalue=""):
        below = [line.split(",") for line in cell.splitlines()[1:]]
        rows = [row for row in below if len(row) > at and spelt(row[at]) in FOLDERS]
        if END in cell or rows or (below and name in OURS):
            called = " ".join(name.split()) or "last cell"
            raise DatasetError(f"{where}: its {called} goes over several lines: is a quote open?")


def spelt(name: str) -> str:
    """A kind or label as everybody spells it: people write ``Other-Fault``, ``not engine``, too."""
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


class Guess(NamedTuple):
    """What names alone say a recording's source is."""

    source: str
    by_folder: bool  # somebody wrote a folder of that name; else it is of the file's name


def sources_of(files: Sequence[tuple[Path, str]], folder: Path) -> list[Guess]:
    """The source of each of ``files``, paths with their labels, in ``folder``; by names alone.

    The folder inside that of the label. Elsewhere the outermost of those it lies in that are not
    common to all: if there is but one, as ``wavs/`` of all, it says nothing. Where folders say
    nothing, the file's name before the last underscore, or all of it if that is a mere label.
    """
    roots = [Path(os.path.abspath(folder)), folder.resolve()]  # noqa: PTH100 - links first stay so
    inside: list[list[str]] = []  # the folder inside that of the label, or nothing
    # Of the others: whether they lie elsewhere, and the folders around them, outermost first.
    homes: dict[int, tuple[bool, list[str]]] = {}
    for number, (path, label) in enumerate(files):
        elsewhere, folders = _folders(path, roots)
        names = [spelt(name) for name in folders]
        at = names.index(label) + 1 if label in names else len(folders)
        inside.append(folders[at : at + 1])
        if not inside[-1]:
            around = [name for name in folders if spelt(name) not in GENERIC]
            homes[number] = elsewhere, around
    outer = _told_apart(homes)
    if not any(inside) and len(set(outer.values())) < 2:
        outer = {}
    found = []
    for number, (path, _) in enumerate(files):
        name = inside[number][0] if inside[number] else outer.get(number, "")
        found.append(Guess(composed(name or _name_says(path)), by_folder=bool(name)))
    return found


def _folders(path: Path, roots: Sequence[Path]) -> tuple[bool, list[str]]:
    """Whether ``path`` lies elsewhere, and the folders around it: from ``roots``, or as written."""
    whole = Path(os.path.normpath(roots[0] / path))
    parts = Path(os.path.normpath(path)).parts[:-1]
    elsewhere = True
    # A link to a recording may be named better than the recording: only folders are resolved.
    for one in (whole, whole.parent.resolve() / whole.name):
        for root in roots:
            if elsewhere and one.is_relative_to(root):
                parts, elsewhere = one.relative_to(root).parts[:-1], False
    return elsewhere, [name for name in parts if name.lower() not in PARTS]


def _told_apart(homes: Mapping[int, tuple[bool, list[str]]]) -> dict[int, str]:
    """The one folder of each that tells it from others, where there is one."""
    found: dict[int, str] = {}
    for outside in (False, True):  # what lies elsewhere has other folders in common
        here = {n: folders for n, (elsewhere, folders) in homes.items() if elsewhere == outside}
        # A folder is common if none lies outside of it: zip ends with the shortest.
        levels = zip(*here.values(), strict=False)
        common = len(list(itertools.takewhile(lambda names: len(set(names)) == 1, levels)))
        flat = all(len(folders) == common for folders in here.values())
        for n, folders in here.items():
            # Above the table's folder nothing says where the names of cars begin.
            last = folders[-1:] if flat or outside else []
            if saying := folders[common : common + 1] or last:
                found[n] = saying[0]
    return found


def _name_says(path: Path) -> str:
    source = path.stem.rpartition("_")[0]
    # "normal_0042" says no more than the folder does: as one source, nothing could be held out.
    return path.stem if spelt(source) in ("", *FOLDERS) else source


def composed(name: str) -> str:
    """``name`` with its accents as one character each, however a disk has them (NFC).

    A Mac writes them as two in names of files: what looks the same to people is the same.
    """
    return unicodedata.normalize("NFC", name)


def file_called(folder: Path, name: str) -> Path:
    """``folder / name``, or what is there of that name with its accents in the other form."""
    forms = [name, composed(name), unicodedata.normalize("NFD", name)]
    return next((path for form in forms if what_is(path := folder / form) == "file"), folder / name)


def need_one_spelling(written: Iterable[tuple[str, str, str]]) -> None:
    """DatasetError if two names differ in case alone: most likely they are of one car.

    ``written``: whether it is a source or a car, its name, and where that stands.
    """
    seen: dict[str, tuple[str, str, str]] = {}
    for what, name, where in written:
        # Not casefold: Strasse and Straße are two streets.
        before, other, stands = seen.setdefault(name.lower(), (what, name, where))
        if other != name:
            raise DatasetError(
                f"{before} {other!r} ({stands}) and {what} {name!r} ({where}) differ in case "
                "alone: spell one in one way, or two in two"
            )
