"""Held-out windows, real and synthetic, of sources that a network was not trained on."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from convert import faults
from convert.bay import band_limit
from convert.dataset import Clip, readable
from convert.errors import DatasetError
from convert.examples import Pools, fill_pools
from convert.judgeable import all_judgeable
from convert.metrics import auc
from convert.skipped import Skipped
from convert.split import fold_sources
from convert.synth import SR, mix, pulse_train, random_crank
from edge.files import write_atomically
from edge.frontend import FrontEnd
from edge.frontend.picture import colour_indices
from scripts.scores import Held, Windows, auc_by_source, kind_of

FOLDS = 3
N_STRANGE = 200  # windows with strange knocks per part
STRANGE_DB = (0.0, 14.0)  # level above the engine, both measured as RMS
N_FAULTS = 100  # belts over engines per part, and as many starters
Row = tuple[NDArray[np.uint8], int, str, str]


def strange_knock(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """A knock from a synthesiser that no network is trained on: (n,) samples, RMS 1.

    Bursts of noise in one band centred at 300 to 3000 Hz, without resonant modes; 4 to 20 per
    second, every other one weaker.
    """
    t = np.arange(SR // 10) / SR
    centre = np.exp(rng.uniform(np.log(300), np.log(3000)))
    burst = rng.normal(size=t.size) * np.exp(-t / rng.uniform(0.003, 0.025))
    # Padded, or the zero-phase filter's pre-ringing would wrap round to its end: an echo.
    padded = np.pad(burst, (0, t.size))
    wave = band_limit(padded, SR, centre / 1.5, centre * 1.5)[: t.size]
    period = SR / np.exp(rng.uniform(np.log(4), np.log(20)))
    times = np.arange(rng.uniform(0, period), n, period)
    times += rng.normal(0, rng.uniform(0, 0.02) * period, times.size)
    gains = rng.lognormal(0, 0.15, times.size)
    gains[1::2] *= rng.uniform(0.4, 1)
    y = pulse_train(n, times, gains, wave)
    return y / (y.std() + 1e-12)


def add_strange_knock(
    rng: np.random.Generator, engine: NDArray[np.float64]
) -> tuple[NDArray[np.float64], float]:
    """``engine`` (n,) with a strange knock mixed in, and its level, drawn from STRANGE_DB."""
    knock = strange_knock(rng, engine.size)
    level_db = rng.uniform(*STRANGE_DB)
    return engine + knock * engine.std() * 10 ** (level_db / 20), level_db


class Parts:
    """Recordings split by source into FOLDS parts, and the held-out windows of each part."""

    def __init__(self, clips: Sequence[Clip], front_end: FrontEnd | None = None) -> None:
        self.clips = clips
        self.front_end = front_end or FrontEnd()
        parts = fold_sources(clips, FOLDS)
        self.part_of = {source: number for number, part in enumerate(parts) for source in part}

    def check_labels(self) -> None:
        """DatasetError unless, by the labels, each part has a knock and a healthy engine."""
        for number in range(FOLDS):
            if not any(clip.knocks for clip in self.of(number)):
                raise _missing(number, "knocking")
            if not any(clip.is_healthy for clip in self.of(number)):
                raise _missing(number, "healthy")

    def of(self, number: int) -> list[Clip]:
        """The recordings of one part."""
        return [clip for clip in self.clips if self.part_of[clip.source] == number]

    @cached_property
    def groups(self) -> list[set[str]]:
        """The groups (:attr:`Clip.group`) of each part."""
        return [{clip.group for clip in self.of(number)} for number in range(FOLDS)]

    def pools(self) -> Pools:
        """All recordings, to train on; does not name unreadable ones, as ``held`` does that."""
        skipped = Skipped()
        pools = fill_pools(readable(self.clips, quiet=True, skipped=skipped))
        skipped.say(unreadable=False)
        return pools

    @cached_property
    def held(self) -> list[Held]:
        """Windows of each part: real ones, and strange knocks over its healthy engines.

        DatasetError if a part has no knock or no healthy engine that can be judged.
        """
        found = [(self._windows(number), self._strange(number)) for number in range(FOLDS)]
        for number, (windows, _) in enumerate(found):
            if not any(clip.knocks for clip, _ in windows):
                raise _missing(number, "knocking")
        return found

    def _windows(self, number: int) -> Windows:
        return [
            (clip, colour_indices(self.front_end.spectrogram(y)))
            for clip, y in all_judgeable(self.of(number), self.front_end.config)
        ]

    def _strange(self, number: int) -> Windows:
        rng = np.random.default_rng([7, number])
        found: Windows = []
        engines = self.engines(number)
        for _ in range(N_STRANGE):
            clip, engine = engines[int(rng.integers(len(engines)))]
            y, _ = add_strange_knock(rng, engine.astype(np.float64))
            found.append((clip, colour_indices(self.front_end.spectrogram(y.astype(np.float32)))))
        return found

    def engines(self, number: int) -> list[tuple[Clip, NDArray[np.float32]]]:
        """Windows of the healthy engines of one part; DatasetError if there is none."""
        clips = [clip for clip in self.of(number) if clip.is_healthy]
        config = self.front_end.config
        engines = [(clip, y.copy()) for clip, y in all_judgeable(clips, config, quiet=True)]
        if not engines:
            raise _missing(number, "healthy")
        return engines


def _missing(number: int, kind: str) -> DatasetError:
    return DatasetError(
        f"part {number + 1} of the sources has no {kind} engine of 2 s: "
        f"give recordings of at least {FOLDS} such sources"
    )


@dataclass(frozen=True)
class HeldOut:
    """The held-out windows of all parts: all recordings, strange knocks, belts and starters."""

    indices: NDArray[np.uint8]  # (N, 84, 87), colour indices of the spectrograms
    part: NDArray[np.int64]  # (N,), the part that each belongs to
    kind: NDArray[np.str_]  # (N,): knock, strange, belt, starter or one of scores.KINDS
    source: NDArray[np.str_]  # (N,); "made" for strange, belt and starter

    @classmethod
    def of(cls, parts: Parts) -> Self:
        """All windows of ``parts``; DatasetError if one has no healthy engine or no knock."""
        rows: list[Row] = []
        for part, (held, strange) in enumerate(parts.held):
            for clip, indices in held:
                kind = "knock" if clip.knocks else kind_of(clip)
                rows.append((indices, part, kind, clip.source))
            rows += [(indices, part, "strange", "made") for _, indices in strange]
            rows += _faults(part, [y for _, y in parts.engines(part)], parts.front_end)
        columns = map(np.array, zip(*rows, strict=True))
        return cls(*columns)

    @classmethod
    def load(cls, path: Path) -> Self:
        """The windows that :meth:`save` wrote to ``path``."""
        with np.load(path) as stored:
            return cls(**{name: stored[name] for name in ("indices", "part", "kind", "source")})

    def only(self, part: int) -> Self:
        """The windows of one part."""
        chosen = self.part == part
        return type(self)(**{name: value[chosen] for name, value in vars(self).items()})

    def save(self, path: Path) -> None:
        """Write the windows to ``path``, atomically."""
        buffer = io.BytesIO()
        np.savez(buffer, **vars(self))
        write_atomically(path, buffer.getvalue())


def _faults(
    part: int, engines: Sequence[NDArray[np.float32]], front_end: FrontEnd
) -> Iterator[Row]:
    """Belts over ``engines``, and starters, from the synthesiser that is used in training."""
    rng = np.random.default_rng([8, part])
    seconds = front_end.config.n_samples / front_end.config.sr
    for _ in range(N_FAULTS):
        engine = engines[int(rng.integers(len(engines)))].astype(np.float64)
        belt = faults.belt(rng, random_crank(rng, seconds))
        sounds = {
            "belt": mix(engine, belt, rng.uniform(-6, 12)),
            "starter": faults.faulty(rng, seconds, "starter")[0],
        }
        for kind, y in sounds.items():
            shown = front_end.spectrogram(y.astype(np.float32))
            yield colour_indices(shown), part, kind, "made"


def figures(held: HeldOut, z: NDArray[np.float32], fpr: float) -> dict[str, float]:
    """Figures of the log-odds ``z`` (N,) that networks gave to the windows ``held``.

    AUCs are against the healthy engines of the same part, averaged over parts: for real knocks all
    sources weigh the same, for strange ones all windows. ``limit`` is the threshold that the share
    ``fpr`` of all healthy windows exceeds; each kind's figure is its share above that.
    """
    limit = np.quantile(z[held.kind == "engine"], 1 - fpr)
    found = {"limit": float(limit)}
    parts = [held.part == part for part in range(FOLDS)]
    knock, strange, engine = (held.kind == kind for kind in ("knock", "strange", "engine"))
    real = [auc_by_source(z, held.source, p & knock, p & engine) for p in parts]
    found["auc knock"] = float(np.mean(real))
    found["auc strange"] = float(np.mean([auc(z[p & strange], z[p & engine]) for p in parts]))
    for kind in np.unique(held.kind):
        found[str(kind)] = float((z[held.kind == kind] > limit).mean())
    return found
