"""What is installed: the settings, and where records and status go."""

from __future__ import annotations

import os
from pathlib import Path

from edge.config import DEFAULT_PATH, Config
from edge.errors import ConfigError

STATE = Path("/var/lib/knockknock")  # of the service
# An overlay is taken for one over memory: what a read-only root is, on a Pi.
MEMORY = {"overlay", "tmpfs", "ramfs"}
KEEP_THEM = (
    "give them a partition of their own and confine the overlay to the root, by "
    "overlayroot=tmpfs:recurse=0 in /boot/firmware/cmdline.txt: docs/raspberry-pi.md"
)


def load_config(path: Path | None) -> Config:
    """The settings in ``path``, else the installed ones, else the defaults."""
    path = path or installed_config()
    return Config.read(path) if path else Config()


def installed_config() -> Path | None:
    """The installed settings, if there are any; ConfigError if nobody lets us look."""
    try:
        return DEFAULT_PATH if DEFAULT_PATH.is_file() else None
    except OSError as error:
        raise ConfigError(f"{DEFAULT_PATH} cannot be read: {error.strerror}") from error


def records_folder(config: Config, state: Path | None) -> Path:
    """Where records go: below ``state``, or where the settings or systemd say."""
    if state:
        return state / "records"
    if config.blackbox.directory:
        return Path(config.blackbox.directory)
    named = os.environ.get("STATE_DIRECTORY", "knockknock")
    return Path(named.split(":")[0]) / "records"


def lost_at_a_cut(folder: Path, mounts: Path = Path("/proc/self/mountinfo")) -> str:
    """In words, that what is written to ``folder`` stays in memory; "" if it does not."""
    try:
        lines = mounts.read_text(errors="surrogateescape").splitlines()
        folder = Path(os.path.realpath(folder))  # Path's raises at links in a ring, on Python 3.12
    except OSError:  # nobody knows: also in a working folder that is deleted
        return ""
    found, kind = Path("/"), ""
    for line in lines:
        mount, _, told = line.partition(" - ")  # proc(5): spaces in a name are written as \\040
        at = Path(mount.split()[4].replace("\\040", " "))
        # The deepest that leads there; of several at one place the last covers the others.
        if folder.is_relative_to(at) and at.is_relative_to(found):
            found, kind = at, told.split()[0]
    if kind not in MEMORY:
        return ""
    return f"{folder} is in memory ({kind}): records are lost at the next power cut"


def status_file(config: Config, state: Path | None) -> Path | None:
    """Where the status goes, likewise; None: nowhere."""
    if state:
        try:
            state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--state {state}: {error.strerror}") from error
        return state / "status.json"
    if config.health.status_file:
        path = Path(config.health.status_file)
        # Path's raises where it may not look, which is no reason not to listen.
        if os.path.isdir(path):  # noqa: PTH112
            raise ConfigError(f"health.status_file = {str(path)!r} is a folder: name a file in it")
        return path
    named = os.environ.get("RUNTIME_DIRECTORY")
    return Path(named.split(":")[0]) / "status.json" if named else None
