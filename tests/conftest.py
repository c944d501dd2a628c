"""Shared fixtures: real recordings if this machine has them, a scripted service, and others."""

import csv
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from edge.blackbox import BlackBox
from edge.config import AudioConfig, Config, IndicatorConfig
from edge.frontend import FrontEnd
from edge.health import StatusFile
from edge.indicator import Indicator
from edge.microphone import Microphone
from edge.pipeline import Pipeline
from edge.service import Service
from tests.audio import noise, wav_file
from tests.listener import SR, Blank, Judge, Scripted
from tests.wait import wait_for_threads

# Programs that tests start buffer their output as a user's do, however pytest was started.
os.environ.pop("PYTHONUNBUFFERED", None)

# Started first: if one of these were the last, all other workers would wait for it for minutes.
LONG = {"export", "frontend_recordings", "lengths", "tflite_export", "train"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the tests of the files in LONG to the front."""
    items.sort(key=lambda item: item.path.stem.removeprefix("test_") not in LONG)


@dataclass(frozen=True)
class RealRecording:
    """One line of ``labels.csv``: a real recording and what it is known to be."""

    path: Path
    label: str  # knocking, normal or not_engine
    kind: str  # engine, engine_other_fault or not_engine
    source: str  # recordings of one source share car, place and microphone


def _folder() -> Path:
    beside = Path(__file__).resolve().parents[2] / "shared" / "audio"
    return Path(os.environ.get("KNOCK_RECORDINGS", beside))


@pytest.fixture(autouse=True)
def signal_handlers() -> Iterator[None]:
    """Restore the handlers that a service installs: Ctrl-C must still stop pytest afterwards."""
    numbers = signal.SIGINT, signal.SIGTERM, signal.SIGHUP
    before = {number: signal.getsignal(number) for number in numbers}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(autouse=True)
def lamp_folder() -> Iterator[None]:
    """Unset what a lamp sets: LG_WD names a folder for lgpio, which is gone when the lamp is.

    Not by monkeypatch, which would then be undone last, after the fixtures below.
    """
    before = os.environ.get("LG_WD")
    yield
    if before is None:
        os.environ.pop("LG_WD", None)


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    """Fail a test whose threads outlive it: they would log and write files in those after it."""
    before = threading.enumerate()
    yield
    wait_for_threads(before)


@pytest.fixture(scope="session")
def recordings_dir() -> Path:
    """The folder of real recordings; skips the test if there is none."""
    folder = _folder()
    if not (folder / "labels.csv").is_file():
        pytest.skip(f"no real recordings in {folder}: set KNOCK_RECORDINGS to their folder")
    return folder


@pytest.fixture(scope="session")
def recordings(recordings_dir: Path) -> list[RealRecording]:
    """Every real recording of ``labels.csv``, in its order."""
    with (recordings_dir / "labels.csv").open(newline="") as lines:
        return [
            RealRecording(recordings_dir / row["file"], row["label"], row["kind"], row["source"])
            for row in csv.DictReader(lines)
        ]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Any]:
    """A function that builds a service on a scripted source, with its files in ``tmp_path``.

    The gate is the real one; the picture is real only if a ``front_end`` is given.
    """

    lamps: list[Indicator] = []

    def build(
        steps: Any,
        judge: Any = None,
        config: Config | None = None,
        front_end: FrontEnd | None = None,
        **kwargs: Any,
    ) -> Service:
        config = config or Config()
        indicator = Indicator(IndicatorConfig(led_pin=-1))
        lamps.append(indicator)
        box = BlackBox(tmp_path / "box", config.blackbox, SR)
        return Service(
            config,
            steps if hasattr(steps, "read") else Scripted(steps),
            Pipeline(front_end or Blank(), judge or Judge(), 0.5),
            indicator=indicator,
            blackbox=box,
            status=StatusFile(tmp_path / "status.json"),
            skip_when_behind=kwargs.pop("skip", False),
            **kwargs,
        )

    yield build
    for lamp in lamps:
        lamp.close()


@pytest.fixture(scope="session")
def recordings_made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of five healthy and five knocking synthetic engines, with labels.csv."""
    from convert.cli import main

    folder = tmp_path_factory.mktemp("made")
    assert main(["synth", str(folder), "--count", "5", "--seconds", "3"]) == 0
    return folder


@pytest.fixture
def anew() -> Iterator[Callable[[], None]]:
    """A function that makes ``convert`` digest its code again, as a new process does.

    Called once more when the test ends.
    """
    from convert.example_cache import digest_of_code

    yield digest_of_code.cache_clear
    digest_of_code.cache_clear()


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five seconds that the gate lets pass, as engine.wav."""
    return wav_file(tmp_path_factory.mktemp("a") / "engine.wav", noise(5).astype("f8"), SR)


@pytest.fixture
def mock_pins(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """gpiozero's mock pins, as a factory."""
    monkeypatch.setenv("GPIOZERO_PIN_FACTORY", "mock")
    from gpiozero import Device
    from gpiozero.pins.mock import MockFactory

    Device.pin_factory = MockFactory()
    yield Device.pin_factory
    Device.pin_factory.reset()


@pytest.fixture
def listening(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Microphone]]:
    """Microphones on the fake capture process, closed afterwards."""
    monkeypatch.chdir(Path(__file__).resolve().parents[1])
    monkeypatch.setattr("edge.microphone.BACK_OFF_S", (0.1, 0.2, 0.4))
    opened: list[Microphone] = []

    def listen(script: str, stall_s: float = 0.5) -> Microphone:
        command = [sys.executable, "-m", "tests.fake_capture", script]
        microphone = Microphone(AudioConfig(stall_s=stall_s), SR, command=command)
        opened.append(microphone)
        return microphone

    yield listen
    for microphone in opened:
        microphone.close()
