"""The command line, ``convert``: export, train, evaluate, synth."""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from convert.few_warnings import few_warnings
from edge import __version__
from edge.cli import run_cli
from edge.errors import MissingPackageError, print_error
from edge.sighup import silence_closed_terminal

EXAMPLES = """\
examples:
  convert export stage-2.pth --calibration recordings --out knock.tflite
  convert train my_car --init models/knock.pth --hold-out 0 --out my_car.pth
  convert evaluate knock.pth recordings --hold-out-only --html report.html
  convert synth made --count 50
  convert COMMAND --help      # options of one command

"""

EXIT_CODES = """\
exit codes:
  0   done
  2   a bad command line or setting, or the output cannot be written
  3   a recording cannot be read           4   a model file cannot be used
  6   a package is missing
  11  a checkpoint cannot be used          12  recordings or labels cannot be used
  13  a converter failed                   14  the exported network's answers differ
  130 interrupted; by SIGTERM 143, by SIGHUP 129"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``convert`` with ``argv`` and return the exit code."""
    # SIGTERM ends it the way Ctrl-C does, so that its temporary files are removed. So does SIGHUP,
    # when the terminal closes or an ssh connection drops, unless nohup has set it to be ignored.
    ends = [signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ends.append(signal.SIGHUP)
    before = {number: signal.signal(number, _leave) for number in ends}
    try:
        with few_warnings():
            return run_cli(_parser(), argv)
    except ModuleNotFoundError as error:  # the base install has only what the device needs
        if str(error.name).partition(".")[0] in ("convert", "edge"):
            raise  # a bug of ours, which no package fixes
        what = f"package {error.name} is missing: in the clone, with Python 3.11, run "
        what += "pip install '.[convert]'"
        print_error("convert", MissingPackageError(what))
        return MissingPackageError.exit_code
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _leave(number: int, _: FrameType | None) -> NoReturn:
    silence_closed_terminal()
    sys.exit(128 + number)


def _parser() -> argparse.ArgumentParser:
    from convert.evaluate_command import add_evaluate_parser  # noqa: PLC0415 - see main
    from convert.export_command import add_export_parser  # noqa: PLC0415
    from convert.synth_command import add_synth_parser  # noqa: PLC0415
    from convert.train_command import add_train_parser  # noqa: PLC0415

    parser = argparse.ArgumentParser(
        prog="convert",
        description="Train, grade and export networks for edge; synthesise engines and knocks.",
        epilog=EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"convert {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add_export_parser(commands)
    add_train_parser(commands)
    add_evaluate_parser(commands)
    add_synth_parser(commands)
    return parser
