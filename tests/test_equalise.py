import numpy as np
import pytest
import torch

from convert.equalise import (
    MAX_FACTOR,
    N_PICTURES,
    ROUNDS,
    ChannelGroup,
    _channel_groups,
    _half_step,
    _ranges,
    _used,
    equalise,
    residual_ranges,
)
from convert.network import BasicBlock, fold
from tests.networks import random_network


@pytest.fixture(scope="module")
def pictures():
    return np.random.default_rng(0).integers(0, 256, (2, 224, 224, 3), dtype=np.uint8)


def answers(network, pictures):
    with torch.inference_mode():
        return network(torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255)


def inner_spread(network, pictures):
    """How unequal the channels between the two convolutions of the blocks are, as a ratio."""
    found = []

    def keep(module, _, output):
        largest = output.relu().amax((0, 2, 3))
        live = largest[largest > 0]
        found.append(float(live.max() / live.median()))

    handles = [
        module.register_forward_hook(keep)
        for name, module in network.named_modules()
        if name.endswith("conv1")
    ]
    answers(network, pictures)
    for handle in handles:
        handle.remove()
    return float(np.mean(found))


def unequal_network():
    """A network with channels as unequal as training makes them."""
    network = random_network()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data *= torch.exp(torch.randn(module.weight.shape))
    return network


def test_the_answers_stay_and_the_channels_grow_alike(pictures):
    network = unequal_network()
    plain, equal = fold(network), fold(network)
    equalise(equal, pictures)
    # Factors of float32, a few hundred of them one after another.
    assert (answers(plain, pictures) - answers(equal, pictures)).abs().max() < 1e-4
    assert inner_spread(equal, pictures) < 0.8 * inner_spread(plain, pictures)


def test_the_mean_of_the_last_features_has_the_range_of_their_maximum(pictures):
    network = fold(random_network())
    equalise(network, pictures)
    x = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        features = network.body(x - network.mean)
        mean = torch.nn.functional.conv2d(features, network.pool, groups=len(network.pool))
    assert float(mean.max()) == pytest.approx(float(features.max()), rel=1e-5)
    assert float(features.mean((2, 3)).max()) < 0.9 * float(features.max())  # not so by itself


def test_what_is_added_to_a_shortcut_has_its_own_range(pictures):
    network = fold(random_network())
    found = residual_ranges(network, pictures)
    outputs = []
    blocks = [module for module in network.body.modules() if isinstance(module, BasicBlock)]
    handle = blocks[-1].conv2.register_forward_hook(lambda *told: outputs.append(told[2]))
    answers(network, pictures)
    handle.remove()
    assert found.shape == (len(blocks), 2)
    assert found[-1] == pytest.approx([float(outputs[0].min()), float(outputs[0].max())])
    assert (found[:, 0] <= 0).all()
    assert (found[:, 1] >= 0).all()


def test_ranges_are_of_pictures_from_all_of_the_set(monkeypatch):
    """The recordings come first, and may all be of one healthy car."""
    shown = []

    def ranges(_, makers, chosen):
        shown.extend(chosen[:, 0, 0, 0].tolist())
        return [torch.ones(group[0].weight.shape[0]) for group in makers]

    monkeypatch.setattr("convert.equalise._ranges", ranges)
    numbered = np.zeros((240, 224, 224, 3), np.uint8)
    numbered[:, 0, 0, 0] = np.arange(240)
    equalise(fold(random_network()), numbered)
    assert (shown[0], shown[-1], len(set(shown))) == (0, 239, N_PICTURES)
    assert np.diff(shown).max() <= 8
    shown.clear()
    equalise(fold(random_network()), numbered[:3])
    assert shown == [0, 1, 2]


def test_a_block_that_adds_nothing_stays_as_it_is(pictures):
    """As one whose last normalisation starts from zero, and was not trained far."""
    network = unequal_network()
    for module in network.modules():
        if isinstance(module, BasicBlock):
            module.bn2.weight.data.zero_()
            module.bn1.weight.data.zero_()
    plain, equal = fold(network), fold(network)
    equalise(equal, pictures)
    assert (answers(plain, pictures) - answers(equal, pictures)).abs().max() < 1e-4


def test_the_ranges_that_a_step_gives_are_those_measured_after_it(pictures):
    network = fold(unequal_network())
    groups = _channel_groups(network)
    makers = [group.makers for group in groups]
    before = _ranges(network, makers, pictures)
    given = [_half_step(group, made) for group, made in zip(groups, before, strict=True)]
    for was, now, measured in zip(before, given, _ranges(network, makers, pictures), strict=True):
        torch.testing.assert_close(now, measured, rtol=2e-3, atol=0)  # float32; seen: 4e-4
        assert not torch.allclose(was, now, rtol=0.01)


def test_a_channel_that_hardly_varies_is_scaled_by_so_much_at_most():
    group = ChannelGroup([torch.nn.Linear(1, 2)], [torch.nn.Linear(2, 1)])
    made = torch.tensor([1e9, 1e-9])
    found = made / _half_step(group, made)
    # Half a step is the root of it.
    torch.testing.assert_close(found, torch.tensor([MAX_FACTOR**0.5, MAX_FACTOR**-0.5]))


def test_ranges_are_those_of_all_pictures_also_beyond_the_first_batch():
    network = fold(unequal_network())
    makers = [group.makers for group in _channel_groups(network)]
    bright = np.random.default_rng(1).integers(0, 256, (1, 224, 224, 3), dtype=np.uint8)
    behind = np.concatenate([np.zeros((16, 224, 224, 3), np.uint8), bright])
    for alone, together in zip(
        _ranges(network, makers, bright), _ranges(network, makers, behind), strict=True
    ):
        assert (together >= 0.999 * alone).all()  # sums in another order


def test_ranges_are_measured_on_32_pictures(pictures, monkeypatch):
    seen = []

    def ranges(network, makers, some):
        seen.append(len(some))
        return _ranges(network, makers, some[:1])

    monkeypatch.setattr("convert.equalise._ranges", ranges)
    equalise(fold(random_network()), np.concatenate([pictures] * 20))
    assert seen == [32]


def test_a_weight_counts_relative_to_the_largest_of_its_row_whose_scale_it_shares():
    user = torch.nn.Linear(2, 2)
    user.weight.data = torch.tensor([[1.0, 0.5], [10.0, 100.0]])
    torch.testing.assert_close(_used(user, 1), torch.tensor([1.0, 1.0]))
    user.weight.data = torch.tensor([[1.0, 0.5], [100.0, 10.0]])
    torch.testing.assert_close(_used(user, 1), torch.tensor([1.0, 0.5]))


def test_each_round_goes_on_from_the_ranges_of_the_last(monkeypatch):
    seen = []

    def step(_, made):
        seen.append(float(made[0]))
        return made / 2

    monkeypatch.setattr("convert.equalise._half_step", step)
    monkeypatch.setattr("convert.equalise._ranges", lambda _, m, __: [torch.ones(1)] * len(m))
    equalise(fold(random_network()), np.zeros((1, 224, 224, 3), np.uint8))
    assert sorted(set(seen), reverse=True) == [0.5**n for n in range(ROUNDS)]
