"""``python -m scripts.lengths RECORDINGS``: for how long to train, judged on cars never heard.

Sources of every kind are dealt out into three parts, as in :mod:`scripts.rotation`. For each part
ResNet34 learns, from nothing, of examples that hold nothing of it; others learn of all. All of them
learn at once and of the same examples, each shown about once, while these are being made. At
several lengths the running average of each network's weights judges the part it never heard. The
learning rate falls with the root of what was shown, so that no length is the end it was meant for.
Needs a GPU: eight networks for eight minutes see what two cores show one in six days.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from convert.dataset import Clip, find_clips, readable
from convert.errors import DatasetError
from convert.examples import ExampleMaker, fill_pools
from convert.recipe import REAL_KNOCKS, Recipe
from convert.skipped import Skipped
from convert.split import Learnt, fold_sources
from convert.train_config import TrainConfig
from edge.child import die_with_parent
from edge.errors import EdgeError
from edge.files import write_atomically
from scripts.ablations import FOLDS
from scripts.held_out import HeldOut, figures
from scripts.learner import Learner
from scripts.stream import Stream

EVERYTHING = FOLDS  # the number of the part that leaves nothing out
EXAMPLE_SEED = 41
LENGTHS = tuple(1000 * n for n in (16, 32, 48, 64, 96, 128, 160, 192, 256))
FALSE_RATES = (0.01, 0.022, 0.043)  # of healthy windows; those of the model card's rotation


class Task(NamedTuple):
    """One network."""

    part: int  # of the sources, left out; EVERYTHING: none
    seed: int

    @property
    def name(self) -> str:
        """For its files."""
        which = "all" if self.part == EVERYTHING else f"without{self.part + 1}"
        return f"{which}-{self.seed}"


@dataclass(frozen=True)
class Run:
    """What all processes of a run have in common."""

    work: Path
    size: int  # examples at most
    ends: float  # of the monotonic clock
    lengths: tuple[int, ...]
    config: TrainConfig
    learnt: Learnt  # by a network that leaves nothing out

    def learn(self, task: Task) -> None:
        """One network from its first to its last example; its answers and weights in files."""
        die_with_parent()
        torch.set_num_threads(1)
        torch.backends.cudnn.benchmark = True
        stream, learner = Stream(self.work / "stream", self.size), Learner(task.seed, self.config)
        lengths = iter((*self.lengths, 2**62))
        until = next(lengths)
        for batch in stream.batches(task.part, self.config.batch_size, self.ends):
            learner.step(stream.indices[batch], stream.labels[batch].astype(np.int64))
            while learner.shown >= until:
                self._keep(learner, task, until)
                until = next(lengths)
        print(f"{task.name}: {learner.shown} shown", flush=True)

    def _keep(self, learner: Learner, task: Task, length: int) -> None:
        while not (self.work / "held.npz").is_file():
            time.sleep(1)  # it is being made
        held = HeldOut.kept(self.work / "held.npz")
        if task.part != EVERYTHING:
            held = held.only(task.part)
        place = self.work / f"{task.name}-{length}"
        np.save(place.with_suffix(".npy"), learner.judge(held.indices))
        if task.part == EVERYTHING:
            learner.save(place.with_suffix(".pth"), self.learnt)


def table(work: Path, tasks: Sequence[Task], lengths: Sequence[int]) -> list[dict[str, float]]:
    """A line for each length and share of healthy windows called knocking, as far as all got.

    Seeds are averaged in their figures; ``both`` is of the mean of their answers.
    """
    held = HeldOut.kept(work / "held.npz")
    windows = {part: held.part == part for part in range(FOLDS)}
    seeds = sorted({task.seed for task in tasks})
    lines: list[dict[str, float]] = []
    for length in lengths:
        said = {seed: np.full(len(held.kind), np.nan, np.float32) for seed in seeds}
        for task in tasks:
            file = work / f"{task.name}-{length}.npy"
            if task.part == EVERYTHING:
                continue
            if not file.is_file():
                return lines
            z = np.load(file)
            if not np.isfinite(z).all():
                raise DatasetError(f"{file} holds no numbers: that training has run away")
            said[task.seed][windows[task.part]] = z
        for rate in FALSE_RATES:
            each = [figures(held, z, rate) for z in said.values()]
            both = figures(held, np.mean(list(said.values()), axis=0), rate)
            mean = {name: float(np.mean([one[name] for one in each])) for name in both}
            aucs = [one["auc knock"] for one in each]
            together = {f"both {name}": value for name, value in both.items()}
            spread = {"spread auc knock": max(aucs) - min(aucs)}
            lines.append({"length": length, "rate": rate, **mean, **spread, **together})
    return lines


def run(arguments: argparse.Namespace) -> list[dict[str, float]]:
    """Make, learn and judge for ``arguments.seconds``; what is said of it.

    DatasetError if the recordings do not do, if a process has failed, or if there was no time for
    any of the lengths.
    """
    work: Path = arguments.work
    if work.is_dir() and any(work.iterdir()):
        raise DatasetError(
            f"{work} is not empty, and a run needs a folder of its own: name a new one"
        )
    config = TrainConfig(batch_size=arguments.batch_size)
    clips = find_clips(arguments.folders)
    make = _Make(clips, arguments)
    ends = time.monotonic() + arguments.seconds
    lengths = sorted(set(arguments.lengths))
    learnt = Learnt(complete=True).and_also(clips)
    what = Run(work, arguments.most, ends, tuple(lengths), config, learnt)
    seeds = range(1, arguments.seeds + 1)
    tasks = [Task(part, seed) for seed in seeds for part in range(FOLDS + 1)]
    # The recordings are in memory once: makers are copies of this process, which uses no GPU.
    alike = multiprocessing.get_context("fork")
    apart = multiprocessing.get_context("spawn")
    makers = [
        alike.Process(target=make, args=(first,), daemon=True) for first in range(arguments.workers)
    ]
    learners = [apart.Process(target=what.learn, args=(task,), daemon=True) for task in tasks]
    try:
        for process in (*makers, *learners):
            process.start()
        HeldOut.of(clips).keep(work / "held.npz")
        _wait(makers, learners)
    finally:
        for process in (*makers, *learners):
            if process.is_alive():
                process.terminate()
    print(f"{make.stream.until()} examples made", flush=True)
    lines = table(work, tasks, lengths)
    if not lines:
        raise DatasetError(
            f"not all networks were shown {lengths[0]} examples: give more --seconds or --most, or "
            "smaller --lengths"
        )
    return lines


class _Make:
    """What each of so many workers does to make the examples of ``clips``."""

    def __init__(self, clips: Sequence[Clip], arguments: argparse.Namespace) -> None:
        recipe = Recipe(real_knocks=REAL_KNOCKS, simple=TrainConfig().simple)
        skipped = Skipped()
        pools = fill_pools(readable(clips, quiet=True, skipped=skipped))
        skipped.say(unreadable=False)  # those have been named
        self._maker = ExampleMaker(pools, recipe, EXAMPLE_SEED)
        sources = fold_sources(clips, FOLDS)
        self._parts = [{clip.group for clip in clips if clip.source in part} for part in sources]
        self._workers: int = arguments.workers
        # The last: a run that is refused leaves nothing behind.
        self.stream = Stream(arguments.work / "stream", arguments.most, new=True)

    def __call__(self, first: int) -> None:
        die_with_parent()
        threadpool_limits(1)  # one a core: threads of its own would only wait for one another
        self.stream.fill(self._maker, self._parts, first, self._workers)


def _wait(makers: Sequence[BaseProcess], learners: Sequence[BaseProcess]) -> None:
    """Until all have learnt; DatasetError as soon as any process has failed."""
    while True:
        going_on = any(process.is_alive() for process in learners)
        if any(process.exitcode for process in (*makers, *learners)):
            raise DatasetError("a process that makes or learns has failed: what it said is above")
        if not going_on:
            return
        time.sleep(0.2)


def main() -> int:
    """Run it, print what was found and write it as JSON."""
    parser = argparse.ArgumentParser(
        prog="lengths",
        description=__doc__,
        epilog="example:\n  python -m scripts.lengths recordings --seconds 500",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="of recordings")
    parser.add_argument(
        "--lengths", nargs="+", type=int, default=LENGTHS, metavar="N", help="examples shown"
    )
    counts = {
        "seconds": (500, "to make and to learn for"),
        "seeds": (2, "networks for each part"),
        "batch-size": (64, "examples a step"),
        "most": (300_000, "examples made"),
        "workers": (len(os.sched_getaffinity(0)), "that make examples"),
    }
    for name, (value, words) in counts.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{words} ({value})")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("out/lengths"),
        metavar="DIR",
        help="a new one (out/lengths)",
    )
    arguments = parser.parse_args()
    for name in counts:
        value = getattr(arguments, name.replace("-", "_"))
        if value < 1:
            parser.error(f"--{name} {value} must be 1 or more")
    for length in arguments.lengths:
        if not 1 <= length <= arguments.most:
            parser.error(f"--lengths {length} must lie between 1 and --most {arguments.most}")
    try:
        lines = run(arguments)
    except EdgeError as error:
        parser.error(str(error))
    write_atomically(arguments.work / "figures.json", json.dumps(lines, indent=1).encode())
    for line in lines:
        print(", ".join(f"{name} {value:.3g}" for name, value in line.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
