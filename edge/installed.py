"""What is installed: the settings, the model they name, and where records go."""

from __future__ import annotations

import os
from pathlib import Path

from edge.config import DEFAULT_PATH, Config
from edge.errors import ConfigError
from edge.model import Manifest, ModelFile, default_model

STATE = Path("/var/lib/knockknock")  # of the service


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


def load_model(config: Config) -> ModelFile:
    """The one that the settings name, else the shipped one."""
    return ModelFile.read(Path(config.listen.model) if config.listen.model else default_model())


def require_fitting(config: Config, manifest: Manifest) -> Config:
    """``config``, if a network as ``manifest`` says can do what it asks for; ConfigError if not."""
    if config.listen.threshold > manifest.highest_p:
        raise ConfigError(
            f"listen.threshold = {config.listen.threshold:g} is never reached: the answers of "
            f"{manifest.name} end at {manifest.highest_p:.3f}"
        )
    return config


def records_folder(config: Config, state: Path | None) -> Path:
    """Where records go: below ``state``, or where the settings or systemd say."""
    if state:
        return state / "records"
    if config.blackbox.directory:
        return Path(config.blackbox.directory)
    named = os.environ.get("STATE_DIRECTORY", "knockknock")
    return Path(named.split(":")[0]) / "records"
