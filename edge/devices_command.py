"""``edge devices``: list the microphones and the sampling rates at which they really open."""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
from typing import Any

from edge.child import child_environment
from edge.errors import AudioDeviceError, MissingPackageError
from edge.finding import jack_lock_hint, join_remedies

EXAMPLES = """\
examples:
  edge devices             a table
  edge devices --json      for programs

A part of the name, or the USB id, goes into the settings:

  [audio]
  device = "USB PnP"
"""

LIST_TIMEOUT_S = 30.0  # a driver that hangs must not hang us


def add_devices_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``devices`` to the command line."""
    parser = commands.add_parser(
        "devices",
        help="list microphones",
        description="List inputs: name, USB id, channels and the rates at which they really open.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=_run)


def list_devices() -> list[dict[str, Any]]:
    """Every input as a dict of name, usb_id, channels, rates (Hz) and default (bool).

    AudioDeviceError if PortAudio fails, MissingPackageError without PyAudio. PortAudio runs in a
    process of its own, which is killed if a driver hangs.
    """
    done = _run_with_timeout([sys.executable, "-m", "edge.capture_process", "--list"])
    if done.returncode != 0:
        errors = done.stderr.strip().splitlines()
        kind = (
            MissingPackageError
            if done.returncode == MissingPackageError.exit_code
            else AudioDeviceError
        )
        raise kind(errors[-1] if errors else f"PortAudio crashed (exit code {done.returncode})")
    try:
        devices: list[dict[str, Any]] = json.loads(done.stdout)
    except ValueError as error:
        raise AudioDeviceError(
            f"the list of microphones is not JSON but {done.stdout[:60]!r}: try again, and see: "
            "arecord -l"
        ) from error
    return devices


def _run_with_timeout(command: list[str]) -> subprocess.CompletedProcess[str]:
    """Run ``command`` and capture its output; AudioDeviceError if it takes over LIST_TIMEOUT_S.

    Unlike ``subprocess.run``, which waits without limit for the process it has killed.
    """
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",
        env=child_environment(),
    )
    try:
        answer, errors = process.communicate(timeout=LIST_TIMEOUT_S)
    except subprocess.TimeoutExpired as error:
        remedy = join_remedies("unplug the microphone and plug it in again", jack_lock_hint())
        raise AudioDeviceError(
            f"the sound drivers did not answer within {LIST_TIMEOUT_S:g} s: {remedy}"
        ) from error
    finally:
        process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):  # blocked in the kernel
            process.wait(1)
    return subprocess.CompletedProcess(command, process.returncode, answer, errors)


def _run(arguments: argparse.Namespace) -> int:
    devices = list_devices()
    if arguments.json:
        print(json.dumps(devices, indent=1))
        return 0 if devices else AudioDeviceError.exit_code
    if not devices:
        raise AudioDeviceError(
            "there is no microphone: plug one in; arecord -l shows what ALSA sees"
        )
    names = [device["name"] + (" (default)" if device["default"] else "") for device in devices]
    width = max(42, *map(len, names)) + 2
    print(f"{'name':<{width}}{'USB id':<12}{'channels':>8}  rates that open, Hz")
    for name, device in zip(names, devices, strict=True):
        rates = ", ".join(map(str, device["rates"])) or "none: busy?"
        usb_id = device["usb_id"] or "-"
        print(f"{name:<{width}}{usb_id:<12}{device['channels']:>8}  {rates}")
    return 0
