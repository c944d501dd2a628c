"""``convert train``: recordings in, a checkpoint out."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
from pathlib import Path

from convert.labels import plain
from convert.output import check_apart, check_folder, check_output, parse_labels
from convert.train_config import TrainConfig
from edge.arguments import named_path
from edge.errors import ConfigError

EXAMPLES = """\
examples:
  convert train recordings --out knock.pth
  convert train my_car --init models/knock.pth --hold-out 0 --out my_car.pth
  convert train recordings --fold 1/3 --out fold1.pth
  convert train recordings --pretrained resnet34.pth --out knock.pth --examples 30000
  convert train recordings --out knock.pth --examples 200000 --batch-size 64 --small-epochs 0 \\
    --full-epochs 2                          # from scratch, on a GPU

A folder of recordings has sub-folders knocking/, normal/ and not_engine/, or a labels.csv with the
columns file and label and, if possible, source and kind. A normal recording counts as a healthy
engine unless its kind is engine_other_fault, other_fault, starter, misfire or belt (or contradicts
the label: knocking, not_engine).

All recordings of one source (car, place, microphone) stay on the same side of the split; if a
column car groups several sources, so do all recordings of one car. Without a column source or car,
the source is the folder directly inside the label's (normal/golf/003.wav: golf); for files listed
from other folders, the first folder at which their paths differ (golf/cold/003.wav: golf, and
polo/cold/001.wav: polo); otherwise the file name up to its last underscore (golf_003.wav: golf; but
003.wav and normal_003.wav are each a source of their own). If labels.csv has a column split (train,
valid), it decides what is held out: --hold-out is ignored and --fold refused.

Each epoch prints the following; with --init the network is also graded before the first, without
loss and seconds:
  loss        mean training loss
  side        side of its pictures in pixels
  check_auc   AUC on synthetic examples made from the held-out recordings, or from the training
              recordings if no healthy engine is held out; 1 is perfect, 0.5 is guessing
  check_found share of the knocks among these called knocking at a threshold of 0.5
  real_auc    AUC on the held-out recordings themselves
  real_false  share of their non-knocking windows called knocking at that threshold
  seconds     duration of the epoch
real_auc and real_false use at most 2000 windows per class, drawn at random. Of several
--full-epochs the one with the best check_auc is kept (early stopping); a single one is always kept.
With --init or --pretrained the first of several epochs trains the head alone.
With --keep, a last line grades the blended network, which is the one written.

While examples are made, all recordings are in memory: 0.32 GB per hour of sound. The run keeps its
examples and its state in the --work folder: 440 MB plus 7 MB per thousand examples. Repeat the
command to resume an interrupted run after its last finished epoch; the folder may be removed when
the run is complete. Next: convert export NET.pth --calibration recordings --out NET.tflite"""


# Fields of TrainConfig that are options: type, metavar, help; {} is replaced by the default.
SETTINGS: dict[str, tuple[type, str, str]] = {
    "examples": (int, "N", "number of examples made before training ({})"),
    "simple": (
        *(float, "SHARE"),
        "share of simple examples, plain knocks over engines changed only in speed ({}): see "
        "docs/training.md",
    ),
    "small_epochs": (int, "N", "epochs on quarter-size pictures ({})"),
    "full_epochs": (int, "N", "epochs on full-size pictures, the best of which is kept ({})"),
    "batch_size": (int, "N", "examples per step ({}); 64 or more on a GPU"),
    "learning_rate": (float, "RATE", "peak learning rate ({})"),
    "keep": (
        *(float, "SHARE"),
        "share of --init's weights averaged into the result ({}); 0.5 forgets less of what --init "
        "had learnt and still learns most of what is new",
    ),
    "seed": (int, "N", "random seed of the split, examples and training ({})"),
}


def _shown(config: TrainConfig, name: str) -> str:
    return f"{getattr(config, name):g}"


def add_train_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``train`` to the command line."""
    parser = commands.add_parser(
        "train",
        help="train a network on recordings",
        description="Train a network on recordings with synthetic knocks mixed into them.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    default, tuned = TrainConfig(), TrainConfig.fine_tuning()
    parser.add_argument(
        "folders", nargs="+", type=named_path, metavar="DIR", help="folder of recordings"
    )
    parser.add_argument(
        "--out", type=named_path, required=True, metavar="NET.pth", help="checkpoint to write"
    )
    start = parser.add_mutually_exclusive_group()
    start.add_argument("--init", type=named_path, metavar="NET.pth", help="checkpoint to fine-tune")
    parser.add_argument(
        "--labels",
        metavar="A,B",
        help="class order of --init's outputs, if the file does not state it",
    )
    start.add_argument(
        "--pretrained",
        type=named_path,
        metavar="resnet34.pth",
        help="start from torchvision's body",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="decision threshold stored in NET.pth (--init's, or 0.5); training does not use it",
    )
    parser.add_argument(
        "--work", type=named_path, metavar="DIR", help="the run's folder (NET.work)"
    )
    for name, (kind, of, words) in SETTINGS.items():
        before = _shown(default, name)
        now = _shown(tuned, name)
        values = before if now == before else f"{before}; with --init {now}"
        option = "--" + name.replace("_", "-")
        parser.add_argument(option, type=kind, metavar=of, help=words.format(values))
    _add_held_out(parser, default)
    parser.set_defaults(run=_run)


def _add_held_out(parser: argparse.ArgumentParser, default: TrainConfig) -> None:
    """Add the options that choose which sources are held out for grading."""
    held = parser.add_mutually_exclusive_group()
    held.add_argument(
        "--hold-out",
        type=float,
        metavar="SHARE",
        help=f"share of the sources held out for grading ({default.hold_out:g})",
    )
    held.add_argument(
        "--fold",
        type=_fold,
        metavar="K/N",
        help="instead, hold out part K of N of the sources: N runs grade each source once",
    )
    parser.add_argument(
        "--hold-out-sources",
        metavar="A,B",
        default="",
        help='never train on these sources; put a name with a comma in "quotes"',
    )


def _fold(text: str) -> tuple[int, int]:
    part, _, parts = text.partition("/")
    try:
        fold = int(part), int(parts)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not of the form K/N, such as 2/3") from None
    if fold == (0, 0):  # in TrainConfig this means no folds
        raise argparse.ArgumentTypeError("0/0 is not a part of the sources: give one of 1/N to N/N")
    return fold


def _names(text: str) -> frozenset[str]:
    """Parse the comma-separated source names in ``text``, quoted as in a labels.csv."""
    try:
        lines = list(csv.reader([text], skipinitialspace=True))
    except csv.Error as error:
        raise ConfigError(f"--hold-out-sources {text!r}: {error}; name them as A,B") from error
    return frozenset(plain(name.strip()) for names in lines for name in names) - {""}


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
        # If the run is interrupted, the next attempt reads it again.
        check_apart({"--out": arguments.out}, {"the network to start from": start})
    for option in ("labels", "keep"):
        if getattr(arguments, option) is not None and not arguments.init:
            raise ConfigError(f"--{option} needs --init")
    if arguments.threshold is not None and not 0 < arguments.threshold < 1:
        raise ConfigError(f"--threshold {arguments.threshold:g} must lie between 0 and 1")
    work = arguments.work or arguments.out.with_suffix(".work")
    check_folder("--work", work)
    try:
        _train(arguments, work, config)
    except (KeyboardInterrupt, SystemExit):  # the latter by SIGTERM or SIGHUP
        if work.is_dir():
            print(f"interrupted; the same command resumes the run in {work}", file=sys.stderr)
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
