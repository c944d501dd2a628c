"""Labels and sources of recordings, from a labels.csv and the names of folders and files."""

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
from convert.fingerprint import fingerprint
from convert.paths import what_is
from edge.errors import printable

TABLE = "labels.csv"  # file name of a folder's table of recordings
FOLDERS = {"knocking": "engine", "normal": "engine", "not_engine": "not_engine"}  # label -> kind
END = "#end of the table"  # appended on reading: an unclosed quote swallows it
OURS = ("label", "source", "kind", "car", "split")  # columns with a meaning, besides file
SPLITS = ("train", "valid")
PARTS = {*SPLITS, "test", "validation"}  # folders of these names never name a source
# Nor do these, outside a label's own folder: they name labels or kinds, or merely say "sound".
GENERIC = {
    *(*FOLDERS, *FOLDERS.values(), "..", os.sep),
    *("audio", "clips", "data", "dataset", "files", "recordings", "samples", "sounds", "wav"),
}


def read_table(table: Path) -> list[tuple[str, dict[str, str]]]:
    """The lines of a labels.csv as ``(file and line number, cells by column)``.

    Cells are stripped; missing ones are empty. DatasetError if the column file or label is missing,
    if a column appears twice, if a line has more cells than columns, or if it is not CSV in UTF-8.
    """
    try:
        text = table.read_text(encoding="utf-8-sig")  # spreadsheets write a byte order mark
    except UnicodeDecodeError as error:
        raise DatasetError(f"{table} is not in UTF-8: save it as UTF-8") from error
    lines = csv.reader(io.StringIO(f"{text}\n{END}\n", newline=""))
    found, ended = [], 0
    try:
        columns = [cell.strip().lower() for cell in next(lines)]
        _need_closed_quotes(columns, columns, f"{table}, line 1")
        if missing := {"file", "label"} - set(columns):
            raise DatasetError(
                f"{table} has no column {' and no column '.join(sorted(missing))}: its first line "
                "names the columns, with commas between them"
            )
        if twice := sorted(name for name, n in Counter(columns).items() if name and n > 1):
            raise DatasetError(f"{table} names the column {twice[0]} twice: remove or rename one")
        ended = lines.line_num
        for line in lines:
            where, ended = f"{table}, line {ended + 1}", lines.line_num
            if line == [END]:
                break
            cells = [cell.strip() for cell in line]
            _need_closed_quotes(cells, columns, where)
            while cells and not cells[-1]:  # spreadsheets pad lines with commas
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
            if canonical(row["label"]) in FOLDERS:
                row["label"] = canonical(row["label"])
            # A file name must stay as it is on the disk.
            found.append((where, {k: v if k == "file" else plain(v) for k, v in row.items()}))
    except csv.Error as error:
        raise DatasetError(f"{table}, line {ended + 1}: {error}; is a quote not closed?") from error
    return found


def _need_closed_quotes(cells: Sequence[str], columns: Sequence[str], where: str) -> None:
    """DatasetError if one of ``cells`` has swallowed lines.

    A quote that is not closed swallows all lines up to the next quote or the end of the table. A
    column of notes may span several lines.
    """
    at = columns.index("label") if "label" in columns else 0
    for name, cell in zip_longest(columns, cells, fillvalue=""):
        below = [line.split(",") for line in cell.splitlines()[1:]]
        rows = [row for row in below if len(row) > at and canonical(row[at]) in FOLDERS]
        if END in cell or rows or (below and name in OURS):
            called = " ".join(name.split()) or "last cell"
            raise DatasetError(f"{where}: its {called} spans several lines: is a quote not closed?")


def one_spelling(kinds: Iterable[str]) -> dict[str, str]:
    """For each of ``kinds`` the spelling to use, so that ``Engine`` and ``engine`` are one."""
    spelt: dict[str, str] = {}
    names = sorted(set(kinds), key=lambda kind: (kind != canonical(kind), kind))
    return {kind: spelt.setdefault(canonical(kind), kind) for kind in names}


def canonical(name: str) -> str:
    """The canonical spelling of a kind or label, such as ``other_fault`` for ``Other-Fault``."""
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


class Guess(NamedTuple):
    """The source of a recording, guessed from names alone."""

    source: str
    by_folder: bool  # it is the name of a folder, else part of the file's
    alone: bool = False  # it is a number, or label and number: it says nothing about the car

    def named(self, path: Path) -> str:
        """The source of the recording at ``path``.

        Data sets and labels have a ``003.wav`` each: only its content tells such a recording apart.
        """
        return f"{self.source}@{fingerprint(path)[:8]}" if self.alone else self.source


