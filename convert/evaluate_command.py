"""``convert evaluate``: a network and labelled recordings in, figures by kind and source out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from convert.labels import TABLE
from convert.metrics import FEW_SOURCES
from convert.output import check_apart, check_output, is_for_tflite, parse_labels
from edge.config import ListenConfig
from edge.errors import ConfigError
from edge.files import write_atomically

EXAMPLES = """\
examples:
  convert evaluate models/knock-int8.tflite recordings
  convert evaluate knock.pth recordings --hold-out-only --json figures.json --html report.html
  convert evaluate knock.tflite my_cars --for-false-rate 0.01 --out my_knock.tflite

The recordings are judged as the device judges them, a window every half second. With
--hold-out-only, recordings of sources the checkpoint was trained on are left out; where convert
train chose the best of several epochs by sources held out, figures on those are still a little too
good. With --for-false-rate the model is written to --out with the threshold at which that share
of the windows of healthy engines is called knocking, and the temperature that makes its
probabilities true where half of the windows knock; use recordings it was not trained on, or both
will be too good.

Figures are grouped by the column kind of labels.csv (engine, engine_other_fault, not_engine or
your own words: a normal recording is of a healthy engine unless its kind is engine_other_fault,
other_fault, starter, misfire or belt), by source, and, where a column car names what several
sources have in common, by car: intervals then come from drawing cars."""


LEAST_RATE = 1e-6  # of windows called knocking, but for none; less would want days of recordings


def add_evaluate_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``evaluate`` to the command line."""
    parser = commands.add_parser(
        "evaluate",
        help="figures of a network",
        description="Grade a .pth or .tflite network on labelled recordings, by kind and source.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", type=Path, metavar="MODEL", help=".pth, .safetensors or .tflite")
    parser.add_argument("folders", nargs="+", type=Path, metavar="DIR", help="of recordings")
    hop_s = ListenConfig().hop_s
    parser.add_argument(
        "--hop", type=float, default=hop_s, metavar="S", help=f"window spacing ({hop_s:g})"
    )
    parser.add_argument(
        "--threshold", type=float, metavar="P", help="of p knocking (the model's own)"
    )
    parser.add_argument(
        "--hold-out-only", action="store_true", help="only sources a .pth was not trained on"
    )
    parser.add_argument(
        "--labels", metavar="A,B", help="order of a .pth's answers, where it does not say it"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures to FILE")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a report with plots")
    parser.add_argument(
        "--for-false-rate", type=float, metavar="R", help="choose threshold and temperature"
    )
    parser.add_argument("--out", type=Path, metavar="M.tflite", help="where the chosen ones go")
    parser.add_argument("--seed", type=int, default=1, help="of the bootstrap (1)")
    parser.set_defaults(run=_run)


def _check(arguments: argparse.Namespace) -> None:
    if not 0.01 <= arguments.hop <= 2:  # what lies between windows would go unheard
        raise ConfigError(f"--hop {arguments.hop:g} s must lie between 0.01 and 2 s")
    if arguments.threshold is not None and not 0 < arguments.threshold < 1:
        raise ConfigError(f"--threshold {arguments.threshold:g} must lie between 0 and 1")
    if arguments.seed < 0:
        raise ConfigError(f"--seed {arguments.seed} must be 0 or more")
    rate = arguments.for_false_rate
    if (rate is None) != (arguments.out is None):
        raise ConfigError("--for-false-rate and --out go together")
    if rate is not None and not 0 <= rate < 1:
        raise ConfigError(f"--for-false-rate {rate:g} must lie between 0 and 1")
    if rate is not None and 0 < rate < LEAST_RATE:
        raise ConfigError(
            f"--for-false-rate {rate:g} is less than recordings can show: give {LEAST_RATE:g} or "
            "more, or 0 for no window at all"
        )
    if rate is not None and not is_for_tflite(arguments.model):
        raise ConfigError("--for-false-rate needs a .tflite model, whose manifest is changed")
    for option, suffix in (("json", ""), ("html", ""), ("out", ".tflite")):
        if path := getattr(arguments, option):
            check_output(f"--{option}", path, suffix)
    _check_apart(arguments)


def _check_apart(arguments: argparse.Namespace) -> None:
    """Nothing that is needed again may be written over, least of all after minutes of judging."""
    outputs = {
        f"--{option}": path
        for option in ("json", "html", "out")
        if (path := getattr(arguments, option))
    }
    tables = {f"the table of {folder}": folder / TABLE for folder in arguments.folders}
    check_apart(outputs, tables)
    # The chosen threshold may go into the very model: all else in it stays as it was.
    outputs.pop("--out", None)
    check_apart(outputs, {"the model to grade": arguments.model})


def _run(arguments: argparse.Namespace) -> int:
    _check(arguments)
    from convert.evaluate import evaluate  # noqa: PLC0415 - torch takes seconds to import

    report = evaluate(
        arguments.model,
        arguments.folders,
        hop_s=arguments.hop,
        threshold=arguments.threshold,
        hold_out_only=arguments.hold_out_only,
        labels=None if arguments.labels is None else parse_labels(arguments.labels),
        seed=arguments.seed,
        to_tune=arguments.for_false_rate is not None,
    )
    print(report.table())
    if arguments.json:
        write_atomically(arguments.json, json.dumps(report.to_dict(), indent=1).encode())
    if arguments.html:
        from convert.report import write_report  # noqa: PLC0415 - needs matplotlib

        write_report(report, arguments.html)
        print(f"wrote {arguments.html}")
    if arguments.out:
        from convert.tuning import tune  # noqa: PLC0415 - only when asked for

        made = tune(arguments.model, report, arguments.for_false_rate, arguments.out)
        cars = len(report.p_of_healthy())
        print(
            f"wrote {arguments.out}: threshold {made.threshold:g} (above: {report.threshold:g}), "
            f"temperature {made.temperature:g} (above: {report.temperature:g}), "
            f"by {cars} healthy engine{'s' if cars != 1 else ''}"
        )
        if cars < FEW_SOURCES:
            print("of another engine far more windows may be called knocking: record more of them")
    return 0
