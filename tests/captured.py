"""Packets as a capture process would send them, the stream that reads them, and a shifted clock."""

import io
import time
from typing import Any

import numpy as np

from edge.capture_process import HEADER, MAGIC
from edge.capture_stream import CaptureStream
from edge.sound_clock import ClockState
from edge.window import Block

NEW_CLOCK = ClockState()


def packet(samples, arrival_s, *, rate=22_050, lost=0, overflows=0):
    """A packet of :mod:`edge.capture_process`: ``samples`` int16, or an int for that many zeros."""
    data = bytes(2 * samples) if isinstance(samples, int) else np.asarray(samples, "<i2").tobytes()
    return HEADER.pack(MAGIC, rate, len(data) // 2, lost, overflows, arrival_s) + data


def stream_of(packets, *, words=b"", resume_at=NEW_CLOCK, kind=CaptureStream):
    """A stream at 22 050 Hz that has read all ``packets``; its blocks can be taken."""

    class Process:
        stdout, stderr = io.BytesIO(b"".join(packets)), io.BytesIO(words)

    process: Any = Process()
    stream = kind(process, 22_050, resume_at)
    for thread in stream._threads:
        thread.join(60)  # seconds, long enough for a busy machine
        assert not thread.is_alive()
    return stream


class Later:
    """Stands in for the module ``time``, with a clock that is ``by_s`` seconds ahead."""

    def __init__(self):
        self.by_s = 0.0
        self.sleep = time.sleep

    def monotonic(self):
        return time.monotonic() + self.by_s


def gather(microphone, until, seconds=10.0):
    """The blocks read until ``until(blocks)`` holds or time is up."""
    blocks: list[Block] = []
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not until(blocks):
        blocks += microphone.read(0.05)
    return blocks


def size(blocks):
    return sum(block.y.size for block in blocks)
