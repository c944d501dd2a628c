"""A small network that stands in for ResNet34 where many have to be trained."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own custom

from convert import augment
from convert.device import half_precision
from convert.examples import KNOCKING, NORMAL
from convert.fit import Examples

BATCH = 64


class SmallNet(nn.Module):
    """Six 3 x 3 convolutions on four levels, global max and mean pooling, one linear layer.

    The first convolution halves frequency but not time, along which the knocks repeat.
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


def pictures(indices: NDArray[np.uint8]) -> Tensor:
    """Colour indices (B, 84, 87) as input of the small network: (B, 1, 84, 87), scaled."""
    return (torch.from_numpy(indices).float()[:, None] - 128) / 64


def fit(
    examples: Examples,
    epochs: int,
    seed: int,
    held: NDArray[np.uint8],
    *,
    specaugment: float,
    mixup: float,
    smoothing: float,
) -> NDArray[np.float32]:
    """Train, and judge ``held`` after every epoch: (windows, epochs) log-odds of knocking.

    ``specaugment`` is the share of pictures with a masked band, ``mixup`` the alpha of its
    beta distribution, ``smoothing`` the label smoothing.
    """
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    network = SmallNet().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = len(examples.labels) // BATCH
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 2e-3, total_steps=epochs * batches + 1
    )
    log_odds = []
    for _ in range(epochs):
        network.train()
        order = rng.permutation(len(examples.labels))
        for number in range(batches):
            chosen = order[number * BATCH : (number + 1) * BATCH]
            batch = augment.roll_and_mask(examples.indices[chosen], specaugment, rng)
            labels = torch.from_numpy(examples.labels[chosen])
            mixed, shares = augment.mixup(pictures(batch), labels, mixup, rng)
            with half_precision(torch.device("cpu")):
                logits = network(mixed.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(logits.float(), shares, label_smoothing=smoothing)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
        network.eval()
        with torch.inference_mode(), half_precision(torch.device("cpu")):
            logits = torch.cat(
                [network(pictures(held[i : i + 64])) for i in range(0, len(held), 64)]
            ).float()
        log_odds.append((logits[:, KNOCKING] - logits[:, NORMAL]).numpy())
    return np.stack(log_odds, axis=1)
