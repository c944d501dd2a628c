"""Knocks of no particular kind: fewer assumptions than in :mod:`convert.synth`.

So also less like any one engine. What is taught by them tells real knocks of cars never heard
better than what is taught by the others alone: docs/training.md.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from convert.bay import reverberate
from convert.speed import revs
from convert.synth import SR, Crank, Sound, place, strike

SHORTEST = 0.35  # of the clip, that a knock which comes and goes is there for


def plain_knock(rng: np.random.Generator, seconds: float, speed: Sound | None = None) -> Sound:
    """Any knock, once a turn or two at 500 to 3500 rpm; (n,), peak about 1.

    ``speed``, (n,), is that of the engine around it relative to its mean, where that is known;
    otherwise the throttle is moved three times in ten. The faster the engine, the harder the
    blows. One in four comes and goes, three in ten have a second, weaker blow between two others,
    half are smeared by their way out of the engine.
    """
    n = round(seconds * SR)
    if speed is None:
        speed = revs(rng, n, SR) if rng.random() < 0.3 else np.ones(n)
    wave = _blow(rng)
    turns_per_sample = np.exp(rng.uniform(np.log(500), np.log(3500))) / 60 / SR * speed
    shaft = Crank(rng.uniform(0, 2) + np.cumsum(turns_per_sample), 4)
    per_turn = float(rng.choice([1.0, 0.5]))
    times = shaft.events(per_turn, rng.random())
    when = np.clip(times.astype(int), 0, n - 1)
    period = 1 / (per_turn * turns_per_sample[when])
    times += rng.normal(0, rng.uniform(0, 0.03), times.size) * period
    gains = rng.lognormal(0, 0.2, times.size) * speed[when] ** rng.uniform(0, 4)
    if rng.random() < 0.25:
        gains *= _there(rng, times / n, seconds)
    y = place(n, times, gains, wave)
    if rng.random() < 0.3:
        later = times + rng.uniform(0.1, 0.9) * period
        y += place(n, later, gains * rng.uniform(0.3, 1.0), _blow(rng))
    if rng.random() < 0.5:
        y = reverberate(rng, y, SR, t60=(0.04, 0.3), gain=(0.5, 3))
    return y / (np.abs(y).max() + 1e-12)


def _blow(rng: np.random.Generator) -> NDArray[np.float64]:
    """Three to eight equally strong modes anywhere from 250 to 4500 Hz, all dying alike; peak 1."""
    freqs = np.exp(rng.uniform(np.log(250), np.log(4500), int(rng.integers(3, 9))))
    decays = np.full(freqs.size, rng.uniform(0.002, 0.02))
    wave = strike(rng, freqs, decays, np.ones(freqs.size), rng.uniform(0, 2))
    return np.asarray(wave / np.abs(wave).max())


def _there(rng: np.random.Generator, place_in_clip: Sound, seconds: float) -> Sound:
    """0 to 1 at each place (0 to 1) in the clip: a knock that load brings and takes away."""
    begin, end = np.sort(rng.uniform(-0.3, 1.3, 2))
    begin, end = np.clip([begin, end], -0.3, [1 - SHORTEST, 1.3])
    end = max(end, begin + SHORTEST, SHORTEST)
    width = rng.uniform(0.03, 0.2) / seconds
    steps = np.array([place_in_clip - begin, end - place_in_clip]) / width
    return np.asarray(np.prod(1 / (1 + np.exp(-np.clip(steps, -50, 50))), axis=0))
