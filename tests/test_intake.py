"""The intake of made engines, measured from outside."""

import numpy as np
import pytest

from convert import synth
from convert.intake import C, intake
from convert.synth import SR
from tests.audio import steady
from tests.scripted_rng import ScriptedRng


def lines(y):
    """Frequencies in Hz and the power at them."""
    return np.fft.rfftfreq(y.size, 1 / SR), np.abs(np.fft.rfft(y * np.hanning(y.size))) ** 2


@pytest.mark.parametrize(("rpm", "cylinders"), [(900, 4), (750, 6), (1500, 3), (1800, 1)])
def test_each_cylinder_draws_in_air_once_in_two_turns(rpm, cylinders):
    rate = rpm / 60 * cylinders / 2
    shares, uneven = [], []
    for seed in range(8):
        y = synth.intake_sound(np.random.default_rng(seed), steady(rpm, cylinders, 4))
        hz, power = lines(y)
        of_rate = np.abs(hz / rate - np.round(hz / rate)) * rate < 0.6
        of_cycle = np.abs(hz / (rpm / 120) - np.round(hz / (rpm / 120))) * rpm / 120 < 0.6
        shares.append(power[of_rate].sum() / power.sum())
        uneven.append(power[of_cycle].sum() / power.sum())
    # By chance a fifteenth or less. The rest is that no two cylinders are alike, which repeats
    # after two turns.
    assert np.median(shares) > 0.9
    assert min(uneven) > 0.98


@pytest.mark.parametrize(("cylinders", "beside"), [(4, 0.0), (3, 0.5), (5, 0.5), (6, 0.0)])
def test_a_stroke_begins_a_turn_after_its_cylinder_has_fired(monkeypatch, cylinders, beside):
    given = {}

    def watched(_rng, n, _sr, **fixed):
        given.update(fixed)
        return np.zeros(n)

    monkeypatch.setattr(synth, "intake", watched)
    shaft = steady(1200, cylinders)
    synth.intake_sound(np.random.default_rng(0), shaft)
    firings = np.interp(shaft.events(cylinders / 2), np.arange(shaft.n), shaft.turns)
    strokes = np.interp(given["times"], np.arange(shaft.n), shaft.turns)
    # In parts of the way from one firing to the next, as 1 / (z / 2) of a turn is.
    after = (strokes[:, None] - firings - 1) * cylinders / 2
    assert np.abs(after).min(axis=1)[2 * cylinders :].max() < 1e-6
    phase = (strokes * cylinders / 2) % 1
    assert np.abs(np.angle(np.exp(2j * np.pi * (phase - beside)))).max() < 1e-6
    assert given["half_turn"] == pytest.approx(SR / 40)


def one_stroke(seed=0, half_turn=2.0, **fixed):
    """Of a duct, plenum and runner of middling size."""
    pipes = {
        ("uniform", 0.02, 0.035): 0.03,
        ("uniform", 2e-3, 8e-3): fixed.get("litres", 4.0) / 1000,
        ("uniform", 0.2, 0.8): 0.5,
        ("uniform", 0.25, 0.6): fixed.get("runner", 0.4),
        ("uniform", 3, 10, 4): np.full(4, 10.0),
        ("uniform", 0.3, 1.0): 1.0,
    }
    start, gain = np.array([100.0]), np.ones(1)
    return intake(
        ScriptedRng(seed, pipes), 2 * SR, SR, times=start, gains=gain, half_turn=half_turn
    )


@pytest.mark.parametrize("litres", [2.0, 8.0])
@pytest.mark.parametrize("runner", [0.25, 0.6])
def test_plenum_and_runner_ring_where_they_should(litres, runner):
    y = one_stroke(litres=litres, runner=runner)
    hz = np.fft.rfftfreq(y.size, 1 / SR)
    power = np.abs(np.fft.rfft(y)) ** 2
    plenum = C / (2 * np.pi) * np.sqrt(np.pi * 0.03**2 / (litres / 1000 * 0.5))
    quarter = C / 4 / runner
    for wanted in (plenum, quarter, 3 * quarter, 5 * quarter):
        near = (hz > 0.8 * wanted) & (hz < 1.25 * wanted)
        # A mode of Q 10 is a tenth as wide as it is high; its neighbours pull by a few per cent.
        assert hz[near][power[near].argmax()] == pytest.approx(wanted, rel=0.06)
        beside = [power[np.abs(hz - k * wanted).argmin()] for k in (0.8, 1.25)]
        assert power[near].max() > 2 * max(beside)


def test_a_longer_stroke_is_duller():
    bright = []
    for half_turn in (SR / 100, SR / 20):  # at 3000 and 600 a minute
        y = one_stroke(half_turn=half_turn)
        power = np.abs(np.fft.rfft(y)) ** 2
        hz = np.fft.rfftfreq(y.size, 1 / SR)
        bright.append(power[hz > 300].sum() / power.sum())
    assert bright[0] > bright[1]


def test_a_clip_without_a_stroke_is_silent():
    none = np.empty(0)
    rng = np.random.default_rng(0)
    assert not intake(rng, SR, SR, times=none, gains=none, half_turn=500).any()


def test_an_intake_is_fainter_than_the_exhaust(monkeypatch):
    """And the same from the same seed."""
    intake_sound = synth.intake_sound
    shaft = steady(900, 4)
    found = []
    for seed in range(30):
        engines = []
        for part in (1, 1, 0):
            monkeypatch.setattr(
                synth, "intake_sound", lambda *a, part=part: part * intake_sound(*a)
            )
            engines.append(synth.engine(ScriptedRng(seed, {("uniform", 0.3, 1.5): 1.0}), shaft))
        np.testing.assert_array_equal(engines[0], engines[1])
        found.append(np.abs(engines[0] - engines[2]).max())  # of an exhaust of 1
    assert 0.05 <= min(found) < 0.15
    assert 0.4 < max(found) <= 0.5


def test_a_dead_cylinder_breathes(monkeypatch):
    intake_sound, heard = synth.intake_sound, []

    def watched(rng, shaft):
        heard.append(intake_sound(rng, shaft))
        return heard[-1]

    monkeypatch.setattr(synth, "intake_sound", watched)
    shaft = steady(900, 4)
    for firing in (None, np.zeros(shaft.events(2).size)):
        synth.engine(np.random.default_rng(0), shaft, firing)
    alive, dead = heard
    np.testing.assert_array_equal(alive, dead)


def test_a_flow_that_begins_and_ends_at_none_is_a_sound_without_a_constant_part():
    y = one_stroke(half_turn=SR / 20)
    # Exact but for rounding and for what rings longer than 0.3 s.
    assert abs(y.sum()) < 1e-6 * np.abs(y).sum()


def test_strokes_are_as_strong_as_they_are_said_to_be_and_add_up():
    times, gains = np.array([100.0, 100.0, SR + 100.0]), np.array([0.5, 0.5, 0.3])
    rng = np.random.default_rng(0)
    y = intake(rng, 2 * SR, SR, times=times, gains=gains, half_turn=SR / 40)
    # What rings is cut off after 0.3 s, so the second is the first again, but for rounding.
    np.testing.assert_allclose(y[SR:], 0.3 * y[:SR], atol=1e-9)
