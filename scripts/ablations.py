"""``python -m scripts.ablations RECORDINGS``: what in the training recipe helps, and by how much.

ResNet34 takes hours a run on two cores; here a small one (323 402 parameters, on the
spectrogram's 84 x 87 cells themselves) stands in for it. Sources rotate: every source of every kind
is left out once, in one of three folds, and only judged by the network that never saw it. Each
line changes one thing. The few real knocks tell little (one window is an eighth of recall), so
knocks of another synthesiser, which no recipe holds, are laid over the left-out engines as well:
those show whether a network has learnt knocks or its own synthesiser's habits.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.bay import band_limit
from convert.dataset import Clip, find_clips, readable
from convert.errors import DatasetError
from convert.examples import ExampleMaker, fill_pools, make_examples
from convert.fit import Examples
from convert.judgeable import all_judgeable
from convert.recipe import REAL_KNOCKS, Recipe
from convert.split import fold_sources
from convert.synth import SR, place
from edge.errors import EdgeError
from edge.files import write_atomically
from edge.frontend import FrontEnd
from edge.frontend.picture import colour_indices
from scripts.scores import Scores, counts_as
from scripts.small_network import BATCH, fit

EXAMPLES = """\
examples:
  python -m scripts.ablations recordings --examples 1200 --seeds 2
  python -m scripts.ablations recordings --only "no mixup" --seeds 5"""

FOLDS = 3
STRANGE = 200  # windows with strange knocks for each fold
BASE = Recipe(real_knocks=REAL_KNOCKS, plain=0.3)


@dataclass(frozen=True)
class Variation:
    """The base recipe with one thing changed."""

    name: str
    recipe: Recipe = BASE
    specaugment: float = 0.5
    mixup: float = 0.3
    smoothing: float = 0.05
    whole: bool = False  # the network is shown all of the sound, not its percussive part
    longer: int = 1  # so many times the epochs, on the same examples


VARIATIONS = (
    Variation("base: three in ten made knocks plain"),
    Variation("harmonic part not taken out", whole=True),
    Variation("five times the epochs", longer=5),
    Variation("no SpecAugment", specaugment=0),
    Variation("no mixup", mixup=0),
    Variation("no label smoothing", smoothing=0),
    Variation("no real knocks", dataclasses.replace(BASE, real_knocks=0)),
    Variation(
        "knocks as on the metal",
        dataclasses.replace(BASE, smeared=0, locked=0, shaped=0),
    ),
    Variation(
        "recordings at 0.8 to 1.25 of their speed", dataclasses.replace(BASE, speeds=(0.8, 1.25))
    ),
    Variation(
        "no lookalikes",
        dataclasses.replace(BASE, loping=0, starter=0, sharpened=0, distractors=0, distracted=0),
    ),
    Variation("no hard negatives", dataclasses.replace(BASE, other_fault=0, not_engine=0)),
    Variation("no plain knocks", dataclasses.replace(BASE, plain=0)),
    Variation("all made knocks plain", dataclasses.replace(BASE, plain=1)),
    Variation("fainter knocks: -6 to 14 dB", dataclasses.replace(BASE, level_db=(-6, 14))),
    Variation(
        "seven in ten examples simple: as shipped", dataclasses.replace(BASE, plain=0, simple=0.7)
    ),
    Variation("all examples simple", dataclasses.replace(BASE, simple=1)),
    Variation(
        "all examples simple, no real knocks", dataclasses.replace(BASE, simple=1, real_knocks=0)
    ),
)


def strange_knock(rng: np.random.Generator, n: int) -> NDArray[np.float64]:
    """A knock of a synthesiser the network never learns from: (n,) samples, rms 1.

    Bursts of noise in one band around 300 to 3000 Hz, no modes; 4 to 20 a second, every other one
    weaker.
    """
    t = np.arange(SR // 10) / SR
    centre = np.exp(rng.uniform(np.log(300), np.log(3000)))
    burst = rng.normal(size=t.size) * np.exp(-t / rng.uniform(0.003, 0.025))
    wave = band_limit(burst, SR, centre / 1.5, centre * 1.5)
    period = SR / np.exp(rng.uniform(np.log(4), np.log(20)))
    times = np.arange(rng.uniform(0, period), n, period)
    times += rng.normal(0, rng.uniform(0, 0.02) * period, times.size)
    gains = rng.lognormal(0, 0.15, times.size)
    gains[1::2] *= rng.uniform(0.4, 1)
    y = place(n, times, gains, wave)
    return y / (y.std() + 1e-12)


class WholeSound(FrontEnd):
    """The front end without the separation of harmonic and percussive parts."""

    def percussive(self, y: NDArray[np.float32]) -> NDArray[np.float32]:
        """All of ``y``, as long as its percussive part would be."""
        return y[: (self.config.n_frames - 1) * self.config.hop_length]


Held = tuple[list[tuple[Clip, NDArray[np.uint8]]], list[NDArray[np.uint8]]]  # real, strange


class Rotation:
    """Folds of the recordings; what several variations have in common is made once."""

    def __init__(self, clips: Sequence[Clip], count: int) -> None:
        self._clips, self._count = clips, count
        parts = fold_sources(clips, FOLDS)
        self._fold = {source: fold for fold, part in enumerate(parts) for source in part}
        self._made: dict[tuple[Recipe, bool, int], Examples] = {}
        self._shown: dict[bool, list[Held]] = {}

    def held(self, whole: bool) -> list[Held]:
        """Windows of the sources left out of each fold: real ones with their clip, strange ones."""
        if whole not in self._shown:
            front_end = WholeSound() if whole else FrontEnd()
            self._shown[whole] = [
                (self._windows(number, front_end), self._strange_windows(number, front_end))
                for number in range(FOLDS)
            ]
        return self._shown[whole]

    def need_knocks(self) -> None:
        """DatasetError unless every part has a knock to be found."""
        for number, (held, _) in enumerate(self.held(whole=False)):
            if not any(clip.knocks for clip, _ in held):
                raise DatasetError(
                    f"part {number + 1} of the sources has no knocking engine of 2 s: "
                    f"recordings of {FOLDS} such sources at least are needed"
                )

    def _windows(self, number: int, front_end: FrontEnd) -> list[tuple[Clip, NDArray[np.uint8]]]:
        return [
            (clip, colour_indices(front_end.spectrogram(y)))
            for clip, y in all_judgeable(self._held_out(number), front_end.config)
        ]

    def _held_out(self, number: int) -> list[Clip]:
        return [clip for clip in self._clips if self._fold[clip.source] == number]

    def _strange_windows(self, number: int, front_end: FrontEnd) -> list[NDArray[np.uint8]]:
        """Left-out healthy engines with a strange knock 0 to 14 dB above them, both by rms."""
        rng = np.random.default_rng([7, number])
        found: list[NDArray[np.uint8]] = []
        whole = self.engines(number, front_end)
        for _ in range(STRANGE):
            y = whole[int(rng.integers(len(whole)))].astype(np.float64)
            y += strange_knock(rng, y.size) * y.std() * 10 ** (rng.uniform(0, 14) / 20)
            found.append(colour_indices(front_end.spectrogram(y.astype(np.float32))))
        return found

    def engines(self, number: int, front_end: FrontEnd) -> list[NDArray[np.float32]]:
        """Windows of the healthy engines left out of a fold; DatasetError if there is none."""
        clips = [c for c in self._held_out(number) if c.is_healthy]
        whole = [y.copy() for _, y in all_judgeable(clips, front_end.config, quiet=True)]
        if not whole:
            raise DatasetError(f"part {number + 1} of the sources has no healthy engine of 2 s")
        return whole

    def _examples(self, variation: Variation, number: int) -> Examples:
        key = (variation.recipe, variation.whole, number)
        if key not in self._made:
            # Variations of one recipe follow one another: of the last one, gigabytes are not kept.
            self._made = {k: kept for k, kept in self._made.items() if k[0] == variation.recipe}
            training = [c for c in self._clips if self._fold[c.source] != number]
            front_end = WholeSound() if variation.whole else FrontEnd()
            maker = ExampleMaker(
                fill_pools(readable(training)), variation.recipe, number + 1, front_end
            )
            made = list(make_examples(maker, range(self._count), len(os.sched_getaffinity(0))))
            self._made[key] = Examples(
                np.array([example.indices for example in made]),
                np.array([example.label for example in made]),
            )
        return self._made[key]

    def judge(self, variation: Variation, epochs: int, seeds: Sequence[int]) -> list[Scores]:
        """Every window by the network that never heard its source; one ``Scores`` a seed."""
        scores = [Scores() for _ in seeds]
        for number, (held, strange) in enumerate(self.held(variation.whole)):
            examples = self._examples(variation, number)
            for score, seed in zip(scores, seeds, strict=True):
                shown = np.array([i for _, i in held] + strange)
                z = fit(examples, variation, epochs * variation.longer, seed, shown)
                score.source += [clip.source for clip, _ in held]
                score.kind += [counts_as(clip) for clip, _ in held]
                score.knocks += [clip.knocks for clip, _ in held]
                score.z += list(z[: len(held)])
                score.strange += list(z[len(held) :])
        return scores


def main() -> int:
    """Run all variations and print one line of a table for each."""
    parser = argparse.ArgumentParser(
        prog="ablations",
        description=__doc__,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="of recordings")
    parser.add_argument("--examples", type=int, default=2000, help="for each fold (2000)")
    parser.add_argument("--epochs", type=int, default=3, help="over them (3)")
    parser.add_argument("--seeds", type=int, default=3, help="runs of each variation (3)")
    parser.add_argument(
        "--only", action="append", choices=[v.name for v in VARIATIONS], help="this one; repeatable"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/ablations.json"), help="every figure of every epoch"
    )
    arguments = parser.parse_args()
    for name, least in (("examples", BATCH), ("epochs", 1), ("seeds", 1)):
        if getattr(arguments, name) < least:
            parser.error(f"--{name} {getattr(arguments, name)} must be {least} or more")
    try:
        rotation = Rotation(find_clips(arguments.folders), arguments.examples)
        rotation.need_knocks()
    except EdgeError as error:
        parser.error(str(error))
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    found: dict[str, list[list[dict[str, float]]]] = {}
    print(
        "| changed | AUC, real | AUC, strange | found at 1 % | engine | other fault | not engine |"
    )
    print("|---|---|---|---|---|---|---|", flush=True)
    for variation in VARIATIONS:
        if arguments.only and variation.name not in arguments.only:
            continue
        began = time.monotonic()
        scores = rotation.judge(variation, arguments.epochs, range(1, arguments.seeds + 1))
        found[variation.name] = [
            [score.figures(epoch) for epoch in range(arguments.epochs * variation.longer)]
            for score in scores
        ]
        print(_line(variation.name, found[variation.name]), flush=True)
        print(f"{variation.name}: {time.monotonic() - began:.0f} s", file=sys.stderr)
        write_atomically(arguments.out, json.dumps(found, indent=1).encode())
    return 0


def _line(name: str, runs: list[list[dict[str, float]]]) -> str:
    """After the last epoch: means over seeds, of the AUCs the range too."""
    last = [run[-1] for run in runs]
    cells = []
    for key in ("auc", "strange_auc"):
        values = [run[key] for run in last]
        spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
        cells.append(f"{np.mean(values):.3f}{spread}")
    for key in ("strange_recall", "false_engine", "false_engine_other_fault", "false_not_engine"):
        cells.append(f"{100 * np.mean([run[key] for run in last]):.1f} %")
    return f"| {name} | {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
