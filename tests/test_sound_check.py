"""The microphone's part of ``edge doctor``, on made sound."""

import numpy as np
import pytest

from edge import sound_check
from edge.config import Config
from edge.gate import Gate
from edge.gate_config import GateConfig
from edge.microphone import NOT_OPENED, OPEN_TIMEOUT_S
from edge.sound_check import TapDetector, _level_finding, check_microphone, tap_test
from edge.window import Block, Flaws
from tests.audio import hiss, noise, tone

SR = 22_050


class Source:
    """A microphone that gives blocks of 50 ms of what it was told, faster than real time."""

    sr = SR
    name = "USB Audio"

    def __init__(self, y, problem=""):
        self._blocks = [Block(y[at : at + 1102], at / SR) for at in range(0, y.size, 1102)]
        self._problem = problem
        self.problem = NOT_OPENED
        self.closed = False

    @property
    def opening(self):
        return self.problem == NOT_OPENED

    def read(self, timeout_s):
        if self._blocks:
            self.problem = ""
            return [self._blocks.pop(0)]
        self.problem = self._problem
        return []

    def close(self):
        self.closed = True


@pytest.fixture
def plug(monkeypatch):
    """Put in a source as the microphone, and a clock that each look at it moves."""

    def put(y, problem=""):
        source = Source(y, problem)
        monkeypatch.setattr("edge.sound_check.Microphone", lambda *_: source)
        now = iter(np.arange(0, 1e6, 0.05))
        monkeypatch.setattr("edge.sound_check.time.monotonic", lambda: next(now))
        return source

    return put


@pytest.mark.parametrize(
    ("scale_db", "level", "words"),
    [
        (0, "ok", "-26 dBFS rms"),
        (14, "warn", "gain down"),  # peaks of this noise are 12 dB above its level
        (-26, "warn", "gain up"),
    ],
)
def test_the_level_and_what_to_do(plug, scale_db, level, words):
    y = noise(3.5)
    y *= np.float32(0.05 * 10 ** (scale_db / 20) / y.std())
    source = plug(y)
    finding = check_microphone(Config())
    assert (finding.level, finding.check) == (level, "microphone")
    assert words in finding.line()
    assert finding.detail.startswith("USB Audio: 3.0 s heard")
    assert ("sudo alsactl store" in finding.remedy) == (level == "warn")  # or a power cut undoes it
    assert source.closed


def test_it_judges_windows_as_the_listener_does(plug):
    y = noise(4)
    y[SR // 2 : SR // 2 + round(0.51 * SR)] = 0  # of 3 s it would be a sixth, of a window a quarter
    plug(y)
    assert "flat_line" in check_microphone(Config()).detail


def test_sound_in_pieces_is_no_sound(plug):
    source = plug(noise(4))
    source._blocks = [
        Block(block.y, block.start_s, gap=number % 30 == 0)  # every 1.5 s
        for number, block in enumerate(source._blocks)
    ]
    finding = check_microphone(Config())
    assert finding.level == "fail"
    assert "sound is lost" in finding.detail
    assert "cable" in finding.line()


def test_bare_hiss_is_a_warning_as_the_engine_may_be_off(plug):
    plug(hiss(4))
    finding = check_microphone(Config())
    assert finding.level == "warn"
    assert "hiss" in finding.detail
    assert "start the engine" in finding.line()


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.zeros(4 * SR, dtype=np.float32), "muted"),
        (np.zeros(4 * SR, dtype=np.float32), "audio.channel"),  # the other one has the sound
        (np.clip(20 * tone(4, SR), -1, 1).astype(np.float32), "gain down"),
        (tone(4, SR), "earth"),
        (np.tile(noise(0.25), 16), "driver hangs"),
        (np.full(4 * SR, 0.3, dtype=np.float32) + noise(4) / 1000, "converter"),
    ],
)
def test_what_the_service_would_not_judge_fails(plug, y, words):
    plug(y)
    finding = check_microphone(Config())
    assert finding.level == "fail"
    assert words in finding.remedy
    assert ("sudo alsactl store" in finding.remedy) == ("gain" in words)


