"""Checkpoints in the layouts of other programs, with random weights."""

from pathlib import Path

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


def checkpoint(path: Path, network, layout="bare"):
    """Write ``network`` as fastai's ``learn.save`` does, with or without the optimiser."""
    state = network.state_dict()
    if layout == "safetensors":
        from safetensors.torch import save_file

        save_file(state, path)
    elif layout == "optimiser":
        momentum = {i: {"avg": p.clone()} for i, p in enumerate(network.parameters())}
        torch.save({"model": state, "opt": {"state": momentum, "hypers": [{"lr": 1e-3}]}}, path)
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
