"""``python -m scripts.rotation RECORDINGS``: how well ``convert train`` does on cars never heard.

Sources of every kind are split into three parts. For each part, ResNet34 is trained from scratch
without it and judged on it, so that every source is judged by a network that never heard it.
This is like ``convert train --fold K/3`` with ``convert evaluate --hold-out-only``, but examples
are drawn once for all parts, and each network trains on those that contain nothing of its part:
fewer real knocks and more synthetic engines than the recipe asks for. Of several epochs, the best
on examples that contain the held-out part is kept. Unlike those of ``convert train``, these include
its real knocks: the choice of epoch, not the training, has seen them. Takes minutes with a GPU, a
day without.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from convert.dataset import find_clips
from convert.example_cache import (
    EXAMPLE_MODULES,
    GRADING_MODULES,
    TRAINING_MODULES,
    digest_of_code,
    load_or_make,
)
from convert.examples import KNOCKING, NORMAL, ExampleMaker
from convert.fit import Examples, Fit
from convert.metrics import FEW_SOURCES
from convert.network import KnockNet
from convert.output import need_folder
from convert.recipe import REAL_KNOCKS, Recipe
from convert.rendering import FULL_PX, Pictures
from convert.run_data import digest, identity
from convert.train_config import TrainConfig
from edge.cli import run_cli
from edge.files import write_atomically
from scripts.held_out import FOLDS, Parts
from scripts.intervals import Called, in_percent, interval_of_auc, interval_of_share
from scripts.scores import Held, Scores

EXAMPLES = """\
examples:
  python -m scripts.rotation recordings
  python -m scripts.rotation recordings --examples 33095 --batch-size 64 --small-epochs 0 \\
    --full-epochs 2 --threshold 0.7          # with a GPU"""

STEP = 5000  # examples are drawn in such steps, until enough of them lack any one part
CHECKED = 600  # examples that contain the held-out part, to choose the best epoch
# All seeds train on the same examples: runs differ only in initial weights, order and noise.
EXAMPLE_SEED = 21
OPTIONS = {
    "examples": "examples that each network is trained on",
    "small_epochs": "epochs on quarter-size pictures",
    "full_epochs": "epochs on full-size pictures",
    "batch_size": "examples per step",
    "seed": "seed of initial weights, order and noise",
    "simple": "share of simple examples: plain knocks over engines changed only in speed",
    "learning_rate": "peak learning rate",
}
AUCS = ("auc", "strange_auc")


