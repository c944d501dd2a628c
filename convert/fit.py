"""The epochs of a training run, which can be resumed after any of them."""

from __future__ import annotations

import copy
import io
import json
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own convention
from torch.optim.swa_utils import get_ema_multi_avg_fn

from convert.augment import add_rounding_noise, mixup, roll_and_mask
from convert.device import (
    GRADING_BATCH,
    half_precision,
    report_out_of_memory,
    to_device,
    training_device,
)
from convert.errors import DatasetError
from convert.examples import KNOCKING, NORMAL
from convert.metrics import auc
from convert.network import KnockNet
from convert.progress import bar
from convert.rendering import FULL_PX, SMALL_PX, Pictures
from convert.train_config import TrainConfig
from edge.files import remove_leftovers, write_atomically

CALLED = 0.5  # p_knocking from which a window counts as called knocking, in the figures printed
MASKED = 0.5  # share of pictures with a frequency band masked out


@dataclass(frozen=True)
class Examples:
    """Colour indices (N, 84, 87) uint8 and labels (N,) int64, indices into LABELS."""

    indices: NDArray[np.uint8]
    labels: NDArray[np.int64]


def need_batch(examples: int, batch_size: int) -> None:
    """DatasetError if there are fewer than ``batch_size`` examples."""
    if examples < batch_size:
        raise DatasetError(
            f"{examples} examples do not fill one batch of {batch_size}: "
            "ask for more with --examples, or a smaller --batch-size"
        )


def ema_decay_at(ema_decay: float, step: int) -> float:
    """The decay at a step: smaller at first, when there is little to average yet."""
    return min(ema_decay, (1 + step) / (10 + step))


