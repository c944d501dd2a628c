"""Starts the process that captures, before anything else of the listener is loaded."""

from __future__ import annotations

import contextlib
import fcntl
import json
import subprocess
import sys
from collections.abc import Sequence

from edge.child import child_environment
from edge.config import AudioConfig

PIPE_BYTES = 1 << 20  # 12 s of sound at 44.1 kHz: a Pi that starts needs some before it listens


def capture_command(config: AudioConfig) -> list[str]:
    """What captures as ``config`` says: :mod:`edge.capture_process`."""
    command = [sys.executable, "-m", "edge.capture_process", config.device]
    return [*command, str(config.channel), json.dumps(list(config.rates))]


def start_capture(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start ``command``; what it sends waits in its pipe. OSError if there is no memory for it."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
    )
    assert process.stdout is not None  # noqa: S101 - piped
    with contextlib.suppress(OSError):  # more than this machine allows: it starts as it can
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return process
