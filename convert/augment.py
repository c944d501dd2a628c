"""Changes made to pictures and to the network only while training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own custom

from convert.network import BasicBlock, KnockNet


def roll_and_mask(
    pictures: NDArray[np.uint8], masked: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A copy of ``pictures`` (B, 84, 87), each turned round in time, some with a stripe masked out.

    An engine has no beginning: turning the picture is another picture of it. ``masked`` is the
    share that loses a stripe of frequencies to the picture's mean (SpecAugment, Park et al., 2019).
    """
    changed = pictures.copy()
    for picture in changed:
        picture[:] = np.roll(picture, int(rng.integers(picture.shape[1])), axis=1)
        if rng.random() < masked:
            height = int(rng.integers(3, 13))
            low = int(rng.integers(picture.shape[0] - height + 1))
            picture[low : low + height] = picture.mean()
    return changed


def mixup(
    pictures: Tensor, labels: Tensor, alpha: float, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Half of the time pictures and labels blended pairwise (mixup, Zhang et al., ICLR 2018).

    ``pictures`` (B, 3, side, side), ``labels`` (B,) -> the same pictures and (B, 2) shares.
    """
    shares = F.one_hot(labels, 2).float()
    if alpha <= 0 or rng.random() < 0.5:
        return pictures, shares
    weight = float(rng.beta(alpha, alpha))
    other = torch.from_numpy(rng.permutation(len(labels))).to(labels.device)
    return (
        weight * pictures + (1 - weight) * pictures[other],
        weight * shares + (1 - weight) * shares[other],
    )


class NoiseTape:
    """Gaussian noise cut from one long tape at a random place.

    Fresh noise for every tensor costs much of a training step on a CPU; that two cuts may overlap
    is nothing a network could learn from.
    """

    def __init__(self) -> None:
        self._tape = torch.empty(0)

    def rewind(self) -> None:
        """Forget the tape, so that what follows depends on torch's seed alone."""
        self._tape = torch.empty(0)

    def like(self, x: Tensor) -> Tensor:
        """Standard normal, of the shape (B, C, H, W), type and device of ``x``."""
        tape, spare = self._tape, 1024  # places a cut may start at, beyond the first
        alike = (tape.dtype, tape.device) == (x.dtype, x.device)
        if not alike or tape.numel() < x.numel() + spare:
            size = max(1 << 22, 2 * x.numel())
            self._tape = torch.randn(size, dtype=x.dtype, device=x.device)
        start = int(torch.randint(self._tape.numel() - x.numel() + 1, ()))
        b, c, h, w = x.shape
        # In memory channels come last, there as here: adding walks through both alike.
        return self._tape[start : start + x.numel()].view(b, h, w, c).permute(0, 3, 1, 2)


def add_rounding_noise(network: KnockNet, steps: float) -> NoiseTape:
    """While training, blur every tensor that will be rounded by ``steps`` of its later int8 scale.

    A network that has learnt with such noise hardly minds being rounded. It lies on the output of
    each residual block, on what passes between its convolutions and on both terms of its sum, where
    negative outliers that no later layer ever sees make the scale coarse. Gaussian in place of
    rounding itself, whose gradient is nothing (Fan et al., "Training with Quantization Noise", ICLR
    2021). Returns the noise, to be rewound where a run must be repeatable.
    """
    noise = NoiseTape()
    if steps <= 0:
        return noise

    def blurred(output: Tensor, *, signed: bool) -> Tensor:
        seen = output.detach()
        extent = seen.amax() - seen.amin() if signed else seen.amax()
        return output + noise.like(output) * (steps / 255 * extent)

    def after_relu(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return blurred(output, signed=False) if module.training else output

    def before_sum(module: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> Tensor:
        return blurred(output, signed=True) if module.training else output

    for block in network.modules():
        if isinstance(block, BasicBlock):
            block.register_forward_hook(after_relu)
            block.bn1.register_forward_hook(after_relu)  # its negative half never gets that far
            block.bn2.register_forward_hook(before_sum)
            if isinstance(block.downsample, nn.Sequential):
                block.downsample.register_forward_hook(before_sum)
    return noise
