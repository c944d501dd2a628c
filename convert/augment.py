"""Augmentation of pictures and noise in the network, used only in training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

from convert.network import BasicBlock, KnockNet


def roll_and_mask(
    pictures: NDArray[np.uint8], masked: float, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """A copy of ``pictures`` (B, 84, 87), each rolled in time, some with a frequency band masked.

    An engine's sound has no beginning, so a circular shift gives another valid picture of it.
    ``masked`` is the share of pictures in which a random band of frequencies is replaced by the
    picture's mean (SpecAugment, Park et al., 2019).
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
    """Mix pictures and labels pairwise in half of the calls (mixup, Zhang et al., ICLR 2018).

    ``pictures`` (B, 3, side, side), ``labels`` (B,) -> pictures of that shape, class shares (B, 2).
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


class NoiseBuffer:
    """Gaussian noise taken from a random position of one long buffer.

    Generating noise for every tensor would take much of a training step on a CPU. Two cuts may
    overlap, but there is nothing in that for a network to learn.
    """

    def __init__(self) -> None:
        self._buffer = torch.empty(0)

    def reset(self) -> None:
        """Discard the buffer, so that the noise from here on depends only on torch's seed."""
        self._buffer = torch.empty(0)

    def like(self, x: Tensor) -> Tensor:
        """Standard normal noise with the shape (B, C, H, W), dtype and device of ``x``."""
        buffer, spare = self._buffer, 1024  # possible start positions, besides the first
        alike = (buffer.dtype, buffer.device) == (x.dtype, x.device)
        if not alike or buffer.numel() < x.numel() + spare:
            size = max(1 << 22, 2 * x.numel())
            self._buffer = torch.randn(size, dtype=x.dtype, device=x.device)
        start = int(torch.randint(self._buffer.numel() - x.numel() + 1, ()))
        b, c, h, w = x.shape
        # Channels last in memory, as in the network, so that both are read in the same order.
        return self._buffer[start : start + x.numel()].view(b, h, w, c).permute(0, 3, 1, 2)


def add_rounding_noise(network: KnockNet, steps: float) -> NoiseBuffer:
    """Add noise of ``steps`` int8 steps to the tensors that export will round, in training only.

    A network trained with this noise is robust to quantisation. Noise is added to the output of
    each residual block, between its convolutions, and to both terms of its sum, where negative
    outliers that no later layer sees make the int8 scale coarse. It is Gaussian instead of actual
    rounding, whose gradient is zero (Fan et al., "Training with Quantization Noise", ICLR 2021).
    Returns the noise source, to be reset where a run must be repeatable.
    """
    noise = NoiseBuffer()
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
            block.bn1.register_forward_hook(after_relu)  # ReLU removes its negative half
            block.bn2.register_forward_hook(before_sum)
            if isinstance(block.downsample, nn.Sequential):
                block.downsample.register_forward_hook(before_sum)
    return noise
