"""What tests share: where the real recordings are, if this machine has them."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

import pytest


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


@pytest.fixture(scope="session")
def recordings_dir() -> Path:
    """The folder of real recordings; skips where there is none."""
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
