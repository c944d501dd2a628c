"""``convert synth``: a labelled data set of synthetic engines, healthy and knocking, as WAV."""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from convert import synth
from convert.dataset import Clip, find_clips, readable
from convert.errors import DatasetError
from convert.labels import FOLDERS, TABLE
from convert.made import Made, make, make_fault, write_demo
from convert.output import need_folder
from convert.progress import bar
from edge.arguments import named_path
from edge.errors import ConfigError
from edge.files import write_atomically
from edge.wav import write_wav

EXAMPLES = """\
examples:
  convert synth made --count 50                  50 healthy and 50 knocking engines
  convert synth demo --demo                      one of each, the same every time
  convert synth mixed --over recordings --level 6
                                                 knocks 6 dB above real healthy engines
  convert synth hard --count 50 --faults 30      also 30 that have another fault

The data set is knocking/*.wav, normal/*.wav and labels.csv (file, label, kind, source, car, split,
rpm, cylinders, knock, level_db). The same seed gives the same files. The level of a knock is
relative to the loudest tenth of the engine's 10 ms frames, in root mean square from 250 to 4500 Hz.
Recordings made by --faults go to normal/ and are always of synthetic engines: a starter cranking an
engine that does not fire (kind starter), a dead cylinder (misfire), or a belt that squeals, chirps
or flaps (belt). Some recordings clip, as real ones do; edge predict may call these unknown."""

DEFAULTS = {"count": 20, "seconds": 6.0, "seed": 1, "faults": 0}
WHAT = ("normal", "knocking", "fault")  # each has random streams of its own
# What is moved to OUT, in this order: a table without its recordings is refused as a data set,
# recordings without their table are not.
NAMES = (TABLE, "knocking", "normal")
COLUMNS = (
    *("file", "label", "kind", "source", "car", "split"),
    *("rpm", "cylinders", "knock", "level_db"),
)