class Fit:
    """The epochs of one run, with all state that is needed to resume it."""

    def __init__(
        self,
        network: KnockNet,
        examples: Examples,
        *,
        check: Examples,
        real: Examples,
        work: Path,
        config: TrainConfig,
        frozen: bool,
    ) -> None:
        """``check``: synthetic examples; their AUC chooses the best epoch.

        ``real``: windows of held-out recordings, for the figures printed. ``frozen``: train the
        head alone for ``config.frozen_epochs``, but never in the last epoch.
        """
        self.device = training_device()
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.ema = copy.deepcopy(self.network).eval()
        self._noise = add_rounding_noise(self.network, config.rounding_noise)
        self.examples, self.check, self.real = examples, check, real
        self.work, self.config, self.frozen_start = work, config, frozen
        need_batch(len(examples.labels), config.batch_size)
        self.n_batches = len(examples.labels) // config.batch_size
        if len(set(check.labels.tolist())) < 2:
            raise DatasetError(
                f"the {len(check.labels)} examples to check on are all of one class: "
                "ask for more with --examples"
            )
        self.epochs = config.small_epochs + config.full_epochs
        self.optimiser = torch.optim.AdamW(
            network.parameters(),
            config.learning_rate,
            weight_decay=config.weight_decay,
            fused=True,
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, config.learning_rate, total_steps=self.epochs * self.n_batches + 1
        )
        self.history: list[dict[str, float]] = []
        self.start: dict[str, float] = {}  # figures before the first epoch, if they were asked for
        self.best = -1.0

    def go(self, *, grade_start: bool = False) -> None:
        """Run all epochs that are not done yet; ``grade_start``: grade the network before, too."""
        remove_leftovers(self.work, "state.pt", "best.pt", "history.json")
        with report_out_of_memory(self.config.batch_size, "--batch-size"):
            first = self._resume()
        if grade_start and not self.start:
            self._grade_start()
        for epoch in range(first, self.epochs):
            began = time.monotonic()
            side = self._side(epoch)
            with report_out_of_memory(self.config.batch_size, "--batch-size"):
                loss = self._epoch(epoch, Pictures(side, self.device))
            if not math.isfinite(loss):
                raise DatasetError(
                    f"the loss of epoch {epoch + 1} is {loss}: the training has diverged, start "
                    "again with a smaller --learning-rate"
                )
            with report_out_of_memory(GRADING_BATCH):
                figures = {"loss": loss, "side": side, **self._figures(side)}
            figures["seconds"] = round(time.monotonic() - began, 1)
            self.history.append(figures)
            print(f"epoch {epoch + 1}/{self.epochs}: {_shown(figures)}", flush=True)
            # A network that has seen only small pictures is not one to ship.
            full = side > SMALL_PX or self.config.full_epochs == 0
            if full and figures["check_auc"] >= self.best:
                self.best = figures["check_auc"]
                self._write("best.pt", {"model": self.ema.state_dict(), "epoch": epoch})
            # The state last: an epoch it records as done has already written everything else.
            self._write_history()
            self._write("state.pt", self._state(epoch))

    def best_epoch(self) -> tuple[int, dict[str, Tensor]]:
        """Index and weights of the best epoch, which are also loaded into ``ema``.

        DatasetError if the file is damaged or missing.
        """
        path = self.work / "best.pt"
        try:
            best = torch.load(path, map_location=self.device, weights_only=True)
            self.ema.load_state_dict(best["model"])
            return int(best["epoch"]), best["model"]
        except Exception as error:  # torch raises all kinds
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise DatasetError(
                f"{path} is damaged or not there: remove it and state.pt, and the run starts anew "
                "with the examples it has"
            ) from error

    def grade_kept(self, weights: Mapping[str, Tensor]) -> float:
        """Grade ``weights`` blended by ``config.keep``, and return their ``check_auc``.

        The figures are the same as for an epoch and become the last entry of the history.
        """
        self.ema.load_state_dict(weights)
        side = self._side(self.epochs - 1)
        with report_out_of_memory(GRADING_BATCH):
            figures = {"keep": self.config.keep, "side": side, **self._figures(side)}
        print(f"with {_shown(figures)}")
        self.history.append(figures)
        self._write_history()
        return figures["check_auc"]

    def _grade_start(self) -> None:
        """Grade the network as it was given, on pictures as large as those of the last epoch."""
        side = self._side(self.epochs - 1)
        with report_out_of_memory(GRADING_BATCH):
            self.start = {"side": side, **self._figures(side)}
        print(f"before training: {_shown(self.start)}", flush=True)

    def _side(self, epoch: int) -> int:
        return SMALL_PX if epoch < self.config.small_epochs else FULL_PX

    def _epoch(self, epoch: int, pictures: Pictures) -> float:
        config, total = self.config, torch.zeros((), device=self.device)
        rng = np.random.default_rng([config.seed, epoch])
        # Dropout and noise must be the same if the run is resumed here.
        torch.manual_seed(1000 * config.seed + epoch)
        self._noise.reset()
        self.network.train()
        # Never in the last epoch, or the body might not be trained at all.
        frozen = self.frozen_start and epoch < min(config.frozen_epochs, self.epochs - 1)
        self.network.body.requires_grad_(not frozen)
        batches = bar(self._batches(rng), f"epoch {epoch + 1}", total=self.n_batches)
        for indices, labels in batches:
            mixed, shares = mixup(pictures(indices), labels, config.mixup, rng)
            with half_precision(self.device):
                logits = self.network(mixed)
            loss = F.cross_entropy(logits.float(), shares, label_smoothing=config.label_smoothing)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.schedule.step()
            self._update_ema()
            total += loss.detach()  # read once at the end: each read waits for the GPU
        return float(total) / self.n_batches

    def _batches(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches (B, 84, 87) and (B,), rolled in time, half of the pictures masked."""
        order = rng.permutation(len(self.examples.labels))
        size = self.config.batch_size
        for i in range(self.n_batches):
            chosen = np.sort(order[i * size : (i + 1) * size])
            batch = roll_and_mask(self.examples.indices[chosen], MASKED, rng)
            yield (
                to_device(batch, self.device),
                to_device(self.examples.labels[chosen], self.device),
            )

    @torch.no_grad()
    def _update_ema(self) -> None:
        """Update the exponential moving average of the weights."""
        decay = ema_decay_at(self.config.ema_decay, self.schedule.last_epoch)
        averaged, current = self.ema.state_dict(), self.network.state_dict()
        moving = [name for name, value in averaged.items() if value.is_floating_point()]
        for name in averaged.keys() - moving:  # BatchNorm's batch counters
            averaged[name].copy_(current[name])
        # All in one call: launched one by one, the small kernels would leave a GPU mostly idle.
        get_ema_multi_avg_fn(decay)(  # type: ignore[no-untyped-call]
            [averaged[name] for name in moving], [current[name] for name in moving], 0
        )

    def _figures(self, side: int) -> dict[str, float]:
        pictures = Pictures(side, self.device)
        made = self.p_knocking(self.check, pictures)
        found, false = (made[self.check.labels == label] for label in (KNOCKING, NORMAL))
        # An AUC does not show that fewer false alarms were bought with missed knocks.
        figures = {"check_auc": auc(found, false), "check_found": float((found >= CALLED).mean())}
        real = self.p_knocking(self.real, pictures)
        knocks = self.real.labels == KNOCKING
        if knocks.any() and not knocks.all():
            figures["real_auc"] = auc(real[knocks], real[~knocks])
        if not knocks.all():
            figures["real_false"] = float((real[~knocks] >= CALLED).mean())
        return figures

    @torch.no_grad()
    def p_knocking(self, examples: Examples, pictures: Pictures) -> NDArray[np.float32]:
        """Probability of knocking by the averaged network for each of ``examples``: (N,) float32.

        Not in bfloat16, which would round the pictures' colours themselves and could change the
        answers.
        """
        answers = [np.empty(0, dtype=np.float32)]
        for i in bar(range(0, len(examples.indices), GRADING_BATCH), "grading", unit=""):
            part = torch.from_numpy(examples.indices[i : i + GRADING_BATCH])
            logits = self.ema(pictures(part.to(self.device)))
            answers.append(logits.softmax(1)[:, KNOCKING].cpu().numpy())
        return np.concatenate(answers)

    def _state(self, epoch: int) -> dict[str, Any]:
        return {
            "epoch": epoch,
            "best": self.best,
            "history": self.history,
            "start": self.start,
            "network": self.network.state_dict(),
            "ema": self.ema.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def _resume(self) -> int:
        path = self.work / "state.pt"
        if not path.is_file():
            return 0
        try:
            state = torch.load(path, map_location=self.device, weights_only=True)
            for name in ("network", "ema", "optimiser", "schedule"):
                getattr(self, name).load_state_dict(state[name])
            self.best, self.history = state["best"], state["history"]
            self.start = state["start"]
        except Exception as error:  # torch raises all kinds
            if isinstance(error, torch.OutOfMemoryError):
                raise
            raise DatasetError(
                f"{path} is damaged: remove it, and the run starts anew with the examples it has"
            ) from error
        print(f"resuming after epoch {state['epoch'] + 1}")
        return int(state["epoch"]) + 1

    def _write_history(self) -> None:
        write_atomically(self.work / "history.json", json.dumps(self.history).encode())

    def _write(self, name: str, content: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(self.work / name, buffer.getvalue())


def _shown(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
