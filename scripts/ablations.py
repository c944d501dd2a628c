"""``python -m scripts.ablations RECORDINGS``: what in the training recipe helps, and by how much.

The shipped network takes half an hour a run; here a small one (0.4 M parameters, on the
spectrogram's 84 x 87 cells themselves) stands in for it. Sources rotate: every source of every kind
is left out once, in one of four folds, and only judged by the network that never saw it. Each
line changes one thing. Differences below the spread over seeds mean nothing, and with four
knocking sources that spread is wide.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own custom

from convert.dataset import Clip, find_clips, load_all, windows
from convert.examples import ExampleMaker, Recipe, fill_pools, make_examples
from convert.fit import Examples, mixed_up
from convert.metrics import auc
from edge.frontend import FrontEnd
from edge.frontend.picture import colour_indices
from edge.wav import write_atomically

FOLDS = 4
BATCH = 64
BASE = Recipe(real_knocks=0.15)


@dataclass(frozen=True)
class Variation:
    """The base recipe with one thing changed."""

    name: str
    recipe: Recipe = BASE
    specaugment: float = 0.5
    mixup: float = 0.3
    smoothing: float = 0.05
    level_db: tuple[float, float] | None = None  # of made knocks; None: the recipe's own


VARIATIONS = (
    Variation("as shipped"),
    Variation("no SpecAugment", specaugment=0),
    Variation("no mixup", mixup=0),
    Variation("no label smoothing", smoothing=0),
    Variation("no real knocks", dataclasses.replace(BASE, real_knocks=0)),
    Variation("knocks sharp, none smeared", dataclasses.replace(BASE, smeared=0)),
    Variation(
        "no hard negatives",
        dataclasses.replace(BASE, other_fault=0, not_engine=0, distractors=0, bystander=0),
    ),
    Variation("fainter knocks, -6 to 14 dB", level_db=(-6, 14)),
)


class SmallNet(nn.Module):
    """Six 3 x 3 convolutions in four levels, largest and mean value, one linear layer.

    The first one halves the frequencies and leaves time alone: there the knocks are counted.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        n_in = 1
        for n_out, convolutions in ((24, 1), (48, 2), (96, 2), (192, 1)):
            for _ in range(convolutions):
                stride = (2, 1) if n_in == 1 else 1
                layers += [nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)]
                layers += [nn.BatchNorm2d(n_out), nn.ReLU()]
                n_in = n_out
            layers.append(nn.MaxPool2d(2))
        self.body = nn.Sequential(*layers)
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(2 * n_in, 2))

    def forward(self, x: Tensor) -> Tensor:
        """(B, 1, 84, 87) -> (B, 2) log-odds."""
        y = self.body(x)
        logits: Tensor = self.head(torch.cat([y.amax((2, 3)), y.mean((2, 3))], 1))
        return logits


@dataclass
class Scores:
    """Log-odds of left-out windows after each epoch, with what they are."""

    source: list[str] = field(default_factory=list)
    kind: list[str] = field(default_factory=list)
    knocks: list[bool] = field(default_factory=list)
    z: list[NDArray[np.float32]] = field(default_factory=list)  # an array of all epochs a window

    def figures(self, epoch: int) -> dict[str, float]:
        """AUC with all sources weighing alike, and windows called knocking by kind."""
        z = np.array([value[epoch] for value in self.z], dtype=np.float32)
        knocks, kind = np.array(self.knocks), np.array(self.kind)
        found = {
            "auc": self._auc(z, knocks, kind == "engine"),
            "recall": float((z[knocks] > 0).mean()),
        }
        for name in ("engine", "engine_other_fault", "not_engine"):
            found[f"false_{name}"] = float((z[~knocks & (kind == name)] > 0).mean())
        return found

    def _auc(
        self, z: NDArray[np.float32], knocks: NDArray[np.bool_], engine: NDArray[np.bool_]
    ) -> float:
        source = np.array(self.source)
        pairs = [
            auc(z[knocks & (source == a)], z[~knocks & engine & (source == b)])
            for a in np.unique(source[knocks])
            for b in np.unique(source[~knocks & engine])
        ]
        return float(np.mean(pairs))


def folds_of(clips: Sequence[Clip]) -> dict[str, int]:
    """The fold in which each source is left out; every kind is dealt out evenly."""
    rng = np.random.default_rng(123)
    fold: dict[str, int] = {}
    for kind in sorted({(c.label, c.kind) for c in clips}):
        names = sorted({c.source for c in clips if (c.label, c.kind) == kind})
        fold |= {names[i]: place % FOLDS for place, i in enumerate(rng.permutation(len(names)))}
    return fold


def pictures(indices: NDArray[np.uint8]) -> Tensor:
    """Colour indices (B, 84, 87) as what the small network takes."""
    return (torch.from_numpy(indices).float()[:, None] - 128) / 64


