"""Kinds of arguments on a command line that several commands take."""

from __future__ import annotations

import argparse
from pathlib import Path


def named_path(text: str) -> Path:
    """A file or a folder; argparse's error where there is no name at all."""
    if not text:  # of a variable that is not set, in a script: it would mean this very folder
        raise argparse.ArgumentTypeError("a name of no letters is none: name a file or a folder")
    return Path(text)
