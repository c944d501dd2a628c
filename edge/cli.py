"""The command line, ``edge``; the one place where errors become exit codes and hints."""

from __future__ import annotations

import argparse
import io
import itertools
import json
import math
import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge import __version__
from edge.capture import Recording
from edge.classifier import RUNTIMES, Classifier
from edge.devices_command import add_devices_parser
from edge.doctor import add_doctor_parser
from edge.errors import ConfigError, EdgeError, RecordingError
from edge.frontend import FrontEnd
from edge.model import ModelFile, default_model
from edge.pipeline import Pipeline, Verdict
from edge.png import write_png
from edge.run_command import add_run_parser

LONGEST_STEM = 180  # bytes of a recording's name in those of its pictures

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
  flat_line   no movement at all: sound dropped out, a dead microphone
  clipping    overdriven: turn the microphone down, or move it away
  tone        a hum or whistle, steady or slow, and nothing else: an open input, a loose earth
  repeats     the same over and over: a driver that hangs, or a steady tone above all else
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
    except BrokenPipeError:
        # Whoever read our output has seen enough; keep the interpreter from complaining on exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a closed folder, a full disk: no command's own business
        what = f"{error.filename}: {error.strerror}" if error.filename else str(error)
        complain(parser.prog, ConfigError(what))
        return ConfigError.exit_code


def complain(program: str, error: BaseException) -> None:
    """One line on standard error."""
    print(f"{program}: {' '.join(str(error).split())}", file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    """The parser with all commands."""
    parser = argparse.ArgumentParser(
        prog="edge",
        description="Hears an engine knock: judges recordings with the shipped network.",
        epilog=EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edge {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_predict(commands)
    add_run_parser(commands)
    add_devices_parser(commands)
    add_doctor_parser(commands)
    return parser


def _add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "predict",
        help="judge recordings",
        description="Judge recordings in windows of 2 s: knocking, normal or unknown.",
        epilog=PREDICT_EXAMPLES + EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="audio or video")
    parser.add_argument("--start", type=_seconds, default=0.0, metavar="S", help="from second S")
    parser.add_argument("--end", type=_seconds, metavar="S", help="to second S (default: the end)")
    parser.add_argument(
        "--hop", type=_seconds, default=1.0, metavar="S", help="a window every S seconds (1)"
    )
    parser.add_argument(
        "--channel", type=int, default=0, metavar="N", help="which channel, from 0 (0)"
    )
    parser.add_argument(
        "--model", type=Path, metavar="M", help="model file ($KNOCKKNOCK_MODEL, or the shipped one)"
    )
    parser.add_argument(
        "--runtime", choices=["auto", *RUNTIMES], default="auto", help="TFLite runtime (auto)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object a window")
    parser.add_argument(
        "--picture", type=Path, metavar="DIR", help="write each window's picture to DIR"
    )
    parser.set_defaults(run=_predict)


def _seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < MAX_SECONDS:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a time in seconds, from 0 to {MAX_SECONDS:g}"
        )
    return value


def _predict(arguments: argparse.Namespace) -> int:
    if arguments.end is not None and arguments.end <= arguments.start:
        raise ConfigError(f"--end {arguments.end:g} must be later than --start {arguments.start:g}")
    if arguments.hop < 0.01:
        raise ConfigError(f"--hop {arguments.hop:g} s is too small: 0.01 s at least")
    if arguments.channel < 0:
        raise ConfigError(f"--channel {arguments.channel} must be 0 or more")
    model = ModelFile.read(arguments.model or default_model())
    classifier = Classifier(model, runtime=arguments.runtime)
    front_end = FrontEnd(model.manifest.front_end)
    pipeline = Pipeline(front_end, classifier, model.manifest.threshold)
    if arguments.picture:
        _make_folder(arguments.picture)
    worst = 0
    names = _picture_names(arguments.files)
    for path, name in zip(arguments.files, names, strict=True):
        try:
            _predict_file(path, pipeline, arguments, name)
        except (EdgeError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            if not isinstance(error, EdgeError):  # Python's own words name no file, or twice
                error = RecordingError(f"{path} cannot be read: {error.strerror or error}")
            complain("edge", error)
            worst = max(worst, error.exit_code)
    return worst


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ConfigError(f"--picture {folder} is a file: name a folder") from error
    except OSError as error:
        raise ConfigError(f"--picture {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"--picture {folder}: nothing can be written there")


def _picture_names(files: Sequence[Path]) -> list[str]:
    """What the pictures of each file begin with: its name, numbered where two have the same."""
    # Cut: time and verdict are added, and a name has 255 bytes.
    plain = [re.sub(r"[^\w.-]+", "_", path.name).encode() for path in files]
    stems = [name[:LONGEST_STEM].decode(errors="ignore") for name in plain]
    names: list[str] = []
    for stem in stems:
        numbered = (f"{stem}-{n}" for n in itertools.count(1))
        free = (name for name in numbered if name not in stems and name not in names)
        names.append(next(free) if stems.count(stem) > 1 else stem)
    return names


def _predict_file(path: Path, pipeline: Pipeline, arguments: argparse.Namespace, name: str) -> None:
    source = Recording(
        path,
        channel=arguments.channel,
        start_s=arguments.start,
        end_s=arguments.end,
        sr=pipeline.front_end.config.sr,
    )
    counts: Counter[str] = Counter()
    lost: ConfigError | None = None
    width, places = (8, 2) if arguments.hop >= 0.1 else (9, 3)
    if not arguments.json:
        _say(f"{path}\n{'start s':>10}{'end s':>10}  {'verdict':<10}{'p knocking':>10}  reason")
    for verdict in pipeline.verdicts(source.blocks(), hop_s=arguments.hop):
        counts[verdict.verdict] += 1
        _say(_as_json(path, verdict) if arguments.json else _as_row(verdict))
        if arguments.picture and verdict.picture is not None:
            start = f"{verdict.start_s:0{width}.{places}f}s"
            picture = arguments.picture / f"{name}_{start}_{verdict.verdict}.png"
            failed = _keep_picture(picture, verdict.picture)
            lost = lost or failed
    if not arguments.json:
        found = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        _say(f"{'':>10}{'':>10}  {found}; knocking from {pipeline.threshold:g} on\n")
    if lost is not None:  # but every window was judged
        raise lost


def _say(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:  # no fault of the recording's
        raise ConfigError(f"the output cannot be written: {error.strerror}") from error


def _keep_picture(path: Path, picture: NDArray[np.uint8]) -> ConfigError | None:
    """Write it, or say why not: no fault of the recording's, which is judged to its end."""
    try:
        write_png(path, picture)
    except OSError as error:
        return ConfigError(f"--picture: {path} cannot be written: {error.strerror}")
    return None


def _as_json(path: Path, verdict: Verdict) -> str:
    return json.dumps(
        {
            "file": str(path),
            "start_s": round(verdict.start_s, 3),
            "end_s": round(verdict.end_s, 3),
            "verdict": verdict.verdict,
            "p_knocking": None if verdict.p_knocking is None else round(verdict.p_knocking, 5),
            "reason": verdict.reason,
        }
    )


def _as_row(verdict: Verdict) -> str:
    p = "" if verdict.p_knocking is None else f"{verdict.p_knocking:.3f}"
    return (
        f"{verdict.start_s:10.2f}{verdict.end_s:10.2f}  {verdict.verdict:<10}{p:>10}  "
        f"{verdict.reason}"
    ).rstrip()
