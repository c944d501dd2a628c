"""Checks that a script can write its output, before it works for hours."""

from __future__ import annotations

from pathlib import Path

from convert.output import check_output, need_folder


def need_place(option: str, file: Path) -> None:
    """Make the folder of ``file``, given as ``option``; ConfigError unless both can be written."""
    need_folder(option, file.parent)
    check_output(option, file)
