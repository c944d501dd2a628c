import os
import signal
import sys
import time
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from edge.capture_process import OPENED_PREFIX
from edge.capture_stream import _read_packet
from edge.config import AudioConfig
from edge.microphone import Microphone
from edge.window import Block
from tests.captured import Later, gather, size
from tests.fake_capture import PACKET

SR = 22_050
ROOT = Path(__file__).resolve().parents[1]


def counted(blocks):
    """The counter values of the samples, as they were sent."""
    return np.round(np.concatenate([b.y for b in blocks]) * 32768).astype(int)


def test_not_one_sample_is_lost_or_repeated(listening):
    blocks = gather(listening("200 hang"), lambda b: size(b) >= 200 * PACKET)
    # 10 s sent at once exceed the 4 s kept for a late reader, so steps occur, but only at gaps.
    values = counted(blocks)
    gaps = [i for i, block in enumerate(blocks) if block.gap]
    assert gaps[0] == 0
    steps = np.diff(values) % 30_000
    assert np.count_nonzero(steps != 1) == len(gaps) - 1


def test_at_its_own_pace_nothing_at_all_is_missing(listening):
    microphone = listening("paced:60 hang", stall_s=60)
    blocks = gather(microphone, lambda b: size(b) >= 60 * PACKET)
    np.testing.assert_array_equal(counted(blocks), np.arange(60 * PACKET) % 30_000)
    assert [b.gap for b in blocks].count(True) == 1  # at the beginning
    assert microphone.problem == ""
    assert microphone.gaps == 0  # a beginning is no loss
    times = [b.start_s for b in blocks]
    np.testing.assert_allclose(np.diff(times), PACKET / SR, atol=1e-6)


TONE = """
import math, struct, sys, time
for n in range(60):
    y = [round(16000 * math.sin(2 * math.pi * 440 * (n * 2205 + i) / 44100)) for i in range(2205)]
    sys.stdout.buffer.write(struct.pack("<IIIIId", 0x4B4E4F43, 44100, 2205, 0, 7, time.monotonic()))
    sys.stdout.buffer.write(struct.pack("<2205h", *y))
    sys.stdout.buffer.flush()
time.sleep(100)
"""


def test_a_microphone_of_another_rate_is_resampled():
    microphone = Microphone(AudioConfig(), SR, command=[sys.executable, "-c", TONE])
    try:
        blocks = gather(microphone, lambda b: size(b) >= 2.5 * SR)
    finally:
        microphone.close()
    y = np.concatenate([block.y for block in blocks])[: 2 * SR]
    spectrum = np.abs(np.fft.rfft(y * np.hanning(y.size)))
    assert spectrum.argmax() / 2 == pytest.approx(440, abs=1)  # bins of half a hertz
    assert microphone.overflows == 7


def test_a_reader_that_was_late_gets_the_newest_and_a_gap(listening):
    microphone = listening("200 hang")
    microphone.read(0)
    deadline = time.monotonic() + 15
    while microphone.samples < 200 * PACKET and time.monotonic() < deadline:
        time.sleep(0.05)
    blocks = microphone.read(0.05)
    assert size(blocks) <= 4 * SR + PACKET
    assert blocks[0].gap
    assert counted(blocks)[-1] == (200 * PACKET - 1) % 30_000


def test_samples_that_were_lost_make_a_gap(listening):
    microphone = listening("5 lose:500 5 hang", stall_s=60)
    blocks = gather(microphone, lambda b: size(b) >= 10 * PACKET)
    assert microphone.gaps == 1
    assert [b.gap for b in blocks].count(True) == 2
    values = counted(blocks)
    assert np.flatnonzero(np.diff(values) != 1).tolist() == [5 * PACKET - 1]


def test_the_reason_is_what_the_process_said_last(listening):
    microphone = listening("say:no_such_card die")
    gather(microphone, lambda _: microphone.problem == "no_such_card", seconds=5)
    assert microphone.problem == "no_such_card"


