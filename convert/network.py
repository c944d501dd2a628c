"""The network of the original project, ResNet34 with fastai's head, in plain torch.

Module names give exactly fastai's parameter names (``0.4.0.conv1.weight`` ... ``1.8.bias``), so
its checkpoints load without renaming. :func:`fold` turns a trained network into the equivalent one
that is exported: picture values in 0..1 in, probabilities out, no batch normalisation left.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own custom

HeadStyle = Literal["v1", "v2"]
Key = TypeVar("Key")

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB values in 0..1
IMAGENET_STD = (0.229, 0.224, 0.225)
N_FEATURES = 512  # channels of the last feature map
FEATURE_MAP = 7  # its side for a picture of 224 px


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions with a shortcut (He et al. 2016, figure 5 left)."""

    def __init__(self, n_in: int, n_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(n_in, n_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_out)
        self.conv2 = nn.Conv2d(n_out, n_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(n_out)
        self.downsample: nn.Module = nn.Identity()
        if stride != 1 or n_in != n_out:
            shortcut = nn.Conv2d(n_in, n_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """(B, n_in, H, W) -> (B, n_out, H / stride, W / stride)."""
        y = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class ConcatPool(nn.Module):
    """Largest and mean value of every channel side by side, the largest first (fastai's order)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 2 C, 1, 1)."""
        return torch.cat([F.adaptive_max_pool2d(x, 1), F.adaptive_avg_pool2d(x, 1)], dim=1)


def resnet34_body() -> nn.Sequential:
    """ResNet34 without its classifier: (B, 3, 224, 224) -> (B, 512, 7, 7)."""
    layers: list[nn.Module] = [
        nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, stride=2, padding=1),
    ]
    n_in = 64
    for n_out, n_blocks in ((64, 3), (128, 4), (256, 6), (512, 3)):
        strides = [1 if n_out == n_in else 2] + [1] * (n_blocks - 1)
        blocks = [BasicBlock(n_in if i == 0 else n_out, n_out, s) for i, s in enumerate(strides)]
        layers.append(nn.Sequential(*blocks))
        n_in = n_out
    return nn.Sequential(*layers)


def fastai_head(style: HeadStyle) -> nn.Sequential:
    """Classifier of fastai; "v2" differs from "v1" in having no biases in its linear layers."""
    bias = style == "v1"
    return nn.Sequential(
        ConcatPool(),
        nn.Flatten(),
        nn.BatchNorm1d(2 * N_FEATURES),
        nn.Dropout(0.25),
        nn.Linear(2 * N_FEATURES, 512, bias=bias),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(512),
        nn.Dropout(0.5),
        nn.Linear(512, 2, bias=bias),
    )


class KnockNet(nn.Sequential):
    """Body and head: normalised pictures (B, 3, 224, 224) float32 -> logits (B, 2)."""

    def __init__(self, *, head: HeadStyle = "v1") -> None:
        super().__init__(resnet34_body(), fastai_head(head))
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.Linear)):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    @property
    def body(self) -> nn.Sequential:
        """The feature extractor, what ``--pretrained`` and freezing are about."""
        body = self[0]
        assert isinstance(body, nn.Sequential)  # noqa: S101 - for the type checker
        return body


def normalise(pictures: Tensor) -> Tensor:
    """uint8 RGB pictures (B, 3, H, W) -> float32 with ImageNet's mean 0 and deviation 1."""
    mean = torch.tensor(IMAGENET_MEAN, device=pictures.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=pictures.device).view(1, 3, 1, 1)
    return (pictures.float() / 255 - mean) / std


class FoldedNet(nn.Module):
    """What is exported: RGB values in 0..1, (B, 3, 224, 224) float32 -> probabilities (B, n).

    Pools are written with fixed sizes because the converters take those over exactly.
    """

    def __init__(self, body: nn.Sequential, hidden: nn.Linear, out: nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.hidden = hidden
        self.out = out
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities that sum to 1, in the order of the labels."""
        features = self.body(x - self.mean)
        largest = F.max_pool2d(features, FEATURE_MAP)
        mean = features.mean((2, 3), keepdim=True)
        pooled = torch.cat([largest, mean], dim=1).flatten(1)
        return F.softmax(self.out(F.relu(self.hidden(pooled))), dim=1)


def fold(network: KnockNet) -> FoldedNet:
    """The equivalent network without batch normalisation; computed in float64, given as float32.

    Each BatchNorm ``y = g (x - m) / s + b`` is linear, so it joins the convolution before it, or,
    in the head, the linear layer behind it. Dividing by ImageNet's deviation joins the first
    convolution; subtracting its mean cannot, because padding comes between. The picture's edge
    must see zeros after the subtraction.
    """
    exact = copy.deepcopy(network).double().eval()
    body, head = exact.body, list(exact[1].children())
    _fold_body(body)
    std = torch.tensor(IMAGENET_STD, dtype=torch.float64).view(1, 3, 1, 1)
    body[0].get_parameter("weight").data /= std
    hidden = _fold_before(head[2], head[4])
    out = _fold_before(head[6], head[8])
    return FoldedNet(body, hidden, out).float().eval()


def _fold_body(body: nn.Sequential) -> None:
    body[0], body[1] = _fold_behind(body[0], body[1]), nn.Identity()
    for block in body.modules():
        if isinstance(block, BasicBlock):
            block.conv1, block.bn1 = _fold_behind(block.conv1, block.bn1), nn.Identity()  # type: ignore[assignment]
            block.conv2, block.bn2 = _fold_behind(block.conv2, block.bn2), nn.Identity()  # type: ignore[assignment]
            if isinstance(block.downsample, nn.Sequential):
                block.downsample = _fold_behind(block.downsample[0], block.downsample[1])


def _gain_and_offset(norm: nn.Module) -> tuple[Tensor, Tensor]:
    """``BatchNorm(x) = gain * x + offset`` in inference."""
    assert isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d))  # noqa: S101 - for the type checker
    assert norm.running_var is not None and norm.running_mean is not None  # noqa: S101 - as above
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return gain.detach(), (norm.bias - norm.running_mean * gain).detach()


def _fold_behind(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
    """Convolution followed by BatchNorm as one convolution with bias."""
    assert isinstance(conv, nn.Conv2d)  # noqa: S101 - for the type checker
    gain, offset = _gain_and_offset(norm)
    conv.weight.data *= gain.view(-1, 1, 1, 1)
    conv.bias = nn.Parameter(offset)
    return conv


def _fold_before(norm: nn.Module, linear: nn.Module) -> nn.Linear:
    """BatchNorm followed by a linear layer as one linear layer with bias."""
    assert isinstance(linear, nn.Linear)  # noqa: S101 - for the type checker
    gain, offset = _gain_and_offset(norm)
    bias = linear.weight.data @ offset
    if linear.bias is not None:
        bias = bias + linear.bias.data
    linear.weight.data *= gain
    linear.bias = nn.Parameter(bias)
    return linear


def layers(network: nn.Module) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
    """All convolutions and linear layers with their names, in the order in which they run."""
    return [
        (name, module)
        for name, module in network.named_modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    ]


@contextmanager
def watching(
    modules: Iterable[tuple[Key, nn.Module]],
    watch: Callable[[Key, nn.Module, Tensor], Tensor | None],
) -> Iterator[None]:
    """Within, every forward pass hands ``watch`` the outputs of ``modules``.

    ``watch(key, module, output)`` returns what goes on in the place of ``output``, or None.
    """
    handles = [
        module.register_forward_hook(lambda module, _, output, key=key: watch(key, module, output))
        for key, module in modules
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
