"""The command line, ``edge``; the only place where errors become messages and exit codes."""

from __future__ import annotations

import argparse
import importlib
import io
import math
import os
import sys
from collections.abc import Callable, Sequence

from edge import __version__
from edge.arguments import named_path
from edge.config import RUNTIME_NAMES
from edge.devices_command import add_devices_parser
from edge.errors import ConfigError, EdgeError, os_error_message, output_error, print_error
from edge.run_command import add_run_parser

EXAMPLES = """\
examples:
  edge predict engine.wav     judge a recording
  edge doctor                 check model, microphone, lamp and board
  edge run                    listen to the microphone and light the lamp
  edge COMMAND --help         show the options of a command

"""

EXIT_CODES = """\
exit codes:
  0  success; edge predict: every file was judged, whatever the verdicts
  1  edge doctor: at least one check failed
  2  invalid command line or setting, or the output cannot be written
  3  a recording cannot be read            4  the model cannot be used
  5  microphone missing or not working     6  an optional package is missing
  130  interrupted
With several files edge predict still judges the others, and exits with the highest code."""

PREDICT_EXAMPLES = """\
examples:
  edge predict engine.wav                       a table with one window per second
  edge predict IMG_3414.MOV --start 4 --end 6   two seconds of a video
  edge predict *.flac --json | jq .             one JSON object per window
  edge predict engine.wav --picture pictures    what the network saw, as PNG

What the last window leaves of the recording gets an extra one, which ends where the recording
does. It does not count for an alert, as edge run has none there.

A window that cannot be trusted is "unknown", never "normal"; reasons:
  too_short   less than two seconds of sound (up to 24 ms may be missing)
  silence     nothing from 33 Hz to 4 kHz, or hardly anything: engine off, a loose plug
  flat_line   the samples do not change: sound dropped out, a dead microphone
  clipping    overdriven: turn the microphone's gain down, or move it away
  tone        a hum or whistle, steady or changing slowly, and almost nothing else: an open
              input, a bad earth
  repeats     the same piece of sound over and over: a driver that hangs, or one tone much
              louder than everything else
  hiss        only noise, perhaps with mains hum: a dead microphone, rain; no engine is audible
  dc          only a constant offset: a broken converter
  not_finite  samples that are not finite numbers: a damaged file
  bad_answer  the network's answer is not a probability: try another --runtime

"""


MAX_SECONDS = 1e7  # four months


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``edge`` with ``argv`` and return the exit code."""
    return run_cli(build_parser(), argv)


def run_cli(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Run the command in ``argv``; an error becomes one line on standard error and an exit code."""
    if sys.stderr is None:  # it was closed: a file opened later must not get descriptor 2
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        sys.stderr = os.fdopen(2, "w")
    try:
        code = _run_command(parser, argv)
    except BrokenPipeError:  # the reader of our output has stopped reading
        code = 0
    except SystemExit as leaving:  # from --help, or an invalid command line
        raise SystemExit(_flush_output(parser.prog, int(leaving.code or 0))) from None
    return _flush_output(parser.prog, code)


def _flush_output(program: str, code: int) -> int:
    """Flush the output; return ``code``, or ConfigError's if the last lines cannot be written.

    If this were left to the interpreter, a closed pipe would end with a message of its own and
    exit code 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            # Discard what is buffered, or the interpreter will try to write it once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if not isinstance(error, BrokenPipeError) and not code:
                print_error(program, output_error(error))
                code = ConfigError.exit_code
    return code


def _run_command(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    arguments = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file name may be undecodable
            stream.reconfigure(errors="backslashreplace")
    try:
        run: Callable[[argparse.Namespace], int] = arguments.run
        return run(arguments)
    except EdgeError as error:
        print_error(parser.prog, error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # access denied, a full disk: not handled by each command
        if isinstance(error, BrokenPipeError):
            raise
        print_error(parser.prog, ConfigError(os_error_message(error)))
        return ConfigError.exit_code


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="edge",
        description="Detect engine knock: judge recordings, or listen to a microphone and light "
        "a lamp.",
        epilog=EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edge {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_predict(commands)
    add_run_parser(commands)
    add_devices_parser(commands)
    _add_doctor(commands)
    return parser


def _add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "predict",
        help="judge recordings",
        description="Judge recordings in windows of 2 s: knocking, normal or unknown.",
        epilog=PREDICT_EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="+", type=named_path, metavar="FILE", help="audio or video file"
    )
    parser.add_argument(
        "--start", type=_seconds, default=0.0, metavar="S", help="start at second S (default: 0)"
    )
    parser.add_argument(
        "--end", type=_seconds, metavar="S", help="stop at second S (default: the end of the file)"
    )
    parser.add_argument(
        "--hop",
        type=_seconds,
        default=1.0,
        metavar="S",
        help="judge a window every S seconds (default: 1)",
    )
    parser.add_argument(
        "--channel",
        type=int,
        default=0,
        metavar="N",
        help="channel to judge, counted from 0 (default: 0)",
    )
    parser.add_argument(
        "--model",
        type=named_path,
        metavar="M",
        help="model file (default: $KNOCKKNOCK_MODEL, or the shipped model)",
    )
    parser.add_argument(
        "--runtime", choices=RUNTIME_NAMES, default="auto", help="TFLite runtime (default: auto)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object per window")
    parser.add_argument(
        "--picture", type=named_path, metavar="DIR", help="save the pictures the network saw in DIR"
    )
    parser.set_defaults(run=_run_lazily("edge.predict_command"))


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "doctor",
        help="check model, microphone, lamp and board",
        description="Check model, microphone, lamp, board and disk space, and name a remedy for\n"
        "each problem. The exit code is 1 if any check fails.",
        epilog="examples:\n  edge doctor               run all checks\n"
        "  edge doctor --tap-test    listen while you tap the engine block with a spanner",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config",
        type=named_path,
        metavar="FILE",
        help="settings file (default: the installed one)",
    )
    parser.add_argument(
        "--tap-test", action="store_true", help="only listen for taps on the engine block"
    )
    parser.set_defaults(run=_run_lazily("edge.doctor"))


def _run_lazily(module: str) -> Callable[[argparse.Namespace], int]:
    """``run`` of ``module``, imported when called: numpy and scipy take a Pi two seconds."""

    def run(arguments: argparse.Namespace) -> int:
        code: int = importlib.import_module(module).run(arguments)
        return code

    return run


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= MAX_SECONDS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time in seconds, from 0 to {MAX_SECONDS:g}"
        )
    return value
