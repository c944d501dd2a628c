"""A capture process that is started before the rest of the listener is loaded."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.capture_start import start_capture
from edge.child import child_environment
from edge.config import AudioConfig
from edge.microphone import Microphone
from tests.captured import gather, packet, size, stream_of
from tests.fake_capture import PACKET
from tests.test_microphone import SR, TONE

ROOT = Path(__file__).resolve().parents[1]


def test_one_that_was_started_before_is_listened_to_and_once_only():
    process = start_capture([sys.executable, "-c", TONE])
    time.sleep(0.5)  # sound sent meanwhile is not lost
    microphone = Microphone(AudioConfig(), SR, command=["false"], process=process)
    try:
        blocks = gather(microphone, lambda b: size(b) > 2.5 * SR)
        assert size(blocks) > 2.5 * SR  # of 3 s sent at once
        assert microphone.gaps == 0
        process.kill()
        gather(microphone, lambda _: microphone.restarts)
        assert microphone.restarts == 1
    finally:
        microphone.close()


def test_sound_that_waited_to_be_read_is_of_when_it_came():
    """A slow start reads it in a burst; its time is still right, and no fast card is reported."""
    began = time.monotonic()
    at = [began - 8 + 0.05 * n for n in range(160)]  # eight seconds, read at once
    stream = stream_of(packet(PACKET, t) for t in at)
    blocks = stream.take(0)
    end_s = blocks[-1].start_s + blocks[-1].y.size / SR
    assert end_s == pytest.approx(at[-1], abs=0.01)
    # The newest seconds are kept; a gap shows that the rest is lost.
    assert 3.9 * SR < size(blocks) <= 4 * SR
    assert [b.gap for b in blocks] == [True] + [False] * (len(blocks) - 1)
    assert stream.rate_error == 0


def test_one_that_was_started_but_never_listened_to_ends_too():
    process = start_capture([sys.executable, "-c", TONE])
    Microphone(AudioConfig(), SR, process=process).close()
    assert process.poll() is not None


def test_a_second_of_silence_from_us_costs_no_sound():
    """A Pi takes longer to load the network than a pipe of default size can buffer."""
    process = start_capture(["sh", "-c", "head -c 900000 /dev/zero && echo done >&2 && sleep 9"])
    with process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"done\n"
        process.kill()


def test_it_ends_before_it_opens_anything_if_whoever_started_it_has_ended(tmp_path):
    """Else a device that hangs when it is opened would keep it, and the card, for ever."""
    ours, theirs = os.pipe()
    os.close(ours)
    (tmp_path / "pyaudio.py").write_text("import time\ntime.sleep(60)\n")  # hangs
    process = subprocess.Popen(
        [sys.executable, "-m", "edge.capture_process", "", "0", "[44100]"],
        env={**child_environment(), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        stdout=theirs,
    )
    os.close(theirs)
    try:
        assert process.wait(20) == 0
    finally:
        process.kill()