def sources_of(files: Sequence[tuple[Path, str]], folder: Path) -> list[Guess]:
    """Guess the source of each of ``files``, (path, label) in ``folder``, from names alone.

    It is the folder directly inside the label's. For a file outside any label's folder it is the
    outermost of its folders that is not common to all such files; one folder for all of them, such
    as ``wavs/``, names no source. Failing that it is the file name up to its last underscore, or
    all of the name if that part is only a label.
    """
    roots = [Path(os.path.abspath(folder)), folder.resolve()]  # noqa: PTH100 - keeps links
    inside: list[list[str]] = []  # the folder inside the label's, or none
    # For other files: whether they lie outside ``folder``, and their folders, outermost first.
    homes: dict[int, tuple[bool, list[str]]] = {}
    for number, (path, label) in enumerate(files):
        elsewhere, folders = _folders(path, roots)
        names = [canonical(name) for name in folders]
        at = names.index(label) + 1 if label in names else len(folders)
        inside.append(folders[at : at + 1])
        if not inside[-1]:
            around = [name for name in folders if canonical(name) not in GENERIC]
            homes[number] = elsewhere, around
    outer = _distinguishing_folders(homes)
    if not any(inside) and len(set(outer.values())) < 2:
        outer = {}
    found = []
    for number, (path, _) in enumerate(files):
        name = inside[number][0] if inside[number] else outer.get(number, "")
        found.append(Guess(plain(name), by_folder=True) if name else _guess_from_name(path.stem))
    return found


def _folders(path: Path, roots: Sequence[Path]) -> tuple[bool, list[str]]:
    """Whether ``path`` is outside ``roots``, and its folders: below the root, or as written."""
    whole = Path(os.path.normpath(roots[0] / path))
    parts = Path(os.path.normpath(path)).parts[:-1]
    elsewhere = True
    # Resolve folders only: a link to a recording may have a better name than the recording.
    for one in (whole, whole.parent.resolve() / whole.name):
        for root in roots:
            if elsewhere and one.is_relative_to(root):
                parts, elsewhere = one.relative_to(root).parts[:-1], False
    return elsewhere, [name for name in parts if name.lower() not in PARTS]


def _distinguishing_folders(homes: Mapping[int, tuple[bool, list[str]]]) -> dict[int, str]:
    """For each file, the folder that distinguishes it from the others, if there is one."""
    found: dict[int, str] = {}
    for outside in (False, True):  # files outside have other common folders
        here = {n: folders for n, (elsewhere, folders) in homes.items() if elsewhere == outside}
        # A folder is common if every file is in it; zip stops at the shortest path.
        levels = zip(*here.values(), strict=False)
        common = len(list(itertools.takewhile(lambda names: len(set(names)) == 1, levels)))
        flat = all(len(folders) == common for folders in here.values())
        for n, folders in here.items():
            # Outside the table's folder nothing tells at which level the names of cars start.
            last = folders[-1:] if flat or outside else []
            if saying := folders[common : common + 1] or last:
                found[n] = saying[0]
    return found


def _guess_from_name(stem: str) -> Guess:
    source = stem.rpartition("_")[0]
    # "normal_0042" repeats the label: as one source "normal", nothing could be held out.
    labelled = canonical(source) in FOLDERS
    if canonical(source) and not labelled:
        return Guess(plain(source), by_folder=False)
    return Guess(plain(stem), by_folder=False, alone=labelled or not any(map(str.isalpha, stem)))


def plain(name: str) -> str:
    """``name`` as it is compared and shown: in NFC, what is not printable as escape sequences."""
    return printable(nfc(name))


def nfc(name: str) -> str:
    """``name`` in Unicode normalisation form NFC, with each accented letter as one character.

    macOS writes file names in decomposed form (NFD); names that look the same must compare equal.
    """
    return unicodedata.normalize("NFC", name)


def file_called(folder: Path, name: str) -> Path:
    """``folder / name``, or the file there with that name in another Unicode normalisation."""
    forms = [name, nfc(name), unicodedata.normalize("NFD", name)]
    return next((path for form in forms if what_is(path := folder / form) == "file"), folder / name)


def need_one_spelling(written: Iterable[tuple[str, str, str]]) -> None:
    """DatasetError if two names differ only in case: most likely they mean the same car.

    ``written`` holds ("source" or "car", the name, where it was written).
    """
    seen: dict[str, tuple[str, str, str]] = {}
    for what, name, where in written:
        # Not casefold(), which takes Strasse and Straße for the same word.
        before, other, stands = seen.setdefault(name.lower(), (what, name, where))
        if other != name:
            raise DatasetError(
                f"{before} {other!r} ({stands}) and {what} {name!r} ({where}) differ in case "
                "only: spell them alike if they are one, or give them different names"
            )
