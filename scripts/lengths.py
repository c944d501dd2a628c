"""``python -m scripts.lengths RECORDINGS``: how long to train, judged on cars never heard.

Sources of every kind are split into three parts, as in :mod:`scripts.rotation`. For each part,
ResNet34 is trained from scratch on examples that contain nothing of it; other networks are trained
on everything. All train at the same time on the same stream of examples, while it is being made,
and see each example about once. At several lengths the running average of each network's weights
judges the part it never heard. The learning rate falls with the inverse square root of the number
of examples shown, so that no length has the advantage of ending a schedule. Needs a GPU: in eight
minutes, eight networks see what two cores would show one network in six days.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from convert.dataset import find_clips
from convert.errors import DatasetError
from convert.examples import ExampleMaker
from convert.output import need_folder
from convert.recipe import REAL_KNOCKS, Recipe
from convert.split import TrainedOn
from convert.train_config import TrainConfig
from edge.child import die_with_parent
from edge.cli import run_cli
from edge.errors import ConfigError
from edge.files import write_atomically
from scripts.held_out import FOLDS, HeldOut, Parts, figures
from scripts.learner import Learner
from scripts.stream import Stream

EVERYTHING = FOLDS  # in the place of a part's number: nothing is left out
EXAMPLE_SEED = 41
LENGTHS = tuple(1000 * n for n in (16, 32, 48, 64, 96, 128, 160, 192, 256))
# Shares of healthy windows called knocking; as in the rotation of the model card.
FALSE_RATES = (0.01, 0.022, 0.043)
COUNTS = {
    "seconds": (500, "time to make examples and train"),
    "seeds": (2, "networks per part"),
    "batch-size": (64, "examples per step"),
    # About 7 in 10 of them lack the sources of a given part: enough for the last of LENGTHS.
    "most": (400_000, "examples to make at most"),
    "workers": (len(os.sched_getaffinity(0)), "processes that make examples"),
}


class Task(NamedTuple):
    """One network to train."""

    part: int  # the part that is left out; EVERYTHING: none
    seed: int

    @property
    def name(self) -> str:
        """Its name in output, and the start of its files' names."""
        which = "all" if self.part == EVERYTHING else f"without{self.part + 1}"
        return f"{which}-{self.seed}"


@dataclass(frozen=True)
class Run:
    """Settings that all processes of a run share."""

    work: Path
    size: int  # capacity of the stream, examples
    deadline_s: float  # deadline, seconds of the monotonic clock
    lengths: tuple[int, ...]
    config: TrainConfig
    trained_on: TrainedOn  # what networks without a held-out part are trained on

    def learn(self, task: Task) -> None:
        """Train one network on the whole stream; at every length, save it or its answers."""
        die_with_parent()
        torch.set_num_threads(1)
        torch.backends.cudnn.benchmark = True
        stream, learner = Stream(self.work / "stream", self.size), Learner(task.seed, self.config)
        lengths = iter((*self.lengths, 2**62))
        until = next(lengths)
        for batch in stream.batches(task.part, self.config.batch_size, self.deadline_s):
            learner.step(stream.indices[batch], stream.labels[batch].astype(np.int64))
            while learner.shown >= until:
                self._save(learner, task, until)
                until = next(lengths)
        print(f"{task.name}: {learner.shown} examples shown", flush=True)

    def _save(self, learner: Learner, task: Task, length: int) -> None:
        path = self.work / f"{task.name}-{length}"
        if task.part == EVERYTHING:  # there is nothing that it never heard, to judge it by
            learner.save(path.with_suffix(".pth"), self.trained_on)
            return
        while not (self.work / "held.npz").is_file():
            time.sleep(1)  # the parent is still making it
        held = HeldOut.load(self.work / "held.npz").only(task.part)
        answers = io.BytesIO()
        np.save(answers, learner.judge(held.indices))
        write_atomically(path.with_suffix(".npy"), answers.getvalue())


def table(work: Path, tasks: Sequence[Task], lengths: Sequence[int]) -> list[dict[str, float]]:
    """A line per length and rate of FALSE_RATES, up to the last length that all networks reached.

    Figures are means over seeds; those named ``ensemble ...`` are of the seeds' averaged log-odds.
    DatasetError if an answer is not finite.
    """
    held = HeldOut.load(work / "held.npz")
    windows = {part: held.part == part for part in range(FOLDS)}
    seeds = sorted({task.seed for task in tasks})
    lines: list[dict[str, float]] = []
    for length in lengths:
        by_seed = {seed: np.full(len(held.kind), np.nan, np.float32) for seed in seeds}
        for task in tasks:
            file = work / f"{task.name}-{length}.npy"
            if task.part == EVERYTHING:
                continue
            if not file.is_file():
                return lines
            z = np.load(file)
            if not np.isfinite(z).all():
                raise DatasetError(
                    f"{file} holds values that are not finite: that training has diverged"
                )
            by_seed[task.seed][windows[task.part]] = z
        for rate in FALSE_RATES:
            each = [figures(held, z, rate) for z in by_seed.values()]
            ensemble = figures(held, np.mean(list(by_seed.values()), axis=0), rate)
            mean = {name: float(np.mean([one[name] for one in each])) for name in ensemble}
            aucs = [one["auc knock"] for one in each]
            together = {f"ensemble {name}": value for name, value in ensemble.items()}
            spread = {"spread auc knock": max(aucs) - min(aucs)}
            lines.append({"length": length, "rate": rate, **mean, **spread, **together})
    return lines


