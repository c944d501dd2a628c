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
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own custom
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from convert.augment import add_rounding_noise, mixed_up, turn_and_mask
from convert.checkpoint import save_checkpoint
from convert.dataset import LABELS, find_clips, load_all
from convert.examples import KNOCKING, ExampleMaker, fill_pools
from convert.fit import MASKED, half_precision
from convert.network import KnockNet
from convert.recipe import REAL_KNOCKS, Recipe
from convert.rendering import FULL_PX, Pictures
from convert.split import fold_sources
from convert.train_config import TrainConfig
from edge.errors import EdgeError
from edge.files import write_atomically
from scripts.ablations import FOLDS
from scripts.held_out import HeldOut, figures
from scripts.stream import Stream

BATCH = 64
RATE, WARM, FALLS = 2e-3, 4_000, 16_000  # the rate rises until, and falls from so many shown
AVERAGING = 0.998  # of weights, a step
EVERYTHING = FOLDS  # the number of the part that leaves nothing out
EXAMPLE_SEED = 41
Tensors = tuple[Tensor, ...] | list[Tensor]
LENGTHS = tuple(1000 * n for n in (16, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 448, 512))
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


def learning_rate(shown: int) -> float:
    """After so many examples."""
    return RATE * min(1.0, shown / WARM) * min(1.0, (FALLS / max(shown, 1)) ** 0.5)


