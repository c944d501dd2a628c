"""Whatever may come through the pipe of the capture process."""

import io
import time

import numpy as np
import pytest

from edge.capture_process import HEADER, MAGIC, OPENED_PREFIX
from edge.capture_stream import MAX_LINE_BYTES, CaptureStream, _read_packet
from edge.config import AudioConfig
from edge.microphone import BACK_OFF_S, OPEN_TIMEOUT_S, Microphone
from edge.window import Windower, mean_flaws
from tests.audio import noise
from tests.captured import packet, stream_of

SR = 22_050


def test_what_is_out_of_sync_is_no_sound():
    with pytest.raises(ValueError, match="out of sync"):
        _read_packet(io.BytesIO(HEADER.pack(0, 44_100, 2, 0, 0, 1.0) + bytes(4)))


def test_a_pause_that_nobody_reports_is_a_gap():
    came_s = 100 + np.arange(6) * 1102 / SR + 1.3 * (np.arange(6) >= 3)
    blocks = stream_of(packet(1102, at) for at in came_s).take(0)
    assert [block.gap for block in blocks] == [True, False, False] * 2
    ends_s = blocks[2].start_s + 1102 / SR
    assert blocks[3].start_s - ends_s == pytest.approx(1.3)


class Sized(io.BytesIO):
    most = 0

    def read(self, size=-1):
        self.most = max(self.most, size)
        return super().read(size)


def test_a_broken_stream_is_no_sound():
    pipe = Sized(HEADER.pack(MAGIC, 44_100, 2**31, 0, 0, 1.0) + b"abc")
    with pytest.raises(ValueError, match="out of sync"):
        _read_packet(pipe)
    assert pipe.most <= 1000
    assert _read_packet(io.BytesIO(HEADER.pack(MAGIC, 44_100, 100, 0, 0, 1.0) + b"abcd")) is None


def test_nothing_from_before_a_gap_sounds_after_it():
    loud, still = np.full(2205, 16_000), 2205
    sent = [
        *(packet(loud, 0.05 * n, rate=44_100) for n in range(10)),
        packet(still, 0.5, rate=44_100, lost=5),
        *(packet(still, 0.05 * n, rate=44_100) for n in range(11, 21)),
    ]
    blocks = stream_of(sent).take(0)
    second = [i for i, block in enumerate(blocks) if block.gap][1]
    assert all(np.abs(block.y).max() < 1e-6 for block in blocks[second:])


def test_what_is_counted_as_received_can_be_taken():
    """Otherwise a reader that waits for the count would miss the newest block."""
    taken = []

    class Watched(CaptureStream):
        def _append(self, block):
            taken.append(self.received)  # the count while this block cannot be taken yet
            super()._append(block)

    stream = stream_of((packet(1102, 0.05 * n) for n in range(3)), kind=Watched)
    assert taken == [0, 1102, 2 * 1102]
    assert stream.received == 3 * 1102


def test_the_time_is_that_of_the_first_packet_when_a_resampler_needs_more():
    rate, n = 16_000, 320
    came = [100 + (i + 1) * n / rate for i in range(20)]
    blocks = stream_of(packet(n, at, rate=rate) for at in came).take(0)
    assert sum(b.y.size for b in blocks) < 19 * n / rate * SR  # the first packets gave no output
    assert blocks[0].start_s == pytest.approx(100.0)
    assert [b.gap for b in blocks].count(True) == 1
    ends = [b.start_s + b.y.size / SR for b in blocks]
    np.testing.assert_allclose([b.start_s for b in blocks[1:]], ends[:-1], atol=1e-9)


