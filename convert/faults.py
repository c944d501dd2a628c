"""Synthetic faults that are no knock: an engine that does not start, a dead cylinder, a belt.

The same conventions as in :mod:`convert.synth`: the random generator first, float64 at ``SR`` Hz.
All of them repeat as regularly as a knock does; none is metal striking metal.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from convert.bay import band_limit, coloured_noise
from convert.synth import SR, Crank, Sound, crank, engine, mix, pulse_train, random_crank

FaultKind = Literal["starter", "misfire", "belt"]
FAULT_KINDS: tuple[FaultKind, ...] = ("starter", "misfire", "belt")
BeltStyle = Literal["squeal", "chirp", "flap"]
BELT_STYLES: tuple[BeltStyle, ...] = ("squeal", "chirp", "flap")


def starter(rng: np.random.Generator, shaft: Crank) -> Sound:
    """A starter cranking an engine that does not fire, or only a few times: (n,), rms 1.

    The motor turns the crank through a pinion on a ring gear of 100 to 160 teeth. Each compression,
    ``z / 2`` times a revolution, loads the motor and slows it by up to a third: the whine of gear
    and motor falls in pitch and swells 2 to 33 times a second. Air is sucked in and pushed out as
    often. In four clips of ten, one to five single firings are heard.
    """
    per_turn = shaft.cylinders / 2
    angle = 2 * np.pi * per_turn * shaft.turns
    # The speed is that of the shaft times 1 + depth * cos(angle): slowest where load is highest.
    turns = shaft.turns + rng.uniform(0.05, 0.33) * np.sin(angle) / (2 * np.pi * per_turn)
    load = (0.5 - 0.5 * np.cos(angle + rng.uniform(-0.8, 0.8))) ** rng.uniform(0.5, 4)
    swell = 1 - rng.uniform(0.3, 1.0) * (1 - load)
    teeth, motor = int(rng.integers(100, 161)), rng.uniform(250, 800)
    tones = [
        rng.lognormal(0, 0.7) / k ** rng.uniform(0.2, 1.2) * _tone(rng, turns * teeth * k)
        for k in range(1, int(rng.integers(2, 8)))
    ]
    whine = sum(tones) + rng.uniform(0, 0.7) * _tone(rng, turns * motor)
    low = float(np.exp(rng.uniform(np.log(150), np.log(2500))))
    grind = coloured_noise(rng, shaft.n, SR, slope_db=rng.uniform(-6, 3))
    grind = band_limit(grind, SR, low, min(low * rng.uniform(2, 12), 10_000))
    breath = band_limit(rng.normal(size=shaft.n), SR, 40, rng.uniform(120, 600))
    y = swell * (rng.uniform(0.2, 1) * _unit(whine) + rng.uniform(0.1, 1.5) * _unit(grind))
    y = y + rng.uniform(0, 1.5) * _unit(breath) * load ** rng.uniform(1, 4)
    if rng.random() < 0.4:
        fires = rng.choice(shaft.events(per_turn), int(rng.integers(1, 6)))
        y = y + pulse_train(
            shaft.n, fires, rng.uniform(0.5, 4, fires.size), exhaust_pulse(rng, 50, 1200)
        )
    return _unit(y)


def misfire(rng: np.random.Generator, shaft: Crank) -> Sound:
    """An engine with a cylinder that does not fire, or only at times: (n,).

    One cylinder's firing is weak or missing, in half of the sounds in four of five cycles only, and
    some firings of the others fail, too: in the combustion noise of the engine, and in the exhaust
    pulses added at -5 to 20 dB relative to the engine.
    """
    times = shaft.events(shaft.cylinders / 2)
    dead = np.arange(times.size) % shaft.cylinders == int(rng.integers(shaft.cylinders))
    if rng.random() < 0.5:
        dead = rng.random(times.size) < np.where(dead, 0.8, rng.uniform(0, 0.15))
    firing = rng.lognormal(0, 0.12, times.size) * np.where(dead, rng.uniform(0, 0.3), 1)
    high = float(np.exp(rng.uniform(5, 7.4)))  # logarithms of 148 and 1636 Hz
    pulses = pulse_train(shaft.n, times, firing, exhaust_pulse(rng, 40, high))
    y = _unit(engine(rng, shaft, firing))
    return y + 10 ** (rng.uniform(-5, 20) / 20) * _unit(pulses)


def belt(rng: np.random.Generator, shaft: Crank, style: BeltStyle | None = None) -> Sound:
    """A belt that squeals for as long as it slips, or chirps or flaps once per round; (n,), rms 1.

    ``style`` is drawn if it is None.

    A belt of 1.2 to 2.4 m on a crank pulley of some 0.15 m comes round once in two to six turns of
    the crank, 2 to 20 times a second. Squeal is stick-slip, a tone rich in harmonics. A misaligned
    pulley or a glazed spot makes a chirp of 10 to 120 ms of it each time round; a frayed end makes
    a soft slap of noise, which rises as slowly as it decays.
    """
    phase = shaft.turns / rng.uniform(2, 6)
    rounds_done = phase + rng.random()
    place_on_belt = rounds_done % 1
    rate = (phase[-1] - phase[0]) / (shaft.n - 1) * SR  # Hz
    width = min(0.6, rng.uniform(0.01, 0.12) * rate)  # of the spot, as a share of the belt
    spot = np.clip(1 - (2 * place_on_belt / width - 1) ** 2, 0, None)
    strength = rng.lognormal(0, 0.3, int(phase[-1]) + 2)[rounds_done.astype(int)]
    t = np.arange(shaft.n) / SR
    wander = rng.normal(0, 0.02) * np.sin(2 * np.pi * rng.uniform(0.3, 4) * t + rng.uniform(0, 6))
    wander = wander + rng.normal(0, 0.03) * place_on_belt  # relative, of the pitch
    pitch = np.exp(rng.uniform(np.log(600), np.log(4500))) * (1 + wander)  # Hz
    cycles = np.cumsum(pitch) / SR
    fall = rng.uniform(0.5, 2)
    # A partial above half the sample rate would alias, so it is left out. Its phase is drawn all
    # the same: what a seed gives after it must not depend on the pitch.
    squeal = sum(
        _tone(rng, k * cycles) / k**fall * (k * pitch.max() < SR / 2)
        for k in range(1, int(rng.integers(2, 7)))
    )
    drawn = rng.choice(BELT_STYLES, p=[0.45, 0.4, 0.15])
    style = style or drawn
    if style == "chirp":
        floor = rng.choice([0.0, 0.0, rng.uniform(0, 0.4)])
        return _unit(squeal * (floor + strength * spot ** rng.uniform(0.3, 2)))
    if style == "flap":
        noise = band_limit(
            rng.normal(size=shaft.n), SR, rng.uniform(150, 800), rng.uniform(2000, 8000)
        )
        return _unit(noise * strength * spot ** rng.uniform(1, 2))
    # Steady, or modulated with the belt or the crank, at times as if switched on and off.
    rounds = phase if rng.random() < 0.5 else shaft.turns * float(rng.choice([0.5, 1, 2]))
    tremble = 0.5 + 0.5 * np.tanh(rng.uniform(0.5, 8) * np.sin(2 * np.pi * rounds))
    return _unit(squeal * (1 - rng.uniform(0, 1) * tremble))


def exhaust_pulse(rng: np.random.Generator, low: float, high: float) -> Sound:
    """One cylinder's exhaust pulse, limited to ``low`` to ``high`` Hz: (SR / 4,), peak 1.

    Four tones of 50 to 500 Hz and, in half of the pulses, noise. It decays with a time constant of
    10 to 50 ms and rises with one of 1 to 15 ms: combustion, not metal.
    """
    t = np.arange(int(SR * 0.25)) / SR
    freqs = np.exp(rng.uniform(np.log(50), np.log(500), 4))[:, None]
    tone = np.sin(2 * np.pi * freqs * t + rng.uniform(0, 2 * np.pi, 4)[:, None]).sum(axis=0)
    if rng.random() < 0.5:
        tone = tone + coloured_noise(rng, t.size, SR, slope_db=0)
    rise = 1 - np.exp(-t / rng.uniform(0.001, 0.015))
    wave = tone * rise * np.exp(-t / rng.uniform(0.01, 0.05))
    # Padded to twice its length: the zero-phase filter's pre-ringing would wrap round to its end.
    y = band_limit(np.pad(wave, (0, t.size)), SR, low, high)[: t.size]
    return y / np.abs(y).max()


def faulty(rng: np.random.Generator, seconds: float, kind: FaultKind) -> tuple[Sound, Crank]:
    """A synthetic engine with that fault, (n,), and its crank.

    With a starter it turns at about 110 to 350 rpm: :func:`convert.synth.crank` lets that wander.
    """
    if kind == "starter":
        slow = crank(rng, seconds, rng.uniform(110, 350), int(rng.choice([3, 4, 4, 4, 5, 6, 8])))
        return starter(rng, slow), slow
    shaft = random_crank(rng, seconds)
    if kind == "misfire":
        return misfire(rng, shaft), shaft
    return mix(engine(rng, shaft), belt(rng, shaft), rng.uniform(-6, 12)), shaft


def _tone(rng: np.random.Generator, cycles: Sound) -> Sound:
    """A sine with its phase given in ``cycles`` at each sample, plus a random offset."""
    return np.asarray(np.sin(2 * np.pi * (cycles + rng.random())))


def _unit(y: Sound) -> Sound:
    """``y`` with a root mean square of 1."""
    return y / (float(np.sqrt(np.mean(np.square(y)))) + 1e-12)
