"""A recording played as if it came from a microphone."""

import math
import os
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest

from edge.recording import Recording
from edge.replay import Replay
from edge.window import Block
from tests.audio import noise, wav_file

SR = 22_050
PIECE = np.zeros(SR // 10, dtype=np.float32)


class Decoder:
    """Blocks of a tenth of a second, without end, each of which takes ``takes_s`` to decode."""

    sr = SR

    def __init__(self, takes_s):
        self._takes_s = takes_s

    def blocks(self):
        for n in count():
            time.sleep(self._takes_s)
            yield Block(PIECE, n / 10)


class Torn:
    """Four blocks of a tenth of a second; sound is missing before the second and the last."""

    sr = SR

    def blocks(self):
        for n, gap in enumerate((False, True, False, True)):
            yield Block(PIECE, n / 10, gap)


@pytest.mark.parametrize("speed", [math.inf, 100.0])
def test_holes_of_a_recording_are_counted_as_lost_sound(speed):
    replay = Replay(Torn(), speed)  # type: ignore[arg-type]
    while replay.read(1.0) is not None:
        pass
    assert replay.gaps == 2


def held(path):
    return any(os.path.realpath(handle) == str(path) for handle in Path("/proc/self/fd").iterdir())


def test_a_recording_that_is_not_played_to_its_end_is_let_go(tmp_path):
    path = wav_file(tmp_path / "a.wav", noise(5).astype("f8"), SR)
    replay = Replay(Recording(path), math.inf)
    assert replay.read(0)
    assert held(path)
    replay.close()
    assert not held(path)


def test_a_speed_beyond_the_decoders_holds_nobody_up():
    """Else all of the recording is read before the first window of it is judged."""
    replay = Replay(Decoder(0.01), 1000)  # type: ignore[arg-type]
    for _ in range(3):
        began = time.monotonic()
        blocks = replay.read(0.05)
        assert blocks
        # A tenth of what an unbounded read would hold; a machine that is late reads fewer.
        assert len(blocks) <= 6
        assert time.monotonic() - began < 20


@pytest.mark.parametrize("timeout_s", [0.0, 0.05])
def test_what_is_not_due_is_waited_for_no_longer_than_asked(timeout_s):
    # The first is due after ten seconds.
    replay = Replay(Decoder(0.0), 0.01)  # type: ignore[arg-type]
    began = time.monotonic()
    assert replay.read(timeout_s) == []
    assert timeout_s <= time.monotonic() - began < 5


def test_as_fast_as_possible_it_is_one_block_at_a_time():
    replay = Replay(Decoder(0.0), float("inf"))  # type: ignore[arg-type]
    starts = [block.start_s for _ in range(5) for block in replay.read(0.25) or []]
    assert starts == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
