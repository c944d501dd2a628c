"""What a run keeps, what it chooses by, and that the loop does what the settings say."""

import dataclasses
import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from convert import fit, train
from convert.augment import mixup, roll_and_mask
from convert.dataset import Clip
from convert.fit import Examples, Fit
from convert.network import KnockNet
from convert.split import TrainedOn
from convert.train import _Parts, _why
from convert.train_config import TrainConfig
from tests.labelled import sound, table

NONE = Examples(np.zeros((0, 84, 87), np.uint8), np.zeros(0, np.int64))
# The three are not those of TrainConfig, so that what is used is seen to be what was asked for.
SETTINGS = TrainConfig(
    examples=40,
    batch_size=4,
    small_epochs=2,
    full_epochs=0,
    label_smoothing=0.07,
    mixup=0.4,
    weight_decay=0.03,
)


class Tiny(KnockNet):
    """What a run asks of a network, in a few weights."""

    def __init__(self):
        pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        nn.Sequential.__init__(self, pooled, nn.Linear(3, 2))  # none of KnockNet's layers


def run(work, config=SETTINGS):
    """One of ``config.examples`` pictures, number ``i`` of which is of the colour ``i``."""
    number = np.arange(config.examples, dtype=np.uint8)
    examples = Examples(np.tile(number[:, None, None], (1, 84, 87)), (number % 2).astype(np.int64))
    torch.manual_seed(1)
    return Fit(Tiny(), examples, check=examples, real=NONE, work=work, config=config, frozen=False)


@pytest.fixture
def examples_asked(tmp_path, monkeypatch):
    """What train() makes examples of: clips and seed of the training, and of the choice."""
    rows: list[str] = []
    for i, label in enumerate(["normal"] * 6 + ["knocking"] * 3):
        for part in "ab":  # two sources of one car
            sound(tmp_path / "all" / f"{i}{part}.wav", seed=len(rows))
            rows.append(f"{i}{part}.wav,{label},source{i}{part},car{i}")
    table(tmp_path / "all", *rows, header="file,label,source,car")
    monkeypatch.setattr(train, "KnockNet", Tiny)

    class EnoughSeenError(Exception):
        pass

    def asked(**settings):
        made = []

        def spy(place, clips, recipe, count, seed, **_):
            made.append((clips, seed))
            if place.name == "check":
                raise EnoughSeenError

        monkeypatch.setattr(train, "examples_of", spy)
        held_out = settings.pop("never_train_on", frozenset())
        with pytest.raises(EnoughSeenError):
            train.train(
                [tmp_path / "all"],
                tmp_path / "a.pth",
                tmp_path / "work",
                dataclasses.replace(SETTINGS, **settings),
                never_train_on=held_out,
            )
        return made

    return asked


def test_the_epoch_is_chosen_on_what_was_held_out(examples_asked):
    # Of two cars only one of their sources is named: the other one goes with it.
    named = frozenset({"source0a", "source7b"})
    (learnt, seed), (check, check_seed) = examples_asked(hold_out=0, never_train_on=named)
    assert {clip.source for clip in check} == {"source0a", "source0b", "source7a", "source7b"}
    assert not {clip.group for clip in check} & {clip.group for clip in learnt}
    assert len(learnt) + len(check) == 18
    # The same knocks would be drawn over other engines.
    assert check_seed != seed


def test_the_same_holds_for_a_share_drawn_by_chance(examples_asked):
    (learnt, seed), (check, check_seed) = examples_asked(hold_out=0.4)
    assert any(clip.is_healthy for clip in check)
    assert not {clip.group for clip in check} & {clip.group for clip in learnt}
    assert len(learnt) + len(check) == 18
    assert check_seed != seed


def test_with_nothing_held_out_the_choice_is_on_new_examples(examples_asked):
    (learnt, seed), (check, check_seed) = examples_asked(hold_out=0)
    assert check == learnt
    assert check_seed != seed


@pytest.mark.parametrize(
    ("small", "aucs", "best"),
    [
        (3, (0.6, 0.9, 0.7), 1),
        (0, (0.6, 0.9, 0.7), 1),
        (0, (0.6, 0.7, 0.9), 2),
        (0, (0.9, 0.7, 0.6), 0),
        (1, (0.95, 0.6, 0.9, 0.7), 2),  # small pictures are not what the device sees
        (2, (0.95, 0.97, 0.6), 2),
    ],
)
def test_the_epoch_that_does_best_is_kept(small, aucs, best, tmp_path, monkeypatch):
    config = dataclasses.replace(SETTINGS, small_epochs=small, full_epochs=len(aucs) - small)
    told = iter(aucs)

    def epoch(self, number, _):
        with torch.no_grad():
            self.ema[1].weight.fill_(number)
        return 0.5

    monkeypatch.setattr(Fit, "_epoch", epoch)
    monkeypatch.setattr(Fit, "_figures", lambda *_: {"check_auc": next(told)})
    ours = run(tmp_path, config)
    ours.go()
    number, weights = ours.best_epoch()
    assert number == best
    assert (weights["1.weight"] == best).all()
    assert (ours.ema[1].weight == best).all()
    assert ours.best == aucs[best]


