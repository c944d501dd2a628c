"""``python -m scripts.hearing MODEL RECORDINGS``: how a network judges synthetic sounds.

Strange knocks, from a synthesiser that no network is trained on, and faults that are not knocks are
mixed into windows of the recordings' healthy engines; every source is drawn equally often. Most
faults are also judged alone (a dead cylinder, which comes with its engine, only so). Windows that
the device would refuse count as unknown; the others are judged at the model's threshold. For a
network that was trained on these very engines, as the shipped one was, this measures how well it
hears knocks, not how well it does on other cars.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert import faults, lookalikes
from convert.dataset import find_clips
from convert.errors import DatasetError
from convert.evaluate import TorchClassifier
from convert.judgeable import all_judgeable
from convert.output import is_for_tflite
from convert.progress import bar
from convert.synth import mix, random_crank
from edge.classifier import Classifier
from edge.cli import run_cli
from edge.errors import ConfigError
from edge.files import write_atomically
from edge.frontend import FrontEnd
from edge.model import ModelFile
from edge.pipeline import Pipeline
from edge.window import Window
from scripts.held_out import STRANGE_DB, add_strange_knock
from scripts.intervals import in_percent, interval_of_share
from scripts.output import need_place

EXAMPLES = """\
examples:
  python -m scripts.hearing models/knock-int8.tflite recordings
  python -m scripts.hearing my_car.pth recordings --count 1000 --out out/hearing.json"""

Sound = NDArray[np.float64]
STRANGE = "strange knocks over engines"
LEVELS_DB = (STRANGE_DB[0], 5.0, 10.0, STRANGE_DB[1])  # strange knocks, a row per range
FAULT_DB = (-6.0, 12.0)  # above an engine, as mix() measures it; as for belts in convert.faults
OVER_ENGINES_ONLY = ("clatter at the firing rate", "rattles", "ticks")  # parts of an engine
PEAK = 0.5  # every sound is scaled to it, as by a microphone's gain: no mixture may clip
MAX_COUNT = 100_000


@dataclass(frozen=True)
class Outcome:
    """The verdict on one sound."""

    source: str  # of the engine in it, or its car if named; "" if it is wholly synthetic
    level_db: float  # of a strange knock above the engine, else 0
    knocking: bool | None  # None: unknown


SoundMaker = Callable[[np.random.Generator], Sound]


def other_sounds(seconds: float) -> dict[str, SoundMaker]:
    """Functions that make sounds of ``seconds`` that are not knocks, by name.

    New ones go to the end: the draws of a kind depend on its place.
    """

    def belt(style: faults.BeltStyle) -> SoundMaker:
        return lambda rng: faults.belt(rng, random_crank(rng, seconds), style)

    def clatter(style: lookalikes.ClatterStyle) -> SoundMaker:
        return lambda rng: lookalikes.clatter(rng, random_crank(rng, seconds), style)

    return {
        "starters": lambda rng: faults.faulty(rng, seconds, "starter")[0],
        "dead cylinders": lambda rng: faults.faulty(rng, seconds, "misfire")[0],
        **{f"belts that {style}": belt(style) for style in faults.BELT_STYLES},
        "clatter at the firing rate": clatter("firing"),
        "rattles": clatter("rattle"),
        "ticks": lambda rng: lookalikes.ticks(rng, random_crank(rng, seconds)),
    }


class Listener:
    """A network, and the healthy engines that sounds are mixed into."""

    def __init__(self, pipeline: Pipeline, engines: dict[str, list[NDArray[np.float32]]]) -> None:
        """``engines``: the windows, (n_samples,) each, of every source."""
        self._pipeline, self._engines = pipeline, engines
        self._names = sorted(engines)
        config = pipeline.front_end.config
        self._seconds = config.n_samples / config.sr

    def rows(self, count: int, seed: int) -> dict[str, list[Outcome]]:
        """Judge ``count`` sounds of each kind; a larger ``count`` adds sounds, it changes none."""
        kinds: dict[str, Callable[[np.random.Generator], Outcome]] = {
            "engines as they are": partial(self._over, lambda _, engine: (engine, 0.0)),
            STRANGE: partial(self._over, add_strange_knock),
        }
        for name, sound in other_sounds(self._seconds).items():
            if name not in OVER_ENGINES_ONLY:
                kinds[name] = partial(self._alone, sound)
            if name != "dead cylinders":  # these already contain an engine
                kinds[f"{name} over engines"] = partial(self._over, _mixed_in(sound))
        every = [(place, number) for place in range(len(kinds)) for number in range(count)]
        rows: dict[str, list[Outcome]] = {name: [] for name in kinds}
        for place, number in bar(every, "listening", unit=""):
            name = list(kinds)[place]
            rows[name].append(kinds[name](np.random.default_rng([seed, place, number])))
        return rows

    def _over(
        self,
        mixed: Callable[[np.random.Generator, Sound], tuple[Sound, float]],
        rng: np.random.Generator,
    ) -> Outcome:
        name = self._names[int(rng.integers(len(self._names)))]
        windows = self._engines[name]
        y, level_db = mixed(rng, windows[int(rng.integers(len(windows)))].astype(np.float64))
        return Outcome(name, level_db, self._judge(y))

    def _alone(self, sound: SoundMaker, rng: np.random.Generator) -> Outcome:
        return Outcome("", 0.0, self._judge(sound(rng)))

    def _judge(self, y: Sound) -> bool | None:
        scaled = (PEAK * y / np.abs(y).max()).astype(np.float32)
        return self._pipeline.judge_window(Window(scaled, 0.0, self._seconds)).knocks


def _mixed_in(sound: SoundMaker) -> Callable[[np.random.Generator, Sound], tuple[Sound, float]]:
    return lambda rng, engine: (mix(engine, sound(rng), rng.uniform(*FAULT_DB)), 0.0)


def by_level(rows: dict[str, list[Outcome]]) -> dict[str, list[Outcome]]:
    """``rows``, with the strange knocks also split by level after the row of all of them."""
    found: dict[str, list[Outcome]] = {}
    for name, row in rows.items():
        found[name] = row
        if name == STRANGE:
            for low, high in pairwise(LEVELS_DB):
                part = [outcome for outcome in row if low <= outcome.level_db < high]
                found[f"{STRANGE}, {low:g} to {high:g} dB"] = part
    return found


def figures(row: Sequence[Outcome], seed: int) -> dict[str, Any]:
    """For one kind of sound: the share of judged sounds called knocking, and its 95 % interval.

    The interval is over the sources of the engines; wholly synthetic sounds count as one source.
    """
    called: dict[str, list[bool]] = {}
    for outcome in row:
        if outcome.knocking is not None:
            called.setdefault(outcome.source, []).append(outcome.knocking)
    judged = [knocks for each in called.values() for knocks in each]
    windows = {name: np.array(each) for name, each in called.items()}
    interval = interval_of_share(windows, seed=seed)
    return {
        "sounds": len(row),
        "unknown": len(row) - len(judged),
        "sources": len({outcome.source for outcome in row if outcome.source}),
        "called_knocking": float(np.mean(judged)) if judged else None,
        "interval_95": interval,
    }


def table(found: dict[str, dict[str, Any]]) -> str:
    """The figures as a Markdown table."""
    lines = ["| | sounds | unknown | called knocking | 95 % |", "|---|---|---|---|---|"]
    for name, one in found.items():
        share = one["called_knocking"]
        share_text = "-" if share is None else f"{100 * share:.1f} %"
        counts = f"{one['sounds']} | {one['unknown']}"
        lines.append(f"| {name} | {counts} | {share_text} | {in_percent(one['interval_95'])} |")
    return "\n".join(lines)


def pipeline_of(model: Path) -> Pipeline:
    """Gate, front end, network and threshold of ``model``, as ``convert evaluate`` uses them."""
    if is_for_tflite(model):
        file = ModelFile.read(model)
        front_end = FrontEnd(file.manifest.front_end)
        return Pipeline(front_end, Classifier(file), file.manifest.threshold)
    classifier = TorchClassifier(model)
    return Pipeline(FrontEnd(), classifier, classifier.checkpoint.threshold)


def engines_of(
    folders: Sequence[Path], front_end: FrontEnd
) -> dict[str, list[NDArray[np.float32]]]:
    """Windows of the healthy engines in ``folders``, by car if it is named, else by source."""
    clips = [clip for clip in find_clips(folders) if clip.is_healthy]
    found: dict[str, list[NDArray[np.float32]]] = {}
    for clip, y in all_judgeable(clips, front_end.config):
        found.setdefault(clip.group, []).append(y.copy())
    if not found:
        raise DatasetError("no recording of a healthy engine has 2 s that the device would judge")
    return found


def main() -> int:
    """Judge the sounds, print the table and, if asked, write it as JSON."""
    parser = argparse.ArgumentParser(
        prog="hearing",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help=".tflite, .pth or .safetensors")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="folder of recordings")
    parser.add_argument("--count", type=int, default=500, help="sounds of each kind (500)")
    parser.add_argument("--seed", type=int, default=1, help="seed of sounds and intervals (1)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write all figures as JSON")
    parser.set_defaults(run=_run)
    return run_cli(parser, None)


def _run(arguments: argparse.Namespace) -> int:
    for name, least, most in (("count", 1, MAX_COUNT), ("seed", 0, 2**32 - 1)):
        if not least <= (value := getattr(arguments, name)) <= most:
            raise ConfigError(f"--{name} {value} must lie between {least} and {most}")
    if arguments.out:
        need_place("--out", arguments.out)
    pipeline = pipeline_of(arguments.model)
    engines = engines_of(arguments.folders, pipeline.front_end)
    rows = by_level(Listener(pipeline, engines).rows(arguments.count, arguments.seed))
    found = {name: figures(row, arguments.seed) for name, row in rows.items()}
    print(f"{arguments.model}, threshold {pipeline.threshold:g}, {len(engines)} healthy engines")
    print(table(found))
    if arguments.out:
        report = {
            "model": str(arguments.model),
            "threshold": pipeline.threshold,
            "engines": len(engines),
            "seed": arguments.seed,
            "sounds": found,
        }
        write_atomically(arguments.out, json.dumps(report, indent=1).encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
