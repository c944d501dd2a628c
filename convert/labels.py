"""What a labels.csv and the names of folders and files say of recordings."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from pathlib import Path

from convert.errors import DatasetError

FOLDERS = {"knocking": "engine", "normal": "engine", "not_engine": "not_engine"}  # label -> kind
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
    lines = csv.reader(io.StringIO(text, newline=""))
    found = []
    try:
        columns = [cell.strip() for cell in next(lines, [])]
        if missing := {"file", "label"} - set(columns):
            raise DatasetError(
                f"{table} lacks the column {' and '.join(sorted(missing))}: its first line names "
                "the columns, with commas between them"
            )
        for line in filter(None, lines):
            where = f"{table}, line {lines.line_num}"
            if len(line) > len(columns):
                raise DatasetError(
                    f"{where} has {len(line)} cells for {len(columns)} columns: "
                    'put "quotes" around what holds a comma'
                )
            cells = [cell.strip() for cell in line] + [""] * (len(columns) - len(line))
            found.append((where, dict(zip(columns, cells, strict=True))))
    except csv.Error as error:
        raise DatasetError(f"{table}, line {lines.line_num}: {error}; is a quote open?") from error
    return found


def source_of(path: Path, label: str, folder: Path) -> str:
    """The source of the recording at ``path`` among those in ``folder``, by names alone.

    The folder inside that of the label; outside such folders, the one it lies in; where those say
    nothing, its name before the last underscore, or all of it if that is a mere label.
    """
    path = Path(os.path.normpath(path))
    root = Path(os.path.abspath(folder))  # noqa: PTH100 - not resolved: links stay links
    if path.is_relative_to(root):
        path = path.relative_to(root)
    folders = [name for name in path.parts[:-1] if name.lower() not in PARTS]
    if label in folders:
        saying = folders[folders.index(label) + 1 :][:1]
    else:
        saying = [name for name in folders if name.lower() not in GENERIC][-1:]
    if saying:
        return saying[0]
    source = path.stem.rpartition("_")[0]
    # "normal_0042" says no more than the folder does: as one source, nothing could be held out.
    return path.stem if source.lower() in ("", *FOLDERS) else source


def need_one_spelling(what: str, names: Iterable[str]) -> None:
    """DatasetError if two of ``names`` differ in case alone: most likely they are one ``what``."""
    seen: dict[str, str] = {}
    for name in names:
        if (other := seen.setdefault(name.casefold(), name)) != name:
            raise DatasetError(
                f"{what}s {other!r} and {name!r} differ in case alone: spell one {what} in one "
                "way, or two in two"
            )
