"""Reading and writing checkpoints: fastai's layouts, torchvision's body, safetensors."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from convert.dataset import LABELS
from convert.errors import CheckpointError
from convert.labels import plain
from convert.network import HeadStyle, KnockNet
from convert.restricted import read_checkpoint
from convert.split import TrainedOn
from edge.errors import ConfigError
from edge.files import write_atomically
from edge.model import are_labels
from edge.temperature import TEMPERATURE_RANGE

PLAIN_TYPES = {
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.int32,
    torch.int64,
}
MAX_LISTED = 6  # keys listed in a message for each kind of problem
# torchvision names its layers where fastai numbers the children of a Sequential.
TORCHVISION_NAMES = {
    "conv1": "0",
    "bn1": "1",
    "layer1": "4",
    "layer2": "5",
    "layer3": "6",
    "layer4": "7",
}


@dataclass(frozen=True)
class Checkpoint:
    """A trained network and the metadata from its file."""

    network: KnockNet
    layout: str  # "fastai v1" or "fastai v2", plus ", safetensors" if read from such a file
    labels: tuple[str, ...] | None  # class names in the order of the outputs
    meta: dict[str, Any]
    threshold: float
    temperature: float
    trained_on: TrainedOn

    @property
    def chosen_by(self) -> tuple[str, ...]:
        """Held-out sources by which the best epoch was chosen: not trained on, but not unseen."""
        names = self.meta.get("chosen_by", [])
        return tuple(map(str, names)) if isinstance(names, list | tuple) else ()

    def knocking_first(self) -> KnockNet:
        """The network, its outputs swapped if necessary so that they are in the order of LABELS."""
        if (self.labels or LABELS)[0] != LABELS[0]:
            last = [m for m in self.network.modules() if isinstance(m, torch.nn.Linear)][-1]
            with torch.no_grad():
                for values in last.parameters():  # weight, and bias except in fastai v2
                    values.copy_(values.flip(0))
        return self.network


def load_checkpoint(
    path: Path,
    *,
    labels: tuple[str, ...] | None = None,
    threshold: float | None = None,
    temperature: float | None = None,
) -> Checkpoint:
    """Read a whole network: fastai v1 or v2 ``.pth`` (bare or with optimiser), or safetensors.

    ``threshold`` and ``temperature`` override the file's own values unless None. ``labels`` is for
    files that state none; ConfigError if the file states others. CheckpointError if the file is
    missing, unsafe or damaged, if keys are missing, unexpected or of the wrong shape, if it does
    not have two classes, or if weights are not finite.
    """
    content = read_checkpoint(path)
    state = content.get("model", content)
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{path}: 'model' holds a {type(state).__name__}, not parameters")
    if "fc.weight" in state:
        raise CheckpointError(
            f"{path} is torchvision's ResNet34, trained on photographs: it cannot tell engines "
            "apart. Train from it with: convert train --pretrained"
        )
    style: HeadStyle = "v1" if {"1.4.bias", "1.8.bias"} & state.keys() else "v2"
    last = state.get("1.8.weight")
    if isinstance(last, Tensor) and _is_plain(last) and last.ndim == 2 and last.shape[0] != 2:
        raise CheckpointError(
            f"{path} has {last.shape[0]} classes: two are needed, knocking and normal"
        )
    network = KnockNet(head=style)
    _load_into(network, state, path, "a ResNet34 with fastai's head")
    instead = {"labels": labels, "threshold": threshold, "temperature": temperature}
    meta = _meta_of(content, path, {name: v for name, v in instead.items() if v is not None})
    return Checkpoint(
        network.eval(),
        f"fastai {style}" + (", safetensors" if path.suffix.lower() == ".safetensors" else ""),
        _labels(meta, path),
        meta,
        _number(meta, "threshold", 0.5, (0.0, 1.0), path),
        _number(meta, "temperature", 1.0, TEMPERATURE_RANGE, path),
        _trained_on(meta, path),
    )


def note_assumed_labels(checkpoint: Checkpoint, path: Path) -> None:
    """Say on standard error what the outputs are taken for if the file states no labels."""
    if checkpoint.labels is None:  # fastai's never do
        taken = f"states no labels, taken for {', '.join(LABELS)}; if not so, give --labels"
        print(f"note: {path} {taken}", file=sys.stderr)


def _labels(meta: Mapping[str, Any], path: Path) -> tuple[str, ...] | None:
    labels = meta.get("labels")
    names = tuple(map(str, labels)) if isinstance(labels, list | tuple) else None
    if labels is None or names == ():
        return None
    if names is None or not are_labels(names):
        raise CheckpointError(f"{path}: labels {labels}: two are needed, one of them knocking")
    return names


def _number(
    meta: Mapping[str, Any], name: str, default: float, limits: tuple[float, float], path: Path
) -> float:
    value = meta.get(name, default)
    low, high = limits
    if not isinstance(value, int | float) or not low < value < high:
        raise CheckpointError(f"{path}: {name} {value!r} must lie between {low:g} and {high:g}")
    return float(value)


def _meta_of(content: Mapping[str, Any], path: Path, instead: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata in the file, overridden by ``instead``."""
    stated = content.get("meta")
    meta = dict(stated) if isinstance(stated, Mapping) else {}
    own = None
    with contextlib.suppress(CheckpointError):  # ``instead`` may correct invalid labels
        own = _labels(meta, path)
    meta |= instead
    if own and _labels(meta, path) != own:
        raise ConfigError(
            f"--labels {','.join(meta['labels'])}: {path} states that its outputs are "
            f"{','.join(own)}: leave the option out"
        )
    return meta