class Learner:
    """A network, the running average of its weights, and what that says of windows."""

    def __init__(self, task: Task, config: TrainConfig) -> None:
        torch.manual_seed(task.seed)
        self._rng = np.random.default_rng(task.seed)
        self._config = config
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._network = KnockNet().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._average = AveragedModel(self._network, multi_avg_fn=self._follow, use_buffers=True)
        self._average.eval()
        add_rounding_noise(self._network, config.rounding_noise)
        self._network.train()
        self._pictures = Pictures(FULL_PX, self.device)
        self._optimiser = torch.optim.AdamW(
            self._network.parameters(), RATE, weight_decay=config.weight_decay, fused=True
        )
        self.shown = 0
        self._under_way: deque[torch.cuda.Event] = deque()

    def _follow(self, averaged: Tensors, current: Tensors, _: object) -> None:
        """As in convert train: faster early on, with nothing to remember yet."""
        step = self.shown // BATCH
        keep = min(AVERAGING, (1 + step) / (10 + step))
        get_ema_multi_avg_fn(keep)(averaged, current, 0)  # type: ignore[no-untyped-call]

    def step(self, indices: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Learn from one batch, turned in time and half of it masked."""
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self.shown)
        batch = turn_and_mask(indices, MASKED, self._rng)
        pictures, truth = self._pictures(self._moved(batch)), self._moved(labels)
        shown, shares = mixed_up(pictures, truth, self._config.mixup, self._rng)
        with half_precision(self.device):
            logits = self._network(shown)
        smoothing = self._config.label_smoothing
        loss = F.cross_entropy(logits.float(), shares, label_smoothing=smoothing)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self._average.update_parameters(self._network)
        self.shown += len(labels)
        self._pause()

    def _moved(self, batch: NDArray[np.generic]) -> Tensor:
        """On the device; a GPU is not waited for."""
        tensor = torch.from_numpy(batch)
        if self.device.type == "cuda":
            return tensor.pin_memory().to(self.device, non_blocking=True)
        return tensor

    def _pause(self) -> None:
        """Sleep while the GPU is two steps behind: it has others to serve, as the processor has."""
        if self.device.type != "cuda":
            return
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self._under_way.append(event)
        event.record()
        if len(self._under_way) > 2:
            self._under_way.popleft().synchronize()

    @torch.no_grad()
    def judge(self, indices: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Log-odds of knocking, (N,)."""
        said = [np.empty(0, np.float32)]
        for i in range(0, len(indices), 128):
            part = torch.from_numpy(indices[i : i + 128]).to(self.device)
            logits = self._average(self._pictures(part)).float()
            said.append((logits[:, KNOCKING] - logits[:, 1 - KNOCKING]).cpu().numpy())
        return np.concatenate(said)

    def save(self, path: Path) -> None:
        """The average as a checkpoint that ``convert export`` takes."""
        network = self._average.module
        assert isinstance(network, KnockNet)  # noqa: S101 - for the type checker
        save_checkpoint(path, network, labels=LABELS, meta={"shown": self.shown})


@dataclass(frozen=True)
class Run:
    """What all processes of a run have in common."""

    work: Path
    size: int  # examples at most
    ends: float  # of the monotonic clock
    lengths: tuple[int, ...]
    config: TrainConfig

    def learn(self, task: Task) -> None:
        """One network from its first to its last example; its answers and weights in files."""
        torch.set_num_threads(1)
        torch.backends.cudnn.benchmark = True
        stream, learner = Stream(self.work / "stream", self.size), Learner(task, self.config)
        lengths = iter((*self.lengths, 2**62))
        until = next(lengths)
        for batch in stream.batches(task.part, BATCH, self.ends):
            learner.step(stream.indices[batch], stream.labels[batch].astype(np.int64))
            if learner.shown >= until:
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
            learner.save(place.with_suffix(".pth"))


def table(work: Path, tasks: Sequence[Task], lengths: Sequence[int]) -> list[dict[str, float]]:
    """A line for each length and share of healthy windows called knocking, as far as all got.

    Seeds are averaged in their figures; ``both`` is of the mean of their answers.
    """
    held = HeldOut.kept(work / "held.npz")
    seeds = sorted({task.seed for task in tasks})
    lines: list[dict[str, float]] = []
    for length in lengths:
        said = {seed: np.full(len(held.kind), np.nan, np.float32) for seed in seeds}
        for task in tasks:
            file = work / f"{task.name}-{length}.npy"
            if task.part != EVERYTHING and file.is_file():
                said[task.seed][held.part == task.part] = np.load(file)
        if any(np.isnan(z).any() for z in said.values()):
            return lines
        for rate in FALSE_RATES:
            each = [figures(held, z, rate) for z in said.values()]
            both = figures(held, np.mean(list(said.values()), axis=0), rate)
            mean = {name: float(np.mean([one[name] for one in each])) for name in both}
            spread = {f"spread {n}": abs(each[0][n] - each[-1][n]) for n in ("auc knock",)}
            both = {f"both {name}": value for name, value in both.items()}
            lines.append({"length": length, "rate": rate, **mean, **spread, **both})
    return lines


def run(arguments: argparse.Namespace) -> list[dict[str, float]]:
    """Make, learn and judge for ``arguments.seconds``; what is said of it."""
    work: Path = arguments.work
    work.mkdir(parents=True, exist_ok=True)
    clips = find_clips(arguments.folders)
    sources = fold_sources(clips, FOLDS)
    parts = [{clip.group for clip in clips if clip.source in part} for part in sources]
    recipe = Recipe(real_knocks=REAL_KNOCKS, simple=TrainConfig().simple)
    maker = ExampleMaker(fill_pools(load_all(clips, quiet=True)), recipe, EXAMPLE_SEED)
    size = arguments.most
    stream = Stream(work / "stream", size, new=True)
    ends = time.monotonic() + arguments.seconds
    what = Run(work, size, ends, tuple(arguments.lengths), TrainConfig())
    tasks = [
        Task(part, seed) for seed in range(1, arguments.seeds + 1) for part in range(FOLDS + 1)
    ]
    # The recordings are in memory once: makers are copies of this process, which uses no GPU.
    alike = multiprocessing.get_context("fork")
    apart = multiprocessing.get_context("spawn")
    workers = arguments.workers
    makers = [
        alike.Process(target=stream.fill, args=(maker, parts, first, workers), daemon=True)
        for first in range(workers)
    ]
    learners = [apart.Process(target=what.learn, args=(task,)) for task in tasks]
    for process in (*makers, *learners):
        process.start()
    if not (work / "held.npz").is_file():
        HeldOut.of(clips).keep(work / "held.npz")
    for process in learners:
        process.join()
    for process in makers:
        process.terminate()
    print(f"{stream.until()} examples made", flush=True)
    return table(work, tasks, arguments.lengths)


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
    for name, value, words in (
        ("seconds", 500, "to make and to learn for"),
        ("seeds", 2, "networks for each part"),
        ("most", 300_000, "examples made"),
        ("workers", len(os.sched_getaffinity(0)), "that make examples"),
    ):
        parser.add_argument(f"--{name}", type=int, default=value, help=f"{words} ({value})")
    parser.add_argument(
        "--work", type=Path, default=Path("out/lengths"), metavar="DIR", help="(out/lengths)"
    )
    arguments = parser.parse_args()
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
