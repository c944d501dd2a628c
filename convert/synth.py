"""Synthetic engines and knocks: sound with known labels to train on, where real knocks are rare.

Everything follows the crank. At ``rpm`` revolutions a minute the crank turns at ``rpm / 60`` Hz; a
four-stroke engine of ``z`` cylinders fires ``z / 2`` times a revolution. What repeats with each
firing is healthy (exhaust and intake pulses, combustion noise, injectors, valves); what strikes
once in one or two revolutions, hard and broadband, is a worn part hitting: a knock.

All functions take the random generator first, so a seed gives the same sound on every machine; all
sounds are float64 at ``SR`` Hz, of arbitrary level until :func:`mix` sets it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from convert.bay import band_limit, coloured_noise, reverberate
from convert.intake import intake
from edge.frontend import FrontEndConfig

SR = FrontEndConfig().sr
Sound = NDArray[np.float64]
BURST_S = (0.001, 0.006)  # range of the time constant of a blow's noise burst
KnockKind = Literal["rod", "main_bearing", "piston_slap", "wrist_pin"]
KNOCK_KINDS: tuple[KnockKind, ...] = ("rod", "main_bearing", "piston_slap", "wrist_pin")


@dataclass(frozen=True)
class Crank:
    """How the engine turns during one clip."""

    turns: Sound  # revolutions since the start at each sample; shape (n,), ascending
    cylinders: int

    @property
    def n(self) -> int:
        """Number of samples of the clip."""
        return self.turns.size

    @property
    def rpm(self) -> float:
        """Mean speed, revolutions a minute."""
        return float((self.turns[-1] - self.turns[0]) / (self.n - 1) * SR * 60)

    def samples_at(self, turns: Sound) -> Sound:
        """Times (fractional samples) at which the crank has made ``turns``; -1 outside the clip."""
        return np.interp(turns, self.turns, np.arange(self.n), left=-1.0, right=-1.0)

    def events(self, per_turn: float, offset: float = 0.0) -> Sound:
        """Times (samples) of an event ``per_turn`` times a revolution; ``offset`` is in periods."""
        count = int(self.turns[-1] * per_turn) + 1
        times = self.samples_at((np.arange(count) + offset) / per_turn)
        return times[times >= 0]


def crank(rng: np.random.Generator, seconds: float, rpm: float, cylinders: int) -> Crank:
    """A crank at about ``rpm``: slow wander of a few per cent, now and then a touch of throttle.

    At idle a healthy engine wanders by 1-3 % within seconds. In one clip of four the throttle moves
    once, which changes the speed by -30 to 50 % with a time constant of some tenths of a second.
    """
    n = round(seconds * SR)
    t = np.arange(n) / SR
    wander = sum(
        rng.normal(0, 0.012) * np.sin(2 * np.pi * rng.uniform(0.1, 1.5) * t + rng.uniform(0, 6.3))
        for _ in range(3)
    )
    speed = rpm / 60 * (1 + wander)
    if rng.random() < 0.25:
        until = (rng.uniform(0, seconds) - t) / rng.uniform(0.1, 0.4)
        rise = 1 / (1 + np.exp(np.minimum(until, 709)))  # the last whose exponential is finite
        speed = speed * (1 + rng.uniform(-0.3, 0.5) * rise)
    return Crank(rng.uniform(0, 2) + np.cumsum(speed) / SR, cylinders)


def impact(
    rng: np.random.Generator, freqs: Sound, decays: Sound, weights: Sound, noise: float
) -> Sound:
    """One blow on metal: damped modes and a short burst of noise; (n,), until it is 60 dB down.

    ``sum_i w_i exp(-t / tau_i) sin(2 pi f_i t)``: the block answers a blow with its own modes.
    ``freqs`` in Hz, ``decays`` (tau) in s, ``noise`` relative to the modes.
    """
    # Seven times the longest decay, the noise's included: cut off earlier, its end would click.
    t = np.arange(int(7 * max(decays.max(), BURST_S[1]) * SR)) / SR
    phases = rng.uniform(0, 2 * np.pi, freqs.size)[:, None]
    modes = np.sin(2 * np.pi * freqs[:, None] * t + phases) * np.exp(-t / decays[:, None])
    burst = rng.normal(size=t.size) * np.exp(-t / rng.uniform(*BURST_S))
    rise = 1 - np.exp(-t / 0.0003)  # contact is not instantaneous
    return (weights @ modes + noise * burst) * rise


def pulse_train(n: int, times: Sound, gains: Sound, wave: Sound) -> Sound:
    """The sum of copies of ``wave``, one at each of ``times`` (samples) with its gain: (n,)."""
    out = np.zeros(n + wave.size)
    for time, gain in zip(times.astype(int), gains, strict=True):
        if 0 <= time < n:
            out[time : time + wave.size] += gain * wave
    return out[:n]


# Ranges of mode frequencies (Hz), time constants (s) and the noise of a blow relative to its modes,
# after mechanics' descriptions: main bearings thud, rods hammer, slap clatters, pins click twice.
# Real knocks stand out most between 300 and 2000 Hz; what only ticks above that is lighter.
_TIMBRE: dict[KnockKind, tuple[tuple[float, float], tuple[float, float], tuple[float, float]]] = {
    "main_bearing": ((200, 1000), (0.006, 0.020), (0.1, 0.6)),
    "rod": ((300, 2200), (0.004, 0.018), (0.2, 1.2)),
    "piston_slap": ((500, 2800), (0.002, 0.010), (0.4, 2.0)),
    "wrist_pin": ((700, 3200), (0.002, 0.008), (0.3, 1.5)),
}


def strikes_per_turn(rng: np.random.Generator, kind: KnockKind) -> float:
    """How often a knock strikes: 1 or 0.5 times a revolution.

    Piston slap and wrist pins strike on the power stroke alone; rod and main bearings on each turn,
    or only under the load of combustion.
    """
    return 0.5 if kind in ("piston_slap", "wrist_pin") else float(rng.choice([1.0, 0.5]))


def knock(
    rng: np.random.Generator, shaft: Crank, kind: KnockKind, per_turn: float | None = None
) -> Sound:
    """The knocking alone: shape (n,), peak about 1.

    It strikes ``per_turn`` times a revolution, by default as :func:`strikes_per_turn` draws; a pin
    strikes twice in quick succession as it crosses its clearance. A part that strikes on each turn
    may also strike half a turn later, as the piston reverses at the other end of its stroke. Blows
    vary in time by some per cent of a revolution, and in strength with load; worn parts miss a blow
    at times.
    """
    (low, high), (short, long), (soft, sharp) = _TIMBRE[kind]
    n_modes = int(rng.integers(3, 9))
    freqs = np.exp(rng.uniform(np.log(low), np.log(high), n_modes))
    decays = rng.uniform(short, long, n_modes)
    weights = rng.uniform(0.3, 1.0, n_modes) * (low / freqs) ** rng.uniform(0, 0.7)
    noise = rng.uniform(soft, sharp) * float(np.abs(weights).mean())
    per_turn = per_turn or strikes_per_turn(rng, kind)
    offset, jitter = rng.random(), rng.uniform(0.002, 0.02) / per_turn  # in periods, in turns
    depth, hz, phase = rng.uniform(0, 0.9), rng.uniform(0.2, 2), rng.uniform(0, 6)
    uneven, missed = rng.uniform(0.05, 0.35), rng.choice([0.0, 0.0, 0.08])

    def blows(later: float) -> tuple[Sound, Sound]:
        """Times (samples) and gains of the blows, ``later`` turns after the usual place."""
        times = shaft.events(per_turn, (offset + later * per_turn) % 1)
        times = times + rng.normal(0, jitter * SR * 60 / shaft.rpm, times.size)
        load = 1 + depth * np.sin(2 * np.pi * hz * times / SR + phase)
        gains = load * np.exp(rng.normal(0, uneven, times.size))
        return times, gains * (rng.random(times.size) > missed)

    times, gains = blows(0.0)
    # A few variants of the blow, as no two blows hit the same spot.
    out = np.zeros(shaft.n)
    variants = [impact(rng, freqs, decays, weights, noise) for _ in range(3)]
    which = rng.integers(0, len(variants), times.size)
    for i, wave in enumerate(variants):
        out += pulse_train(shaft.n, times[which == i], gains[which == i], wave)
    if kind == "wrist_pin":
        later = int(rng.uniform(0.004, 0.015) * SR)
        out[later:] += out[:-later] * rng.uniform(0.3, 0.8)
    elif per_turn == 1.0 and rng.random() < 0.4:  # the other end of the stroke hits, more softly
        times, gains = blows(0.5)
        out += rng.uniform(0.2, 0.7) * pulse_train(shaft.n, times, gains, variants[0])
    return out / (np.abs(out).max() + 1e-12)


def engine(rng: np.random.Generator, shaft: Crank, firing: Sound | None = None) -> Sound:
    """A healthy engine: exhaust, combustion, valves, injectors, intake, ancillaries; (n,).

    Exhaust pulses excite the pipe's resonances (60-400 Hz); combustion noise swells with every
    firing; valves and injectors tick lightly at multiples of the firing rate, each in its own
    strength, which is why even a healthy engine has a rhythm of two revolutions. The intake has at
    most half the amplitude of the exhaust. ``firing`` gives the strength of each firing in
    ``shaft.events(z / 2)``, 1 for a normal one and 0 for none; by default all are 1.
    """
    per_turn = shaft.cylinders / 2
    cycle = rng.lognormal(0, rng.uniform(0.02, 0.25), shaft.cylinders)
    times = shaft.events(per_turn)
    fires = np.ones(times.size) if firing is None else firing
    gains = fires * np.resize(cycle, times.size) * rng.lognormal(0, 0.08, times.size)
    pipe = impact(rng, rng.uniform(60, 400, 4), rng.uniform(0.005, 0.02, 4), np.ones(4), 0.05)
    exhaust = rng.uniform(0.3, 1.5)
    out = exhaust * pulse_train(shaft.n, times, gains, pipe) / np.abs(pipe).max()
    swell = 0.5 + 0.5 * np.cos(2 * np.pi * shaft.turns * per_turn)
    swells = np.interp(np.arange(shaft.n), times, fires)
    depth = rng.uniform(0, 0.9)
    hiss = coloured_noise(rng, shaft.n, SR, slope_db=rng.uniform(-9, 0))
    swollen = 1 - depth + depth * swells * swell ** rng.uniform(1, 6)
    out += rng.uniform(0.1, 0.8) * hiss * swollen
    for rate, low, high in (
        (per_turn * 2, 1500, 6000),
        (per_turn, 2000, 8000),
    ):  # valves, injectors
        tick = impact(rng, rng.uniform(low, high, 4), rng.uniform(5e-4, 3e-3, 4), np.ones(4), 0.5)
        times = shaft.events(rate, rng.random())
        each = rng.lognormal(0, 0.2, round(2 * rate))  # of the four-stroke cycle, two revolutions
        strength = np.resize(each, times.size)
        out += rng.uniform(0, 0.25) * pulse_train(
            shaft.n, times, strength, tick / np.abs(tick).max()
        )
    out += exhaust * rng.uniform(0.05, 0.5) * intake_sound(rng, shaft)
    return out + ancillaries(rng, shaft)


def intake_sound(rng: np.random.Generator, shaft: Crank) -> Sound:
    """The intake: each cylinder draws in air once in two turns, ``z / 2`` strokes a turn; (n,).

    An intake stroke begins one turn after its cylinder has fired. With an even number of cylinders
    that is as another one fires, with three or five half-way between two firings. Each cylinder has
    its own strength, whether it fires or not. Peak 1.
    """
    per_turn = shaft.cylinders / 2
    times = shaft.events(per_turn, per_turn % 1)
    gains = np.resize(rng.lognormal(0, 0.1, shaft.cylinders), times.size)
    return intake(rng, shaft.n, SR, times=times, gains=gains, half_turn=SR * 30 / shaft.rpm)


def ancillaries(rng: np.random.Generator, shaft: Crank) -> Sound:
    """Alternator and pump whine at fixed multiples of the crank, and a fan's broadband rush."""
    out = np.zeros(shaft.n)
    for _ in range(int(rng.integers(0, 4))):
        order = rng.uniform(2, 40)
        out += rng.uniform(0, 0.15) * np.sin(2 * np.pi * shaft.turns * order + rng.uniform(0, 6))
    level, slope = rng.uniform(0, 0.3), rng.uniform(-6, 3)
    return out + level * coloured_noise(rng, shaft.n, SR, slope_db=slope)


