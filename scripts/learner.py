"""A network that is trained on examples as they arrive and can judge at any time."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own custom
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from convert.augment import add_rounding_noise, mixup, roll_and_mask
from convert.checkpoint import save_checkpoint
from convert.dataset import LABELS
from convert.device import half_precision, to_device, training_device
from convert.examples import KNOCKING
from convert.fit import MASKED, ema_decay_at
from convert.network import KnockNet
from convert.rendering import FULL_PX, Pictures
from convert.split import TrainedOn
from convert.train_config import TrainConfig

# Peak learning rate; examples shown until it is reached, and until it falls again.
PEAK_RATE, WARMUP, PLATEAU_END = 2e-3, 4_000, 16_000
EMA_DECAY = 0.998  # of the averaged weights, per step
Tensors = tuple[Tensor, ...] | list[Tensor]


def learning_rate(shown: int) -> float:
    """Learning rate after ``shown`` examples: warm-up, plateau, then inverse square root."""
    return PEAK_RATE * min(1.0, shown / WARMUP) * min(1.0, (PLATEAU_END / max(shown, 1)) ** 0.5)


class Learner:
    """A network in training; the running average of its weights judges windows."""

    def __init__(self, seed: int, config: TrainConfig) -> None:
        torch.manual_seed(seed)
        self._rng = np.random.default_rng(seed)
        self._config = config
        self.device = training_device()
        self._network = KnockNet().to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._ema = AveragedModel(self._network, multi_avg_fn=self._update_ema, use_buffers=True)
        self._ema.eval()
        add_rounding_noise(self._network, config.rounding_noise)
        self._network.train()
        self._pictures = Pictures(FULL_PX, self.device)
        self._optimiser = torch.optim.AdamW(
            self._network.parameters(), PEAK_RATE, weight_decay=config.weight_decay, fused=True
        )
        self.shown = 0
        self._pending: deque[torch.cuda.Event] = deque()

    def _update_ema(self, averaged: Tensors, current: Tensors, _: object) -> None:
        keep = ema_decay_at(EMA_DECAY, self.shown // self._config.batch_size)
        get_ema_multi_avg_fn(keep)(averaged, current, 0)  # type: ignore[no-untyped-call]

    def step(self, indices: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
        """Train on one batch, with pictures rolled in time, half of them masked, and mixup."""
        for group in self._optimiser.param_groups:
            group["lr"] = learning_rate(self.shown)
        batch = roll_and_mask(indices, MASKED, self._rng)
        pictures, truth = (
            self._pictures(to_device(batch, self.device)),
            to_device(labels, self.device),
        )
        mixed, shares = mixup(pictures, truth, self._config.mixup, self._rng)
        with half_precision(self.device):
            logits = self._network(mixed)
        smoothing = self._config.label_smoothing
        loss = F.cross_entropy(logits.float(), shares, label_smoothing=smoothing)
        self._optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self._optimiser.step()
        self._ema.update_parameters(self._network)
        self.shown += len(labels)
        self._pause()

    def _pause(self) -> None:
        """Sleep while the GPU is more than two steps behind: other processes need GPU and CPU."""
        if self.device.type != "cuda":
            return
        event = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
        self._pending.append(event)
        event.record()
        if len(self._pending) > 2:
            self._pending.popleft().synchronize()

    @torch.no_grad()
    def judge(self, indices: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Log-odds of knocking by the averaged weights, (N,)."""
        log_odds = [np.empty(0, np.float32)]
        for i in range(0, len(indices), 128):
            part = torch.from_numpy(indices[i : i + 128]).to(self.device)
            logits = self._ema(self._pictures(part)).float()
            log_odds.append((logits[:, KNOCKING] - logits[:, 1 - KNOCKING]).cpu().numpy())
        return np.concatenate(log_odds)

    def save(self, path: Path, trained_on: TrainedOn) -> None:
        """Save the averaged weights and what they were trained on, for ``convert export``."""
        network = self._ema.module
        assert isinstance(network, KnockNet)  # noqa: S101 - for the type checker
        meta = {"shown": self.shown, **trained_on.to_meta()}
        save_checkpoint(path, network, labels=LABELS, meta=meta)
