"""Checks of output files and options, made before a command spends hours on its work."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from edge.errors import ConfigError
from edge.model import are_labels


def check_output(option: str, path: Path, suffix: str = "") -> None:
    """ConfigError unless ``path``, given as ``option``, can be written and ends in ``suffix``."""
    if path.is_dir() or not path.name:
        raise ConfigError(f"{option} {path} is a folder: name a file")
    if suffix and path.suffix != suffix:
        raise ConfigError(f"{option} {path}: the name must end in {suffix}")
    if not path.parent.is_dir():
        raise ConfigError(f"{option} {path}: there is no folder {path.parent}")
    if path.exists() and not path.is_file():  # a device or pipe, which is not replaced
        if not os.access(path, os.W_OK):
            raise ConfigError(f"{option} {path} is not writable")
    elif not os.access(folder := os.path.dirname(os.path.realpath(path)), os.W_OK):  # noqa: PTH120
        raise ConfigError(f"{option} {path}: the folder {folder} is not writable")


def check_folder(option: str, folder: Path) -> None:
    """ConfigError unless ``folder``, given as ``option``, can be written to, or be made."""
    here = folder
    while not os.path.lexists(here) and here != here.parent:
        here = here.parent
    if not os.path.isdir(here):  # noqa: PTH112 - Path.is_dir() raises if access is denied
        wrong = f"cannot be made, because {here} is" if here != folder else "is"
        raise ConfigError(f"{option}: {folder} {wrong} not a folder: name another folder")
    if not os.access(here, os.W_OK | os.X_OK):
        raise ConfigError(f"{option}: {folder} cannot be written: {here} is not writable")


def need_folder(option: str, folder: Path) -> None:
    """Make ``folder``, given as ``option``; ConfigError unless it can be written to."""
    check_folder(option, folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:  # not every file system tells beforehand
        raise ConfigError(f"{option}: {folder} cannot be made: {error.strerror}") from error


def check_room(megabytes: int) -> None:
    """ConfigError unless the folder of temporary files has room for ``megabytes``."""
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free / 1e6
    if free < megabytes:
        raise ConfigError(
            f"{folder} has {free:.0f} MB free, of {megabytes} MB needed for temporary files: "
            "make room, or set TMPDIR to another folder"
        )


def holds_tflite(path: Path) -> bool:
    """Whether ``path`` is a TFLite model by its content, whatever its name."""
    with contextlib.suppress(OSError):  # reported when it is actually read
        if path.is_file():  # a pipe cannot be read twice
            with path.open("rb") as file:
                return file.read(8)[4:] == b"TFL3"
    return False


def is_for_tflite(path: Path) -> bool:
    """Whether to read ``path`` as a TFLite model, by content or name, even damaged or missing."""
    return holds_tflite(path) or path.suffix.lower() == ".tflite"


def check_apart(outputs: Mapping[str, Path], kept: Mapping[str, Path]) -> None:
    """ConfigError if two ``outputs`` are the same file, or one would overwrite one of ``kept``.

    ``outputs`` maps options to paths; ``kept`` maps descriptions, used in the message, to files
    that the run or its user still needs.
    """
    before = dict(kept)
    for option, path in outputs.items():
        for what, other in before.items():
            if _are_one(path, other):
                raise ConfigError(f"{option} {path} is also {what}: name another file")
        before[f"where {option} goes"] = path


def _are_one(path: Path, other: Path) -> bool:
    """Whether both are or would be the same file, considering links and case-insensitive disks."""
    if path.exists() and other.exists():
        return path.is_file() and path.samefile(other)  # a device may be given twice
    return os.path.realpath(path) == os.path.realpath(other)


def parse_labels(text: str) -> tuple[str, ...]:
    """The two class names in ``text``, in its order; ConfigError unless one is knocking."""
    labels = tuple(label.strip() for label in text.split(","))
    if not are_labels(labels):
        raise ConfigError(
            f"--labels {text}: two names are needed, one of them knocking, whatever it was called "
            "in training: --labels knocking,normal or --labels normal,knocking"
        )
    return labels
