"""The command line, ``edge``; the one place where errors become exit codes and hints."""

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
from edge.errors import ConfigError, EdgeError, complain, unwritten, what_failed
from edge.run_command import add_run_parser

EXAMPLES = """\
examples:
  edge predict engine.wav     judge a recording
  edge doctor                 is all there and well?
  edge run                    listen, and light the lamp
  edge COMMAND --help         more of each

"""

EXIT_CODES = """\
exit codes:
  0  every file was judged (whatever the verdicts)
  1  edge doctor found something that fails
  2  the command line or a setting makes no sense
  3  a recording cannot be read            4  the model cannot be used
  5  microphone trouble                    6  an optional package is missing
  130  interrupted
With several files the others are still judged, and the highest code counts."""

PREDICT_EXAMPLES = """\
examples:
  edge predict engine.wav                       every second, as a table
  edge predict IMG_3414.MOV --start 4 --end 6   two seconds of a video
  edge predict *.flac --json | jq .             one JSON object a window
  edge predict engine.wav --picture pictures    what the network saw, as PNG

A window that cannot be trusted is "unknown", never "normal"; reasons:
  too_short   less than two seconds of sound
  silence     nothing from 33 Hz to 4 kHz, or hardly anything: engine off, a loose plug
  flat_line   the samples do not change: sound dropped out, a dead microphone
  clipping    overdriven: turn the microphone down, or move it away
  tone        a hum or whistle, steady or slow, and nothing else: an open input, a loose earth
  repeats     the same over and over: a driver that hangs, or one tone much louder than the rest
  hiss        noise alone, or with a hum: a dead microphone, rain; no engine can be heard
  dc          an offset, no sound: a broken converter
  not_finite  samples that are no numbers: a damaged file
  bad_answer  the network's answer is no probability: try another --runtime

"""


MAX_SECONDS = 1e7  # four months


def main(argv: Sequence[str] | None = None) -> int:
    """Run ``edge`` with ``argv``; the exit code is the answer."""
    return run_cli(build_parser(), argv)


def run_cli(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    """Run the command that ``parser`` finds in ``argv``; errors become one line and a code."""
    if sys.stderr is None:  # closed by whoever started us: its number must not go to a file
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        sys.stderr = os.fdopen(2, "w")
    try:
        code = _run_command(parser, argv)
    except BrokenPipeError:  # whoever read our output has seen enough
        code = 0
    except SystemExit as leaving:  # --help, a line that makes no sense
        raise SystemExit(_flushed(parser.prog, int(leaving.code or 0))) from None
    return _flushed(parser.prog, code)


def _flushed(program: str, code: int) -> int:
    """``code``, or that of a disk that was full for the last lines.

    Left to the interpreter, a pipe that was closed would end in its own words and in 120.
    """
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError as error:
            # What it holds back must go somewhere, or the interpreter tries once more.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if not isinstance(error, BrokenPipeError) and not code:
                complain(program, unwritten(error))
                code = ConfigError.exit_code
    return code


def _run_command(parser: argparse.ArgumentParser, argv: Sequence[str] | None) -> int:
    arguments = parser.parse_args(argv)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a file's name may be no text in any encoding
            stream.reconfigure(errors="backslashreplace")
    try:
        run: Callable[[argparse.Namespace], int] = arguments.run
        return run(arguments)
    except EdgeError as error:
        complain(parser.prog, error)
        return error.exit_code
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # a closed folder, a full disk: no command's own business
        if isinstance(error, BrokenPipeError):
            raise
        complain(parser.prog, ConfigError(what_failed(error)))
        return ConfigError.exit_code


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="edge",
        description="Hears an engine knock: judges recordings, or listens and lights a lamp.",
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
    parser.add_argument("files", nargs="+", type=named_path, metavar="FILE", help="audio or video")
    parser.add_argument("--start", type=_seconds, default=0.0, metavar="S", help="from second S")
    parser.add_argument("--end", type=_seconds, metavar="S", help="to second S (default: the end)")
    parser.add_argument(
        "--hop", type=_seconds, default=1.0, metavar="S", help="a window every S seconds (1)"
    )
    parser.add_argument(
        "--channel", type=int, default=0, metavar="N", help="which channel, from 0 (0)"
    )
    parser.add_argument(
        "--model",
        type=named_path,
        metavar="M",
        help="model file ($KNOCKKNOCK_MODEL, or the shipped one)",
    )
    parser.add_argument(
        "--runtime", choices=RUNTIME_NAMES, default="auto", help="TFLite runtime (auto)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a window")
    parser.add_argument(
        "--picture", type=named_path, metavar="DIR", help="write each window's picture to DIR"
    )
    parser.set_defaults(run=_by("edge.predict_command"))


def _add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "doctor",
        help="is everything well?",
        description="Check model, microphone, lamp, board and space; exit 1 if anything fails.",
        epilog="examples:\n  edge doctor\n  edge doctor --tap-test    tap the block with a spanner",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=named_path, metavar="FILE", help="settings (the installed ones)"
    )
    parser.add_argument(
        "--tap-test", action="store_true", help="listen a while for taps on the block"
    )
    parser.set_defaults(run=_by("edge.doctor"))


def _by(module: str) -> Callable[[argparse.Namespace], int]:
    """``run`` of ``module``, loaded when it is called: numpy and scipy take a Pi two seconds."""

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