def learn(arguments: argparse.Namespace) -> list[dict[str, float]]:
    """Make examples, train and judge for ``arguments.seconds``; the lines of :func:`table`.

    DatasetError if the recordings are not enough, if a process has failed, or if there was no time
    for any of the lengths.
    """
    work: Path = arguments.work
    if work.is_dir() and any(work.iterdir()):
        raise DatasetError(
            f"{work} is not empty, and a run needs a folder of its own: name a new one"
        )
    config = TrainConfig(batch_size=arguments.batch_size)
    parts = Parts(find_clips(arguments.folders))
    parts.check_labels()
    need_folder("--work", work)
    make = _MakeExamples(parts, arguments)
    deadline_s = time.monotonic() + arguments.seconds
    lengths = sorted(set(arguments.lengths))
    trained_on = TrainedOn(complete=True).extended_with(parts.clips)
    run = Run(work, arguments.most, deadline_s, tuple(lengths), config, trained_on)
    seeds = range(1, arguments.seeds + 1)
    tasks = [Task(part, seed) for seed in seeds for part in range(FOLDS + 1)]
    # Makers are forked to share the recordings in memory, and this process never uses the GPU.
    fork = multiprocessing.get_context("fork")
    spawn = multiprocessing.get_context("spawn")
    makers = [
        fork.Process(target=make, args=(first,), daemon=True) for first in range(arguments.workers)
    ]
    learners = [spawn.Process(target=run.learn, args=(task,), daemon=True) for task in tasks]
    try:
        with _ignoring_interrupts():
            for process in (*makers, *learners):
                process.start()
        HeldOut.of(parts).save(work / "held.npz")
        _wait(makers, learners)
    finally:
        _terminate((*makers, *learners))
        # Nobody reads these gigabytes again; and a run that failed early leaves an empty folder.
        shutil.rmtree(work / "stream", ignore_errors=True)
    print(f"{make.stream.until()} examples made", flush=True)
    lines = table(work, tasks, lengths)
    if not lines:
        raise DatasetError(
            f"not all networks were shown {lengths[0]} examples: give more --seconds or --most, or "
            "smaller --lengths"
        )
    return lines


class _MakeExamples:
    """The work of each process that makes examples of ``parts``."""

    def __init__(self, parts: Parts, arguments: argparse.Namespace) -> None:
        recipe = Recipe(real_knocks=REAL_KNOCKS, simple=TrainConfig().simple)
        self._maker = ExampleMaker(parts.pools(), recipe, EXAMPLE_SEED)
        self._parts = parts.groups
        self._workers: int = arguments.workers
        self.stream = Stream(arguments.work / "stream", arguments.most, new=True)

    def __call__(self, first: int) -> None:
        die_with_parent()
        threadpool_limits(1)  # one process per core: more threads would only compete
        self.stream.fill(self._maker, self._parts, first, self._workers)


@contextlib.contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Processes started within ignore Ctrl-C: their parent handles it and ends them."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _wait(makers: Sequence[BaseProcess], learners: Sequence[BaseProcess]) -> None:
    """Wait until all networks are trained; DatasetError as soon as a process has failed."""
    while True:
        going_on = any(process.is_alive() for process in learners)
        if any(process.exitcode for process in (*makers, *learners)):
            raise DatasetError(
                "a process that makes examples or trains has failed: its error is above"
            )
        if not going_on:
            return
        time.sleep(0.2)


def _terminate(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        if process.is_alive():
            process.terminate()
            process.join()


def main() -> int:
    """Run it, print the figures and write them as JSON."""
    parser = argparse.ArgumentParser(
        prog="lengths",
        description=__doc__,
        epilog="example:\n  python -m scripts.lengths recordings --seconds 500",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder of recordings")
    parser.add_argument(
        "--lengths", nargs="+", type=int, metavar="N", help="examples shown (all up to --most)"
    )
    for name, (value, words) in COUNTS.items():
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{words} ({value})")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("out/lengths"),
        metavar="DIR",
        help="new or empty folder for its files (out/lengths)",
    )
    parser.set_defaults(run=_run)
    return run_cli(parser, None)


def _run(arguments: argparse.Namespace) -> int:
    for name in COUNTS:
        value = getattr(arguments, name.replace("-", "_"))
        if value < 1:
            raise ConfigError(f"--{name} {value} must be 1 or more")
    arguments.lengths = arguments.lengths or [n for n in LENGTHS if n <= arguments.most]
    for length in arguments.lengths:
        if not 1 <= length <= arguments.most:
            raise ConfigError(f"--lengths {length} must lie between 1 and --most {arguments.most}")
    lines = learn(arguments)
    write_atomically(arguments.work / "figures.json", json.dumps(lines, indent=1).encode())
    for line in lines:
        print(", ".join(f"{name} {value:.3g}" for name, value in line.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
