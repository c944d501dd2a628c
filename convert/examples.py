"""Training examples: real recordings and synthetic engines, half of them with knocks mixed in.

An example is a pure function of the recordings, a seed and its number, so any worker can make any
example and a run can be repeated or resumed. It is stored as the colour indices of its spectrogram
(7 kB), from which the picture is rendered.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from convert import faults, lookalikes, synth
from convert.bay import beat_period_s, record, shaped_like, sharpen
from convert.dataset import Clip, not_silent
from convert.errors import DatasetError
from convert.recipe import SIMPLE, Recipe
from edge.child import die_with_parent
from edge.frontend import FrontEnd
from edge.frontend.picture import colour_indices

Sound = NDArray[np.float64]
KNOCKING, NORMAL = 0, 1  # indices into dataset.LABELS


class Source(NamedTuple):
    """The recordings in one pool that are of one car, if it is named, or else of one source."""

    name: str  # Clip.group
    sounds: list[NDArray[np.float32]]


@dataclass
class Pools:
    """The training recordings in memory, grouped by what they contain.

    Drawing first a source and then a clip of it gives every source the same weight however much is
    recorded, and a car with several sources the weight of one, as in splits and intervals.
    """

    engine: list[Source] = field(default_factory=list)
    other_fault: list[Source] = field(default_factory=list)
    not_engine: list[Source] = field(default_factory=list)
    knocking: list[Source] = field(default_factory=list)


class Example(NamedTuple):
    """A training example, and the recordings in it."""

    indices: NDArray[np.uint8]  # colour indices of the spectrogram, (84, 87)
    label: int  # index into dataset.LABELS
    groups: frozenset[str]  # Clip.group of each recording it was made from


def fill_pools(recordings: Iterable[tuple[Clip, NDArray[np.float32]]]) -> Pools:
    """Sort ``recordings``, as :func:`convert.dataset.readable` yields them, into pools."""
    pools = Pools()
    grouped: dict[tuple[str, str], list[NDArray[np.float32]]] = {}
    for clip, sound in recordings:
        grouped.setdefault((_pool_of(clip), clip.group), []).append(sound)
    for (name, group), sounds in grouped.items():
        getattr(pools, name).append(Source(group, sounds))
    return pools


def _pool_of(clip: Clip) -> str:
    """Pool of ``clip``: its label, or for a normal recording whether the engine is healthy."""
    if clip.label == "normal":
        return "engine" if clip.is_healthy else "other_fault"
    return clip.label


class ExampleMaker:
    """Makes the examples of a run, each from its number alone."""

    def __init__(
        self, pools: Pools, recipe: Recipe, seed: int, front_end: FrontEnd | None = None
    ) -> None:
        self._pools = pools
        self._recipe = recipe
        self._seed = seed
        self._front_end = front_end or FrontEnd()
        self._groups: set[str] = set()  # groups in the example being made
        self._simple: ExampleMaker | None = None
        if recipe.simple > 0:
            like_it = replace(SIMPLE, knocking=recipe.knocking, real_knocks=recipe.real_knocks)
            self._simple = ExampleMaker(pools, like_it, seed, self._front_end)
            self._simple._groups = self._groups
        self._n = self._front_end.config.n_samples
        self._seconds = self._n / self._front_end.config.sr

    def __call__(self, number: int) -> Example:
        """Make example ``number``."""
        self._groups.clear()
        y, label = self.sound(number)
        indices = colour_indices(self._front_end.spectrogram(y))
        return Example(indices, label, frozenset(self._groups))

    def sound(self, number: int) -> tuple[NDArray[np.float32], int]:
        """Make the audio of example ``number``: ((44100,) float32, label)."""
        rng = np.random.default_rng([self._seed, number])
        if self._simple is not None and rng.random() < self._recipe.simple:
            return self._simple._mixture(rng)
        return self._mixture(rng)

    def _mixture(self, rng: np.random.Generator) -> tuple[NDArray[np.float32], int]:
        if rng.random() < self._recipe.knocking:
            y, label = self._knocking(rng), KNOCKING
        else:
            y, label = self._normal(rng), NORMAL
        return record(rng, y, synth.SR).astype(np.float32), label

    def _knocking(self, rng: np.random.Generator) -> Sound:
        if self._pools.knocking and rng.random() < self._recipe.real_knocks:
            return self._real_knock(rng)
        background = self._add_recording(rng, self._background(rng))
        if rng.random() < self._recipe.lookalikes_knocking:
            background = lookalikes.add_lookalike(rng, background)
        knock = self._synthetic_knock(rng, background)
        if rng.random() < self._recipe.shaped:
            knock = shaped_like(knock, background, synth.SR, rng.uniform(0.2, 0.8))
        level_db = rng.uniform(*self._recipe.level_db)
        if self._recipe.rms_level:
            gain = background.std() / max(float(knock.std()), 1e-9)
            return background + knock * gain * 10 ** (level_db / 20)
        return synth.mix(background, knock, level_db)

    def _synthetic_knock(self, rng: np.random.Generator, background: Sound) -> Sound:
        if rng.random() < self._recipe.plain:
            return synth.plain_knock(rng, self._seconds)
        known = rng.random() < self._recipe.at_beat_rate
        beat_s = beat_period_s(background, synth.SR) if known else None
        return synth.random_knock(rng, self._seconds, smeared=self._recipe.smeared, beat_s=beat_s)

    def _normal(self, rng: np.random.Generator) -> Sound:
        if self._pools.not_engine and rng.random() < self._recipe.not_engine:
            return self._cut(rng, self._pools.not_engine)
        if rng.random() < self._recipe.starter:
            return self._add_recording(rng, faults.faulty(rng, self._seconds, "starter")[0])
        background = self._add_recording(rng, self._background(rng))
        if rng.random() < self._recipe.lookalikes_normal:
            background = lookalikes.add_lookalike(rng, background)
        return background

    def _real_knock(self, rng: np.random.Generator) -> Sound:
        """A real knock, mostly with another recording on top: knocks are to be learnt, not cars."""
        y = self._cut(rng, self._pools.knocking)
        if rng.random() < self._recipe.sharpened:
            y = sharpen(rng, y, synth.SR)
        return self._add_recording(rng, y, share=max(0.6, self._recipe.second_recording))

    def _add_recording(
        self, rng: np.random.Generator, y: Sound, share: float | None = None
    ) -> Sound:
        """``y``, at times with another healthy engine or a non-engine sound, whatever the label.

        The added sound never knocks, so the label stays true. Two engines of similar loudness act
        as a third one that nobody has recorded.
        """
        pools = [pool for pool in (self._pools.engine, self._pools.not_engine) if pool]
        if not pools or rng.random() >= (self._recipe.second_recording if share is None else share):
            return y
        other = self._cut(rng, pools[int(rng.integers(len(pools)))])
        return synth.mix(y, other, rng.uniform(-20, 0))

    def _background(self, rng: np.random.Generator) -> Sound:
        if not self._pools.engine or rng.random() < self._recipe.synthetic_engine:
            if rng.random() < self._recipe.loping:
                return lookalikes.loping_engine(rng, self._seconds)
            return synth.engine(rng, synth.random_crank(rng, self._seconds))
        faulty = self._pools.other_fault and rng.random() < self._recipe.other_fault
        y = self._cut(rng, self._pools.other_fault if faulty else self._pools.engine)
        return sharpen(rng, y, synth.SR) if rng.random() < self._recipe.sharpened else y

    def _cut(self, rng: np.random.Generator, pool: list[Source]) -> Sound:
        """Two seconds of a random clip of a random source, in seven of ten cases at another speed.

        The speed turns few recordings into slower, faster, larger and smaller engines. Short clips
        are repeated end to end: a clip of 1 s, the minimum length, has a seam at most 1.6 times a
        second, which is slower than knocks come.
        """
        return not_silent(lambda: self._any_cut(rng, pool))

    def _any_cut(self, rng: np.random.Generator, pool: list[Source]) -> Sound:
        name, sounds = pool[int(rng.integers(len(pool)))]
        self._groups.add(name)
        y = sounds[int(rng.integers(len(sounds)))]
        low, high = self._recipe.speeds
        speed = np.exp(rng.uniform(np.log(low), np.log(high))) if rng.random() < 0.7 else 1.0
        needed = scipy.fft.next_fast_len(int(np.ceil(self._n * speed)), real=True)
        if y.size < needed:
            y = np.tile(y, -(-needed // y.size))
        start = int(rng.integers(y.size - needed + 1))
        return at_speed(y[start : start + needed], self._n, speed)


def at_speed(y: NDArray[np.float32], n: int, speed: float) -> Sound:
    """The first ``n`` samples of ``y`` played ``speed`` times as fast, resampled by FFT.

    ``y`` must have at least ``n * speed`` samples. Exact for content below both Nyquist
    frequencies; a mismatch between the two ends of ``y`` rings for some milliseconds at each.
    """
    spectrum = scipy.fft.rfft(y.astype(np.float64))
    size = max(n, round(y.size / speed))
    kept = np.zeros(size // 2 + 1, dtype=complex)
    m = min(kept.size, spectrum.size)
    kept[:m] = spectrum[:m]
    return np.asarray(scipy.fft.irfft(kept, n=size)[:n] * (size / y.size))


Maker = Callable[[int], Example]  # makes the example of a number

_maker: Maker | None = None


def _start_worker(maker: Maker) -> None:
    global _maker  # noqa: PLW0603 - one maker per process, sent once and not with each task
    _maker = maker
    for number in (signal.SIGINT, signal.SIGHUP):  # the parent handles Ctrl-C and a closed terminal
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the parent's handler would raise here
    die_with_parent()  # or a worker would wait for ever if its parent is killed
    threadpool_limits(1)  # one worker per core: more threads would compete for the cores


def _make(numbers: Sequence[int]) -> list[Example]:
    assert _maker is not None  # noqa: S101 - set by _start_worker
    return [_maker(number) for number in numbers]


def make_examples(maker: Maker, numbers: Sequence[int], workers: int) -> Iterator[Example]:
    """Yield the examples ``numbers`` in order, made by ``workers`` processes (0: in this one).

    DatasetError if a worker is killed.
    """
    batches = [numbers[i : i + 50] for i in range(0, len(numbers), 50)]
    if workers == 0:
        for number in numbers:
            yield maker(number)
        return
    with ProcessPoolExecutor(workers, initializer=_start_worker, initargs=(maker,)) as pool:
        try:
            for batch in pool.map(_make, batches):
                yield from batch
        except BrokenProcessPool as error:
            raise DatasetError(
                "a process that made examples was killed, most likely for lack of memory: close "
                "other programs and start again; finished examples are kept"
            ) from error
