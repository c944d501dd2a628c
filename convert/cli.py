"""The command line, ``convert``: export, train, evaluate, synth."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from convert.evaluate_command import add_evaluate_parser
from convert.export import add_export_parser
from convert.synth_command import add_synth_parser
from convert.train_command import add_train_parser
from edge import __version__
from edge.cli import run_command

EXIT_CODES = """\
exit codes:
  0   done
  2   the command line or a setting makes no sense
  3   a recording cannot be read           4   a model file cannot be used
  11  a checkpoint cannot be used          12  recordings or labels do not fit
  13  a converter failed                   14  the exported network says something else
  130 interrupted"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``convert`` with ``argv``; the exit code is the answer."""
    parser = argparse.ArgumentParser(
        prog="convert",
        description="Makes networks for edge: training, grading, export, synthetic engines.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"convert {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_export_parser(commands)
    add_train_parser(commands)
    add_evaluate_parser(commands)
    add_synth_parser(commands)
    return run_command(parser, argv)
