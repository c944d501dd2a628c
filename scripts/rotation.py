"""``python -m scripts.rotation RECORDINGS``: how well ``convert train`` does on cars never heard.

Sources of every kind are dealt out into three parts; for each part ResNet34 is trained from nothing
without it and judged on it, so that every source is judged once by a network that never heard it.
Like ``convert train --fold K/3`` and ``convert evaluate --hold-out-only``, but the examples are
drawn once for all parts, and each part's network learns from those that hold nothing of it. That
leaves it fewer real knocks and more made engines than the recipe has. Of several epochs the best
on examples with the part left out in them is kept; unlike those of ``convert train`` they hold its
real knocks, too: that choice, not the learning, has seen them. Minutes with a GPU, a day without.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from convert.dataset import Clip, find_clips, readable
from convert.drawn import draw, graders, makers, trainers
from convert.examples import KNOCKING, NORMAL, ExampleMaker, fill_pools
from convert.fit import Examples, Fit
from convert.network import KnockNet
from convert.recipe import REAL_KNOCKS, Recipe
from convert.rendering import FULL_PX, Pictures
from convert.run_data import digest, identity
from convert.skipped import Skipped
from convert.split import fold_sources
from convert.train_config import TrainConfig
from edge.errors import EdgeError
from edge.files import write_atomically
from scripts.ablations import FOLDS, Rotation
from scripts.scores import Scores, counts_as

EXAMPLES = """\
examples:
  python -m scripts.rotation recordings
  python -m scripts.rotation recordings --examples 33095 --batch-size 64 --small-epochs 0 \\
    --full-epochs 2 --threshold 0.7          # with a GPU"""

MORE = 5000  # examples drawn at a time, until there are enough without any one part
CHECKED = 600  # examples that hold the part left out, for choosing the best epoch
# Runs of any seed learn from the same examples: they differ by weights, order and noise alone.
EXAMPLE_SEED = 21
OPTIONS = {
    "examples": "each part's network learns from",
    "small_epochs": "on quarter-size pictures",
    "full_epochs": "on full-size pictures",
    "batch_size": "examples a step",
    "seed": "of weights, order and noise",
    "simple": "share of plain knocks over engines as they are",
    "learning_rate": "at its peak",
}
AUCS = ("auc", "strange_auc")


