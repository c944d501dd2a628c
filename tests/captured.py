"""What a capture process would have sent, read to its end; and a clock to make it late by."""

import io
import time
from typing import Any

import numpy as np

from edge.capture_process import HEADER, MAGIC
from edge.capture_stream import CaptureStream


def packet(samples, came_s, *, rate=22_050, lost=0, overflows=0):
    """As :mod:`edge.capture_process` sends it: ``samples`` int16, or so many of them, all 0."""
    data = bytes(2 * samples) if isinstance(samples, int) else np.asarray(samples, "<i2").tobytes()
    return HEADER.pack(MAGIC, rate, len(data) // 2, lost, overflows, came_s) + data


def stream_of(packets, *, words=b"", ended=(0.0, 0.0), kind=CaptureStream):
    """A stream at 22 050 Hz that has read all ``packets``; its blocks can be taken."""

    class Process:
        stdout, stderr = io.BytesIO(b"".join(packets)), io.BytesIO(words)

    process: Any = Process()
    stream = kind(process, 22_050, ended)
    for thread in stream._threads:
        thread.join(60)  # seconds: a busy machine is no fault of the stream's
        assert not thread.is_alive()
    return stream


class Later:
    """Stands in for the module ``time``: so many seconds later than it is."""

    def __init__(self):
        self.by_s = 0.0
        self.sleep = time.sleep

    def monotonic(self):
        return time.monotonic() + self.by_s
