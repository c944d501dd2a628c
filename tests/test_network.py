import pytest
import torch

from convert.network import ConcatPool, KnockNet, fold, normalise
from tests.networks import random_network


@pytest.mark.parametrize("style", ["v1", "v2"])
def test_names_and_sizes_are_fastais(style):
    state = KnockNet(head=style).state_dict()
    assert state["0.0.weight"].shape == (64, 3, 7, 7)
    assert state["0.5.0.downsample.0.weight"].shape == (128, 64, 1, 1)
    assert state["0.7.2.bn2.running_var"].shape == (512,)
    assert state["1.2.weight"].shape == (1024,)
    assert state["1.4.weight"].shape == (512, 1024)
    assert state["1.8.weight"].shape == (2, 512)
    assert ("1.8.bias" in state) == (style == "v1")
    body = sum(v.numel() for k, v in state.items() if k.startswith("0.") and "running" not in k)
    # torchvision's resnet34 has 21.8 M parameters, 513 000 of them in its classifier;
    # 36 counters of batches come on top of ours.
    assert body == 21_797_672 - 513_000 + 36


@pytest.mark.parametrize("style", ["v1", "v2"])
def test_folding_changes_nothing(style):
    network = random_network(style)
    pictures = torch.randint(0, 256, (4, 3, 224, 224), dtype=torch.uint8)
    with torch.inference_mode():
        before = network(normalise(pictures)).softmax(1)
        after = fold(network)(pictures.float() / 255)
    # float32 rounding through 36 layers; a wrong fold is off by tenths.
    assert (before - after).abs().max() < 1e-5


def test_folding_leaves_the_original_alone():
    network = random_network()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    fold(network)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_no_batch_normalisation_is_left():
    folded = fold(random_network())
    assert not [m for m in folded.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]


def test_the_maximum_comes_before_the_mean():
    x = torch.zeros(1, 512, 7, 7)
    x[0, 0, 3, 3] = 49
    pooled = ConcatPool()(x).flatten()
    assert pooled[0] == 49
    assert pooled[512] == 1


def test_normalise_is_imagenets():
    white = normalise(torch.full((1, 3, 1, 1), 255, dtype=torch.uint8)).flatten()
    # (1 - 0.485) / 0.229 and so on
    assert white.tolist() == pytest.approx([2.2489, 2.4286, 2.6400], abs=1e-4)
