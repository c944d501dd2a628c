"""Files and options of several commands, looked at before the hours that they are for."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path

from edge.errors import ConfigError
from edge.model import are_labels


def check_output(option: str, path: Path, suffix: str = "") -> None:
    """ConfigError unless ``path``, given as ``option``, can be written; "" takes any suffix."""
    if path.is_dir() or not path.name:
        raise ConfigError(f"{option} {path} is a folder: name a file")
    if suffix and path.suffix != suffix:
        raise ConfigError(f"{option} {path}: a name that ends in {suffix} is needed")
    if not path.parent.is_dir():
        raise ConfigError(f"{option} {path}: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{option} {path}: nothing can be written to {path.parent}")


def holds_tflite(path: Path) -> bool:
    """Whether ``path`` is a TFLite model by what is in it, however it is called."""
    with contextlib.suppress(OSError):  # whoever reads it says what is wrong
        if path.is_file():  # of a pipe nothing may be read twice
            with path.open("rb") as file:
                return file.read(8)[4:] == b"TFL3"
    return False


def is_for_tflite(path: Path) -> bool:
    """Whether ``path`` is to be read as a TFLite model, be it damaged or missing."""
    return holds_tflite(path) or path.suffix.lower() == ".tflite"


def check_apart(outputs: Mapping[str, Path], kept: Mapping[str, Path]) -> None:
    """ConfigError if one of ``outputs``, by option, is another or would replace one of ``kept``.

    ``kept``: what the run needs, or its owner does, by what it is called.
    """
    before = dict(kept)
    for option, path in outputs.items():
        for what, other in before.items():
            if _are_one(path, other):
                raise ConfigError(f"{option} {path} is also {what}: name another file")
        before[f"where {option} goes"] = path


def _are_one(path: Path, other: Path) -> bool:
    """Whether both are one file, or would be, whatever links and disks without capitals say."""
    if path.exists() and other.exists():
        return path.is_file() and path.samefile(other)  # a device takes both
    return os.path.realpath(path) == os.path.realpath(other)


def parse_labels(text: str) -> tuple[str, ...]:
    """Names of the two answers in the order of ``text``; ConfigError unless one is knocking."""
    labels = tuple(label.strip() for label in text.split(","))
    if not are_labels(labels):
        raise ConfigError(f"--labels {text}: two are needed, one of them knocking")
    return labels