def test_nonsense_is_said_to_be_the_reason_at_once(listening):
    microphone = listening("say:knockmic 3 nonsense hang", stall_s=60)
    gather(microphone, lambda b: size(b) >= 3 * PACKET)
    gather(microphone, lambda _: microphone.problem, seconds=5)
    assert microphone.problem == "the capture process sent invalid data"


def test_a_process_that_was_killed_had_no_last_words(listening):
    microphone = listening("say:knockmic 3 hang", stall_s=60)
    gather(microphone, lambda b: size(b) >= 2 * PACKET)
    microphone._process.kill()
    gather(microphone, lambda _: microphone.problem, seconds=5)
    assert microphone.problem == "the capture process has died"


def test_overflows_are_counted_on_when_the_process_is_started_again(listening):
    microphone = listening("1 overflow:3 1 overflow:5 1 die")
    gather(microphone, lambda _: microphone.restarts >= 2 and microphone.overflows >= 15)
    assert microphone.overflows == 15


def test_what_a_dying_process_sent_and_said_last_is_heard(monkeypatch, caplog):
    """Even if the thread that reads its pipes has not run yet."""
    caplog.set_level("INFO")

    def late(pipe):
        time.sleep(0.3)
        return _read_packet(pipe)

    monkeypatch.setattr("edge.capture_stream._read_packet", late)
    script = f"say:{OPENED_PREFIX}knockmic say:unplugged 3 die"
    command = [sys.executable, "-m", "tests.fake_capture", script]
    monkeypatch.chdir(ROOT)
    microphone = Microphone(AudioConfig(device="usb"), SR, command=command)
    assert Microphone(AudioConfig(), SR).name == "default microphone"
    heard: list[Block] = []
    names = [microphone.name]
    deadline = time.monotonic() + 20
    try:
        while not (heard and microphone.problem):
            assert time.monotonic() < deadline
            heard += microphone.read(0.02)
            names.append(microphone.name)
    finally:
        microphone.close()
    assert size(heard) == 3 * PACKET
    assert microphone.problem == "unplugged"
    # While it is open, as PortAudio calls it; else as the settings do.
    assert [name for name, _ in groupby(names)] == ["usb", "knockmic", "usb"]
    assert "microphone delivers: knockmic" in caplog.messages


def test_what_stands_in_for_the_time_goes_on_and_is_later():
    clock = Later()
    before_s = clock.monotonic()
    assert before_s <= clock.monotonic() < before_s + 900
    clock.by_s = 1000.0
    assert clock.monotonic() >= before_s + 1000


SLOW = """
import struct, sys, time
def send():
    header = struct.pack("<IIIIId", 0x4B4E4F43, 16_000, 80, 0, 0, time.monotonic())
    sys.stdout.buffer.write(header + bytes(160))
    sys.stdout.buffer.flush()
time.sleep(2.3)
send()
time.sleep(0.3)
for _ in range(100):
    send()
time.sleep(1000)
"""


def test_samples_that_the_resampler_keeps_to_itself_count_as_heard():
    """It outputs nothing for the first 5 ms; opening takes longer than a stall may last."""
    command = [sys.executable, "-c", SLOW]
    microphone = Microphone(AudioConfig(stall_s=2), SR, command=command)
    try:
        assert gather(microphone, lambda b: size(b) > 0)
        assert microphone.restarts == 0
    finally:
        microphone.close()


def test_the_time_never_goes_back_though_the_card_is_fast(listening):
    # 60 packets at once look like 3 s from a very fast card; then the process also dies.
    blocks = gather(listening("60 lose:500 2 die"), lambda b: size(b) >= 70 * PACKET)
    assert [block.gap for block in blocks].count(True) >= 3
    ends = [block.start_s + block.y.size / SR for block in blocks]
    assert all(b.start_s >= end - 1e-6 for b, end in zip(blocks[1:], ends[:-1], strict=True))


