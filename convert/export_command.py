"""``convert export``: convert a checkpoint to a verified, self-describing TFLite file."""

from __future__ import annotations

import argparse

from convert.output import parse_labels
from edge.arguments import named_path
from edge.model import PRECISIONS

EXAMPLES = """\
examples:
  convert export stage-2.pth --calibration recordings --out knock.tflite
  convert export mine.pth --calibration recordings --out mine.tflite --precision float16
  convert export old.pth --calibration recordings --out old.tflite --labels normal,knocking

The order of the outputs is that given by the checkpoint, else by --labels, else knocking,normal, as
in the original project. The result is compared with torch on at least 300 pictures that were not
used for calibration, in every TFLite runtime installed here; if the answers differ too much,
nothing is written. It must have been trained on pictures such as convert train makes, normalised by
ImageNet's statistics. An int8 export takes 2 to 6 minutes on two cores and 4 GB of memory. It needs
no Internet access."""


def add_export_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``export`` to the command line."""
    parser = commands.add_parser(
        "export",
        help="convert a checkpoint to TFLite",
        description="Turn a fastai ResNet34 checkpoint into one TFLite file for edge.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoint", type=named_path, help=".pth of fastai v1 or v2, or .safetensors"
    )
    parser.add_argument(
        "--calibration",
        type=named_path,
        required=True,
        metavar="DIR",
        help="folder of recordings for calibration and for the comparison with torch: those that "
        "its labels.csv lists, or else all below it",
    )
    parser.add_argument(
        "--out", type=named_path, required=True, metavar="M.tflite", help="TFLite file to write"
    )
    parser.add_argument(
        "--precision", choices=PRECISIONS, default="int8", help="number format (default: int8)"
    )
    parser.add_argument(
        "--labels",
        metavar="A,B",
        help="order of the outputs if the checkpoint does not give it, e.g. normal,knocking",
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="call a window knocking from this probability on "
        "(default: the checkpoint's threshold, or 0.5)",
    )
    parser.add_argument(
        "--temperature",
        type=float,
        metavar="T",
        help="divide the log-odds of the output by T (default: the checkpoint's temperature, or 1)",
    )
    parser.add_argument("--name", help="name in the manifest (default: that of the output file)")
    parser.add_argument(
        "--seed",
        type=int,
        default=1,
        help="random seed of the choice of recordings and of the synthetic pictures (default: 1)",
    )
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    from convert.export import ExportConfig, export  # noqa: PLC0415 - torch takes seconds to import

    config = ExportConfig(
        arguments.precision,
        None if arguments.labels is None else parse_labels(arguments.labels),
        arguments.threshold,
        arguments.temperature,
        arguments.name,
        arguments.seed,
    )
    export(arguments.checkpoint, arguments.calibration, arguments.out, config)
    return 0
