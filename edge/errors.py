"""Every error the device side raises on purpose, and the exit code of each.

Exit code 130, as in shells, is Ctrl-C.

Each class is also the builtin a caller would expect, so ``except ValueError`` works for somebody
who has never read this file. A message names the thing, its value and the remedy, in one line: it
is printed to the user unchanged.
"""

from __future__ import annotations

import contextlib
import errno
import re
import sys

# An OSError without a file name is attributed to the output if it has one of these numbers.
OUTPUT_ERRNOS = {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EBADF}
# Control characters, line ends, direction overrides and lone surrogates: a file's name may hold
# any of them, and could set a terminal's colours or forge a line of a table.
CONTROL = re.compile(r"[\0-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class EdgeError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line exits with."""

    exit_code = 1


class ConfigError(EdgeError, ValueError):
    """A setting, a settings file or a command line argument is invalid, or output fails."""

    exit_code = 2


class RecordingError(EdgeError, ValueError):
    """A recording cannot be read: not audio, damaged, empty, or in an unsupported format."""

    exit_code = 3


class ModelError(EdgeError, ValueError):
    """A model file is damaged, is no KnockKnock model, or does not match its manifest."""

    exit_code = 4


class AudioDeviceError(EdgeError, OSError):
    """A microphone is missing, ambiguous, refuses its rate or has gone silent for good."""

    exit_code = 5


class MissingPackageError(EdgeError, ImportError):
    """An optional package is needed for what was asked; the message says how to install it."""

    exit_code = 6


class SignalError(EdgeError, ValueError):
    """An array handed to the front end has the wrong shape, dtype or values."""


def output_error(error: OSError) -> ConfigError:
    """The error to raise when standard output cannot be written."""
    return ConfigError(f"the output cannot be written: {error.strerror}")


def os_error_message(error: OSError) -> str:
    """A message for ``error`` with its file name, or about the output if its number suggests so."""
    if error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(output_error(error) if error.errno in OUTPUT_ERRNOS else error.strerror or error)


def printable(text: str) -> str:
    """``text`` with what would control a terminal, or cannot be encoded, as escape sequences."""
    return CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def print_error(program: str, error: BaseException) -> None:
    """Print one line on standard error; if that fails, the exit code still tells."""
    with contextlib.suppress(OSError):
        print(f"{program}: {printable(' '.join(str(error).split()))}", file=sys.stderr)
