import dataclasses
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from convert import examples, faults, lookalikes, synth
from convert.dataset import Clip
from convert.examples import (
    KNOCKING,
    NORMAL,
    ExampleMaker,
    Pools,
    Source,
    at_speed,
    fill_pools,
    make_examples,
)
from convert.recipe import SIMPLE, Recipe
from convert.synth import SR
from tests.audio import noise


def pools(**sounds):
    """One source with one clip of each kind named."""
    return Pools(**{name: [Source(name, [y.astype("f4")])] for name, y in sounds.items()})


@pytest.mark.parametrize("speed", [0.6, 1.0, 1.37, 1.6])
def test_played_faster_a_tone_is_higher_by_as_much(speed):
    n = SR
    t = np.arange(int(np.ceil(n * speed))) / SR
    y = at_speed(np.sin(2 * np.pi * 1000 * t).astype("f4"), n, speed)
    assert y.shape == (n,)
    middle = y[n // 4 : 3 * n // 4] * np.hanning(n // 2)
    hz = np.fft.rfftfreq(middle.size, 1 / SR)[np.abs(np.fft.rfft(middle)).argmax()]
    assert hz == pytest.approx(1000 * speed, abs=2)  # bins of 2 Hz
    assert np.abs(y[n // 4 : 3 * n // 4]).max() == pytest.approx(1, abs=0.05)


def test_an_example_depends_on_its_seed_and_number_alone():
    own = pools(engine=noise(4), knocking=noise(3), not_engine=noise(5))
    maker = ExampleMaker(own, Recipe(real_knocks=0.3), seed=5)
    again = ExampleMaker(own, Recipe(real_knocks=0.3), seed=5)
    for number in (3, 0, 7):
        y, label = maker.sound(number)
        np.testing.assert_array_equal(y, again.sound(number)[0])
        assert label == again.sound(number)[1]
        assert y.shape == (2 * SR,)
        assert np.isfinite(y).all()
    assert np.abs(maker.sound(1)[0] - maker.sound(2)[0]).max() > 0.01
    other = ExampleMaker(own, Recipe(real_knocks=0.3), seed=6)
    assert np.abs(maker.sound(3)[0] - other.sound(3)[0]).max() > 0.01


@pytest.mark.parametrize("simple", [0.0, 1.0])
def test_every_example_is_recorded_somewhere(monkeypatch, simple):
    """Else the network would know real recordings by their microphones."""
    monkeypatch.setattr(examples, "record", lambda _rng, y, _sr: np.full(y.size, 0.25))
    maker = ExampleMaker(pools(engine=noise(4)), Recipe(simple=simple), seed=1)
    for number in range(6):
        assert (maker.sound(number)[0] == 0.25).all()


def test_workers_make_what_one_process_makes():
    maker = ExampleMaker(pools(engine=noise(4)), Recipe(), seed=1)
    alone = list(make_examples(maker, range(6), 0))
    together = list(make_examples(maker, range(6), 2))
    for (a, *rest), (b, *rest_b) in zip(alone, together, strict=True):
        assert rest == rest_b
        # Another number of threads adds up in another order: a step of the colour table at most.
        assert np.abs(a.astype(int) - b.astype(int)).max() <= 1


@pytest.fixture
def calls(monkeypatch):
    """How often functions were called: those that ``calls.count(owner, name)`` was told of."""

    class Calls(Counter[str]):
        def count(self, owner, name):
            made = getattr(owner, name)

            def call(*arguments, **named):
                self[name] += 1
                return made(*arguments, **named)

            monkeypatch.setattr(owner, name, call)

    return Calls()


def test_shares_are_kept_and_every_kind_is_made(calls):
    for name in ("random_knock", "plain_knock", "engine"):
        calls.count(synth, name)
    for name in ("loping_engine", "add_lookalike"):
        calls.count(lookalikes, name)
    calls.count(faults, "faulty")
    for name in ("sharpen", "shaped_like", "beat_period_s"):
        calls.count(examples, name)
    recipe = Recipe(plain=0.3)
    maker = ExampleMaker(pools(engine=noise(4), other_fault=noise(4)), recipe, seed=2)
    labels = [maker.sound(number)[1] for number in range(200)]
    knocks = calls["random_knock"] + calls["plain_knock"]
    assert labels.count(KNOCKING) == knocks
    assert labels.count(NORMAL) == 200 - knocks
    # Expected of 200, by the shares; bounds four deviations of a binomial wide.
    for name, expected in (
        ("random_knock", 70),  # half knock, seven in ten of those of a kind
        ("plain_knock", 30),
        ("engine", 24),  # a quarter of all but the starters is made, half of it by each of the two
        ("loping_engine", 24),
        ("faulty", 8),  # 0.08 of those that do not knock
        ("sharpen", 45),  # of the 150 real ones
        ("shaped_like", 40),  # of the knocks
        ("beat_period_s", 35),  # of the knocks of a kind
        ("add_lookalike", 66),  # a quarter of the knocks, 0.45 of the others without a starter
    ):
        assert abs(calls[name] - expected) < 4 * expected**0.5, name


def test_simple_examples_hold_plain_knocks_over_engines_as_they_are(monkeypatch):
    def refused(*_args, **_named):
        raise AssertionError("no part of a simple example")

    for name in ("sharpen", "shaped_like", "beat_period_s"):
        monkeypatch.setattr(examples, name, refused)
    monkeypatch.setattr(synth, "random_knock", refused)
    maker = ExampleMaker(pools(engine=noise(4)), Recipe(simple=1), seed=6)
    labels = [maker.sound(number)[1] for number in range(100)]
    # Half of them, as without; four deviations of a binomial.
    assert abs(labels.count(KNOCKING) - 50) < 20


def test_simple_examples_are_as_many_as_asked_and_hold_the_real_knocks_asked(calls):
    calls.count(synth, "plain_knock")
    calls.count(synth, "random_knock")
    calls.count(ExampleMaker, "_real_knock")
    everything = pools(engine=noise(4), knocking=noise(4))
    maker = ExampleMaker(everything, Recipe(simple=0.7, real_knocks=0.3), seed=8)
    labels = [maker.sound(number)[1] for number in range(300)]
    assert labels.count(KNOCKING) == sum(calls.values())
    # Half of 300 knock, three in ten of those are real; of the others seven in ten are plain.
    # Bounds are four deviations of a binomial wide.
    for name, expected in (("_real_knock", 45), ("plain_knock", 73.5), ("random_knock", 31.5)):
        assert abs(calls[name] - expected) < 4 * expected**0.5, name


def test_a_simple_knock_is_as_loud_as_asked_over_all_of_the_sound(monkeypatch):
    monkeypatch.setattr(examples, "record", lambda _rng, y, _sr: y)
    engine = noise(4)
    loud = dataclasses.replace(
        SIMPLE, knocking=1, synthetic_engine=0, speeds=(1, 1), level_db=(12.0, 12.0)
    )
    maker = ExampleMaker(pools(engine=engine), loud, seed=7)
    for number in range(5):
        y, _ = maker.sound(number)
        # Noise and knock have nothing in common, so their powers add up: 1 + 10^1.2; within a
        # tenth, for two seconds of both are no ensemble.
        assert abs(y.var() / engine.var() / (1 + 10**1.2) - 1) < 0.1


def test_a_recording_goes_where_its_label_says_whatever_its_kind():
    def recording(label, kind, value):
        return Clip(Path(f"{value}.wav"), label, kind, f"s{value}"), np.full(3, value, "f4")

    pools = fill_pools(
        [
            recording("normal", "engine", 1),
            recording("normal", "belt", 2),
            recording("normal", "knocking", 3),
            recording("knocking", "rod", 4),
            recording("not_engine", "street", 5),
        ]
    )
    found = {
        name: sorted(int(source.sounds[0][0]) for source in getattr(pools, name))
        for name in vars(pools)
    }
    assert found == {"engine": [1], "other_fault": [2, 3], "knocking": [4], "not_engine": [5]}


def test_a_healthy_engine_is_a_background_whatever_its_owner_calls_it():
    clips = [
        Clip(Path(f"{kind}.wav"), "normal", kind, kind)
        for kind in ("diesel", "golf idling", "engine", "engine_other_fault", "Misfire", "starter")
    ]
    pools = fill_pools((clip, noise(2)) for clip in clips)
    assert [source.name for source in pools.engine] == ["diesel", "golf idling", "engine"]
    assert [s.name for s in pools.other_fault] == ["engine_other_fault", "Misfire", "starter"]
    recipe = Recipe(synthetic_engine=0, starter=0, knocking=1, real_knocks=0)
    groups = [ExampleMaker(pools, recipe, seed=1)(number).groups for number in range(30)]
    assert any("diesel" in names for names in groups)


def test_a_car_of_many_sources_weighs_no_more_than_another():
    names = {"cold": "golf", "warm": "golf", "hot": "golf", "polo": ""}
    pools = fill_pools(
        (Clip(Path(name), "normal", "engine", name, car=car), noise(3, seed=number))
        for number, (name, car) in enumerate(names.items())
    )
    assert [(s.name, len(s.sounds)) for s in pools.engine] == [("golf", 3), ("polo", 1)]
    maker = ExampleMaker(pools, Recipe(synthetic_engine=0, starter=0, second_recording=0), seed=1)
    groups = Counter(name for number in range(200) for name in maker(number).groups)
    assert abs(groups["golf"] - 100) < 29  # four deviations of a binomial


@pytest.mark.parametrize("simple", [0.0, 1.0])
def test_an_example_says_which_sources_are_in_it(simple):
    own = pools(engine=noise(4), knocking=noise(3), not_engine=noise(5))
    recipe = Recipe(real_knocks=0.5, synthetic_engine=0.5, second_recording=0.3, simple=simple)
    groups = Counter(ExampleMaker(own, recipe, seed=2)(number).groups for number in range(40))
    assert frozenset() in groups  # a made engine alone
    assert frozenset({"engine"}) in groups
    assert any("knocking" in names for names in groups)
    # At most a background and a second recording.
    assert all(len(names) <= 2 for names in groups)


def test_nothing_is_made_of_silence():
    half = np.concatenate([np.zeros(6 * SR), noise(6)])
    maker = ExampleMaker(pools(engine=half), Recipe(synthetic_engine=0, second_recording=0), seed=4)
    for number in range(20):
        y, _ = maker.sound(number)
        assert np.isfinite(y).all()
        assert np.abs(y).max() > 0.04


def test_a_recipe_without_recordings_makes_its_own_engines():
    maker = ExampleMaker(Pools(), dataclasses.replace(Recipe(), loping=1.0), seed=3)
    for number in range(4):
        assert np.abs(maker.sound(number)[0]).max() > 0.04


STANDS = """
import os, signal
from convert.examples import _start_worker
_start_worker(abs)
for number in (signal.SIGHUP, signal.SIGINT):
    os.kill(os.getpid(), number)
print("still here")
"""


def test_a_worker_leaves_the_end_to_whoever_gives_it_work():
    """A terminal that is closed, or Ctrl-C in it, reaches all processes that it started."""
    done = subprocess.run(
        [sys.executable, "-c", STANDS], capture_output=True, text=True, check=True
    )
    assert done.stdout == "still here\n"