def mix(background: Sound, sound: Sound, level_db: float) -> Sound:
    """``background`` plus ``sound`` at ``level_db`` above it, in :func:`knock_band_level`."""
    gain = 10 ** (level_db / 20) * knock_band_level(background) / max(knock_band_level(sound), 1e-9)
    return background + sound * gain


def knock_band_level(y: Sound) -> float:
    """Root mean square of the loudest tenth of 10 ms frames, between 250 and 4500 Hz.

    In this band people and the network hear knocks; counting the rumble below would make every
    knock look faint. The loudest frames are those with a blow in them, and from some ten blows a
    second on, how clearly one stands out does not depend on how many there are. At four a second
    the quiet between them counts, too: the level of short ones reads 4 dB less.
    """
    frame = SR // 100
    banded = band_limit(y, SR, 250, 4500)[: y.size // frame * frame]
    power = np.sort(np.square(banded).reshape(-1, frame).mean(axis=1))
    return float(np.sqrt(power[-max(1, power.size // 10) :].mean()))


def random_crank(rng: np.random.Generator, seconds: float) -> Crank:
    """Any common engine, 3 to 8 cylinders, from a slow idle (550 rpm) to a brisk drive (2600)."""
    rpm = float(np.exp(rng.uniform(np.log(550), np.log(2600))))
    return crank(rng, seconds, rpm, int(rng.choice([3, 4, 4, 4, 5, 6, 6, 8])))


def random_kind(rng: np.random.Generator) -> KnockKind:
    """A random kind of knock; rod knock is the most frequent."""
    return KNOCK_KINDS[int(rng.choice(4, p=[0.4, 0.2, 0.25, 0.15]))]


def random_knock(
    rng: np.random.Generator, seconds: float, *, smeared: float = 0.5, beat_s: float | None = None
) -> Sound:
    """A knock of any kind, its rate drawn from 4 to 24 strikes a second; (n,), peak about 1.

    4 is every second turn of a slow idle, 24 every turn at 1440 rpm or every second one at 2880;
    faster strikes merge in the picture of two seconds. A move of the throttle then changes the rate
    by -30 to 50 %, and a part that also strikes at the other end of its stroke doubles it: a few
    in a hundred strike more than 24 times a second, at most some 70. Over an engine of known beat,
    ``beat_s`` (s), the rate is that of one in one to four beats, if that lies between 4 and 24.
    With probability ``smeared``, the way out through block, sump and bay smears the knock more than
    the engine around it: recorded blows are seldom as sharp as on the metal.
    """
    kind = random_kind(rng)
    per_turn = strikes_per_turn(rng, kind)
    rate = float(np.exp(rng.uniform(np.log(4), np.log(24))))
    if beat_s is not None:
        locked = [1 / (k * beat_s) for k in (1, 2, 3, 4) if 4 <= 1 / (k * beat_s) <= 24]
        rate = float(rng.choice(locked)) if locked else rate
    y = knock(rng, crank(rng, seconds, 60 * rate / per_turn, 4), kind, per_turn)
    if rng.random() < smeared:
        y = reverberate(rng, y, SR, t60=(0.04, 0.3), gain=(0.5, 3))
    return y / (np.abs(y).max() + 1e-12)


def plain_knock(rng: np.random.Generator, seconds: float) -> Sound:
    """A knock of no particular kind, on every or every second turn at 500 to 2500 rpm; (n,).

    Three to eight modes anywhere from 250 to 4500 Hz, equally strong and equally damped, and a
    burst of noise: fewer assumptions than in :func:`knock`, so less like any one engine. Peak 1.
    """
    freqs = np.exp(rng.uniform(np.log(250), np.log(4500), int(rng.integers(3, 9))))
    decays = np.full(freqs.size, rng.uniform(0.002, 0.02))
    wave = impact(rng, freqs, decays, np.ones(freqs.size), rng.uniform(0, 2))
    n = round(seconds * SR)
    period = SR * 60 / np.exp(rng.uniform(np.log(500), np.log(2500))) * rng.choice([1, 2])
    times = np.arange(rng.uniform(0, period), n, period)
    times += rng.normal(0, rng.uniform(0, 0.03) * period, times.size)
    y = pulse_train(n, times, rng.lognormal(0, 0.2, times.size), wave)
    return y / (np.abs(y).max() + 1e-12)
