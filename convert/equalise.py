"""Cross-layer equalisation: the same network with channels of similar range, for quantisation.

An int8 tensor has one scale for all its channels, so a channel of small values has only a few
steps. Rectification commutes with positive factors, ``relu(x / s) = relu(x) / s``. So a channel may
be divided by ``s`` where it is produced and multiplied by it where it is used, and nothing changes.
Method: Nagel et al., "Data-Free Quantization Through Weight Equalization and Bias Correction",
ICCV 2019, here with measured activation ranges instead of the weights of the layer before.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from convert.calibration import evenly
from convert.network import BasicBlock, FoldedNet, watching

# Of one step, before its root, as the range of a channel that hardly varies is mostly noise. In all
# steps together, channels of the shipped network are scaled by 7 at most.
MAX_FACTOR = 8.0
# Several groups of channels share weights: what is right for one of them, another changes. Half
# steps keep them from overshooting. On trained networks the largest error fell to a third or a
# quarter, and more rounds gained little.
ROUNDS = 8
# On which activation ranges are measured, taken evenly: the recordings come first and may all be of
# one healthy car, in which channels that respond to knocks seem small. With the first 32, three
# networks tuned to one car were off by 0.036, 0.034 and 0.051, with an even choice by 0.019, 0.026
# and 0.022; 128 pictures gained nothing.
N_PICTURES = 32


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that are to be scaled together, the layers that produce and those that use them."""

    makers: Sequence[nn.Conv2d | nn.Linear]
    users: Sequence[nn.Conv2d | nn.Linear]
    repeats: int = 1  # how often the channels are in a linear layer's input: twice after the pools


def equalise(network: FoldedNet, pictures: NDArray[np.uint8]) -> None:
    """Equalise ``network`` in place, with ranges over ``pictures`` (N, 224, 224, 3) uint8.

    Ranges are measured once: what a layer puts out changes by the factors of its channels alone.
    """
    groups = _channel_groups(network)
    chosen = pictures[evenly(len(pictures), N_PICTURES)]
    ranges = _ranges(network, [group.makers for group in groups], chosen)
    for _ in range(ROUNDS):
        ranges = [_half_step(group, made) for group, made in zip(groups, ranges, strict=True)]
    _match_pools(network, chosen)


def _match_pools(network: FoldedNet, pictures: NDArray[np.uint8]) -> None:
    """Scale the mean of the last feature maps up to the range of their maximum.

    Both are parts of one tensor, and the mean is about a third as large: with the scale of the
    maximum, it would have a third of the steps.
    """
    largest, mean = torch.zeros(()), torch.zeros(())
    with torch.inference_mode():
        for x in _inputs(pictures):
            features = network.body(x - network.mean)
            largest = torch.maximum(largest, features.max())
            mean = torch.maximum(mean, features.mean((2, 3)).max())
    if mean > 0:
        gain = largest / mean
        network.pool *= gain
        network.hidden.weight.data[:, len(network.pool) :] /= gain


def _half_step(group: ChannelGroup, made: Tensor) -> Tensor:
    """Rescale the channels of ``group``, whose ranges are ``made``; returns those they have now."""
    used = torch.stack([_used(user, group.repeats) for user in group.users]).amax(0)
    live = (made > 0) & (used > 0)
    if not live.any():  # of a block that adds nothing, as one that starts from zero
        return made
    factors = torch.where(live, torch.sqrt(made / used.clamp(min=1e-12)), torch.ones(()))
    factors = factors / factors[live].log().mean().exp()
    factors = factors.clamp(1 / MAX_FACTOR, MAX_FACTOR).sqrt()
    _rescale(group, factors)
    return made / factors