class SharedExamples:
    """Examples drawn from all recordings, cached on disk, with the parts that each contains."""

    def __init__(self, parts: Parts, simple: float, work: Path) -> None:
        self._recipe = Recipe(real_knocks=REAL_KNOCKS, simple=simple)
        self._parts = parts
        self._groups = sorted({clip.group for clip in parts.clips})
        recipe = dataclasses.asdict(self._recipe)
        code = digest_of_code(EXAMPLE_MODULES)
        known = digest(list(map(identity, parts.clips)), recipe, EXAMPLE_SEED, code)
        self.name = f"examples-{known}"
        self._folder = work / self.name

    @cached_property
    def _maker(self) -> ExampleMaker:
        return ExampleMaker(self._parts.pools(), self._recipe, EXAMPLE_SEED)

    def until(self, count: int, workers: int) -> tuple[Examples, NDArray[np.bool_]]:
        """``(examples, has_part)``: for each part, at least ``count`` examples lack it.

        ``has_part`` (N, parts): whether a recording of that part is in that example.
        """
        group_in_part = np.array(
            [[name in part for part in self._parts.groups] for name in self._groups]
        )
        total = STEP
        while True:
            cached = load_or_make(
                lambda: self._maker,
                self._groups,
                total,
                self._folder,
                workers=workers,
                name="all",
            )
            has_part = cached.has_group @ group_in_part
            least = int((~has_part).sum(0).min())
            if least >= count:
                return Examples(cached.indices, cached.labels), has_part
            total = STEP * max(total // STEP + 1, math.ceil(count * total / max(least, 1) / STEP))


def judge(
    shared: tuple[Examples, NDArray[np.bool_]],
    held: Held,
    part: int,
    config: TrainConfig,
    work: Path,
) -> Scores:
    """Train without ``part``, with files in ``work``, and judge its windows ``held``."""
    examples, has_part = shared
    training = np.flatnonzero(~has_part[:, part])[: config.examples]
    check = np.flatnonzero(has_part[:, part])[:CHECKED]
    windows, strange = held
    real = Examples(
        np.array([indices for _, indices in windows]),
        np.array([KNOCKING if clip.knocks else NORMAL for clip, _ in windows]),
    )
    torch.manual_seed(config.seed)
    work.mkdir(parents=True, exist_ok=True)
    fit = Fit(
        KnockNet(),
        Examples(examples.indices[training], examples.labels[training]),
        check=Examples(examples.indices[check], examples.labels[check]),
        real=real,
        work=work,
        config=config,
        frozen=False,
    )
    fit.go()
    fit.best_epoch()
    both = np.concatenate([real.indices, np.array([indices for _, indices in strange])])
    shown = Examples(both, np.empty(0, np.int64))
    p = fit.p_knocking(shown, Pictures(FULL_PX, fit.device)).astype(np.float64)
    scores = Scores()
    scores.add(held, np.log(p.clip(1e-9) / (1 - p).clip(1e-9)).astype(np.float32)[:, None])
    return scores


def table(scores: Sequence[Scores], threshold: float) -> str:
    """A row per part, a row for all and its 95 % intervals; then a row per source of engines.

    AUCs are taken within each part, because the networks' scales differ.
    """
    limit = math.log(threshold / (1 - threshold))
    aucs = np.array([[score.figures(0)[name] for name in AUCS] for score in scores], np.float64)
    together = Scores()
    for score in scores:
        for part in dataclasses.fields(Scores):
            getattr(together, part.name).extend(getattr(score, part.name))
    rows = [
        [f"part {number + 1}", *_auc_cells(auc), *_shares(score.called(limit))]
        for number, (auc, score) in enumerate(zip(aucs, scores, strict=True))
    ]
    called = together.called(limit)
    rows.append(["all", *_auc_cells(aucs.mean(0)), *_shares(called)])
    low, high = interval_of_auc([score.pairs() for score in scores])
    intervals = [in_percent(interval_of_share(groups)) for groups in called.values()]
    rows.append(["95 % over sources", f"{low:.3f} to {high:.3f}", "", *intervals])
    lines = [
        "| left out | AUC, real | AUC, strange | knocks found | strange found "
        "| engine | other fault | not engine |",
        "|---|---|---|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in rows),
    ]
    few = [f"{len(called[kind])} of {kind}" for kind in called if len(called[kind]) < FEW_SOURCES]
    if few:
        lines.append(
            f"Sources, a car counted once: {', '.join(few)}: too few, the intervals are too narrow."
        )
    return "\n".join([*lines, "", *_by_source(together, limit)])


def _auc_cells(aucs: NDArray[np.float64]) -> list[str]:
    return [f"{value:.3f}" for value in aucs]


def _shares(called: Mapping[str, Called]) -> list[str]:
    """Cells of a row: real knocks as a count, the other kinds as shares."""
    joined = {kind: np.concatenate([[], *groups.values()]) for kind, groups in called.items()}
    knocks = joined.pop("knock")
    return [f"{int(knocks.sum())} of {knocks.size}"] + [
        f"{100 * group.mean():.1f} %" if group.size else "-" for group in joined.values()
    ]


def _by_source(scores: Scores, limit: float) -> list[str]:
    """A row per source of engines; what is no engine is left out, with its hundreds of sources."""
    found: dict[tuple[str, str], list[bool]] = {}
    for kind, knocks, source, z in zip(
        scores.kind, scores.knocks, scores.source, scores.z, strict=True
    ):
        if kind != "not_engine":
            found.setdefault(("knock" if knocks else kind, source), []).append(bool(z[0] >= limit))
    order = {"knock": 0, "engine": 1, "engine_other_fault": 2}
    return [
        "| kind | source | called knocking | 95 %, as if windows were independent |",
        "|---|---|---|---|",
        *(
            f"| {kind} | {source} | {sum(windows)} of {len(windows)} "
            f"| {in_percent(interval_of_share({source: np.array(windows)}))} |"
            for (kind, source), windows in sorted(
                found.items(), key=lambda item: (order[item[0][0]], item[0][1])
            )
        ),
    ]


def main() -> int:
    """Draw, train for each part, print the table and write the answers for all windows."""
    default = TrainConfig()
    parser = argparse.ArgumentParser(
        prog="rotation",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder of recordings")
    for name, words in OPTIONS.items():
        value = getattr(default, name)
        option = f"--{name.replace('_', '-')}"
        parser.add_argument(option, type=type(value), default=value, help=f"{words} ({value})")
    parser.add_argument(
        "--threshold", type=_probability, default=0.5, help="threshold on p_knocking (0.5)"
    )
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("out/rotation"),
        metavar="DIR",
        help="cache of examples and training runs, used again (out/rotation)",
    )
    parser.set_defaults(run=_run)
    return run_cli(parser, None)


def _run(arguments: argparse.Namespace) -> int:
    print(table(cross_validate(arguments), arguments.threshold))
    return 0


def _probability(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number between 0 and 1")
    return value


def cross_validate(arguments: argparse.Namespace) -> list[Scores]:
    """Train and judge all parts, and write the answers as JSON; resumes an interrupted run."""
    config = TrainConfig(**{name: getattr(arguments, name) for name in OPTIONS})
    parts = Parts(find_clips(arguments.folders))
    parts.check_labels()
    need_folder("--work", arguments.work)
    held = parts.held  # before hours of drawing: an error if a part has no knock to judge
    shared = SharedExamples(parts, config.simple, arguments.work)
    examples = shared.until(config.examples, len(os.sched_getaffinity(0)))
    settings = dataclasses.asdict(config)
    code = map(digest_of_code, (GRADING_MODULES, TRAINING_MODULES))
    run = arguments.work / f"run-{digest(shared.name, settings, *code)}"
    scores = []
    for part in range(FOLDS):
        print(f"without part {part + 1} of {FOLDS}", flush=True)
        scores.append(judge(examples, held[part], part, config, run / f"part{part + 1}"))
    answers = [dataclasses.asdict(score) for score in scores]
    write_atomically(
        run / "answers.json", json.dumps(answers, default=lambda z: z.tolist()).encode()
    )
    return scores


if __name__ == "__main__":
    sys.exit(main())