class DrawnExamples:
    """Examples over all recordings, kept on disk, with the parts heard in each."""

    def __init__(self, clips: Sequence[Clip], simple: float, work: Path) -> None:
        self._recipe = Recipe(real_knocks=REAL_KNOCKS, simple=simple)
        self._clips = clips
        self._groups = sorted({clip.group for clip in clips})
        parts = fold_sources(clips, FOLDS)
        self._parts = [{c.group for c in clips if c.source in part} for part in parts]
        recipe = dataclasses.asdict(self._recipe)
        known = digest(list(map(identity, clips)), recipe, EXAMPLE_SEED, makers())
        self.name = f"examples-{known}"
        self._folder = work / self.name

    @cached_property
    def _maker(self) -> ExampleMaker:
        skipped = Skipped()
        pools = fill_pools(readable(self._clips, quiet=True, skipped=skipped))
        skipped.say(unreadable=False)  # those have been named
        return ExampleMaker(pools, self._recipe, EXAMPLE_SEED)

    def until(self, count: int, workers: int) -> tuple[Examples, NDArray[np.bool_]]:
        """``(examples, heard)``: so many that ``count`` of them hold nothing of any one part.

        ``heard``, (N, parts), says what parts the recordings in each are of.
        """
        drawn_of = np.array([[name in part for part in self._parts] for name in self._groups])
        total = MORE
        while True:
            drawn = draw(
                lambda: self._maker,
                self._groups,
                total,
                self._folder,
                workers=workers,
                name="all",
            )
            heard = drawn.heard @ drawn_of
            least = int((~heard).sum(0).min())
            if least >= count:
                return Examples(drawn.indices, drawn.labels), heard
            total = MORE * max(total // MORE + 1, math.ceil(count * total / max(least, 1) / MORE))


def judge(
    drawn: tuple[Examples, NDArray[np.bool_]],
    rotation: Rotation,
    part: int,
    config: TrainConfig,
    work: Path,
) -> Scores:
    """Train without ``part``, in the folder ``work``, and judge all windows of it."""
    examples, heard = drawn
    learnt = np.flatnonzero(~heard[:, part])[: config.examples]
    check = np.flatnonzero(heard[:, part])[:CHECKED]
    held, strange = rotation.held(whole=False)[part]
    real = Examples(
        np.array([indices for _, indices in held]),
        np.array([KNOCKING if clip.knocks else NORMAL for clip, _ in held]),
    )
    torch.manual_seed(config.seed)
    work.mkdir(parents=True, exist_ok=True)
    fit = Fit(
        KnockNet(),
        Examples(examples.indices[learnt], examples.labels[learnt]),
        check=Examples(examples.indices[check], examples.labels[check]),
        real=real,
        work=work,
        config=config,
        frozen=False,
    )
    fit.go()
    fit.best_epoch()
    shown = Examples(np.concatenate([real.indices, np.array(strange)]), np.empty(0, np.int64))
    p = fit.p_knocking(shown, Pictures(FULL_PX, fit.device)).astype(np.float64)
    z = np.log(p.clip(1e-9) / (1 - p).clip(1e-9)).astype(np.float32)[:, None]
    return Scores(
        [clip.source for clip, _ in held],
        [counts_as(clip) for clip, _ in held],
        [clip.knocks for clip, _ in held],
        list(z[: len(held)]),
        list(z[len(held) :]),
    )


def table(scores: Sequence[Scores], threshold: float) -> str:
    """A line for each part and one for all; AUCs are within parts: networks differ in scale."""
    limit = math.log(threshold / (1 - threshold))
    lines = [
        "| left out | AUC, real | AUC, strange | knocks found | strange found "
        "| engine | other fault | not engine |",
        "|---|---|---|---|---|---|---|---|",
    ]
    aucs = np.array([[score.figures(0)[name] for name in AUCS] for score in scores])
    together = Scores()
    for score in scores:
        for part in dataclasses.fields(Scores):
            getattr(together, part.name).extend(getattr(score, part.name))
    for number, score in enumerate(scores):
        lines.append(_line(f"part {number + 1}", aucs[number], score.called(limit)))
    return "\n".join([*lines, _line("all", aucs.mean(0), together.called(limit))])


def _line(name: str, aucs: NDArray[np.float64], shares: list[str]) -> str:
    return f"| {' | '.join([name, *(f'{value:.3f}' for value in aucs), *shares])} |"


def main() -> int:
    """Draw, train for each part, print the table and write what was said of every window."""
    default = TrainConfig()
    parser = argparse.ArgumentParser(
        prog="rotation",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="of recordings")
    for name, words in OPTIONS.items():
        value = getattr(default, name)
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=type(value), default=value, help=f"{words} ({value})")
    parser.add_argument(
        "--threshold", type=_probability, default=0.5, help="of p_knocking, for the table (0.5)"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("out/rotation"),
        metavar="DIR",
        help="what is drawn and trained is kept here, and used again (out/rotation)",
    )
    arguments = parser.parse_args()
    try:
        scores = rotate(arguments)
    except EdgeError as error:
        parser.error(str(error))
    print(table(scores, arguments.threshold))
    return 0


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number between 0 and 1")
    return value


def rotate(arguments: argparse.Namespace) -> list[Scores]:
    """All parts, their answers kept as JSON; what an interrupted run has done is not done again."""
    config = TrainConfig(**{name: getattr(arguments, name) for name in OPTIONS})
    clips = find_clips(arguments.folders)
    rotation = Rotation(clips, 0)
    rotation.need_knocks()
    drawn = DrawnExamples(clips, config.simple, arguments.work)
    examples = drawn.until(config.examples, len(os.sched_getaffinity(0)))
    settings = dataclasses.asdict(config)
    run = arguments.work / f"run-{digest(drawn.name, settings, graders(), trainers())}"
    scores = []
    for part in range(FOLDS):
        print(f"without part {part + 1} of {FOLDS}", flush=True)
        scores.append(judge(examples, rotation, part, config, run / f"part{part + 1}"))
    said = [dataclasses.asdict(score) for score in scores]
    write_atomically(run / "answers.json", json.dumps(said, default=lambda z: z.tolist()).encode())
    return scores


if __name__ == "__main__":
    sys.exit(main())