def _channel_groups(network: FoldedNet) -> list[ChannelGroup]:
    """Inner channels of every block, the residual channels of every stage, the hidden layer."""
    stages = [
        [block for block in stage if isinstance(block, BasicBlock)]
        for stage in network.body
        if isinstance(stage, nn.Sequential)
    ]
    groups = [
        ChannelGroup([_layer(block.conv1)], [_layer(block.conv2)])
        for stage in stages
        for block in stage
    ]
    for number, stage in enumerate(stages):
        entry = stage[0].downsample if number else network.body[0]
        makers = [_layer(entry), *(_layer(block.conv2) for block in stage)]
        users = [_layer(block.conv1) for block in stage[1:]]
        if number == 0:
            users.append(_layer(stage[0].conv1))
        if number + 1 < len(stages):
            after = stages[number + 1][0]
            users += [_layer(after.conv1), _layer(after.downsample)]
            groups.append(ChannelGroup(makers, users))
        else:
            groups.append(ChannelGroup(makers, [*users, network.hidden], repeats=2))
    groups.append(ChannelGroup([network.hidden], [network.out]))
    return groups


def _layer(module: nn.Module) -> nn.Conv2d | nn.Linear:
    assert isinstance(module, (nn.Conv2d, nn.Linear))  # noqa: S101 - for the type checker
    return module


def _per_channel(user: nn.Conv2d | nn.Linear, repeats: int) -> Tensor:
    """A view of the weights as (out, repeats, channels, kernel); for convolutions repeats is 1."""
    repeats = repeats if isinstance(user, nn.Linear) else 1
    return user.weight.data.view(user.weight.shape[0], repeats, user.weight.shape[1] // repeats, -1)


def _used(user: nn.Conv2d | nn.Linear, repeats: int) -> Tensor:
    """Largest weight of every channel relative to that of its row, each of which has its scale."""
    weights = _per_channel(user, repeats).abs()
    rows = weights.amax((1, 2, 3), keepdim=True).clamp(min=1e-12)
    return (weights / rows).amax((0, 1, 3))


def _ranges(
    network: FoldedNet,
    makers: Sequence[Sequence[nn.Conv2d | nn.Linear]],
    pictures: NDArray[np.uint8],
) -> list[Tensor]:
    """Largest absolute output over ``pictures`` of every channel, for each group of makers."""
    found = [torch.zeros(group[0].weight.shape[0]) for group in makers]

    def keep(number: int, _: nn.Module, output: Tensor) -> None:
        found[number] = torch.maximum(
            found[number], output.abs().transpose(0, 1).flatten(1).amax(1)
        )

    every = [(number, maker) for number, group in enumerate(makers) for maker in group]
    with torch.inference_mode(), watching(every, keep):
        for x in _inputs(pictures):
            network(x)
    return found


def residual_ranges(network: FoldedNet, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Range over ``pictures`` of what each block adds to its shortcut: (blocks, 2) float32.

    Smallest and largest output of the block's second convolution, 0 included.
    """
    blocks = [block for block in network.body.modules() if isinstance(block, BasicBlock)]
    found = np.zeros((len(blocks), 2), dtype=np.float32)

    def keep(number: int, _: nn.Module, output: Tensor) -> None:
        low, high = found[number]
        found[number] = min(low, float(output.min())), max(high, float(output.max()))

    every = [(number, block.conv2) for number, block in enumerate(blocks)]
    with torch.inference_mode(), watching(every, keep):
        for x in _inputs(pictures):
            network(x)
    return found


def _inputs(pictures: NDArray[np.uint8]) -> Iterator[Tensor]:
    """Batches of ``pictures`` (N, 224, 224, 3) uint8 as the network takes them."""
    for i in range(0, len(pictures), 16):
        yield torch.from_numpy(pictures[i : i + 16]).permute(0, 3, 1, 2).float() / 255


def _rescale(group: ChannelGroup, factors: Tensor) -> None:
    for maker in group.makers:
        maker.weight.data /= factors.view(-1, *[1] * (maker.weight.ndim - 1))
        if maker.bias is not None:
            maker.bias.data /= factors
    for user in group.users:
        _per_channel(user, group.repeats).mul_(factors.view(1, 1, -1, 1))
