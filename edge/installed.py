"""Locations on an installed system: the settings file, the records folder, the status file."""

from __future__ import annotations

import os
from pathlib import Path

from edge.config import DEFAULT_PATH, Config
from edge.errors import ConfigError

STATE_DIRECTORY = Path("/var/lib/knockknock")  # the service's state directory
# An overlay is assumed to keep its changes in memory, as on a Pi with a read-only root.
MEMORY_FILE_SYSTEMS = {"overlay", "tmpfs", "ramfs"}
OVERLAY_REMEDY = (
    "keep records on a partition of their own and limit the overlay to the root, with "
    "overlayroot=tmpfs:recurse=0 in /boot/firmware/cmdline.txt: docs/raspberry-pi.md"
)


def load_config(path: Path | None) -> Config:
    """The settings in ``path``, else the installed ones, else the defaults."""
    path = path or installed_config()
    return Config.read(path) if path else Config()


def installed_config() -> Path | None:
    """The installed settings file, or None; ConfigError if access to it is denied."""
    try:
        return DEFAULT_PATH if DEFAULT_PATH.is_file() else None
    except OSError as error:
        raise ConfigError(f"{DEFAULT_PATH} cannot be read: {error.strerror}") from error


def records_folder(config: Config, state: Path | None) -> Path:
    """The folder for records: in ``state`` if given, else as the settings or systemd say.

    If neither does, it is knockknock/records in the working directory.
    """
    if state:
        return state / "records"
    if config.blackbox.directory:
        return Path(config.blackbox.directory)
    named = os.environ.get("STATE_DIRECTORY", "knockknock")
    return Path(named.split(":")[0]) / "records"


def volatile_warning(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """A warning if ``folder`` is on a file system in memory, which loses records; "" if not."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
        # Path.resolve() raises on a symlink loop before Python 3.13.
        folder = Path(os.path.realpath(folder))
    except OSError:  # not known, as in a working directory that is deleted
        return ""
    best, kind = Path("/"), ""
    for line in lines:
        mount, _, details = line.partition(" - ")  # proc(5): spaces in a name are written as \\040
        mount_point = Path(mount.split()[4].replace("\\040", " "))
        # The deepest mount above the folder; of several at one place the last hides the others.
        if folder.is_relative_to(mount_point) and mount_point.is_relative_to(best):
            best, kind = mount_point, details.split()[0]
    if kind not in MEMORY_FILE_SYSTEMS:
        return ""
    return f"{folder} is in memory ({kind}): records are lost at the next power cut"


def status_file(config: Config, state: Path | None) -> Path | None:
    """The status file: in ``state`` if given, else where the settings or systemd say.

    The folder ``state`` is created. None if neither names one; ConfigError if it cannot be used.
    """
    if state:
        try:
            state.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise ConfigError(f"--state {state} is a file: name a folder") from error
        except OSError as error:
            raise ConfigError(f"--state {state}: {error.strerror}") from error
        return state / "status.json"
    if config.health.status_file:
        path = Path(config.health.status_file)
        # Not Path.is_dir(), which raises if access is denied: that must not prevent listening.
        if os.path.isdir(path):  # noqa: PTH112
            raise ConfigError(f"health.status_file = {str(path)!r} is a folder: name a file in it")
        return path
    named = os.environ.get("RUNTIME_DIRECTORY")
    return Path(named.split(":")[0]) / "status.json" if named else None
