"""Types of command-line arguments that several commands share."""

from __future__ import annotations

import argparse
from pathlib import Path


def named_path(text: str) -> Path:
    """The path of a file or folder; argparse.ArgumentTypeError if ``text`` is empty."""
    if not text:  # a script's unset variable; Path("") would mean the working directory
        raise argparse.ArgumentTypeError("the name is empty: name a file or a folder")
    return Path(text)
