"""The network of the original project, ResNet34 with fastai's head, in plain torch.

Parameter names are exactly fastai's (``0.4.0.conv1.weight`` ... ``1.8.bias``), so its checkpoints
load without renaming. :func:`fold` turns a trained network into the equivalent one for export: its
input is RGB values in 0..1, its output probabilities, and its batch normalisation is folded away.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812 - torch's own convention

HeadStyle = Literal["v1", "v2"]
Key = TypeVar("Key")

IMAGENET_MEAN = (0.485, 0.456, 0.406)  # of RGB values in 0..1
IMAGENET_STD = (0.229, 0.224, 0.225)
N_FEATURES = 512  # channels of the last feature map
FEATURE_MAP = 7  # side of that map for a picture of 224 px


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
    """Global max and average pooling, concatenated in fastai's order: maximum first."""

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
    """The classifier of fastai; "v2" differs from "v1" in that its linear layers have no biases."""
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
        """The feature extractor, the part that ``--pretrained`` loads and that can be frozen."""
        body = self[0]
        assert isinstance(body, nn.Sequential)  # noqa: S101 - for the type checker
        return body


def normalise(pictures: Tensor) -> Tensor:
    """Normalise RGB pictures (B, 3, H, W), values 0..255, by ImageNet's statistics; float32."""
    mean = torch.tensor(IMAGENET_MEAN, device=pictures.device).view(1, 3, 1, 1)
    std = torch.tensor(IMAGENET_STD, device=pictures.device).view(1, 3, 1, 1)
    return (pictures.float() / 255 - mean) / std


class FoldedNet(nn.Module):
    """The network for export: RGB values in 0..1, (B, 3, 224, 224) float32 -> probabilities (B, n).

    Pooling has fixed sizes because the converters translate those exactly. The mean is taken by a
    convolution, so that ``pool`` may scale it: see :mod:`convert.equalise`.
    """

    def __init__(self, body: nn.Sequential, hidden: nn.Linear, out: nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.hidden = hidden
        self.out = out
        self.mean: Tensor
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.pool: Tensor
        shape = (hidden.in_features // 2, 1, FEATURE_MAP, FEATURE_MAP)
        self.register_buffer("pool", torch.full(shape, 1 / FEATURE_MAP**2))

    def forward(self, x: Tensor) -> Tensor:
        """Probabilities (B, n) that sum to 1, in the order of the labels."""
        features = self.body(x - self.mean)
        largest = F.max_pool2d(features, FEATURE_MAP)
        mean = F.conv2d(features, self.pool, groups=len(self.pool))
        pooled = torch.cat([largest, mean], dim=1).flatten(1)
        return F.softmax(self.out(F.relu(self.hidden(pooled))), dim=1)


def fold(network: KnockNet) -> FoldedNet:
    """Return the equivalent network without batch normalisation, folded in float64, as float32.

    Each BatchNorm ``y = g (x - m) / s + b`` is affine, so it is folded into the convolution before
    it or, in the head, into the linear layer after it. The division by ImageNet's standard
    deviation is folded into the first convolution. The subtraction of its mean cannot be, because
    of the padding in between: the border must be zero after the subtraction.
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
    """The ``gain`` and ``offset`` with which ``BatchNorm(x) = gain * x + offset`` in inference."""
    assert isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d))  # noqa: S101 - for the type checker
    assert norm.running_var is not None and norm.running_mean is not None  # noqa: S101 - as above
    gain = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    return gain.detach(), (norm.bias - norm.running_mean * gain).detach()


def _fold_behind(conv: nn.Module, norm: nn.Module) -> nn.Conv2d:
    """Fold a BatchNorm into the convolution before it, which gets a bias."""
    assert isinstance(conv, nn.Conv2d)  # noqa: S101 - for the type checker
    gain, offset = _gain_and_offset(norm)
    conv.weight.data *= gain.view(-1, 1, 1, 1)
    conv.bias = nn.Parameter(offset)
    return conv


def _fold_before(norm: nn.Module, linear: nn.Module) -> nn.Linear:
    """Fold a BatchNorm into the linear layer after it, which gets a bias."""
    assert isinstance(linear, nn.Linear)  # noqa: S101 - for the type checker
    gain, offset = _gain_and_offset(norm)
    bias = linear.weight.data @ offset
    if linear.bias is not None:
        bias = bias + linear.bias.data
    linear.weight.data *= gain
    linear.bias = nn.Parameter(bias)
    return linear


def layers(network: nn.Module) -> list[tuple[str, nn.Conv2d | nn.Linear]]:
    """All convolutions and linear layers with their names, in execution order."""
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
    """A context in which every forward pass calls ``watch`` on the outputs of ``modules``.

    ``watch(key, module, output)`` returns a replacement for ``output``, or None to keep it.
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
