"""``convert evaluate``: grade a network on labelled recordings, by kind and by source."""

from __future__ import annotations

import argparse
import json

from convert.labels import TABLE
from convert.metrics import FEW_SOURCES
from convert.output import check_apart, check_output, is_for_tflite, parse_labels
from edge.arguments import named_path
from edge.config import ListenConfig
from edge.errors import ConfigError
from edge.files import write_atomically

EXAMPLES = """\
examples:
  convert evaluate models/knock-int8.tflite recordings
  convert evaluate knock.pth recordings --hold-out-only --json figures.json --html report.html
  convert evaluate knock.tflite my_cars --for-false-rate 0.01 --out my_knock.tflite

Recordings are judged as on the device, with a window every half second; one more covers what is
left at the end, and does not count for false alarms. --hold-out-only leaves out
sources that the checkpoint was trained on. Where convert train used held-out sources to choose the
best of several epochs, figures on those sources are still slightly optimistic.

--for-false-rate chooses the threshold at which at most that share of the windows of healthy engines
is called knocking, and the temperature that calibrates the probabilities for as many
knocking windows as windows of healthy engines. The model is written to --out with both. Use
recordings that it was not trained on, or both will be optimistic.

Figures are given by kind and by source. Kinds are those in the kind column of labels.csv: engine,
engine_other_fault, not_engine, or names of your own. A normal recording counts as a healthy engine
unless its kind is engine_other_fault, other_fault, starter, misfire or belt (or contradicts the
label: knocking, not_engine). Confidence intervals resample sources or, where a car column groups
several sources, cars."""


# The lowest rate other than 0; a million windows, half a second apart, are six days.
MIN_FPR = 1e-6


def add_evaluate_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``evaluate`` to the command line."""
    parser = commands.add_parser(
        "evaluate",
        help="grade a network on labelled recordings",
        description="Grade a .pth or .tflite network on labelled recordings, by kind and source.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "model", type=named_path, metavar="MODEL", help="network: .pth, .safetensors or .tflite"
    )
    parser.add_argument(
        "folders", nargs="+", type=named_path, metavar="DIR", help="folder of labelled recordings"
    )
    hop_s = ListenConfig().hop_s
    parser.add_argument(
        "--hop",
        type=float,
        default=hop_s,
        metavar="S",
        help=f"seconds between the starts of two windows (default: {hop_s:g})",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="call a window knocking from this probability on (default: the model's threshold)",
    )
    parser.add_argument(
        "--hold-out-only",
        action="store_true",
        help="grade only on sources that a .pth was not trained on",
    )
    parser.add_argument(
        "--labels",
        metavar="A,B",
        help="order of a .pth's outputs if the file does not give it, e.g. normal,knocking",
    )
    parser.add_argument(
        "--json", type=named_path, metavar="FILE", help="write all figures to FILE as JSON"
    )
    parser.add_argument(
        "--html", type=named_path, metavar="FILE", help="write an HTML report with plots to FILE"
    )
    parser.add_argument(
        "--for-false-rate",
        type=float,
        metavar="R",
        help="choose the threshold for this false-positive rate on windows of healthy engines "
        "(0.01 is one in a hundred), and the temperature; needs --out",
    )
    parser.add_argument(
        "--out",
        type=named_path,
        metavar="M.tflite",
        help="write the model with the chosen threshold and temperature to this file",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="random seed of the bootstrap intervals (default: 1)"
    )
    parser.set_defaults(run=_run)


def _check(arguments: argparse.Namespace) -> None:
    if not 0.01 <= arguments.hop <= 2:  # a longer hop would skip sound between windows of 2 s
        raise ConfigError(f"--hop {arguments.hop:g} s must lie between 0.01 and 2 s")
    if arguments.threshold is not None and not 0 < arguments.threshold < 1:
        raise ConfigError(f"--threshold {arguments.threshold:g} must lie between 0 and 1")
    if arguments.seed < 0:
        raise ConfigError(f"--seed {arguments.seed} must be 0 or more")
    rate = arguments.for_false_rate
    if (rate is None) != (arguments.out is None):
        given, missing = "--for-false-rate", "--out"
        if rate is None:
            given, missing = missing, given
        raise ConfigError(f"{given} needs {missing}: --for-false-rate 0.01 --out tuned.tflite")
    if rate is not None and not 0 <= rate < 1:
        raise ConfigError(f"--for-false-rate {rate:g} must lie between 0 and 1")
    if rate is not None and 0 < rate < MIN_FPR:
        raise ConfigError(
            f"--for-false-rate {rate:g} is too low to be measured: give {MIN_FPR:g} or more, "
            "or 0 to allow no false positive at all"
        )
    if rate is not None and not is_for_tflite(arguments.model):
        raise ConfigError("--for-false-rate needs a .tflite model: it changes the manifest")
    for option, suffix in (("json", ""), ("html", ""), ("out", ".tflite")):
        if path := getattr(arguments, option):
            check_output(f"--{option}", path, suffix)
    _check_apart(arguments)


def _check_apart(arguments: argparse.Namespace) -> None:
    """Refuse outputs that would overwrite an input or each other, before minutes of judging."""
    outputs = {
        f"--{option}": path
        for option in ("json", "html", "out")
        if (path := getattr(arguments, option))
    }
    tables = {f"the table of {folder}": folder / TABLE for folder in arguments.folders}
    check_apart(outputs, tables)
    # --out may replace the graded model: only its manifest changes, not the network.
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
        print(f"wrote {arguments.json}")
    if arguments.html:
        from convert.report import write_report  # noqa: PLC0415 - needs matplotlib

        write_report(report, arguments.html)
        print(f"wrote {arguments.html}")
    if arguments.out:
        from convert.tuning import tune  # noqa: PLC0415 - only when asked for

        made = tune(arguments.model, report, arguments.for_false_rate, arguments.out)
        cars = len(report.p_of_healthy())
        print(
            f"wrote {arguments.out}: threshold {made.threshold:g} (figures above: "
            f"{report.threshold:g}), temperature {made.temperature:g} (figures above: "
            f"{report.temperature:g}), chosen on {cars} healthy engine{'s' if cars != 1 else ''}"
        )
        if cars < FEW_SOURCES:
            print(
                "on other engines the false-positive rate may be far higher: "
                "record more healthy engines"
            )
    return 0
