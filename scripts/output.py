"""Checks that a script can write its output, before it works for hours."""

from __future__ import annotations

import os
from pathlib import Path

from convert.output import check_output
from edge.errors import ConfigError


def need_folder(option: str, folder: Path) -> None:
    """Make ``folder``, given as ``option``; ConfigError unless it can be written to."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{option}: {folder} cannot be made ({error.strerror}): name another folder"
        ) from None
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"{option}: nothing can be written to {folder}: name another folder")


def need_place(option: str, file: Path) -> None:
    """Make the folder of ``file``, given as ``option``; ConfigError unless both can be written."""
    need_folder(option, file.parent)
    check_output(option, file)