def test_closing_waits_for_nobody_who_holds_the_pipe(tmp_path):
    holder = tmp_path / "pid"
    command = ["sh", "-c", f"sleep 30 & echo $! >{holder}; exec sleep 100"]
    microphone = Microphone(AudioConfig(), SR, command=command)
    microphone.read(0)
    time.sleep(0.3)
    began = time.monotonic()
    microphone.close()
    took_s = time.monotonic() - began
    os.kill(int(holder.read_text()), signal.SIGKILL)
    assert took_s < 2


def test_closing_ends_the_process(listening):
    microphone = listening("2 hang")
    gather(microphone, lambda b: size(b) > 0)
    process = microphone._process
    assert process is not None
    microphone.close()
    assert process.poll() is not None


def test_a_wrong_rate_is_not_that_of_the_next_process(listening):
    microphone = listening("3 die", stall_s=60)
    gather(microphone, lambda b: size(b) >= 3 * PACKET)
    microphone._update_rate_error(-0.3)
    gather(microphone, lambda _: bool(microphone.problem))
    assert microphone.rate_error == 0.0


def test_a_wrong_rate_is_said_once_and_forgotten_when_it_is_right(caplog):
    microphone = Microphone(AudioConfig(), SR, command=["none"])
    for error in (-0.3, -0.31, 0.0):
        microphone._update_rate_error(error)
        assert microphone.rate_error == error
    assert len([line for line in caplog.messages if "too few samples" in line]) == 1


STUCK = """
import pathlib, struct, sys, time
first = pathlib.Path(sys.argv[1])
again = first.exists()
first.touch()
for n in range(400):
    y = [(i * again) % 1000 for i in range(1102)]
    head = struct.pack("<IIIIId", 0x4B4E4F43, 22050, 1102, 0, 0, time.monotonic())
    sys.stdout.buffer.write(head + struct.pack("<1102h", *y))
    sys.stdout.buffer.flush()
    time.sleep(0.05)
"""


def test_a_card_that_sends_one_value_for_ever_is_opened_anew(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("edge.microphone.STUCK_S", (0.5, 4.0))
    monkeypatch.setattr("edge.microphone.BACK_OFF_RESET_S", 0.8)  # more than it is still
    command = [sys.executable, "-c", STUCK, str(tmp_path / "opened")]
    microphone = Microphone(AudioConfig(), SR, command=command)
    try:
        gather(microphone, lambda b: any(block.y.any() for block in b), seconds=10)
        assert microphone.restarts == 1
        assert microphone.problem == ""
        assert "the samples do not change" in caplog.text
        assert microphone._stuck_limit_s == 1.0
        gather(microphone, lambda b: size(b) >= SR, seconds=10)
        assert microphone.restarts == 1
        assert microphone._stuck_limit_s == 0.5  # sound came, so the next time it is as quick
    finally:
        microphone.close()


@pytest.mark.parametrize(
    "sample",
    ["7", "1000 * (n == 0 and i < 100)"],  # a constant; a click of being opened, then zeros
)
def test_what_stays_still_is_opened_anew_less_and_less_often(monkeypatch, tmp_path, sample):
    monkeypatch.setattr("edge.microphone.STUCK_S", (0.5, 1.5))
    monkeypatch.setattr("edge.microphone.BACK_OFF_S", (0.01,))
    still = STUCK.replace("(i * again) % 1000", sample)
    assert sample in still
    command = [sys.executable, "-c", still, str(tmp_path / "opened")]
    microphone = Microphone(AudioConfig(), SR, command=command)
    limits: list[float] = []

    def seen(_):
        if microphone._stuck_limit_s not in limits[-1:]:
            limits.append(microphone._stuck_limit_s)
        return microphone.restarts == 2

    try:
        gather(microphone, seen, seconds=15)
    finally:
        microphone.close()
    assert microphone.restarts == 2
    assert limits == [0.5, 1.0, 1.5]
