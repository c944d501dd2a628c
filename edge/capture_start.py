"""Start the capture process, before the rest of the listener is imported."""

from __future__ import annotations

import contextlib
import fcntl
import json
import subprocess
import sys
from collections.abc import Sequence

from edge.child import child_environment
from edge.config import AudioConfig

PIPE_BYTES = 1 << 20  # 12 s of sound at 44.1 kHz: a booting Pi takes a while until it reads


def capture_command(config: AudioConfig) -> list[str]:
    """The command line that runs :mod:`edge.capture_process` with the settings in ``config``."""
    command = [sys.executable, "-m", "edge.capture_process", config.device]
    return [*command, str(config.channel), json.dumps(list(config.rates))]


def start_capture(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start ``command``; what it sends is buffered in a pipe until it is read.

    OSError if the process cannot be started, for example for lack of memory.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child_environment(),
    )
    assert process.stdout is not None  # noqa: S101 - piped
    with contextlib.suppress(OSError):  # above the system's limit: the pipe keeps its default size
        fcntl.fcntl(process.stdout, fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    return process
