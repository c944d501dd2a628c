"""Synthetic sounds that resemble a knock but are none: they must not fool the network.

The same conventions as in :mod:`convert.synth`: the random generator first, float64 at ``SR`` Hz.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from convert.bay import band_limit
from convert.faults import belt, exhaust_pulse
from convert.synth import SR, Crank, Sound, crank, engine, impact, mix, pulse_train

ClatterStyle = Literal["firing", "rattle", "single"]
CLATTER_STYLES: dict[ClatterStyle, float] = {"firing": 0.45, "rattle": 0.35, "single": 0.2}


def clatter(rng: np.random.Generator, shaft: Crank, style: ClatterStyle | None = None) -> Sound:
    """Sharp sounds of an engine that does not knock: (n,), peak about 1.

    Diesel-like clatter or loud tappets at the firing rate or faster, the irregular rattle of a heat
    shield, or one to three single blows: strikes as in a knock, but not once in one or two
    revolutions. ``style`` is drawn if it is None, with the shares of CLATTER_STYLES.
    """
    n_modes = int(rng.integers(3, 9))
    freqs = np.exp(rng.uniform(np.log(300), np.log(6000), n_modes))
    wave = impact(
        rng, freqs, rng.uniform(0.001, 0.012, n_modes), np.ones(n_modes), rng.uniform(0, 3)
    )
    drawn = rng.choice(list(CLATTER_STYLES), p=list(CLATTER_STYLES.values()))
    style = style or drawn
    if style == "firing":
        rate = max(shaft.cylinders / 2, 1.5) * float(rng.choice([1, 2]))
        # Below some 22 Hz nobody could tell it from a knock without knowing the engine's speed.
        rate *= max(1.0, 22 * 60 / (shaft.rpm * rate))
        times = shaft.events(rate, rng.random())
        gains = rng.lognormal(0, 0.15, times.size)
    else:
        count = int(rng.uniform(20, 120)) if style == "rattle" else int(rng.integers(1, 4))
        times = np.sort(rng.uniform(0, shaft.n, count))
        gains = rng.lognormal(0, 0.6, count)
    out = pulse_train(shaft.n, times, gains, wave)
    return out / (np.abs(out).max() + 1e-12)


def ticks(rng: np.random.Generator, shaft: Crank) -> Sound:
    """Tappets and injectors that tick 4 to 20 times a second, as if once in two turns; (n,).

    As regular as a knock, but above about 2 kHz alone: a part heavy enough to knock would also
    sound below. Peak about 1.
    """
    rate = float(np.exp(rng.uniform(np.log(4), np.log(20))))
    times = (np.arange(int(rate * shaft.n / SR) + 1) + rng.random()) * SR / rate
    times = times + rng.normal(0, rng.uniform(0.002, 0.02) * SR / rate, times.size)
    decays = rng.uniform(5e-4, 4e-3, 5)
    wave = impact(rng, rng.uniform(2200, 9000, 5), decays, np.ones(5), rng.uniform(0, 1.5))
    wave = band_limit(wave, SR, rng.uniform(1800, 2600), 11_000)
    out = pulse_train(shaft.n, times, rng.lognormal(0, 0.2, times.size), wave)
    return out / (np.abs(out).max() + 1e-12)


def loping_engine(rng: np.random.Generator, seconds: float) -> Sound:
    """A healthy engine that chugs: one or two cylinders, or a slow uneven idle; (n,).

    Its exhaust thuds once in two turns or at each firing: 2 to 70 times a second, but in seven of
    ten engines at most 15 times, as slowly as a knock. The thuds are below some hundred hertz and
    last tens of milliseconds: combustion, not metal.
    """
    rpm = float(np.exp(rng.uniform(np.log(400), np.log(1500))))
    shaft = crank(rng, seconds, rpm, int(rng.choice([1, 1, 2, 2, 3, 4])))
    per_turn = shaft.cylinders / 2 if rng.random() < 0.7 else 0.5
    times = shaft.events(per_turn, rng.random())
    thud = exhaust_pulse(rng, 40, rng.uniform(150, 700))
    thuds = pulse_train(shaft.n, times, rng.lognormal(0, 0.2, times.size), thud)
    y = engine(rng, shaft)
    return y / y.std() + thuds * 10 ** (rng.uniform(-5, 20) / 20)


def add_lookalike(rng: np.random.Generator, background: Sound) -> Sound:
    """``background`` with clatter, a belt or ticks mixed in; none of them a knock."""
    rpm = float(np.exp(rng.uniform(6.3, 7.86)))  # logarithms of 545 and 2592
    shaft = crank(rng, background.size / SR, rpm, 4)
    kind = rng.choice(["clatter", "belt", "ticks"], p=[0.35, 0.35, 0.3])
    if kind == "ticks":
        return mix(background, ticks(rng, shaft), rng.uniform(-15, 3))
    if kind == "belt":
        return mix(background, belt(rng, shaft), rng.uniform(-12, 14))
    return mix(background, clatter(rng, shaft), rng.uniform(-12, 8))
