"""Checkpoints in the layouts of other programs, with random weights."""

import sys
from pathlib import Path
from types import ModuleType
from unittest import mock

import numpy as np
import torch

from convert.network import KnockNet


def random_network(style="v1", seed=0):
    """A network whose batch normalisation is not trivial, so that folding can go wrong."""
    torch.manual_seed(seed)
    network = KnockNet(head=style)
    for module in network.modules():
        if isinstance(module, (torch.nn.BatchNorm2d, torch.nn.BatchNorm1d)):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
            for name, buffer in module.named_buffers():
                if name == "running_mean":
                    buffer.normal_(0, 0.3)
                elif name == "running_var":
                    buffer.uniform_(0.5, 2)
    return network.eval()


def fastcore():
    """Modules that define fastcore's list, which fastai v2 pickles by this name."""
    module = ModuleType("fastcore.foundation")
    module.L = type("L", (), {"__module__": module.__name__})  # type: ignore[attr-defined]
    return {"fastcore": ModuleType("fastcore"), module.__name__: module}


def optimiser(network):
    """Its state as one-cycle training leaves it; call while ``fastcore`` can be imported."""
    hypers = sys.modules["fastcore.foundation"].L()
    hypers.items = [{"lr": np.float64(1e-3)}]
    momentum = {i: {"avg": p.clone()} for i, p in enumerate(network.parameters())}
    return {"state": momentum, "hypers": hypers}


def checkpoint(path: Path, network, layout="bare"):
    """Write ``network`` as fastai's ``learn.save`` does, with or without the optimiser."""
    state = network.state_dict()
    if layout == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    elif layout.startswith("optimiser"):
        with mock.patch.dict(sys.modules, fastcore()):
            content = {"model": state, "opt": optimiser(network)}
            torch.save(content, path, _use_new_zipfile_serialization="2019" not in layout)
    else:
        torch.save(state, path)
    return path


def torchvision_state(network):
    """``network``'s body under torchvision's names, with a final layer for ImageNet's classes."""
    stages = {"4": "layer1", "5": "layer2", "6": "layer3", "7": "layer4", "0": "conv1", "1": "bn1"}
    state = {}
    for name, value in network.body.state_dict().items():
        first, _, rest = name.partition(".")
        state[f"{stages[first]}.{rest}"] = value
    return {**state, "fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}
