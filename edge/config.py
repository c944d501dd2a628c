"""The settings of the service, read from TOML into frozen dataclasses.

Each default is defined once: here, or in ``gate_config`` and ``detector``. ``systemd/edge.toml``
documents the settings for users; a test checks that its values are these defaults.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Self, get_type_hints

from edge.detector import DetectorConfig
from edge.errors import ConfigError
from edge.gate_config import GateConfig
from edge.rates import RATES

DEFAULT_PATH = Path("/etc/knockknock/edge.toml")
MAX_FILE_BYTES = 2**20
RUNTIME_NAMES = ("auto", "ai-edge-litert", "tflite-runtime")
_KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a string in quotes",
}


@dataclass(frozen=True)
class AudioConfig:
    """Which microphone to use, and how to open it."""

    device: str = ""  # part of its name, or its USB id like 0d8c:0014; empty: the default, or first
    channel: int = 0  # counted from 0
    rates: tuple[int, ...] = (44_100, 22_050, 48_000, 96_000, 32_000, 16_000)  # Hz, tried in order
    stall_s: float = 2.0  # seconds without a sample after which the microphone counts as lost


@dataclass(frozen=True)
class ListenConfig:
    """How windows are judged."""

    hop_s: float = 0.5  # seconds from the start of one window to the start of the next
    model: str = ""  # model file; empty: $KNOCKKNOCK_MODEL, or the shipped one
    runtime: str = "auto"  # auto, ai-edge-litert or tflite-runtime
    threads: int = 0  # of the network; 0: all cores but one, at most three
    threshold: float = 0.0  # a window knocks if p_knocking is this or more; 0: the model's own


@dataclass(frozen=True)
class IndicatorConfig:
    """The lamp."""

    led_pin: int = 17  # BCM number; -1: none
    active_high: bool = True  # False: the lamp lights when the pin is low
    knock_pin: int = -1  # a second lamp, lit by alerts and the lamp test alone; -1: none
    buzzer_pin: int = -1  # a buzzer, likewise; -1: none

    @property
    def pins(self) -> list[int]:
        """The pins in use."""
        return [pin for pin in (self.led_pin, self.knock_pin, self.buzzer_pin) if pin >= 0]


@dataclass(frozen=True)
class BlackBoxConfig:
    """What is kept of an alert, and how much in all."""

    directory: str = ""  # empty: systemd's state directory, or ./knockknock
    seconds: float = 10.0  # of sound before the alert
    max_records: int = 100  # beyond it, the oldest records that are not pinned are deleted
    max_mb: float = 100.0  # size of all records, likewise
    min_interval_s: float = 30.0  # shortest time between two records


@dataclass(frozen=True)
class HealthConfig:
    """What counts as too hot, and where the status file is written."""

    hot_c: float = 80.0  # the board counts as hot from this temperature up, degrees Celsius
    status_file: str = ""  # empty: status.json in systemd's runtime directory, or none


@dataclass(frozen=True)
class Config:
    """All settings, by section."""

    audio: AudioConfig = field(default_factory=AudioConfig)
    listen: ListenConfig = field(default_factory=ListenConfig)
    gate: GateConfig = field(default_factory=GateConfig)
    detector: DetectorConfig = field(default_factory=DetectorConfig)
    indicator: IndicatorConfig = field(default_factory=IndicatorConfig)
    blackbox: BlackBoxConfig = field(default_factory=BlackBoxConfig)
    health: HealthConfig = field(default_factory=HealthConfig)

    @classmethod
    def from_toml(cls, text: str, name: str) -> Self:
        """Settings from ``text``; ConfigError names ``name``, the key, its value and the remedy."""
        try:
            content = tomllib.loads(text)
        except (ValueError, RecursionError) as error:  # ValueError also for a very long number
            why = str(error).replace("Cannot overwrite a value", "a key is there twice")
            raise ConfigError(f"{name} is not valid TOML: {why}") from error
        hints = get_type_hints(cls)
        sections = {}
        for section, values in content.items():
            if section not in hints:
                raise ConfigError(
                    f"{name}: unknown section or key {section}{_suggestion(section, hints)}"
                )
            if not isinstance(values, dict):
                raise ConfigError(f"{name}: {section} must be a section, written [{section}]")
            sections[section] = _section(hints[section], section, values, name)
        made = cls(**sections)
        # With hop_s near clear_s each window would make the detector forget the one before. Three
        # times hop_s leaves room for skipped windows. Rounded, so that 0.6 s and 0.2 s are enough.
        if round(made.detector.clear_s / made.listen.hop_s, 6) < 3:
            raise ConfigError(
                f"{name}: detector.clear_s = {made.detector.clear_s:g} must be three times "
                f"listen.hop_s = {made.listen.hop_s:g} or more, or an alert might never start"
            )
        return made

    @classmethod
    def read(cls, path: Path) -> Self:
        """Settings from the file ``path``; ConfigError if it cannot be read or is invalid."""
        return cls.from_toml(_read_text(path), str(path))


def _read_text(path: Path) -> str:
    try:
        if path.exists() and not path.is_file():  # reading /dev/zero would never end
            raise ConfigError(f"{path} is not a file")
        if path.stat().st_size > MAX_FILE_BYTES:
            raise ConfigError(f"{path} is larger than {MAX_FILE_BYTES} bytes: not a settings file")
        text = path.read_text(encoding="utf-8-sig")  # Windows editors may write a BOM
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} cannot be read: it is not in UTF-8, save it as UTF-8") from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error
    if not text.strip():  # the defaults may mean another pin, another microphone
        raise ConfigError(f"{path} is empty: was power cut while it was saved?")
    return text


def read_indicator_config(path: Path) -> IndicatorConfig | None:
    """The settings of the lamp in ``path``, even if others are invalid.

    None if they cannot be read, or if the section's name may be misspelt. The defaults are no
    substitute: something else may be connected to the default pin.
    """
    try:
        content = tomllib.loads(_read_text(path))
        if "indicator" not in content and content.keys() - get_type_hints(Config).keys():
            return None
        values = dict(content.get("indicator", {}))
        made: IndicatorConfig = _section(IndicatorConfig, "indicator", values, str(path))
    except (ValueError, TypeError, RecursionError):  # ValueError: a ConfigError, or a TOML error
        return None
    return made


# Sections and keys that a running listener applies on reload; all others only at its start.
RELOADABLE_SECTIONS = {"gate", "detector"}
RELOADABLE_KEYS = {"listen.hop_s", "listen.threshold", "health.hot_c"}


def needs_restart(old: Config, new: Config) -> list[str]:
    """Keys that differ and take effect only after a restart, as ``section.key``."""
    return [
        f"{section.name}.{key.name}"
        for section in fields(Config)
        if section.name not in RELOADABLE_SECTIONS
        for key in fields(getattr(old, section.name))
        if f"{section.name}.{key.name}" not in RELOADABLE_KEYS
        and getattr(getattr(old, section.name), key.name)
        != getattr(getattr(new, section.name), key.name)
    ]


def _suggestion(wrong: str, known: dict[str, Any]) -> str:
    for section, kind in get_type_hints(Config).items():
        if wrong in get_type_hints(kind):
            return f": it belongs below [{section}]"
    close = difflib.get_close_matches(wrong, known, n=1)
    if close:
        return f": did you mean {close[0]}?"
    return f" (known are {', '.join(known)})"


# section.key -> smallest and largest sensible value
LIMITS: dict[str, tuple[float, float]] = {
    "audio.channel": (0, 63),
    "audio.stall_s": (0.5, 3),  # added to the longest hop_s no more than those 5 s
    "listen.hop_s": (0.1, 2),  # the lamp shows a fault after 5 s without a window
    "listen.threads": (0, 16),
    "listen.threshold": (0, 0.999),
    "gate.silence_db": (-120, -30),  # a higher limit would reject ordinary engines as silence
    "gate.flat_seconds": (0.01, 2),
    "gate.clipping": (0.05, 1),
    "gate.dc_ratio": (1, 1000),
    # How close real engines come to these limits: gate_config.GateConfig.
    "gate.tone_hz": (0, 250),
    "gate.repetition": (0.98, 1),
    "gate.hiss": (0, 1.4),
    "detector.windows": (1, 240),  # two minutes by default: older knocks are of no use
    "detector.needed": (1, 240),
    "detector.keep": (0, 240),
    "detector.hold_s": (0, 3600),
    "detector.clear_s": (0.3, 3600),
    "detector.refractory_s": (0, 600),  # no alert starts for so long, however the engine knocks
    "indicator.led_pin": (-1, 27),
    "indicator.knock_pin": (-1, 27),
    "indicator.buzzer_pin": (-1, 27),
    "blackbox.seconds": (2, 120),
    "blackbox.max_records": (1, 100_000),
    "blackbox.max_mb": (10, 100_000),  # at least one record of two minutes
    "blackbox.min_interval_s": (0, 86_400),
    "health.hot_c": (0, 150),
}
OFF_AT_ZERO = {"gate.repetition"}  # 0 turns these off, although it is below the smallest value
# The service's working directory is deleted at each stop, with everything below it.
ABSOLUTE_PATHS = {"listen.model", "blackbox.directory", "health.status_file"}


# ALSA device names, but not a USB id such as abcd:0014, which looks like one.
ALSA_DEVICE = re.compile(
    r"(?![0-9a-f]{4}:[0-9a-f]{4}$)((plug)?hw:|[a-z]+:(CARD=)?[0-9])", re.IGNORECASE
)


def _section(cls: type[Any], section: str, values: dict[str, Any], name: str) -> Any:
    hints = get_type_hints(cls)
    checked = {}
    for key, value in values.items():
        if key not in hints:
            raise ConfigError(f"{name}: unknown key {section}.{key}{_suggestion(key, hints)}")
        checked[key] = _value(f"{section}.{key}", value, hints[key], name)
    made = cls(**checked)
    if isinstance(made, DetectorConfig) and not made.keep <= made.needed <= made.windows:
        raise ConfigError(
            f"{name}: detector.keep {made.keep} <= needed {made.needed} <= windows "
            f"{made.windows} must hold"
        )
    if isinstance(made, AudioConfig) and ALSA_DEVICE.match(made.device):
        raise ConfigError(
            f"{name}: audio.device = {made.device!r} is an ALSA device, whose number may change "
            "at every boot: give a part of the name or the USB id, see edge devices"
        )
    if isinstance(made, ListenConfig) and made.runtime not in RUNTIME_NAMES:
        known = ", ".join(RUNTIME_NAMES)
        raise ConfigError(f"{name}: listen.runtime = {made.runtime!r} must be one of {known}")
    if isinstance(made, IndicatorConfig) and len(set(made.pins)) < len(made.pins):
        raise ConfigError(f"{name}: indicator uses a pin twice: {made.pins}")
    return made


def _value(key: str, value: Any, kind: Any, name: str) -> Any:
    if kind == tuple[int, ...]:
        if not isinstance(value, list) or not value or not all(type(v) is int for v in value):
            raise ConfigError(
                f"{name}: {key} = {value!r} must be a list of one or more whole numbers"
            )
        if not all(RATES[0] <= v <= RATES[1] for v in value):
            limits = f"{RATES[0]} and {RATES[1]} Hz"
            raise ConfigError(f"{name}: {key} = {value!r} must lie between {limits}")
        return tuple(value)
    # Larger ones are refused below: float() of a huge one overflows.
    if kind is float and type(value) is int and abs(value) < 1e15:
        value = float(value)
    if isinstance(value, str) and "\0" in value:
        raise ConfigError(f"{name}: {key} = {value!r} contains a null byte: remove it")
    if type(value) is not kind:
        raise ConfigError(f"{name}: {key} = {value!r} must be {_KINDS[kind]}")
    if key in ABSOLUTE_PATHS and value and not Path(value).is_absolute():
        raise ConfigError(
            f"{name}: {key} = {value!r} must be an absolute path, from /; ~ is not expanded"
        )
    if key in LIMITS:
        low, high = LIMITS[key]
        off = key in OFF_AT_ZERO and value == 0
        if not (low <= value <= high or off):  # NaN fails, too
            zero = ", or be 0" if key in OFF_AT_ZERO else ""
            raise ConfigError(f"{name}: {key} = {value!r} must lie between {low} and {high}{zero}")
    return value
