"""Windows that networks are judged on which never heard anything of them."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from convert import faults
from convert.dataset import Clip
from convert.metrics import auc
from convert.synth import mix, random_crank
from edge.files import write_atomically
from edge.frontend import FrontEnd
from edge.frontend.picture import colour_indices
from scripts.ablations import FOLDS, Rotation
from scripts.scores import auc_by_source, counts_as

FAULTS = 100  # belts over engines of each part, and as many starters
Row = tuple[NDArray[np.uint8], int, str, str]


@dataclass(frozen=True)
class HeldOut:
    """All recordings, each left out once, and made sounds over them."""

    indices: NDArray[np.uint8]  # (N, 84, 87), colours of the spectrograms
    part: NDArray[np.int64]  # (N,), the part of the sources they are of
    kind: NDArray[np.str_]  # (N,): knock, strange, belt, starter, KINDS of scores.py
    source: NDArray[np.str_]  # (N,)

    @classmethod
    def of(cls, clips: Sequence[Clip]) -> Self:
        """Windows of ``clips``; DatasetError if a part has no engine or no knock."""
        rotation, front_end = Rotation(clips, 0), FrontEnd()
        rotation.need_knocks()
        rows: list[Row] = []
        for part, (held, strange) in enumerate(rotation.held(whole=False)):
            for clip, indices in held:
                kind = "knock" if clip.knocks else counts_as(clip)
                rows.append((indices, part, kind, clip.source))
            rows += [(indices, part, "strange", "made") for indices in strange]
            rows += _faults(part, rotation.engines(part, front_end), front_end)
        columns = map(np.array, zip(*rows, strict=True))
        return cls(*columns)

    @classmethod
    def kept(cls, path: Path) -> Self:
        """As :meth:`keep` has left them."""
        with np.load(path) as stored:
            return cls(**{name: stored[name] for name in ("indices", "part", "kind", "source")})

    def only(self, part: int) -> Self:
        """Those of one part."""
        chosen = self.part == part
        return type(self)(**{name: value[chosen] for name, value in vars(self).items()})

    def keep(self, path: Path) -> None:
        """In a file, atomically."""
        buffer = io.BytesIO()
        np.savez(buffer, **vars(self))
        write_atomically(path, buffer.getvalue())


def _faults(
    part: int, engines: Sequence[NDArray[np.float32]], front_end: FrontEnd
) -> Iterator[Row]:
    """Belts over ``engines`` and starters, by the synthesiser that the networks learn from."""
    rng = np.random.default_rng([8, part])
    seconds = front_end.config.n_samples / front_end.config.sr
    for _ in range(FAULTS):
        engine = engines[int(rng.integers(len(engines)))].astype(np.float64)
        belt = faults.belt(rng, random_crank(rng, seconds))
        sounds = {
            "belt": mix(engine, belt, rng.uniform(-6, 12)),
            "starter": faults.faulty(rng, seconds, "starter")[0],
        }
        for kind, y in sounds.items():
            shown = front_end.spectrogram(y.astype(np.float32))
            yield colour_indices(shown), part, kind, "made"


def figures(held: HeldOut, z: NDArray[np.float32], false_rate: float) -> dict[str, float]:
    """What log-odds ``z`` (N,) of :class:`HeldOut` windows say.

    AUCs against the healthy engines of the same part, in the mean of the parts: of real knocks with
    all sources alike in weight, of strange ones with all windows; shares of each kind called
    knocking where ``false_rate`` of all healthy windows are.
    """
    limit = np.quantile(z[held.kind == "engine"], 1 - false_rate)
    found = {"limit": float(limit)}
    parts = [held.part == part for part in range(FOLDS)]
    knock, strange, engine = (held.kind == kind for kind in ("knock", "strange", "engine"))
    real = [auc_by_source(z, held.source, p & knock, p & engine) for p in parts]
    found["auc knock"] = float(np.mean(real))
    found["auc strange"] = float(np.mean([auc(z[p & strange], z[p & engine]) for p in parts]))
    for kind in np.unique(held.kind):
        found[str(kind)] = float((z[held.kind == kind] > limit).mean())
    return found
