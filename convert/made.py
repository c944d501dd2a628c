"""Synthetic recordings with their metadata, ready for a labels.csv."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert import faults, synth
from convert.bay import record
from convert.dataset import Clip, load, not_silent
from convert.errors import DatasetError
from edge.files import write_atomically
from edge.wav import encode_wav

DEMO_SEED = 4  # gives an even knock; its picture is in the README
DEMO_LEVEL_DB = 14.0


@dataclass(frozen=True)
class Made:
    """One synthetic recording and its metadata."""

    y: synth.Sound  # (n,) in [-1, 1]
    row: dict[str, str]  # its line of labels.csv, without the column file and empty cells


def make(
    rng: np.random.Generator,
    seconds: float,
    *,
    knocks: bool,
    level_db: float | None,
    over: Clip | None,
    name: str,
) -> Made:
    """One recording: a synthetic engine, or a real one (``over``), with or without a knock.

    On a synthetic engine the knock is locked to its crank; the speed of a real one is unknown, so
    its knock has a crank of its own. ``level_db`` is the knock's level by :func:`synth.mix`; None:
    random, 0 to 18 dB. ``name`` becomes the source of a wholly synthetic recording.
    """
    shaft = synth.random_crank(rng, seconds)
    row = {"label": "normal", "kind": "engine", "source": name}
    if over is None:
        y = synth.engine(rng, shaft)
        row |= {"rpm": f"{shaft.rpm:.0f}", "cylinders": str(shaft.cylinders)}
    else:
        y = _cut(rng, load(over), shaft.n)
        row |= {"kind": over.kind, "source": over.source, "car": over.car, "split": over.split}
    if knocks:
        kind = synth.random_kind(rng)
        level = float(rng.uniform(0, 18)) if level_db is None else level_db
        y = synth.mix(y, synth.knock(rng, shaft, kind), level)
        row |= {"label": "knocking", "knock": kind, "level_db": f"{level:.1f}"}
    if over is None:
        return Made(record(rng, y, synth.SR), row)
    return Made(0.5 * y / max(np.abs(y).max(), 1e-9), row)


def make_fault(rng: np.random.Generator, seconds: float, name: str) -> Made:
    """One wholly synthetic recording, source ``name``, of an engine with a fault but no knock."""
    kind = faults.FAULT_KINDS[int(rng.integers(len(faults.FAULT_KINDS)))]
    y, shaft = faults.faulty(rng, seconds, kind)
    row = {"label": "normal", "kind": kind, "source": name}
    row |= {"rpm": f"{shaft.rpm:.0f}", "cylinders": str(shaft.cylinders)}
    return Made(record(rng, y, synth.SR), row)


def _cut(rng: np.random.Generator, real: NDArray[np.float32], n: int) -> synth.Sound:
    """``n`` samples from a random place in ``real`` that is not silent, repeated if it is shorter.

    ``real`` must be ``MIN_CLIP_S`` or longer, as from :func:`convert.dataset.readable`, or the
    repetition would sound like a knock.
    """

    def anywhere() -> synth.Sound:
        start = int(rng.integers(max(1, real.size - n + 1)))
        return np.resize(real[start : start + n].astype(np.float64), n)

    return not_silent(anywhere)


def write_demo(out: Path) -> None:
    """Write ``healthy.wav`` and ``knocking.wav``, 6 s: one engine without and with a rod knock.

    DatasetError if a file of that name with other content exists.
    """
    rng = np.random.default_rng(DEMO_SEED)
    shaft = synth.crank(rng, 6.0, 900, 4)
    healthy = synth.engine(rng, shaft)
    knocking = synth.mix(healthy, synth.knock(rng, shaft, "rod"), DEMO_LEVEL_DB)
    sounds = {
        out / f"{name}.wav": encode_wav(0.5 * y / np.abs(y).max(), synth.SR)
        for name, y in (("healthy", healthy), ("knocking", knocking))
    }
    for path, content in sounds.items():
        if path.exists() and path.read_bytes() != content:
            raise DatasetError(
                f"{path} exists with other content and is not replaced: name another folder"
            )
    for path, content in sounds.items():
        write_atomically(path, content)
        print(f"wrote {path}")
