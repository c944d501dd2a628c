"""How loud, how bright and how often what is made is: measured from outside."""

import numpy as np
import pytest

from convert import lookalikes, synth
from convert.synth import SR
from tests.audio import noise, steady, tone, watch_trains
from tests.scripted_rng import ScriptedRng


def test_a_tone_amid_the_band_is_as_loud_as_its_rms():
    # At 1 kHz the edges at 250 and 4500 Hz take 0.3 %.
    assert synth.knock_band_level(tone(2, SR, 1000)) == pytest.approx(0.5 / np.sqrt(2), rel=0.01)


@pytest.mark.parametrize(("hz", "left"), [(50, 0.04), (9000, 0.2425)])
def test_rumble_and_hiss_are_hardly_loud(hz, left):
    # Two octaves and a third below the band, 12 dB each: (50 / 250)^2. An octave above, where the
    # edge is not yet as steep, 1 / sqrt(1 + 2^4). A frame of 10 ms holds half a period of 50 Hz, as
    # much on the mean as a whole one.
    assert synth.knock_band_level(tone(2, SR, hz)) == pytest.approx(
        left * 0.5 / np.sqrt(2), rel=0.1
    )


def test_one_burst_in_ten_frames_is_as_loud_as_the_burst():
    """And as loud as two in ten: how clear a blow is does not hang on how many there are."""
    frame = SR // 100
    for bursts in (1, 2):
        on = np.repeat(np.arange(200) % 10 < bursts, frame)
        y = tone(2, SR, 1000)[: on.size] * on
        # Filtered a burst is smeared at its ends by some 1 ms of 10.
        assert synth.knock_band_level(y) == pytest.approx(0.5 / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("kind", synth.KNOCK_KINDS)
def test_the_modes_of_a_knock_lie_where_its_kind_has_them(kind):
    low, high = {
        "main_bearing": (200, 1000),
        "rod": (300, 2200),
        "piston_slap": (500, 2800),
        "wrist_pin": (700, 3200),
    }[kind]
    centres, within = [], []
    for seed in range(30):
        # Without the noise of the blow, which is as broad in all kinds.
        y = bare_knock(seed, kind)
        power = np.abs(np.fft.rfft(y)) ** 2
        hz = np.fft.rfftfreq(y.size, 1 / SR)
        centres.append(power @ hz / power.sum())
        # Modes that die within 2 ms are 80 Hz wide to either side.
        within.append(power[(hz > low - 80) & (hz < high + 80)].sum() / power.sum())
    assert np.all((np.array(centres) > low) & (np.array(centres) < high))
    assert min(within) > 0.9
    # They fill the range and do not sit at one end of it.
    assert np.median(centres) == pytest.approx(np.sqrt(low * high), rel=0.35)


def bare_knock(seed, kind):
    """A knock of modes alone, at 1200 rpm."""
    soft = {"main_bearing": (0.1, 0.6), "rod": (0.2, 1.2)}
    soft |= {"piston_slap": (0.4, 2.0), "wrist_pin": (0.3, 1.5)}
    rng = ScriptedRng(seed, {("uniform", *soft[kind]): 0.0})
    return synth.knock(rng, steady(1200, 4, 1), kind)


@pytest.mark.parametrize("rpm", [550, 700, 1200, 3000])
@pytest.mark.parametrize("cylinders", [1, 3, 4, 6])
@pytest.mark.parametrize("times", [1, 2])
def test_clatter_is_never_slower_than_22_a_second(rpm, cylinders, times, monkeypatch):
    trains = watch_trains(monkeypatch, lookalikes)
    lookalikes.clatter(
        ScriptedRng(0, {("choice", (1, 2)): times}), steady(rpm, cylinders), "firing"
    )
    ((at, _),) = trains
    rate = SR / np.diff(at).mean()
    # Each firing or twice that; fewer than three cylinders would fire too seldom.
    firing = rpm / 60 * max(cylinders / 2, 1.5) * times
    assert rate == pytest.approx(max(22, firing), rel=1e-3)


@pytest.mark.parametrize(
    ("kind", "low", "high"), [("clatter", -12, 8), ("belt", -12, 14), ("ticks", -15, 3)]
)
def test_a_lookalike_is_as_loud_as_its_kind_may_be(kind, low, high):
    background = noise(1).astype("f8")
    for level in (low, high):
        fixed = {("choice", ("clatter", "belt", "ticks")): kind, ("uniform", low, high): level}
        added = lookalikes.add_lookalike(ScriptedRng(3, fixed), background) - background
        ratio = synth.knock_band_level(added) / synth.knock_band_level(background)
        assert 20 * np.log10(ratio) == pytest.approx(level, abs=1e-6)


def test_every_kind_of_lookalike_is_added(monkeypatch):
    kinds, made = ("clatter", "belt", "ticks"), []
    for kind in kinds:
        monkeypatch.setattr(lookalikes, kind, lambda *_, kind=kind: kind)
    monkeypatch.setattr(lookalikes, "mix", lambda _background, added, _level_db: made.append(added))
    for seed in range(300):
        lookalikes.add_lookalike(np.random.default_rng(seed), np.zeros(SR // 10))
    # A third each: 100, give or take 8.
    assert all(68 < made.count(kind) < 140 for kind in kinds)


def test_ticks_come_4_to_20_times_a_second(monkeypatch):
    trains = watch_trains(monkeypatch, lookalikes)
    for seed in range(40):
        lookalikes.ticks(np.random.default_rng(seed), steady(900, 4, 2))
    rates = [SR / np.diff(times).mean() for times, _ in trains]
    # Each comes 2 % of the time between two early or late, of eight or more: 0.4 % of the mean.
    assert 3.9 < min(rates) < 5
    assert 16 < max(rates) < 20.3


def test_single_blows_are_one_to_three(monkeypatch):
    trains = watch_trains(monkeypatch, lookalikes)
    for seed in range(30):
        lookalikes.clatter(np.random.default_rng(seed), steady(900, 4, 1), "single")
    assert {times.size for times, _ in trains} == {1, 2, 3}


def test_a_style_that_is_given_changes_no_other_draw():
    """Examples that were made before it could be given are still the same."""
    for seed in range(20):
        drawn, *given = (
            lookalikes.clatter(np.random.default_rng(seed), steady(900, 4, 1), style)
            for style in (None, *lookalikes.CLATTER_STYLES)
        )
        assert sum(np.array_equal(drawn, y) for y in given) == 1


def test_the_level_of_blows_hardly_depends_on_how_many_there_are_from_ten_a_second_on():
    """Less where they do not fill the loudest tenth of frames, 20 in 2 s."""
    blow = np.random.default_rng(0).normal(size=300) * np.exp(-np.arange(300) / (0.002 * SR))
    levels = {}
    for rate in (4, 12, 24):
        times = 500 + np.arange(2 * rate) * SR / rate
        y = synth.pulse_train(2 * SR, times, np.ones(times.size), blow)
        levels[rate] = 20 * np.log10(synth.knock_band_level(y))
    assert levels[12] == pytest.approx(levels[24], abs=0.6)  # a blow may straddle two frames
    assert -5 < levels[4] - levels[24] < -3


def test_thuds_of_a_lope_are_relative_to_the_engine_and_in_three_of_ten_once_in_two_turns(
    monkeypatch,
):
    trains, gain = watch_trains(monkeypatch, lookalikes), 1.0
    monkeypatch.setattr(lookalikes, "engine", lambda _, shaft: gain * np.sin(np.arange(shaft.n)))
    monkeypatch.setattr(lookalikes, "crank", lambda _, s, rpm, cylinders: steady(600, 4, s))
    seldom = 0
    for seed in range(60):
        quiet = lookalikes.loping_engine(np.random.default_rng(seed), 1)
        gain = 100.0
        np.testing.assert_allclose(
            lookalikes.loping_engine(np.random.default_rng(seed), 1), quiet, rtol=1e-6
        )
        gain = 1.0
        seldom += trains[-1][0].size <= 6  # 5 a second, and not 20
    assert 8 <= seldom <= 28  # 18 of 60, give or take 3.5
