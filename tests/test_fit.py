"""One run's epochs and what they are made of: pictures, noise, mix-up, the running average."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F  # noqa: N812 - torch's own custom

from convert.augment import NoiseBuffer, add_rounding_noise, mixup, roll_and_mask
from convert.device import half_precision
from convert.errors import DatasetError
from convert.fit import Examples, Fit
from convert.network import normalise
from convert.rendering import Pictures
from convert.train_config import TrainConfig
from edge.frontend import FrontEnd
from edge.frontend.picture import colour_indices
from tests.audio import noise
from tests.networks import random_network


@pytest.mark.parametrize(
    ("units", "dtype"),
    [({"avx2": True, "amx_bf16": False}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16)],
)
def test_bfloat16_is_for_processors_that_compute_in_it(units, dtype, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: units)
    with half_precision(torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == dtype


def two_examples(tmp_path):
    indices = np.random.default_rng(0).integers(0, 256, (2, 84, 87), dtype=np.uint8)
    tiny = Examples(indices, np.array([0, 1]))
    config = TrainConfig(examples=2, batch_size=2, small_epochs=1, full_epochs=0, ema_decay=0.5)
    return Fit(
        random_network(seed=1),
        tiny,
        check=tiny,
        real=tiny,
        work=tmp_path,
        config=config,
        frozen=False,
    )


def test_networks_are_graded_in_full_precision(tmp_path, monkeypatch):
    """As the device judges, and as the export compares; whatever the processor can."""
    fit, device = two_examples(tmp_path), torch.device("cpu")
    fit.ema.to(device)
    fit.device = device
    seen = []
    fit.ema.register_forward_hook(lambda _, shown, said: seen.append((shown[0], said)))
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": True})
    pictures = Pictures(112, device)
    fit.p_knocking(fit.check, pictures)
    ((shown, said),) = seen
    assert torch.equal(shown, pictures(torch.from_numpy(fit.check.indices)))
    assert said.dtype == torch.float32


def test_a_window_is_called_knocking_from_the_threshold_on(tmp_path, monkeypatch):
    fit = two_examples(tmp_path)
    monkeypatch.setattr(Fit, "p_knocking", lambda *_: np.array([0.5, 0.5], np.float32))
    figures = fit._figures(112)
    assert figures["real_false"] == figures["check_found"] == 1
    # The first of the two knocks.
    monkeypatch.setattr(Fit, "p_knocking", lambda *_: np.array([0.49, 0.9], np.float32))
    assert (fit._figures(112)["real_false"], fit._figures(112)["check_found"]) == (1, 0)
    monkeypatch.setattr(Fit, "p_knocking", lambda *_: np.array([0.9, 0.49], np.float32))
    assert (fit._figures(112)["real_false"], fit._figures(112)["check_found"]) == (0, 1)


def test_the_average_follows_the_network(tmp_path):
    fit = two_examples(tmp_path)
    weight, mean, count = "0.0.weight", "0.1.running_mean", "0.1.num_batches_tracked"
    expected = {name: fit.ema.state_dict()[name].clone() for name in (weight, mean)}
    # (1 + step) / (10 + step), at most 0.5
    for step, keep in ((0, 1 / 10), (2, 3 / 12), (100, 0.5)):
        with torch.no_grad():
            for name in (weight, mean):
                fit.network.state_dict()[name].add_(1.0)
            fit.network.state_dict()[count].fill_(step)
        fit.schedule.last_epoch = step
        fit._update_ema()
        for name in (weight, mean):
            expected[name] = keep * expected[name] + (1 - keep) * fit.network.state_dict()[name]
            # float32, three steps
            torch.testing.assert_close(
                fit.ema.state_dict()[name], expected[name], atol=1e-5, rtol=1e-5
            )
        assert fit.ema.state_dict()[count] == step


def test_the_start_is_graded_once_before_anything_is_learnt(tmp_path, capsys):
    fit = two_examples(tmp_path)
    expected = {"side": 112, **fit._figures(112)}
    fit.go(grade_start=True)
    assert fit.start == expected
    assert capsys.readouterr().out.count("before training: side 112, check_auc ") == 1
    resumed = two_examples(tmp_path)
    resumed.go(grade_start=True)
    assert resumed.start == expected
    assert "before training" not in capsys.readouterr().out
    assert "start" not in resumed.history[0]


def test_a_start_that_is_not_asked_for_is_not_graded(tmp_path, capsys):
    fit = two_examples(tmp_path)
    fit.go()
    assert fit.start == {}
    assert "before training" not in capsys.readouterr().out


def test_a_damaged_state_is_named(tmp_path):
    (tmp_path / "state.pt").write_bytes(b"PK" + bytes(1000))
    examples = Examples(np.zeros((4, 84, 87), np.uint8), np.array([0, 1, 0, 1]))
    config = TrainConfig(batch_size=2, small_epochs=1, full_epochs=0)
    run = Fit(
        random_network(seed=1),
        examples,
        check=examples,
        real=Examples(np.zeros((0, 84, 87), np.uint8), np.zeros(0, np.int64)),
        work=tmp_path,
        config=config,
        frozen=False,
    )
    with pytest.raises(DatasetError, match=r"state\.pt is damaged: remove it"):
        run.go()
    # Half of it, as a full disk leaves it, or none, as whoever tidies up does.
    torch.save({"model": run.ema.state_dict(), "epoch": 3}, tmp_path / "best.pt")
    assert run.best_epoch()[0] == 3
    (tmp_path / "best.pt").write_bytes((tmp_path / "best.pt").read_bytes()[: 10**6])
    with pytest.raises(DatasetError, match=r"best\.pt is damaged .* remove it and state\.pt"):
        run.best_epoch()
    (tmp_path / "best.pt").unlink()
    with pytest.raises(DatasetError, match=r"best\.pt is damaged or not there"):
        run.best_epoch()


def test_a_check_of_one_class_and_a_loss_that_runs_away(tmp_path, monkeypatch):
    two = Examples(np.zeros((2, 84, 87), np.uint8), np.array([0, 1]))
    one = Examples(two.indices, np.array([1, 1]))
    config = TrainConfig(examples=2, batch_size=2, small_epochs=1, full_epochs=0)
    rest = {"real": two, "work": tmp_path, "config": config, "frozen": False}
    with pytest.raises(DatasetError, match="all of one class"):
        Fit(random_network(), two, check=one, **rest)
    monkeypatch.setattr(Fit, "_epoch", lambda *_: float("nan"))
    with pytest.raises(DatasetError, match="smaller --learning-rate"):
        Fit(random_network(), two, check=two, **rest).go()
    assert not list(tmp_path.iterdir())


def test_a_batch_that_the_gpu_cannot_hold_is_named_with_what_helps(tmp_path, monkeypatch):
    def full(*_, **__):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    with monkeypatch.context() as patched:
        patched.setattr(Fit, "_epoch", full)
        with pytest.raises(DatasetError, match=r"batch of 2: .* or give a smaller --batch-size"):
            two_examples(tmp_path).go()
    with monkeypatch.context() as patched:
        patched.setattr(Fit, "p_knocking", full)  # grading, whose batches have another size
        with pytest.raises(DatasetError, match=r"batch of 64: end other programs that use it$"):
            two_examples(tmp_path).go()
    (tmp_path / "state.pt").write_bytes(b"")
    monkeypatch.setattr("convert.fit.torch.load", full)  # which is no damage of the file's
    with pytest.raises(DatasetError, match="GPU's memory"):
        two_examples(tmp_path).go()


def test_rounding_noise_is_there_in_training_and_only_there():
    network = random_network()
    x = torch.rand(2, 3, 64, 64)
    network.eval()
    still = network(x)
    add_rounding_noise(network, 1.0)
    assert torch.equal(network(x), still)
    block = network.body[4][0].train()
    inner = torch.rand(1, 64, 16, 16)
    torch.manual_seed(1)
    for norm, signed in ((block.bn1, False), (block.bn2, True)):
        with torch.no_grad():
            first, second = norm(inner), norm(inner)
        extent = first.amax() - first.amin() if signed else first.amax()
        # Two draws of one step each: their difference has sqrt(2) steps; 16384 values, and the
        # extent is that of a noisy tensor: a tenth is plenty.
        assert abs(float((first - second).std() / (extent / 255)) - 2**0.5) < 0.1


def test_mixup_blends_pictures_and_labels_alike():
    pictures = torch.eye(4).view(4, 1, 2, 2)
    labels = torch.tensor([0, 1, 1, 0])
    rng = np.random.default_rng(0)
    plain = blended = 0
    for _ in range(40):
        shown, shares = mixup(pictures, labels, 0.3, rng)
        assert torch.allclose(shares.sum(1), torch.ones(4))
        # Every picture has one lit cell, so a picture's share of each original is written in it.
        weights = shown.flatten(1)
        assert torch.allclose(weights @ F.one_hot(labels, 2).float(), shares)
        plain += int(torch.equal(shown, pictures))
        blended += int(not torch.equal(shown, pictures))
    assert plain >= 10 <= blended
    shown, _ = mixup(pictures, labels, 0.0, rng)
    assert torch.equal(shown, pictures)


def test_what_is_mixed_keeps_half_of_itself_on_average():
    pictures, rng, kept = torch.eye(4).view(4, 1, 2, 2), np.random.default_rng(0), []
    for _ in range(400):
        shown, _ = mixup(pictures, torch.tensor([0, 1, 1, 0]), 0.3, rng)
        if not torch.equal(shown, pictures):
            kept.append(float(shown.flatten(1).diagonal().mean()))
    # And in one of four cases gets the other half of itself. A share deviates by 0.4, the mean of
    # some 200 by 0.03.
    assert np.mean(kept) == pytest.approx(0.5 + 0.5 / 4, abs=0.1)


def test_full_size_pictures_are_the_devices():
    front_end = FrontEnd()
    y = noise(2)
    S_db = front_end.spectrogram(y)
    device = torch.from_numpy(front_end.picture(y)).permute(2, 0, 1)[None]
    made = Pictures(224, torch.device("cpu"))(torch.from_numpy(colour_indices(S_db))[None])
    # Both round to whole values; sums in another order may fall to the other side: one step.
    step = 1 / 255 / 0.224
    difference = (made - normalise(device)).abs()
    assert difference.max() < 1.1 * step
    assert (difference > 0.5 * step).float().mean() < 0.01


def test_every_frequency_is_masked_at_times():
    rng = np.random.default_rng(0)
    pictures = np.tile(np.arange(84, dtype=np.uint8)[:, None], (800, 1, 87)).reshape(800, 84, 87)
    masked = roll_and_mask(pictures, 1.0, rng)
    changed = masked != pictures
    assert (masked[changed] == 41).all()
    stripes = changed.any(axis=2)  # all but the row that has the mean's colour, 41
    # The outermost rows are in one stripe of 78: never in 800 with a chance of 0.00003.
    assert stripes.any(axis=0)[[0, 20, 60, 83]].all()
    assert 2 <= stripes.sum(axis=1).min()
    assert stripes.sum(axis=1).max() <= 12


def test_pictures_are_rolled_in_time_and_those_not_to_be_masked_are_not():
    pictures = np.tile(np.arange(87, dtype=np.uint8), (100, 84, 1))
    rolled = roll_and_mask(pictures, 0.0, np.random.default_rng(0))
    shifts = rolled[:, :1, :1]
    np.testing.assert_array_equal(rolled, (pictures + shifts) % 87)
    assert len(np.unique(shifts)) > 40  # of 87; 100 draws hit 60 on average


def test_noise_is_new_each_time_and_the_same_after_a_reset_with_a_seed():
    noise, x = NoiseBuffer(), torch.empty(1, 2, 8, 8)
    drawn = []
    for _ in range(2):
        noise.reset()
        torch.manual_seed(1)
        drawn.append([noise.like(x), noise.like(x)])
    assert all(map(torch.equal, *drawn))
    assert not torch.equal(*drawn[0])
    assert noise.like(x.bfloat16()).dtype == torch.bfloat16


def test_rounding_noise_is_on_both_terms_of_a_sum_and_on_what_leaves_a_block():
    network = random_network()
    add_rounding_noise(network, 1.0)
    block = network.body[5][0].eval()  # the first with a convolution on its short cut
    x = torch.rand(1, 64, 16, 16)
    for part in (block, block.downsample):
        with torch.no_grad():
            still = part(x)
            assert torch.equal(part(x), still)
            part.training = True  # and nothing in it
            difference, step = part(x) - still, (still.amax() - still.amin()) / 255
            part.training = False
        # 8192 values or more: their deviation is known to 1 %.
        assert float(difference.std() / step) == pytest.approx(1, rel=0.05)
