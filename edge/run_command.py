"""``edge run``: starts to open the microphone, lights the lamp and meanwhile loads the rest.

numpy, scipy and the network are imported last, because that takes a Pi two seconds.
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
from typing import TYPE_CHECKING

from edge.arguments import named_path
from edge.capture_start import capture_command, start_capture
from edge.config import DEFAULT_PATH, Config, read_indicator_config
from edge.errors import ConfigError, printable
from edge.indicator import Indicator, Signal, pattern_table
from edge.installed import installed_config, load_config, status_file
from edge.journal import set_up_logging
from edge.sighup import SighupAction, sighup_action, silence_closed_terminal

if TYPE_CHECKING:
    from edge.service import Service

INTERRUPTED = 130  # exit code, as after Ctrl-C
SLOWEST = 0.5  # --speed: any slower, and the lamp might take the time between windows for a fault
FAULT_SECONDS = 10.0  # how long the lamp shows a failed start before systemd tries again

EXAMPLES = f"""\
examples:
  edge run                                   use /etc/knockknock/edge.toml, or the defaults
  edge run --config my.toml --check-config   only check these settings
  edge run --source drive.wav --speed max    run the whole service on a recording

the lamp:
{pattern_table()}

SIGTERM and Ctrl-C stop the program within two seconds. SIGHUP reloads the settings; in a terminal
it stops the program instead, and under nohup it is ignored. Records of alerts are written to
systemd's state directory (/var/lib/knockknock), or to ./knockknock without systemd."""


