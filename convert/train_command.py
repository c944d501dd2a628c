"""``convert train``: recordings in, a checkpoint out."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
from pathlib import Path

from convert.labels import composed
from convert.output import check_apart, check_output, parse_labels
from convert.train_config import TrainConfig
from edge.errors import ConfigError

EXAMPLES = """\
examples:
  convert train recordings --out knock.pth
  convert train my_car --init models/knock.pth --hold-out 0 --out my_car.pth
  convert train recordings --fold 1/3 --out fold1.pth
  convert train recordings --pretrained resnet34.pth --out knock.pth --examples 30000
  convert train recordings --out knock.pth --examples 200000 --batch-size 64 --small-epochs 0 \\
    --full-epochs 2                          # from nothing, with a GPU

A folder has sub-folders knocking/ normal/ not_engine/, or a labels.csv with the columns file, label
and, if possible, source and kind. A normal one is of a healthy engine, unless its kind is
engine_other_fault, other_fault, starter, misfire or belt. Recordings of one source (car, place,
microphone) stay on one side of the split; where a column car names what several sources have in
common, so do all of a car. Without these columns, the source is the folder below that of the label
(normal/golf/003.wav); for files listed from other folders, the first folder at which their paths
differ (golf/cold/003.wav and polo/cold/001.wav); or else the file's name up to its last underscore
(golf_003.wav: golf; but 003.wav and normal_003.wav are each a source of their own). A column split
(train, valid) decides what is held out, whatever --hold-out says; without it --hold-out or --fold
does.

Each epoch says: loss; side, of its pictures in pixels; check_auc, how well made knocks over
engines held out are told from engines without (1 always, 0.5 is guessing), by which the best of
several --full-epochs is kept (early stopping; one alone is kept as it is); of the recordings held
out as they are, real_auc likewise and real_false, the share of those that do not knock called
knocking at 0.5 (on at most 2000 random windows per class). With --keep a last line grades the
blended network that is written.

While examples are made, all recordings are in memory: 0.4 GB an hour of sound. Everything lies in
the --work folder, 440 MB and 7 MB for each thousand examples, which may be removed at the end: a
run that was interrupted goes on from its last finished epoch when started again. Then:
convert export OUT --calibration recordings --out M.tflite"""


# Fields of TrainConfig that are options: type, what the value is called, help; {} is the default.
SETTINGS: dict[str, tuple[type, str, str]] = {
    "examples": (int, "N", "made before training ({})"),
    "simple": (
        *(float, "SHARE"),
        "share of simple examples (a knock over an unaltered engine; {}); see docs/training.md",
    ),
    "small_epochs": (int, "N", "on quarter-size pictures ({})"),
    "full_epochs": (int, "N", "on full-size pictures, of which the best is kept ({})"),
    "batch_size": (int, "N", "examples a step ({}); a GPU wants 64 or more"),
    "learning_rate": (float, "RATE", "at its peak ({})"),
    "keep": (
        *(float, "SHARE"),
        "of --init's weights in the result ({}): 0.5 forgets less of what it knew, and learns most "
        "of what is new",
    ),
    "seed": (int, "N", "another seed, other weights and examples ({})"),
}


def _shown(config: TrainConfig, name: str) -> str:
    return f"{getattr(config, name):g}"


def add_train_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``train`` to the command line."""
    parser = commands.add_parser(
        "train",
        help="recordings to checkpoint",
        description="Train the network on recordings, with made knocks laid over them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default, tuned = TrainConfig(), TrainConfig.fine_tuning()
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="of recordings")
    parser.add_argument(
        "--out", type=Path, required=True, metavar="NET.pth", help="where the network goes"
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--init", type=Path, metavar="NET.pth", help="fine-tune this network")
    parser.add_argument(
        "--labels", metavar="A,B", help="order of --init's answers, where it does not say it"
    )
    start.add_argument(
        "--pretrained", type=Path, metavar="resnet34.pth", help="torchvision's body to start from"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="stored in the file (--init's, or 0.5); training is unaffected",
    )
    parser.add_argument("--work", type=Path, metavar="DIR", help="the run's folder (OUT.work)")
    for name, (kind, of, words) in SETTINGS.items():
        before = _shown(default, name)
        now = _shown(tuned, name)
        values = before if now == before else f"{before}; with --init {now}"
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=kind, metavar=of, help=words.format(values))
    _add_held_out(parser, default)
    parser.set_defaults(run=_run)


def _add_held_out(parser: argparse.ArgumentParser, default: TrainConfig) -> None:
    """Add what says which sources are graded on and not learnt from."""
    held = parser.add_mutually_exclusive_group()
    held.add_argument(
        "--hold-out",
        type=float,
        metavar="SHARE",
        help=f"of the sources, for grading ({default.hold_out:g})",
    )
    held.add_argument(
        "--fold",
        type=_fold,
        metavar="K/N",
        help="instead, part K of N of the sources: N runs, each source graded once",
    )
    parser.add_argument(
        "--hold-out-sources",
        metavar="A,B",
        default="",
        help='never train on these sources; one with a comma in "quotes"',
    )


def _fold(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    try:
        fold = int(part), int(parts)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not like 2/3") from None
    if fold == (0, 0):  # TrainConfig's way to say that there are none
        raise argparse.ArgumentTypeError("0/0 is no part of the sources")
    return fold


def _names(text: str) -> frozenset[str]:
    """The sources that ``text`` names: with commas between them, quoted as in a labels.csv."""
    try:
        lines = list(csv.reader([composed(text)], skipinitialspace=True))
    except csv.Error as error:
        raise ConfigError(f"--hold-out-sources {text!r}: {error}; name them as A,B") from error
    return frozenset(name.strip() for names in lines for name in names) - {""}


def _run(arguments: argparse.Namespace) -> int:
    config = TrainConfig.fine_tuning() if arguments.init else TrainConfig()
    chosen = {
        name: value
        for name in (*SETTINGS, "hold_out", "fold")
        if (value := getattr(arguments, name)) is not None
    }
    config = dataclasses.replace(config, **chosen)
    check_output("--out", arguments.out, ".pth")
    if start := arguments.init or arguments.pretrained:
        # A run that was interrupted starts from it again.
        check_apart({"--out": arguments.out}, {"the network to start from": start})
    for option in ("labels", "keep"):
        if getattr(arguments, option) is not None and not arguments.init:
            raise ConfigError(f"--{option} goes with --init")
    if arguments.threshold is not None and not 0 < arguments.threshold < 1:
        raise ConfigError(f"--threshold {arguments.threshold:g} must lie between 0 and 1")
    work = arguments.work or arguments.out.with_suffix(".work")
    try:
        _train(arguments, work, config)
    except KeyboardInterrupt:
        if work.is_dir():
            print(f"interrupted; the same command goes on with what {work} holds", file=sys.stderr)
        raise
    return 0


def _train(arguments: argparse.Namespace, work: Path, config: TrainConfig) -> None:
    from convert.train import train  # noqa: PLC0415 - torch takes seconds to import

    train(
        arguments.folders,
        arguments.out,
        work,
        config,
        init=arguments.init,
        labels=None if arguments.labels is None else parse_labels(arguments.labels),
        pretrained=arguments.pretrained,
        never_train_on=_names(arguments.hold_out_sources),
        threshold=arguments.threshold,
    )
