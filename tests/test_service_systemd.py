"""What the listener sends to systemd: sd_notify(3), received on a socket of the test."""

import contextlib
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.health import Notifier
from edge.service import EXTEND_START_S
from edge.window import Block
from tests.audio import noise
from tests.listener import SR, Judge, seconds

ROOT = Path(__file__).resolve().parents[1]


@contextlib.contextmanager
def systemd(tmp_path, monkeypatch):
    """``(said, drain)``: all messages to systemd, and a function that receives the latest."""
    address, said = str(tmp_path / "notify"), []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(address)
        line.setblocking(False)  # drained along the way, as it holds only ten messages
        monkeypatch.setenv("NOTIFY_SOCKET", address)

        def drain():
            with contextlib.suppress(BlockingIOError):
                while True:
                    said.append(line.recv(4096).decode())

        yield said, drain
        drain()


@pytest.fixture
def later(monkeypatch):
    """A step during which 2 s pass; otherwise time stands still."""
    now = [100.0]
    monkeypatch.setattr("edge.service.time.monotonic", lambda: now[0])

    def step():
        now[0] += 2

    return step


def test_systemd_hears_ready_and_a_heartbeat_of_windows(make, tmp_path, monkeypatch):
    with systemd(tmp_path, monkeypatch) as (said, drain):
        steps: list[Any] = ["gone"]
        for block in seconds(10):
            steps += [block, drain]
        make(steps).run()
    ready = next(i for i, words in enumerate(said) if "READY=1" in words)
    beats = [i for i, words in enumerate(said) if words == "WATCHDOG=1"]
    assert min(beats) > ready
    assert len(beats) == 7  # one per window, none merely for time that passes
    assert "STOPPING=1" in said[-1]


def test_ready_is_said_until_systemd_hears_it(make, monkeypatch):
    """Otherwise the service would run on without a watchdog."""
    heard = []

    class Deaf(Notifier):
        def __call__(self, **fields):
            heard.append(fields)
            return len([f for f in heard if "READY" in f]) > 2

    monkeypatch.setattr("edge.health.Notifier", Deaf)
    make(seconds(10)).run()
    assert len([f for f in heard if "READY" in f]) == 3  # the first two are not received


def test_a_network_that_answers_nonsense_is_no_heartbeat(make, tmp_path, monkeypatch):
    """Its weights may be damaged in memory, which a restart repairs: no heartbeat then."""
    judge = Judge()
    judge.script = [float("nan")] * 3
    with systemd(tmp_path, monkeypatch) as (said, drain):
        steps = [step for block in seconds(10) for step in (block, drain)]
        make(steps, judge).run()
    assert said.count("WATCHDOG=1") == 4  # of seven windows
    assert len([words for words in said if "READY=1" in words]) == 1


def test_a_network_that_answers_nonsense_from_the_first_is_no_start_that_goes_on(
    make, tmp_path, monkeypatch, later
):
    judge = Judge()
    judge.script = [float("nan")] * 99
    with systemd(tmp_path, monkeypatch) as (said, drain):
        make([s for block in seconds(20) for s in (block, later, drain)], judge).run()
    asked = ["EXTEND_TIMEOUT_USEC" in words for words in said]
    assert 1 <= sum(asked) <= 4  # only until the first window was judged
    assert not any("READY" in words or "WATCHDOG" in words for words in said)


def test_gaps_are_no_heartbeat_of_a_network_that_answers_nonsense(make, tmp_path, monkeypatch):
    whole = [Block(noise(1), i, gap=False) for i in range(10)]
    pieces = [Block(noise(1), 10 + 1.2 * i, gap=True) for i in range(20)]
    judge = Judge()
    judge.script = [float("nan")] * 99
    with systemd(tmp_path, monkeypatch) as (said, drain):
        service = make([s for block in (*whole, *pieces) for s in (block, drain)], judge)
        service.run()
    assert service.counters.unknown_reasons["gap"] > 10
    assert not any("WATCHDOG" in words for words in said)


def test_silence_is_no_proof_of_a_network_that_answers_nonsense(make, tmp_path, monkeypatch):
    """The network is not run on windows that the gate refuses, nor without a microphone."""
    blocks = [
        *(Block(noise(1), i) for i in range(10)),
        *(Block(np.zeros(SR, np.float32), 10 + i) for i in range(5)),
        "gone",
        *(Block(noise(1), 20 + 1.2 * i, gap=True) for i in range(20)),
    ]
    judge = Judge()
    judge.script = [float("nan")] * 99
    with systemd(tmp_path, monkeypatch) as (said, drain):
        service = make([s for block in blocks for s in (block, drain)], judge)
        service.run()
    reasons = service.counters.unknown_reasons
    assert reasons["flat_line"] > 3
    assert reasons["gap"] > 10
    assert not any("WATCHDOG" in words for words in said)


def test_gaps_are_no_readiness_but_once_it_is_ready_a_heartbeat(make, tmp_path, monkeypatch):
    """No restart mends gaps, so they keep the heartbeat; they do not prove that it can judge."""
    now = [100.0]
    monkeypatch.setattr("edge.service.time.monotonic", lambda: now[0])
    broken = [Block(noise(1), 1.2 * i, gap=True) for i in range(20)]  # to 24 s
    whole = [Block(noise(1), 24 + i, gap=i == 0) for i in range(5)]
    again = [Block(noise(1), 30 + 1.2 * i, gap=True) for i in range(20)]
    with systemd(tmp_path, monkeypatch) as (said, drain):

        def second():
            now[0] += 1
            drain()

        steps = [step for block in (*broken, *whole, *again) for step in (block, second)]
        make(steps).run()
    ready = next(i for i, words in enumerate(said) if "READY=1" in words)
    assert len([words for words in said[:ready] if "EXTEND_TIMEOUT_USEC" in words]) >= 20
    assert len([words for words in said[:ready] if "STATUS=unjudged" in words]) >= 15
    assert len([words for words in said[ready:] if words == "WATCHDOG=1"]) >= 4 + 15


def test_a_long_wait_for_a_microphone_is_no_start_that_hangs(make, tmp_path, monkeypatch, later):
    with systemd(tmp_path, monkeypatch) as (said, drain):
        waiting = [step for _ in range(5) for step in ("no microphone", later, drain)]
        heard = [step for block in seconds(8) for step in (block, later, drain)]
        make([*waiting, *heard]).run()
    asked = ["EXTEND_TIMEOUT_USEC=60000000" in words for words in said]
    ready = next(i for i, words in enumerate(said) if "READY=1" in words)
    assert sum(asked[:ready]) >= 5
    assert not any(asked[ready:])
    unit = (ROOT / "systemd" / "knockknock-edge.service").read_text()
    assert f"TimeoutStartSec={EXTEND_START_S:g}\n" in unit


def test_a_start_may_wait_for_a_microphone_whatever_the_network_answered(
    make, tmp_path, monkeypatch, later
):
    judge = Judge()
    judge.script = [float("nan")] * 99
    with systemd(tmp_path, monkeypatch) as (said, drain):
        heard = [step for block in seconds(6) for step in (block, later, drain)]
        gone = [step for _ in range(5) for step in ("cable out", later, drain)]
        make([*heard, *gone], judge).run()
    lost = [words for words in said if "microphone_lost" in words]
    assert len(lost) >= 5
    assert all("EXTEND_TIMEOUT_USEC" in words for words in lost)