@pytest.mark.parametrize("rate", [16_000, 32_000, 44_100])
def test_packets_that_each_stand_alone_are_sound_in_pieces(rate):
    """A resampler outputs nothing for so short a piece until it is flushed, at the gap."""
    n = rate // 20
    came = [100 + (i + 1) * 0.06 for i in range(75)]
    lost = rate // 100  # 10 ms of every 60 ms
    blocks = stream_of(packet(n, at, rate=rate, lost=lost) for at in came).take(0)
    assert {block.gap for block in blocks if block.y.size > SR // 50} == {True}
    assert sum(block.y.size for block in blocks) == pytest.approx(74 * 0.05 * SR, rel=0.02)
    windower = Windower(2 * SR, SR // 2, SR)
    missed = []
    for block in blocks:
        assert windower.push(block) == []
        missed += [windower.missed_window()]
    assert len([found for found in missed if found]) >= 3


def test_the_device_is_the_one_that_was_opened_and_no_chatter():
    words = f"ALSA lib: hello\n{OPENED_PREFIX}USB PnP (hw:1,0)\nALSA lib: overrun\n".encode()
    stream = stream_of([], words=words)
    assert stream.device == "USB PnP (hw:1,0)"
    assert stream.last_error_line() == "ALSA lib: overrun"


def test_a_library_that_never_ends_its_line_takes_no_memory():
    stream = stream_of([], words=bytes([ord("x")]) * 10 * MAX_LINE_BYTES)
    assert len(stream._stderr_lines) == stream._stderr_lines.maxlen
    assert len(stream.last_error_line()) <= 300


@pytest.mark.parametrize("speed", [0.98, 0.9999, 1.0, 1.0003, 1.02])
def test_a_gap_is_as_long_as_it_was_however_far_the_clocks_have_drifted(speed):
    """The clocks of card and machine: in the worst case here, 14 s apart after twelve minutes."""
    n, minutes, away_s = 1100, 12, 0.3
    count = round(minutes * 60 * SR / n)
    came = [1000 + (i + 1) * n / SR / speed for i in range(count)]
    later = came[-1] + away_s + n / SR
    blocks = stream_of([*(packet(n, at) for at in came), packet(n, later, lost=1)]).take(0)
    gap_s = blocks[-1].start_s - blocks[-2].start_s - n / SR
    assert blocks[-1].gap
    # Drift is measured over one second, in which a fast card's clock runs ahead of the machine's.
    assert gap_s == pytest.approx(away_s - max(0, 1 - 1 / speed), abs=2e-3)


def test_an_outage_is_as_long_as_it_was_whoever_hears_its_end():
    """The next process continues from the end of the sound, not from the machine's clock."""
    n = 1100
    fast = [1000 + (i + 1) * n / SR / 1.01 for i in range(2000)]  # by the end 1 s of drift
    first = stream_of(packet(n, at) for at in fast)
    block = stream_of([packet(n, fast[-1] + 8)], resume_at=first.clock_state).take(0)[0]
    before = first.take(0)[-1]
    # Less 0.01 s, by which so fast a card drifts in the second over which drift is measured.
    assert block.start_s - before.start_s == pytest.approx(7.99, abs=0.002)
    assert before.start_s + 8 > fast[-1] + 8.5  # although the machine's clock is behind that


def test_what_is_counted_as_lost_is_time_that_passed_however_late_the_rest_comes():
    """On a board that stalls, the capture process's own queue overflows again and again."""
    n, packets, now = 1102, [], 1000.0
    for _ in range(60):
        for i in range(40):
            now += n / SR
            late = 0.9 if i >= 30 else 0.0
            packets.append(packet(n, now + late, lost=SR // 2 if i == 0 else 0))
        now += 0.5
    last = stream_of(packets).take(0)[-1]
    assert last.start_s + n / SR == pytest.approx(now - 0.5, abs=1.0)


@pytest.mark.parametrize("rate", [44_100, 48_000])
def test_what_a_resampler_still_held_at_a_gap_counts(rate):
    n, packets, now = rate // 20, [], 1000.0
    for _ in range(50):
        now += 0.5
        for i in range(20):
            now += 0.05
            packets.append(packet(n, now, rate=rate, lost=int(i == 0)))
    last = stream_of(packets).take(0)[-1]
    # Except for the 30 ms or so that the resampler holds at the end.
    assert last.start_s + last.y.size / SR == pytest.approx(now, abs=0.05)


@pytest.mark.parametrize("flagged", [1, 10])
def test_what_only_comes_late_is_no_time_that_passed(flagged):
    """Bursts of four callbacks every 0.2 s, some flagged with a loss that was none."""
    n, packets, now = 1102, [], 1000.0
    for burst in range(100):
        now += 4 * n / SR
        lost = burst > 0 and burst % flagged == 0
        packets += [packet(n, now, lost=1 if lost else 0), *(packet(n, now) for _ in range(3))]
    stream = stream_of(packets)
    last = stream.take(0)[-1]
    # The time it took, but for the first burst, of which nobody can know whether it was late.
    assert last.start_s + n / SR == pytest.approx(now, abs=4 * n / SR)


def test_waiting_for_the_next_try_takes_no_longer_than_was_asked():
    microphone = Microphone(AudioConfig(), SR, command=["false"])
    microphone._next_try = time.monotonic() + 8
    began = time.monotonic()
    assert microphone.read(0.05) == []
    assert time.monotonic() - began < 2
    microphone.close()


def test_it_is_tried_for_ever_and_soon_enough():
    assert BACK_OFF_S[-1] <= 30 and OPEN_TIMEOUT_S <= 10
    microphone = Microphone(AudioConfig(), SR, command=["false"])
    for _ in range(3 * len(BACK_OFF_S)):
        microphone._give_up("gone")
    assert microphone._next_try - time.monotonic() <= BACK_OFF_S[-1]


def test_flat_tops_of_a_microphone_are_told_as_recorded():
    import sys

    from tests.captured import gather, size

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
    """Every other packet is still; with callbacks of 10 ms, four in five yield no block."""
    monkeypatch.setattr("edge.capture_stream.BUFFER_S", 100)
    loud = 3000 * noise(samples / rate, rate)
    sent = [packet(loud if i % 2 else samples, i * samples / rate, rate=rate) for i in range(400)]
    assert mean_flaws(stream_of(sent).take(0)).stuck == pytest.approx(0.5, abs=0.02)
