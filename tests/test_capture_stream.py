"""What comes through the pipe of the capture process, whatever that is."""

import io
import threading
import time
from collections import deque

import numpy as np
import pytest

from edge.capture_process import HEADER, MAGIC
from edge.config import AudioConfig
from edge.microphone import BACK_OFF_S, OPEN_S, Microphone, _packet, _Stream
from edge.window import mean_flaws
from tests.audio import noise

SR = 22_050


def test_what_is_out_of_step_is_no_sound():
    with pytest.raises(ValueError, match="out of step"):
        _packet(io.BytesIO(HEADER.pack(0, 44_100, 2, 0, 0, 1.0) + bytes(4)))


class Sized(io.BytesIO):
    most = 0

    def read(self, size=-1):
        self.most = max(self.most, size)
        return super().read(size)


def test_a_broken_stream_is_no_sound():
    pipe = Sized(HEADER.pack(MAGIC, 44_100, 2**31, 0, 0, 1.0) + b"abc")
    with pytest.raises(ValueError, match="out of step"):
        _packet(pipe)
    assert pipe.most <= 1000
    assert _packet(io.BytesIO(HEADER.pack(MAGIC, 44_100, 100, 0, 0, 1.0) + b"abcd")) is None


def test_nothing_from_before_a_gap_sounds_after_it():
    def packet(value, lost):
        return (
            HEADER.pack(MAGIC, 44_100, 2205, lost, 0, 1.0) + np.full(2205, value, "<i2").tobytes()
        )

    stream = _Stream.__new__(_Stream)
    stream._sr, stream.received, stream.arrived = SR, 0, time.monotonic()
    stream._blocks, stream._arrived, stream._buffered = deque(), threading.Condition(), 0
    pipe = io.BytesIO(10 * packet(16_000, 0) + packet(0, 5) + 10 * packet(0, 0))
    stream._listen(pipe, 0.0)
    blocks = stream.take(0)
    second = [i for i, block in enumerate(blocks) if block.gap][1]
    assert all(np.abs(block.y).max() < 1e-6 for block in blocks[second:])


def test_what_is_counted_as_received_can_be_taken():
    """Else who waits for the count takes all but the newest."""
    taken = []

    class Watched(_Stream):
        def _append(self, block):
            taken.append(self.received)  # what a reader is told when it cannot have this one yet
            super()._append(block)

    stream = Watched.__new__(Watched)
    stream._sr, stream.received, stream.arrived = SR, 0, time.monotonic()
    stream._blocks, stream._arrived, stream._buffered = deque(), threading.Condition(), 0
    packet = HEADER.pack(MAGIC, SR, 1102, 0, 0, 1.0) + bytes(2 * 1102)
    stream._listen(io.BytesIO(3 * packet), 0.0)
    assert taken == [0, 1102, 2 * 1102]
    assert stream.received == 3 * 1102


def test_waiting_for_the_next_try_takes_no_longer_than_was_asked(monkeypatch):
    microphone = Microphone(AudioConfig(), SR, command=["false"])
    microphone._next_try = time.monotonic() + 8
    began = time.monotonic()
    assert microphone.read(0.05) == []
    assert time.monotonic() - began < 2
    microphone.close()


def test_it_is_tried_for_ever_and_soon_enough(monkeypatch):
    assert BACK_OFF_S[-1] <= 30 and OPEN_S <= 10
    microphone = Microphone(AudioConfig(), SR, command=["false"])
    for _ in range(3 * len(BACK_OFF_S)):
        microphone._lose("gone")
    assert microphone._next_try - time.monotonic() <= BACK_OFF_S[-1]


def test_flat_tops_of_a_microphone_are_told_as_recorded():
    import sys

    from tests.test_microphone import gather, size

    code = (
        "import struct, sys, time, numpy as np\n"
        "y = np.clip(10 * np.random.default_rng(0).standard_normal(60 * 2205), -1, 1)\n"
        "y = np.round(13000 * y).astype('<i2').reshape(60, 2205)\n"
        "for piece in y:\n"
        "    sys.stdout.buffer.write(struct.pack('<IIIIId', 0x4B4E4F43, 44100, 2205, 0, 0, 1.0))\n"
        "    sys.stdout.buffer.write(piece.tobytes())\n"
        "    sys.stdout.buffer.flush()\n"
        "time.sleep(100)\n"
    )
    microphone = Microphone(AudioConfig(), SR, command=[sys.executable, "-c", code])
    try:
        blocks = gather(microphone, lambda b: size(b) >= SR)
    finally:
        microphone.close()
    assert all(block.flaws.clipped > 0.8 for block in blocks)


@pytest.mark.parametrize(("rate", "samples"), [(44_100, 441), (32_000, 1600)])
def test_flaws_of_packets_that_yield_nothing_yet_are_not_lost(rate, samples, monkeypatch):
    """Every other packet stands still; with callbacks of 10 ms four in five give no block."""
    count = 400
    loud = (3000 * noise(samples / rate, rate)).astype("<i2").tobytes()
    packets = b"".join(
        HEADER.pack(MAGIC, rate, samples, 0, 0, 1.0) + (loud if i % 2 else bytes(2 * samples))
        for i in range(count)
    )
    monkeypatch.setattr("edge.microphone.BUFFER_S", 100)
    stream = _Stream.__new__(_Stream)
    stream._sr, stream.received, stream.arrived = SR, 0, time.monotonic()
    stream._blocks, stream._arrived, stream._buffered = deque(), threading.Condition(), 0
    stream._listen(io.BytesIO(packets), 0.0)
    blocks = stream.take(0)
    assert mean_flaws(blocks).still == pytest.approx(0.5, abs=0.02)