def add_run_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``run`` to the command line."""
    parser = commands.add_parser(
        "run",
        help="listen to the microphone and light the lamp",
        description="Listen to the microphone and light the lamp when the engine knocks.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--config", type=named_path, metavar="FILE", help=f"settings file (default: {DEFAULT_PATH})"
    )
    parser.add_argument(
        "--check-config", action="store_true", help="check settings, model and runtime, then exit"
    )
    parser.add_argument(
        "--source",
        type=named_path,
        metavar="FILE",
        help="play this recording instead of listening to the microphone",
    )
    parser.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="N",
        help="play the recording N times as fast, or max: as fast as possible (default: 1)",
    )
    parser.add_argument(
        "--state", type=named_path, metavar="DIR", help="folder for records and the status file"
    )
    parser.add_argument(
        "--verbose", action="store_true", help="also log the verdict on each window"
    )
    parser.set_defaults(run=_run)


def _speed(text: str) -> float:
    """Parse ``--speed``; max, as fast as possible, is infinity."""
    if text == "max":
        return math.inf
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not SLOWEST <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text} must be between {SLOWEST} and 1000, or max")
    return value


def _run(arguments: argparse.Namespace) -> int:
    if arguments.source and not arguments.source.is_file():
        there = "is not a file" if arguments.source.exists() else "does not exist"
        what = "is a folder" if arguments.source.is_dir() else there
        raise ConfigError(f"--source {arguments.source} {what}: name a recording")
    if arguments.speed != 1 and not arguments.source:
        raise ConfigError("--speed needs --source: a microphone always runs in real time")
    if arguments.check_config:
        return _check_config(arguments)
    # A replay may be faster than real time, and whoever started it wants every alert in the log.
    set_up_logging(verbose=arguments.verbose, limited=not arguments.source)
    # When systemd aborts a hanging process, the traceback must reach the journal. Use a copy of
    # standard error, which itself is redirected to /dev/null while a runtime loads the network.
    faulthandler.enable(os.dup(2))
    on_sighup = sighup_action()
    stopping = _Stopping(on_sighup, INTERRUPTED if arguments.source else 0)
    stopping.handle_signals()
    try:
        # Resolved once: if the file is deleted later, a reload must not fall back to the defaults.
        settings = arguments.config or installed_config()
        config = load_config(settings)
    except ConfigError:
        lamp = read_indicator_config(arguments.config or DEFAULT_PATH)
        _show_fault(Indicator(lamp) if lamp else None, wait=not stopping.requested)
        stopping.check()
        raise
    service = _listen(config, settings, arguments, stopping)
    silence_closed_terminal()
    if arguments.source:
        return _summary(service, arguments.source)
    return 0


def _listen(
    config: Config, settings: Path | None, arguments: argparse.Namespace, stopping: _Stopping
) -> Service:
    """Run the service until it ends, and return it for its counters; failures show on the lamp."""
    indicator = capture = service = None
    try:
        if not arguments.source:
            with contextlib.suppress(OSError):  # no memory: the microphone will retry and report it
                capture = start_capture(capture_command(config.audio))
        indicator = Indicator(config.indicator)
        from edge import assembly  # noqa: PLC0415 - see the docstring

        service = assembly.build(
            config,
            indicator,
            capture,
            settings=settings,
            source=arguments.source,
            speed=arguments.speed,
            state=arguments.state,
        )
        stopping.check()
        service.run(stopping.on_sighup)
    except BaseException as error:
        stopping.ending = True
        stopping.handle_signals()  # the service's own handlers would have no effect any more
        stopping.requested |= service is not None and service.stopped
        if capture is not None:
            capture.kill()
            with contextlib.suppress(subprocess.TimeoutExpired):  # stuck in a driver that hangs
                capture.wait(1)
        _show_fault(indicator, wait=isinstance(error, Exception) and not stopping.requested)
        stopping.check()  # what was raised in its place is no fault
        raise
    indicator.close()
    return service


def _check_config(arguments: argparse.Namespace) -> int:
    from edge import assembly  # noqa: PLC0415 - see the docstring

    config = load_config(arguments.config)
    assembly.load_network(config)  # checks the runtime too: install.sh starts what passes here
    records = config.blackbox.directory
    # Not Path.exists(), which raises where access is denied: that is no fault of the settings.
    if os.path.exists(records) and not os.path.isdir(records):  # noqa: PTH110, PTH112
        raise ConfigError(f"blackbox.directory = {records!r} is a file: name a folder")
    status_file(config, None)  # not arguments.state, which would be created, owned by root
    path = arguments.config or installed_config()
    none = f"there is no {DEFAULT_PATH}: the defaults apply"
    print(f"{path}: settings are valid" if path else none)
    return 0


class _Stopping:
    """Ends the program on SIGTERM, Ctrl-C, and SIGHUP if it means stop, while no service does.

    Exiting with ``exit_code``, not being killed, turns the lamp off. The request is also kept,
    because an exit that is raised while packages are loaded may get lost: Python only reports it in
    a weak reference's callback, and C code turns it into an ImportError.
    """

    def __init__(self, on_sighup: SighupAction, exit_code: int) -> None:
        self.on_sighup = on_sighup
        self.requested = False
        self.ending = False  # whether the program is cleaning up already
        self._exit_code = exit_code

    def handle_signals(self) -> None:
        """Set the handlers; a SIGHUP that does not mean stop is ignored."""
        stops = self.on_sighup is SighupAction.STOP
        signal.signal(signal.SIGHUP, self._stop if stops else signal.SIG_IGN)
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def check(self) -> None:
        """End the program now if that was requested."""
        if self.requested:
            sys.exit(self._exit_code)

    def _stop(self, *_: object) -> None:
        again, self.requested = self.requested, True
        if again and self.ending:  # another exit would interrupt the clean-up
            return
        sys.exit(self._exit_code)


def _show_fault(indicator: Indicator | None, *, wait: bool) -> None:
    """Show a fault on the lamp, under systemd for FAULT_SECONDS: dark would mean "not running".

    With ``wait`` False, after a request to stop, only turn the lamp off. Under systemd it waits
    without a lamp, too, because a fast restart loop would wear out the card.
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
    """Print what was counted; the exit code says whether the recording was played to its end."""
    c, source = service.counters, printable(str(path))
    reasons = ", ".join(f"{count} {name}" for name, count in sorted(c.unknown_reasons.items()))
    if service.stopped:
        print(f"{source}: stopped at {service.judged_to_s:.1f} s", file=sys.stderr)
    elif not c.windows_due:
        seconds = service.pipeline.front_end.config.n_samples / service.pipeline.front_end.config.sr
        print(
            f"{source}: no {seconds:g} s of sound in one piece: nothing was judged", file=sys.stderr
        )
    print(
        f"windows: {c.windows_due} due, {c.windows_judged} judged, {c.windows_unknown} unknown"
        f"{f' ({reasons})' if reasons else ''}, {c.windows_skipped} skipped; "
        f"alerts: {c.alerts}, records: {service.records_written}",
        file=sys.stderr,
    )
    return INTERRUPTED if service.stopped else 0