def add_synth_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``synth`` to the command line."""
    parser = commands.add_parser(
        "synth",
        help="synthesise engines, healthy and knocking",
        description="Synthesise recordings of healthy and knocking engines, with their labels.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "out",
        type=named_path,
        metavar="OUT",
        help="output folder, created if missing; must not hold a data set yet",
    )
    parser.add_argument(
        "--count",
        type=int,
        help="number of recordings per label, knocking and normal (default: 20)",
    )
    parser.add_argument(
        "--seconds", type=float, help="length of each recording in s, 2 to 600 (default: 6)"
    )
    parser.add_argument("--seed", type=int, help="random seed (default: 1)")
    parser.add_argument(
        "--over",
        type=named_path,
        metavar="DIR",
        help="use the healthy engines in this folder of labelled recordings instead of "
        "synthetic ones",
    )
    parser.add_argument(
        "--level",
        type=float,
        metavar="DB",
        help="level of the knocks above the engine, in dB (default: at random, 0 to 18)",
    )
    parser.add_argument(
        "--faults",
        type=int,
        metavar="N",
        help="also synthesise N recordings of engines with a fault other than a knock (default: 0)",
    )
    parser.add_argument(
        "--demo",
        action="store_true",
        help="write only OUT/healthy.wav and OUT/knocking.wav, 6 s each, the same every time",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    chosen = [name for name in (*DEFAULTS, "over", "level") if getattr(arguments, name) is not None]
    if arguments.demo and chosen:
        raise ConfigError(f"--demo always writes the same two files: leave out --{chosen[0]}")
    for name, value in DEFAULTS.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, value)
    if not 1 <= arguments.count <= 100_000:
        raise ConfigError(f"--count {arguments.count} must lie between 1 and 100000")
    if not 0 <= arguments.faults <= 100_000:
        raise ConfigError(f"--faults {arguments.faults} must lie between 0 and 100000")
    if not 2 <= arguments.seconds <= 600:
        raise ConfigError(f"--seconds {arguments.seconds:g} must lie between 2 and 600")
    if arguments.level is not None and not -40 <= arguments.level <= 60:
        raise ConfigError(f"--level {arguments.level:g} dB must lie between -40 and 60")
    if arguments.seed < 0:
        raise ConfigError(f"--seed {arguments.seed} must be 0 or more")
    need_folder("OUT", arguments.out)
    if arguments.demo:
        write_demo(arguments.out)
    else:
        _write_data_set(arguments)
    return 0


def _write_data_set(arguments: argparse.Namespace) -> None:
    with _unfinished(arguments.out) as folder:
        count = _fill(arguments, folder)
    print(f"wrote {count} recordings of {arguments.seconds:g} s and labels.csv to {arguments.out}")


@contextmanager
def _unfinished(out: Path) -> Iterator[Path]:
    """A temporary folder in ``out`` whose data set is moved to ``out`` when it is complete.

    An incomplete data set could pass for a complete one: without their table, recordings of other
    faults count as healthy engines. DatasetError if ``out`` already holds recordings or labels,
    which would be lost or mixed up.
    """
    _need_free(out)
    folder = out / ".unfinished"
    try:
        folder.mkdir()
    except FileExistsError as error:
        raise DatasetError(
            f"{folder} belongs to a run that was killed or is still running: remove it, or name "
            "another folder"
        ) from error
    try:
        yield folder
        _need_free(out)  # another run may have finished here in the meantime
        for name in NAMES:
            (folder / name).rename(out / name)
    finally:
        shutil.rmtree(folder)


def _need_free(out: Path) -> None:
    for name in (TABLE, *FOLDERS):
        if (out / name).exists():
            raise DatasetError(f"{out / name} exists and is not overwritten: name another folder")


def _fill(arguments: argparse.Namespace, folder: Path) -> int:
    """Write all recordings and their table to ``folder``; returns the number of recordings."""
    pool = _healthy(arguments.over) if arguments.over else []
    rows, seen, again = [], set(), 0
    jobs = [(what, number) for number in range(arguments.count) for what in ("knocking", "normal")]
    jobs += [("fault", number) for number in range(arguments.faults)]
    for what, number in bar(jobs, "synth"):
        made = _made(arguments, pool, what, number)
        digest = hashlib.sha256(made.y.tobytes()).digest()
        if digest in seen:  # the whole of a short recording, without a knock
            again += 1
            continue
        seen.add(digest)
        source = re.sub(r"[^\w.-]+", "_", made.row["source"])  # with --over it is any text
        path = folder / made.row["label"] / f"{source}_{number:05d}.wav"
        path.parent.mkdir(exist_ok=True)
        write_wav(path, made.y, synth.SR)
        rows.append({"file": str(path.relative_to(folder)), **made.row})
    if again:
        print(
            f"{again} fewer without a knock, as they would be copies: {arguments.over} holds no "
            f"more healthy sound in cuts of {arguments.seconds:g} s"
        )
    table = io.StringIO(newline="")
    writer = csv.DictWriter(table, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(folder / TABLE, table.getvalue().encode(errors="backslashreplace"))
    return len(rows)


def _made(arguments: argparse.Namespace, pool: list[Clip], what: str, number: int) -> Made:
    """Recording ``number`` of sort ``what``: knocking, normal or fault."""
    rng = np.random.default_rng([arguments.seed, number, WHAT.index(what)])
    name = f"made{arguments.seed}-{what[0]}{number:05d}"  # every engine is a source
    if what == "fault":
        return make_fault(rng, arguments.seconds, name)
    return make(
        rng,
        arguments.seconds,
        knocks=what == "knocking",
        level_db=arguments.level,
        over=_turn(arguments.seed, pool, what, number) if pool else None,
        name=name,
    )


def _turn(seed: int, pool: list[Clip], what: str, number: int) -> Clip:
    """Each of ``pool`` once, in random order, before any comes again."""
    turn, place = divmod(number, len(pool))
    rng = np.random.default_rng([seed, turn, WHAT.index(what), len(pool)])
    return pool[int(rng.permutation(len(pool))[place])]


def _healthy(folder: Path) -> list[Clip]:
    clips = [clip for clip in find_clips([folder]) if clip.is_healthy]
    usable = [clip for clip, _ in readable(clips)]  # do not keep the sound: it may last hours
    if not usable:
        raise DatasetError(
            f"{folder} holds no recording of a healthy engine, 1 s or longer, to add knocks to"
        )
    return usable
