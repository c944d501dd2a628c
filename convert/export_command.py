"""``convert export``: a checkpoint in, one proved and self-describing TFLite file out."""

from __future__ import annotations

import argparse
from pathlib import Path

from convert.output import parse_labels
from edge.model import PRECISIONS

EXAMPLES = """\
examples:
  convert export stage-2.pth --calibration recordings --out knock.tflite
  convert export mine.pth --calibration recordings --out mine.tflite --precision float16
  convert export old.pth --calibration recordings --out old.tflite --labels normal,knocking

The labels are those of the checkpoint, or knocking,normal in the original's order. On at least 300
pictures that were not used for calibration the result is compared with torch, in every TFLite
runtime installed here; if it does not say the same, nothing is written. int8 takes 7 to 10 minutes
on two cores, and 5 GB of memory; no network access."""


def add_export_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``export`` to the command line."""
    parser = commands.add_parser(
        "export",
        help="checkpoint to TFLite",
        description="Turn a fastai ResNet34 checkpoint into one TFLite file for edge.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, help=".pth of fastai v1 or v2, or .safetensors")
    parser.add_argument(
        "--calibration", type=Path, required=True, metavar="DIR", help="folder of recordings"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="M.tflite")
    parser.add_argument("--precision", choices=PRECISIONS, default="int8", help="default: int8")
    parser.add_argument(
        "--labels", metavar="A,B", help="order of the outputs, where the checkpoint says none"
    )
    parser.add_argument(
        "--threshold",
        type=float,
        metavar="P",
        help="called knocking from P on (the checkpoint's own, or 0.5)",
    )
    parser.add_argument("--temperature", type=float, metavar="T", help="divides the log-odds")
    parser.add_argument("--name", help="name in the manifest (default: the output file's)")
    parser.add_argument("--seed", type=int, default=1, help="draws the pictures (1)")
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