@pytest.fixture
def losses(monkeypatch):
    """What F.cross_entropy is called with, one entry a step."""
    seen = []
    known = torch.nn.functional.cross_entropy

    def spy(logits, shares, **named):
        seen.append((shares.clone(), named))
        return known(logits, shares, **named)

    monkeypatch.setattr(torch.nn.functional, "cross_entropy", spy)
    return seen


def test_the_learning_rate_rises_and_falls(tmp_path):
    ours, rates = run(tmp_path), []
    ours.optimiser.register_step_pre_hook(
        lambda optimiser, *_: rates.append(optimiser.param_groups[0]["lr"])
    )
    ours.go()
    assert len(rates) == 20  # two epochs of ten batches: one cycle over both
    peak = int(np.argmax(rates))
    assert 2 <= peak <= 10
    assert (np.diff(rates[: peak + 1]) > 0).all()
    assert (np.diff(rates[peak:]) < 0).all()
    # A step need not fall on the very peak.
    assert 0.9 * SETTINGS.learning_rate < rates[peak] <= SETTINGS.learning_rate * (1 + 1e-9)
    assert rates[0] < 0.2 * rates[peak]
    assert rates[-1] < 0.1 * rates[peak]


def test_every_epoch_shuffles_anew(tmp_path, monkeypatch):
    batches = []

    def spy(pictures, masked, rng):
        batches.append(pictures[:, 0, 0].tolist())
        return roll_and_mask(pictures, masked, rng)

    monkeypatch.setattr(fit, "roll_and_mask", spy)
    run(tmp_path).go()
    first, second = batches[:10], batches[10:]
    for epoch in (first, second):
        assert sorted(itertools.chain(*epoch)) == list(range(40))
    assert not {tuple(batch) for batch in first} & {tuple(batch) for batch in second}
    assert first != [list(range(i, i + 4)) for i in range(0, 40, 4)]


def test_smoothing_mixing_and_decay_are_those_of_the_settings(tmp_path, monkeypatch, losses):
    alphas = []

    def spy(pictures, labels, alpha, rng):
        alphas.append(alpha)
        return mixup(pictures, labels, alpha, rng)

    monkeypatch.setattr(fit, "mixup", spy)
    ours = run(tmp_path)
    ours.go()
    assert alphas == [0.4] * 20
    assert [named for _, named in losses] == [{"label_smoothing": 0.07}] * 20
    # Half of the batches are blended, a few of those with their own class alone.
    blended = sum(bool(((shares > 0) & (shares < 1)).any()) for shares, _ in losses)
    assert 3 <= blended <= 17
    assert isinstance(ours.optimiser, torch.optim.AdamW)
    assert [group["weight_decay"] for group in ours.optimiser.param_groups] == [0.03]
    learnt = {id(p) for group in ours.optimiser.param_groups for p in group["params"]}
    assert learnt == {id(p) for p in ours.network.parameters()}


def test_by_default_nothing_of_it_is_left_out():
    usual = TrainConfig()
    assert (usual.label_smoothing, usual.mixup) == (0.05, 0.3)  # as docs/training.md says
    assert usual.weight_decay > 0
    assert 0 < fit.MASKED < 1


def test_fine_tuning_sees_large_pictures_alone_and_chooses_between_head_and_all():
    """Small ones unsettled the shipped network, which had never seen any: docs/training.md."""
    tuned, usual = TrainConfig.fine_tuning(), TrainConfig()
    assert tuned.small_epochs == 0
    assert tuned.frozen_epochs < tuned.candidates
    assert tuned.learning_rate < usual.learning_rate / 10


def test_pictures_are_turned_in_time():
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (200, 84, 87), dtype=np.uint8)
    before = pictures.copy()
    turns = []
    for picture, turned in zip(pictures, roll_and_mask(pictures, 0.0, rng), strict=True):
        fitting = [k for k in range(87) if np.array_equal(np.roll(picture, k, axis=1), turned)]
        assert len(fitting) == 1
        turns += fitting
    np.testing.assert_array_equal(pictures, before)
    # 200 draws leave out 9 of the 87 places in the mean.
    assert len(set(turns)) > 60


def test_a_street_held_out_alone_chooses_no_epoch():
    """Nothing would be known of engines not heard, whatever the last line says."""
    golf, polo = (Clip(Path(name), "normal", "engine", name) for name in ("golf", "polo"))
    street = Clip(Path("street"), "not_engine", "not_engine", "street")
    parts = _Parts([golf, polo], [street], None, TrainedOn(), set())
    assert parts.judging == [golf, polo]
    assert parts._replace(held_out=[street, polo]).judging == [street, polo]


@pytest.mark.parametrize(
    ("small", "full", "said"),
    [
        (5, 1, "the only full-size one"),
        (0, 1, "the only full-size one"),
        (1, 0, "the only one"),
        (0, 2, "the best on held-out sources"),
        (2, 0, "the best on held-out sources"),
    ],
)
def test_one_epoch_alone_is_not_called_the_best(small, full, said):
    golf, polo = (Clip(Path(name), "normal", "engine", name) for name in ("golf", "polo"))
    parts = _Parts([golf], [polo], None, TrainedOn(), set())
    assert _why(TrainConfig(small_epochs=small, full_epochs=full), parts) == said
