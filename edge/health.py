"""The health of board and service: sensors, notifications to systemd, and the status file.

Linux interfaces: sd_notify(3); /sys/class/thermal (``cooling_device*`` as of
Documentation/driver-api/thermal/sysfs-api.rst); the Raspberry Pi's under-voltage alarm in
/sys/class/hwmon (driver ``rpi_volt``).
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
from pathlib import Path
from typing import Any

from edge.files import remove_leftovers_of, write_atomically

log = logging.getLogger(__name__)


class Notifier:
    """Sends notifications to systemd, if it started this process."""

    def __init__(self, address: str | None = None) -> None:
        """``address`` of the socket; by default the one in NOTIFY_SOCKET."""
        self._address = os.environ.get("NOTIFY_SOCKET") if address is None else address

    def __call__(self, **fields: str) -> bool:
        """Send ``FIELD=value`` lines; False if that failed (True if there is no socket)."""
        if not self._address:
            return True
        target = self._address
        if target.startswith("@"):
            target = "\0" + target[1:]
        message = "\n".join(f"{name}={value}" for name, value in fields.items())
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
                line.settimeout(0.2)
                line.sendto(message.encode(), target)
        except OSError as error:
            log.warning("systemd cannot be notified: %s", error)
            return False
        return True


def temperature_c(sysfs: Path = Path("/sys")) -> float | None:
    """Highest temperature of the board's thermal zones, degrees Celsius; None if it has none."""
    found = []
    for path in sorted(sysfs.glob("class/thermal/thermal_zone*/temp")):
        try:
            found.append(int(path.read_text()) / 1000)
        except (OSError, ValueError):
            continue  # reading a disabled zone is an error
    return max(found, default=None)


def under_voltage(sysfs: Path = Path("/sys")) -> bool | None:
    """Whether the supply voltage is too low now; None if the board does not measure it."""
    for path in sorted(sysfs.glob("class/hwmon/hwmon*")):
        try:
            if (path / "name").read_text().strip() == "rpi_volt":
                return (path / "in0_lcrit_alarm").read_text().strip() != "0"
        except (OSError, ValueError):  # ValueError: not UTF-8
            continue
    return None


def throttled(sysfs: Path = Path("/sys")) -> bool | None:
    """Whether the kernel slows the processor down now because of its heat; None if it never does.

    A Raspberry Pi's firmware also throttles by itself, which no cooling device shows.
    """
    found = []
    for path in sysfs.glob("class/thermal/cooling_device*"):
        with contextlib.suppress(OSError, ValueError):
            # cpufreq-cpu0; before Linux 5.12 thermal-cpufreq-0
            if (path / "type").read_text().startswith(("cpufreq-", "thermal-cpufreq-")):
                found.append(int((path / "cur_state").read_text()) > 0)
    return any(found) if found else None


def board() -> dict[str, float | bool | None]:
    """Temperature, under-voltage and throttling, as in the status file."""
    return {
        "temperature_c": temperature_c(),
        "under_voltage": under_voltage(),
        "throttled": throttled(),
    }


def boot_id() -> str:
    """The kernel's ID of this boot; monotonic times are only comparable within one boot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return "unknown"


def clock_is_synchronised(runtime: Path = Path("/run")) -> bool:
    """Whether the wall clock has been set from outside since boot (systemd-timesyncd says so)."""
    return (runtime / "systemd/timesync/synchronized").exists()


class StatusFile:
    """A JSON file that is replaced as a whole. Repeated failures to write it are logged once."""

    def __init__(self, path: Path | None) -> None:
        """Write to ``path``; None: nowhere. Temporary files of a killed process are removed."""
        self._path = path
        self._failed = False
        if path is not None:
            with contextlib.suppress(OSError):
                remove_leftovers_of(path)

    def write(self, status: dict[str, Any]) -> None:
        """Replace the file's content."""
        if self._path is None:
            return
        try:
            content = json.dumps(status, indent=1).encode() + b"\n"
            # Readable by everybody, whatever the service's umask: nothing in it is private. Not
            # durable: written every second, it would wear out a card, and block on a slow one.
            write_atomically(self._path, content, mode=0o644, durable=False)
            self._failed = False
        except OSError as error:
            if not self._failed:
                log.warning("status file %s: %s", self._path, error.strerror)
            self._failed = True
