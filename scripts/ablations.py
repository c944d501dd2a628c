"""``python -m scripts.ablations RECORDINGS``: which parts of the recipe help, and by how much.

ResNet34 takes hours per run on two cores, so a small network stands in for it (323 402 parameters,
its input the spectrogram's 84 x 87 cells). The sources are cross-validated in three folds: every
source of every kind is left out once and judged only by the network that never saw it. Each row of
the table changes one thing. The few real knocks say little (one window is an eighth of recall), so
strange knocks, from a synthesiser that no recipe uses, are also mixed into the held-out engines:
they show whether a network has learnt knocks or merely the habits of its own synthesiser.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.dataset import find_clips, readable
from convert.examples import ExampleMaker, fill_pools, make_examples
from convert.fit import Examples
from convert.recipe import REAL_KNOCKS, Recipe
from edge.cli import run_cli
from edge.errors import ConfigError
from edge.files import write_atomically
from edge.frontend import FrontEnd
from scripts.held_out import Parts
from scripts.output import need_place
from scripts.scores import Figures, Scores
from scripts.small_network import BATCH, fit

EXAMPLES = """\
examples:
  python -m scripts.ablations recordings --examples 1200 --seeds 2
  python -m scripts.ablations recordings --only "no mixup" --seeds 5"""

BASE = Recipe(real_knocks=REAL_KNOCKS, plain=0.3)


@dataclass(frozen=True)
class Variation:
    """The base recipe with one thing changed."""

    name: str
    recipe: Recipe = BASE
    specaugment: float = 0.5
    mixup: float = 0.3
    smoothing: float = 0.05
    skip_hpss: bool = False  # the network sees the whole sound, not only its percussive part
    epoch_factor: int = 1  # factor on the number of epochs, with the same examples

    def fit(
        self, examples: Examples, epochs: int, seed: int, held: NDArray[np.uint8]
    ) -> NDArray[np.float32]:
        """Train with these settings: (windows, epochs) log-odds of knocking for ``held``."""
        return fit(
            examples,
            epochs * self.epoch_factor,
            seed,
            held,
            specaugment=self.specaugment,
            mixup=self.mixup,
            smoothing=self.smoothing,
        )


VARIATIONS = (
    Variation("base: three in ten synthetic knocks plain"),
    Variation("harmonic part not taken out", skip_hpss=True),
    Variation("five times the epochs", epoch_factor=5),
    Variation("no SpecAugment", specaugment=0),
    Variation("no mixup", mixup=0),
    Variation("no label smoothing", smoothing=0),
    Variation("no real knocks", dataclasses.replace(BASE, real_knocks=0)),
    Variation(
        "knocks as on the metal, at a rate of their own",
        dataclasses.replace(BASE, smeared=0, at_beat_rate=0, shaped=0),
    ),
    Variation(
        "recordings at 0.8 to 1.25 of their speed", dataclasses.replace(BASE, speeds=(0.8, 1.25))
    ),
    Variation(
        "no lookalikes, starters or sharpened engines",
        dataclasses.replace(
            BASE, loping=0, starter=0, sharpened=0, lookalikes_normal=0, lookalikes_knocking=0
        ),
    ),
    Variation("no hard negatives", dataclasses.replace(BASE, other_fault=0, not_engine=0)),
    Variation("no plain knocks", dataclasses.replace(BASE, plain=0)),
    Variation("all synthetic knocks plain", dataclasses.replace(BASE, plain=1)),
    Variation("fainter knocks: -6 to 14 dB", dataclasses.replace(BASE, level_db=(-6, 14))),
    Variation(
        "seven in ten examples simple: as shipped", dataclasses.replace(BASE, plain=0, simple=0.7)
    ),
    Variation("all examples simple", dataclasses.replace(BASE, simple=1)),
    Variation(
        "all examples simple, no real knocks", dataclasses.replace(BASE, simple=1, real_knocks=0)
    ),
)


class NoHpssFrontEnd(FrontEnd):
    """The front end without harmonic-percussive separation."""

    def percussive(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """``y``, cut to the length that its percussive part would have."""
        return y[: (self.config.n_frames - 1) * self.config.hop_length]


class CrossValidation:
    """Cross-validation of variations; examples that several of them share are made once."""

    def __init__(self, parts: Parts, count: int) -> None:
        self._count = count
        self._made: dict[tuple[Recipe, bool, int], Examples] = {}
        self._parts = {False: parts, True: Parts(parts.clips, NoHpssFrontEnd())}

    def _examples(self, variation: Variation, number: int) -> Examples:
        key = (variation.recipe, variation.skip_hpss, number)
        if key not in self._made:
            # Variations with one recipe are neighbours: drop the gigabytes of other recipes.
            self._made = {k: kept for k, kept in self._made.items() if k[0] == variation.recipe}
            parts = self._parts[variation.skip_hpss]
            training = [c for c in parts.clips if parts.part_of[c.source] != number]
            pools = fill_pools(readable(training))
            maker = ExampleMaker(pools, variation.recipe, number + 1, parts.front_end)
            made = list(make_examples(maker, range(self._count), len(os.sched_getaffinity(0))))
            self._made[key] = Examples(
                np.array([example.indices for example in made]),
                np.array([example.label for example in made]),
            )
        return self._made[key]

    def judge(self, variation: Variation, epochs: int, seeds: Sequence[int]) -> list[Scores]:
        """Every window judged by the network that never heard its source; ``Scores`` per seed."""
        scores = [Scores() for _ in seeds]
        for number, held in enumerate(self._parts[variation.skip_hpss].held):
            examples = self._examples(variation, number)
            shown = np.array([indices for windows in held for _, indices in windows])
            for score, seed in zip(scores, seeds, strict=True):
                score.add(held, variation.fit(examples, epochs, seed, shown))
        return scores


def main() -> int:
    """Run all variations and print one table row for each."""
    parser = argparse.ArgumentParser(
        prog="ablations",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder of recordings")
    parser.add_argument("--examples", type=int, default=2000, help="examples per fold (2000)")
    parser.add_argument("--epochs", type=int, default=3, help="epochs over them (3)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each variation (3)")
    parser.add_argument(
        "--only",
        action="append",
        choices=[v.name for v in VARIATIONS],
        help="run only this variation; repeatable",
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("out/ablations.json"),
        help="write every figure of every epoch there, as JSON (out/ablations.json)",
    )
    parser.set_defaults(run=_run)
    return run_cli(parser, None)


def _run(arguments: argparse.Namespace) -> int:
    for name, least in (("examples", BATCH), ("epochs", 1), ("seeds", 1)):
        if getattr(arguments, name) < least:
            raise ConfigError(f"--{name} {getattr(arguments, name)} must be {least} or more")
    parts = Parts(find_clips(arguments.folders))
    parts.check_labels()
    need_place("--out", arguments.out)
    validation = CrossValidation(parts, arguments.examples)
    found: dict[str, list[list[Figures]]] = {}
    print(
        "| changed | AUC, real | AUC, strange | found at 1 % | engine | other fault | not engine |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for variation in VARIATIONS:
        if arguments.only and variation.name not in arguments.only:
            continue
        began = time.monotonic()
        scores = validation.judge(variation, arguments.epochs, range(1, arguments.seeds + 1))
        found[variation.name] = [
            [score.figures(epoch) for epoch in range(arguments.epochs * variation.epoch_factor)]
            for score in scores
        ]
        print(_line(variation.name, found[variation.name]), flush=True)
        print(f"{variation.name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        write_atomically(arguments.out, json.dumps(found, indent=1).encode())
    return 0


def _line(name: str, runs: list[list[Figures]]) -> str:
    """A table row of the last epoch: means over seeds, for AUCs also the range; - if no value."""
    last = [run[-1] for run in runs]
    cells = []
    for key in ("auc", "strange_auc"):
        values = [value for run in last if (value := run[key]) is not None]
        spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
        cells.append(f"{np.mean(values):.3f}{spread}")
    for key in ("strange_recall", "false_engine", "false_engine_other_fault", "false_not_engine"):
        values = [value for run in last if (value := run[key]) is not None]
        cells.append(f"{100 * np.mean(values):.1f} %" if values else "-")
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
