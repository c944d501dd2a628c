"""Every error the device side raises on purpose, and the exit code each one becomes.

130 is Ctrl-C, as shells have it.

Each class is also the builtin a caller would expect, so ``except ValueError`` works for somebody
who has never read this file. A message names the thing, its value and the remedy, in one line: it
is printed to the user as it stands.
"""

from __future__ import annotations

import contextlib
import errno
import sys

# An error that names no file is of the output only if it is one of these: any call may have others.
OF_OUTPUT = {errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EBADF}


class EdgeError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line exits with."""

    exit_code = 1


class ConfigError(EdgeError, ValueError):
    """A setting, a file of settings or a command line argument makes no sense."""

    exit_code = 2


class RecordingError(EdgeError, ValueError):
    """A recording cannot be read: not audio, damaged, empty, or a format without its library."""

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


def unwritten(error: OSError) -> ConfigError:
    """What is said where standard output takes no more."""
    return ConfigError(f"the output cannot be written: {error.strerror}")


def what_failed(error: OSError) -> str:
    """``error`` with the file it is of, or as one of the output where it looks like that."""
    if error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(unwritten(error) if error.errno in OF_OUTPUT else error.strerror or error)


def complain(program: str, error: BaseException) -> None:
    """One line on standard error; if nobody takes it, the exit code still counts."""
    with contextlib.suppress(OSError):
        print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)