def _trained_on(meta: Mapping[str, Any], path: Path) -> TrainedOn:
    stated = [meta.get(f"trained_on{of}", []) for of in ("", "_files", "_cars")]
    if not all(isinstance(names, list | tuple) for names in stated):
        raise CheckpointError(f"{path}: what it was trained on is not a list of names")
    sources, files, cars = (frozenset(plain(str(name)) for name in names) for names in stated)
    complete = "trained_on" in meta and meta.get("start_unknown", False) is False
    return TrainedOn(sources, files, cars, complete)


def load_body(path: Path, network: KnockNet) -> None:
    """Load torchvision's ``resnet34`` weights into ``network``'s body; its head is unchanged."""
    content = read_checkpoint(path)
    if "model" in content or "1.8.weight" in content:
        raise CheckpointError(f"{path} is a whole network, not a body alone: give it with --init")
    state: dict[str, Any] = {}
    for name, value in content.items():
        first, _, rest = name.partition(".")
        if first == "fc":
            continue
        state[f"{TORCHVISION_NAMES.get(first, first)}.{rest}"] = value
    _load_into(network.body, state, path, "torchvision's resnet34")


def save_checkpoint(
    path: Path, network: KnockNet, *, labels: tuple[str, ...], meta: Mapping[str, Any]
) -> None:
    """Write ``network`` with labels and ``meta`` atomically, in fastai's layout and float16.

    Half precision halves the file and loses nothing that int8 would preserve. ``meta`` must hold
    only plain numbers, strings, lists and dicts, so that the restricted unpickler can load it.
    """
    state = {name: _halved(value.detach().cpu()) for name, value in network.state_dict().items()}
    buffer = io.BytesIO()
    torch.save({"model": state, "meta": {**meta, "labels": list(labels)}}, buffer)
    write_atomically(path, buffer.getvalue())


def _halved(value: Tensor) -> Tensor:
    """``value`` in half precision, unless not floating point or out of range, as some variances."""
    half = value.half() if value.is_floating_point() else value
    return half if torch.isfinite(half).all() else value


def _is_plain(value: Tensor) -> bool:
    """Whether ``value`` is an ordinary array of numbers; others may not even have a shape."""
    special = value.is_nested or value.is_quantized or value.is_meta
    return not special and value.layout == torch.strided and value.dtype in PLAIN_TYPES


def _load_into(module: torch.nn.Module, state: Mapping[str, Any], path: Path, what: str) -> None:
    """Load ``state`` into ``module``; CheckpointError, before any change, if it is not ``what``."""
    wanted = module.state_dict()
    # Old checkpoints lack the batch counters, which inference never uses.
    missing = [k for k in wanted if k not in state and not k.endswith("num_batches_tracked")]
    unexpected = [k for k in state if k not in wanted]
    tensors = {k: v for k, v in state.items() if k in wanted and isinstance(v, Tensor)}
    if odd := [k for k, v in tensors.items() if not _is_plain(v)]:
        raise CheckpointError(
            f"{path} holds sparse, complex, quantised or similar weights: {', '.join(odd[:3])}"
        )
    shapes = [
        f"{k} is {tuple(v.shape)} instead of {tuple(wanted[k].shape)}"
        for k, v in tensors.items()
        if v.shape != wanted[k].shape
    ]
    not_tensors = [k for k in state if k in wanted and k not in tensors]
    problems = [
        f"{len(keys)} {how}: {', '.join(keys[:MAX_LISTED])}{' ...' * (len(keys) > MAX_LISTED)}"
        for how, keys in (
            ("missing", missing),
            ("unexpected", unexpected),
            ("of the wrong shape", shapes),
            ("not a tensor", not_tensors),
        )
        if keys
    ]
    if problems:
        raise CheckpointError(f"{path} is not {what}: {'; '.join(problems)}")
    bad = [k for k, v in state.items() if v.is_floating_point() and not torch.isfinite(v).all()]
    if bad:
        raise CheckpointError(f"{path} holds weights that are not finite: {', '.join(bad[:3])}")
    module.load_state_dict({**wanted, **{k: v.to(wanted[k].dtype) for k, v in state.items()}})