def test_sound_overdriven_before_the_resampler_fails():
    y = noise(3.0)
    finding = _level_finding(
        [Block(y, 0.0, flaws=Flaws(0.9, 0.0))], Gate(GateConfig(), sr=SR), SR, "USB"
    )
    assert finding.level == "fail"
    assert "clipping" in finding.detail


@pytest.mark.parametrize("check", [check_microphone, tap_test])
def test_a_lock_is_named_only_where_something_hangs(plug, check, monkeypatch):
    monkeypatch.setattr("edge.sound_check.jack_lock_hint", lambda: "free the lock")
    plug(noise(0), "no samples arrive")
    assert "free the lock" in check(Config()).remedy
    plug(noise(0), "there is no microphone: plug one in")
    assert "free the lock" not in check(Config()).remedy


@pytest.mark.parametrize(
    ("seconds", "problem", "words"),
    [(0.0, "no microphone matches", "no microphone matches"), (1.0, "", "too few samples")],
)
@pytest.mark.parametrize("check", [check_microphone, tap_test])
def test_a_microphone_that_does_not_deliver_fails(plug, check, seconds, problem, words):
    source = plug(noise(seconds), problem)
    finding = check(Config())
    assert finding.level == "fail"
    assert source.closed
    if check is check_microphone or not seconds:
        assert words in finding.detail
        assert "edge devices" in finding.remedy


def blows(y, at_s, height):
    """``y`` with blows that ring for 20 ms."""
    y = y.copy()
    ring = np.exp(-np.arange(int(0.02 * SR)) / (0.005 * SR)) * np.cos(np.arange(int(0.02 * SR)))
    for second in at_s:
        y[int(second * SR) :][: ring.size] += (height * ring).astype(np.float32)
    return y


@pytest.mark.parametrize("piece", [1102, 100, 5000])
def test_every_tap_is_heard_once_however_it_comes(piece):
    y = blows(np.float32(0.005) * noise(5), [1.0, 1.5, 3.21, 4.0], 0.5)
    taps = TapDetector(SR)
    heard = [tap for at in range(0, y.size, piece) for tap in taps.push(y[at : at + piece])]
    assert len(heard) == 4
    assert all(-8 < level < -5 for level in heard)  # 0.5 is -6 dB


def test_a_blow_that_rings_is_one_and_what_does_not_stand_out_is_none():
    quiet = np.float32(0.005) * noise(3)
    assert len(TapDetector(SR).push(blows(quiet, [1.0, 1.05], 0.5))) == 1
    assert len(TapDetector(SR).push(blows(quiet, [1.0, 1.2], 0.5))) == 2
    assert len(TapDetector(SR).push(blows(quiet, [1.0, 1.2], 0.5) + np.float32(0.2))) == 2
    assert TapDetector(SR).push(quiet) == []
    loud = np.float32(0.2) * noise(3)
    assert TapDetector(SR).push(blows(loud, [1.0], 0.5)) == []


def test_taps_are_told_and_counted(plug, capsys):
    source = plug(blows(np.float32(0.005) * noise(8), [1.0, 2.0], 0.5))
    finding = tap_test(Config())
    assert (finding.level, finding.detail) == ("ok", "2 taps heard")
    assert capsys.readouterr().out.count("heard a tap") == 2
    assert source.closed
    plug(np.float32(0.005) * noise(8))
    finding = tap_test(Config())
    assert (finding.level, finding.detail) == ("fail", "no taps heard")
    assert "to the block" in finding.remedy


def test_a_microphone_lost_while_taps_are_awaited_is_not_badly_mounted(plug):
    plug(np.float32(0.005) * noise(3), "the capture process has died")
    finding = tap_test(Config())
    assert (finding.level, finding.detail) == ("fail", "the capture process has died")
    assert "edge devices" in finding.remedy
    assert "to the block" not in finding.remedy


def test_the_limit_leaves_time_to_listen_after_the_slowest_opening():
    assert sound_check.TIMEOUT_S > OPEN_TIMEOUT_S + sound_check.LISTEN_S


def test_a_gap_is_no_tap():
    taps = TapDetector(SR)
    hiss = 0.001 * noise(2)
    assert taps.push(hiss) == []
    assert taps.push(100 * noise(1), gap=True) == []  # another sound begins
    assert taps.push(hiss) == []
