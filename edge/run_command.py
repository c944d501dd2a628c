"""``edge run``: the microphone is being opened, the lamp lit, while all the rest is loaded.

What computes (numpy, scipy, the network) is imported after both: on a Pi that takes two seconds.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from edge.arguments import named_path
from edge.capture_start import capture_command, start_capture
from edge.config import DEFAULT_PATH, Config, lamp_of
from edge.errors import ConfigError
from edge.hang_up import HangUp, meaning, speak_to_nobody_if_gone
from edge.indicator import Indicator, Signal, pattern_table
from edge.installed import installed_config, load_config, status_file
from edge.journal import set_up_logging

if TYPE_CHECKING:
    from edge.service import Service

INTERRUPTED = 130  # exit code, as of Ctrl-C
FAULT_SECONDS = 10.0  # how long the lamp tells of a failed start before systemd tries again

EXAMPLES = f"""\
examples:
  edge run                               with /etc/knockknock/edge.toml, or the defaults
  edge run --config my.toml --check-config
  edge run --source drive.wav --speed max
                                         a recording through the whole service

the lamp:
{pattern_table()}

SIGTERM and Ctrl-C end it within two seconds. SIGHUP reloads the settings, except in a terminal,
where it stops the program (started by nohup, it is ignored). Records of alerts go to systemd's
state directory (/var/lib/knockknock), or to ./knockknock."""


def add_run_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``run`` to the command line."""
    parser = commands.add_parser(
        "run",
        help="listen and light the lamp",
        description="Listen to the microphone, light the lamp when the engine knocks.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=named_path, metavar="FILE", help=f"settings ({DEFAULT_PATH})"
    )
    parser.add_argument(
        "--check-config", action="store_true", help="check settings, model and runtime, then exit"
    )
    parser.add_argument("--source", type=named_path, metavar="FILE", help="play this instead")
    parser.add_argument(
        "--speed", type=_speed, default=1.0, metavar="N", help="of --source: factor (1), or max"
    )
    parser.add_argument(
        "--state", type=named_path, metavar="DIR", help="where records and status go"
    )
    parser.add_argument("--verbose", action="store_true", help="log every window's verdict, too")
    parser.set_defaults(run=_run)


def _speed(text: str) -> float:
    """Infinity is as fast as possible."""
    if text == "max":
        return math.inf
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.01 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text} must lie between 0.01 and 1000, or be max")
    return value


def _run(arguments: argparse.Namespace) -> int:
    if arguments.source and not arguments.source.is_file():
        there = "is no file" if arguments.source.exists() else "does not exist"
        what = "is a folder" if arguments.source.is_dir() else there
        raise ConfigError(f"--source {arguments.source} {what}: name a recording")
    if arguments.speed != 1 and not arguments.source:
        raise ConfigError("--speed goes with --source: a microphone has the speed it has")
    if arguments.check_config:
        return _check_config(arguments)
    set_up_logging(verbose=arguments.verbose)
    # systemd aborts what hangs: where it hung belongs into the journal. Not to standard error as it
    # is then: it leads nowhere while a runtime loads the network.
    faulthandler.enable(os.dup(2))
    hang_up = meaning()
    ended = INTERRUPTED if arguments.source else 0
    _answer_signals(hang_up, ended)
    try:
        # From here on this file: one that is deleted later must not mean the defaults.
        settings = arguments.config or installed_config()
        config = load_config(settings)
    except ConfigError:
        lamp = lamp_of(arguments.config or DEFAULT_PATH)
        _tell_of_fault(Indicator(lamp) if lamp else None, wait=True)
        raise
    service = _listen(config, settings, arguments, hang_up)
    speak_to_nobody_if_gone()
    if arguments.source:
        return _summary(service, arguments.source)
    return 0


def _listen(
    config: Config, settings: Path | None, arguments: argparse.Namespace, hang_up: HangUp
) -> Service:
    """Until the service ends, of which what it counted is left; whatever fails lights the lamp."""
    indicator = capture = None
    try:
        if not arguments.source:
            with contextlib.suppress(OSError):  # no memory: the microphone will try again, and say
                capture = start_capture(capture_command(config.audio))
        indicator = Indicator(config.indicator)
        from edge import assembly  # noqa: PLC0415 - see above

        service = assembly.build(
            config,
            indicator,
            capture,
            settings=settings,
            source=arguments.source,
            speed=arguments.speed,
            state=arguments.state,
        )
        service.run(hang_up)
    except BaseException as error:
        # No service is there any more to be asked.
        _answer_signals(hang_up, INTERRUPTED if arguments.source else 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if capture is not None:
            capture.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # a driver that hangs
                capture.wait(1)
        _tell_of_fault(indicator, wait=isinstance(error, Exception))
        raise
    indicator.close()
    return service


def _check_config(arguments: argparse.Namespace) -> int:
    from edge import assembly  # noqa: PLC0415 - see above

    config = load_config(arguments.config)
    assembly.load_network(config)  # its runtime, too: install.sh starts what is right here
    records = config.blackbox.directory
    # Path's raises where it may not look, which is no fault of the settings.
    if os.path.exists(records) and not os.path.isdir(records):  # noqa: PTH110, PTH112
        raise ConfigError(f"blackbox.directory = {records!r} is a file: name a folder")
    status_file(config, None)  # of the settings: DIR would be made, and be root's
    path = arguments.config or installed_config()
    none = f"there is no {DEFAULT_PATH}: the defaults hold"
    print(f"{path}: settings are right" if path else none)
    return 0


def _answer_signals(hang_up: HangUp, code: int) -> None:
    """Where no service does: a reload must not end it, and an end must put out the lamp."""

    def leave(*_: object) -> NoReturn:
        sys.exit(code)

    signal.signal(signal.SIGHUP, leave if hang_up is HangUp.STOP else signal.SIG_IGN)
    signal.signal(signal.SIGTERM, leave)


def _tell_of_fault(indicator: Indicator | None, *, wait: bool) -> None:
    """Dark would mean "not running"; let the lamp say that something is wrong, unless it was ended.

    Without a lamp, too, systemd's next try waits: a loop would wear out the card.
    """
    try:
        if indicator is not None and wait:
            indicator.show(Signal.FAULT)
        if wait and "NOTIFY_SOCKET" in os.environ:
            time.sleep(FAULT_SECONDS)
    finally:
        if indicator is not None:
            indicator.close()


def _summary(service: Service, path: Path) -> int:
    """What was counted; the exit code says whether the recording was played to its end."""
    c = service.counters
    reasons = ", ".join(f"{count} {name}" for name, count in sorted(c.unknown_reasons.items()))
    if service.stopped:
        print(f"{path}: stopped at {service.heard_to_s:.1f} s", file=sys.stderr)
    elif not c.windows_due:
        seconds = service.pipeline.front_end.config.n_samples / service.pipeline.front_end.config.sr
        print(f"{path}: nowhere {seconds:g} s in one piece: nothing was judged", file=sys.stderr)
    print(
        f"{c.windows_due} windows due, {c.windows_judged} judged, {c.windows_unknown} unknown"
        f"{f' ({reasons})' if reasons else ''}, "
        f"{c.windows_skipped} skipped, {c.alerts} alerts, {service.records_written} records",
        file=sys.stderr,
    )
    return INTERRUPTED if service.stopped else 0
