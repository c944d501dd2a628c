import numpy as np
import pytest
import torch
from torch import nn

from convert.bias import corrected, round_weights
from convert.network import fold
from tests.networks import random_network

LAYERS = (nn.Conv2d, nn.Linear)


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (4, 224, 224, 3), dtype=np.uint8)


def channel_means(network, pictures):
    """Mean output of every channel of every layer."""
    found = {}

    def keep(name, output):
        found[name] = output.transpose(0, 1).flatten(1).mean(1)

    for name, layer in network.named_modules():
        if isinstance(layer, LAYERS):
            layer.register_forward_hook(lambda _, __, output, name=name: keep(name, output))
    with torch.inference_mode():
        network(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)
    return found


def rounded(network):
    for layer in network.modules():
        if isinstance(layer, LAYERS):
            layer.weight.data = round_weights(layer.weight.data)
    return network


def test_rounded_weights_are_at_most_half_a_step_off_and_stay_when_rounded_again():
    weight = torch.randn(8, 3, 3, 3)
    weight[5] = 0  # a dead channel must not become NaN
    steps = weight.abs().flatten(1).amax(1).view(-1, 1, 1, 1) / 127
    once = round_weights(weight)
    # Half a step, and a thousandth of one for float32.
    assert ((once - weight).abs() <= 0.501 * steps).all()
    assert torch.allclose(round_weights(once), once, atol=1e-7)
    levels = once[0] / steps[0]
    assert torch.allclose(levels, levels.round(), atol=1e-3)


def test_rounded_and_corrected_every_channel_has_the_mean_it_had(pictures):
    exact = fold(random_network())
    wanted = channel_means(exact, pictures)
    plain = channel_means(rounded(fold(random_network())), pictures)
    network = corrected(fold(random_network()), pictures)
    for (name, before), after in zip(exact.named_parameters(), network.parameters(), strict=True):
        if name.endswith("weight"):
            assert torch.equal(before, after)  # the quantiser shall choose its own scales
    mended = channel_means(rounded(network), pictures)
    for name, mean in wanted.items():
        scale = float(mean.abs().max())
        # Float32 sums over up to 112 x 112 places, through all the layers before.
        assert float((mended[name] - mean).abs().max()) < 1e-3 * scale, name
    shifts = [float((plain[n] - m).abs().max() / m.abs().max()) for n, m in wanted.items()]
    assert max(shifts) > 1e-2  # else there was nothing to correct, and the above says nothing


def test_the_network_given_is_left_alone(pictures):
    network = fold(random_network())
    before = [value.clone() for value in network.state_dict().values()]
    corrected(network, pictures)
    assert all(map(torch.equal, before, network.state_dict().values()))


def test_of_many_pictures_some_are_taken_evenly(pictures, monkeypatch):
    monkeypatch.setattr("convert.bias.N_PICTURES", 2)
    of_all, of_ends = (corrected(fold(random_network()), p) for p in (pictures, pictures[[0, 3]]))
    assert all(map(torch.equal, of_all.parameters(), of_ends.parameters()))
