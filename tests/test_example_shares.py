"""Shares, levels and speeds of what examples are made of, read from pools of one tone each."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convert import examples, synth
from convert.examples import ExampleMaker, Pools, Source
from convert.recipe import KNOCK_LEVEL_DB, OVERALL_LEVEL_DB, REAL_KNOCKS, SIMPLE, Recipe
from convert.synth import SR
from convert.train import train
from convert.train_config import TrainConfig
from edge.frontend import FrontEnd

TOLD = re.sub(r"\s+", " ", (Path(__file__).parents[1] / "docs" / "training.md").read_text())
N = 2 * SR
ENGINE, OTHER_FAULT, STREET, REAL, MADE = 500, 900, 1500, 2100, 1200  # Hz
BURST = 0.1  # of the time a made knock sounds: the loudest tenth, as mix() counts
FRONT_END = FrontEnd()
# mix() hears 500 Hz 0.26 dB too faint, by the edge of its band at 250 Hz.
EDGE_DB = 0.4
# Engines and what lies on them as they are, so that tones stay tones and at their places.
BARE = Recipe(
    synthetic_engine=0,
    sharpened=0,
    starter=0,
    lookalikes_normal=0,
    lookalikes_knocking=0,
    shaped=0,
    at_beat_rate=0,
)
STILL = (1.0, 1.0)  # speeds


def tone(hz, seconds=4.0):
    return 0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * SR)) / SR)


@pytest.fixture(autouse=True)
def plain_gear(monkeypatch):
    """Nothing changes on the way into the recorder, and made knocks are one burst of a tone."""
    burst = np.zeros(N)
    burst[N // 5 : N // 5 + int(BURST * N)] = tone(MADE, 2 * BURST)
    monkeypatch.setattr(examples, "record", lambda _, y, __: y)
    monkeypatch.setattr(synth, "random_knock", lambda *_, **__: burst)
    monkeypatch.setattr(synth, "plain_knock", lambda *_: burst)


def levels(recipe, count):
    """Of ``count`` examples the amplitude at each of the tones; {Hz: (count,)}, 0 where none is."""
    kinds = {
        "engine": ENGINE,
        "other_fault": OTHER_FAULT,
        "not_engine": STREET,
        "knocking": REAL,
    }
    pools = Pools(**{k: [Source(k, [tone(hz).astype("f4")])] for k, hz in kinds.items()})
    maker = ExampleMaker(pools, recipe, seed=3, front_end=FRONT_END)
    spectra = np.array([np.abs(np.fft.rfft(maker.sound(i)[0])) for i in range(count)]) * 2 / N
    read = {hz: spectra[:, 2 * hz] for hz in (*kinds.values(), MADE)}  # bins of half a hertz
    return {hz: np.where(a > 1e-3, a, 0) for hz, a in read.items()}


def db(ratio):
    return 20 * np.log10(ratio)


def near(found, share, of):
    """Whether ``found`` is what a chance of ``share`` gives; four deviations of a binomial wide."""
    return abs(found - share * of) < 4 * (of * share * (1 - share)) ** 0.5


def spans(values, low, high, slack=EDGE_DB):
    """Whether ``values`` lie from ``low`` to ``high``, and reach into the outer fifths of it."""
    fifth = (high - low) / 5
    inside = low - slack <= values.min() and values.max() <= high + slack
    return inside and values.min() < low + fifth and values.max() > high - fifth


def test_other_faults_and_second_recordings_have_their_shares_and_levels():
    count = 300
    at = levels(replace(BARE, knocking=0, not_engine=0, speeds=STILL), count)
    faulty = at[OTHER_FAULT] > 0
    assert near(faulty.sum(), Recipe().other_fault, count)
    assert Recipe().other_fault > 0.1
    below = np.where(faulty, at[OTHER_FAULT], at[ENGINE])
    assert (below > 0).all()
    # Half of the second recordings are engines, which are not told apart over an engine.
    street = at[STREET] > 0
    assert near(street.sum(), Recipe().second_recording / 2, count)
    second = faulty & (at[ENGINE] > 0)
    assert near(second.sum(), Recipe().second_recording / 2, faulty.sum())
    # No louder than the first, docs/training.md says.
    assert spans(db(at[STREET][street] / below[street]), -20, 0)
    assert db(at[ENGINE][second] / below[second]).max() <= EDGE_DB


@pytest.mark.parametrize("recipe", [BARE, replace(SIMPLE, synthetic_engine=0)])
def test_real_knocks_are_mostly_behind_a_second_recording(recipe):
    count = 150
    at = levels(replace(recipe, knocking=1, real_knocks=1, speeds=STILL), count)
    assert (at[REAL] > 0).all()
    for hz in (ENGINE, STREET):
        on_top = at[hz] > 0
        assert near(on_top.sum(), 0.3, count), hz  # half of 0.6 each
        assert spans(db(at[hz][on_top] / at[REAL][on_top]), -20, 0), hz
    assert not ((at[ENGINE] > 0) & (at[STREET] > 0)).any()


def test_elaborate_knocks_are_as_loud_and_as_often_real_as_is_told():
    count = 200
    alone = replace(BARE, second_recording=0, other_fault=0, speeds=STILL)
    at = levels(replace(alone, knocking=1, real_knocks=REAL_KNOCKS), count)
    real, made = at[REAL] > 0, at[MADE] > 0
    assert (real != made).all()
    assert near(real.sum(), 0.15, count)
    assert spans(db(at[MADE][made] / BURST / at[ENGINE][made]), 2, 20)
    assert KNOCK_LEVEL_DB == Recipe().level_db == (2, 20)
    assert "2 to 20 dB above the loudest tenth" in TOLD
    assert REAL_KNOCKS == 0.15
    assert "Of all knocking examples, 15 % are real knocks" in TOLD


def test_simple_knocks_are_as_loud_as_is_told(monkeypatch):
    still = replace(SIMPLE, synthetic_engine=0, other_fault=0, speeds=STILL)
    monkeypatch.setattr(examples, "SIMPLE", still)
    at = levels(Recipe(simple=1, knocking=1), 150)
    assert (at[MADE] > 0).all()
    # Root mean square of all of the engine, and of all of the knock with its pauses.
    assert spans(db(at[MADE] / BURST**0.5 / at[ENGINE]), -6, 14)
    assert OVERALL_LEVEL_DB == SIMPLE.level_db == (-6, 14)
    assert "-6 to 14 dB relative to the engine's overall level" in TOLD


@pytest.mark.parametrize(
    ("recipe", "low", "high", "told"),
    [
        (Recipe(), 0.6, 1.6, "Real ones are played at 0.6 to 1.6 times their speed"),
        (SIMPLE, 0.8, 1.25, "mixed into an engine played at 0.8 to 1.25 times its speed"),
    ],
)
def test_recordings_are_played_at_other_speeds(recipe, low, high, told):
    count = 150
    assert recipe.speeds == (low, high)
    assert told in TOLD
    pools = Pools(not_engine=[Source("street", [tone(STREET).astype("f4")])])
    alone = replace(recipe, knocking=0, not_engine=1)
    maker = ExampleMaker(pools, alone, seed=3, front_end=FRONT_END)
    window = np.hanning(N)
    peaks = [np.abs(np.fft.rfft(maker.sound(i)[0] * window)).argmax() for i in range(count)]
    speeds = np.array(peaks) / (2 * STREET)  # steps of 1/3000
    assert spans(speeds, low, high, slack=0.001)
    assert near((np.abs(speeds - 1) < 0.001).sum(), 0.3, count)  # seven in ten at another one


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_the_share_of_simple_examples_is_as_asked(share, recordings_made, tmp_path, monkeypatch):
    made = []

    def recorded(pools, recipe, seed):
        made.append(recipe.simple)
        return ExampleMaker(pools, recipe, seed)

    monkeypatch.setattr("convert.run_data.ExampleMaker", recorded)
    few = TrainConfig(examples=32, small_epochs=1, full_epochs=0, hold_out=0.4, simple=share)
    train([recordings_made], tmp_path / "a.pth", tmp_path / "w", few)
    assert made == [share, share]  # of those to learn from and of those to choose the epoch by