def fit(
    examples: Examples, variation: Variation, epochs: int, seed: int, held: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Train, and judge ``held`` after every epoch: (windows, epochs) log-odds of knocking."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = SmallNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = len(examples.labels) // BATCH
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 2e-3, total_steps=epochs * batches + 1
    )
    said = []
    for _ in range(epochs):
        network.train()
        order = rng.permutation(len(examples.labels))
        for number in range(batches):
            chosen = order[number * BATCH : (number + 1) * BATCH]
            batch = examples.indices[chosen].copy()
            for picture in batch:
                picture[:] = np.roll(picture, int(rng.integers(picture.shape[1])), axis=1)
                if rng.random() < variation.specaugment:
                    low, height = rng.integers(picture.shape[0] - 12), rng.integers(3, 13)
                    picture[low : low + height] = picture.mean()
            labels = torch.from_numpy(examples.labels[chosen])
            shown, shares = mixed_up(pictures(batch), labels, variation.mixup, rng)
            with torch.autocast("cpu", torch.bfloat16):
                logits = network(shown.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits.float(), shares, label_smoothing=variation.smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        network.eval()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
            logits = torch.cat(
                [network(pictures(held[i : i + 64])) for i in range(0, len(held), 64)]
            ).float()
        said.append((logits[:, 0] - logits[:, 1]).numpy())
    return np.stack(said, axis=1)


class Rotation:
    """Four folds of the recordings; what several variations have in common is made once."""

    def __init__(self, clips: Sequence[Clip], count: int) -> None:
        self._clips, self._count = clips, count
        self._fold = folds_of(clips)
        self._made: dict[tuple[Recipe, tuple[float, float] | None, int], Examples] = {}
        self._held = [self._windows(number) for number in range(FOLDS)]

    def _windows(self, number: int) -> list[tuple[Clip, NDArray[np.uint8]]]:
        front_end = FrontEnd()
        return [
            (clip, colour_indices(front_end.spectrogram(y)))
            for clip, sound in load_all([c for c in self._clips if self._fold[c.source] == number])
            for y in windows(sound, 1.0)
        ]

    def _examples(self, variation: Variation, number: int) -> Examples:
        key = (variation.recipe, variation.level_db, number)
        if key not in self._made:
            training = [c for c in self._clips if self._fold[c.source] != number]
            maker = ExampleMaker(fill_pools(training), variation.recipe, number + 1)
            if variation.level_db is not None:
                maker.knock_level_db = variation.level_db
            made = list(make_examples(maker, range(self._count), os.cpu_count() or 1))
            self._made[key] = Examples(
                np.array([i for i, _ in made]), np.array([label for _, label in made])
            )
        return self._made[key]

    def judge(self, variation: Variation, epochs: int, seeds: Sequence[int]) -> list[Scores]:
        """Every window by the network that never heard its source; one ``Scores`` a seed."""
        scores = [Scores() for _ in seeds]
        for number, held in enumerate(self._held):
            examples = self._examples(variation, number)
            for score, seed in zip(scores, seeds, strict=True):
                z = fit(examples, variation, epochs, seed, np.array([i for _, i in held]))
                score.source += [clip.source for clip, _ in held]
                score.kind += [clip.kind for clip, _ in held]
                score.knocks += [clip.knocks for clip, _ in held]
                score.z += list(z)
        return scores


def main() -> int:
    """Run all variations and print one line of a table for each."""
    parser = argparse.ArgumentParser(prog="ablations", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR")
    parser.add_argument("--examples", type=int, default=2000, help="for each fold (2000)")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", default="", help="names of variations, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("out/ablations.json"))
    arguments = parser.parse_args()
    clips = find_clips(arguments.folders)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    rotation = Rotation(clips, arguments.examples)
    found: dict[str, list[list[dict[str, float]]]] = {}
    print("| changed | AUC after each epoch | recall | engine | other fault | not engine |")
    print("|---|---|---|---|---|---|", flush=True)
    for variation in VARIATIONS:
        if arguments.only and variation.name not in arguments.only.split(","):
            continue
        began = time.monotonic()
        scores = rotation.judge(variation, arguments.epochs, range(1, arguments.seeds + 1))
        found[variation.name] = [
            [score.figures(epoch) for epoch in range(arguments.epochs)] for score in scores
        ]
        print(_line(variation.name, found[variation.name]), flush=True)
        print(f"{variation.name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        write_atomically(arguments.out, json.dumps(found, indent=1).encode())
    return 0


def _line(name: str, runs: list[list[dict[str, float]]]) -> str:
    """Means over seeds; of the AUC the range too."""
    by_epoch = [[run[e]["auc"] for run in runs] for e in range(len(runs[0]))]
    curve = ", ".join(f"{np.mean(a):.3f} ({min(a):.3f} to {max(a):.3f})" for a in by_epoch)
    cells = [
        f"{100 * np.mean([run[-1][key] for run in runs]):.0f} %"
        for key in ("recall", "false_engine", "false_engine_other_fault", "false_not_engine")
    ]
    return f"| {name} | {curve} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
