import dataclasses
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

from convert.made import write_demo
from edge.blackbox import BlackBox
from edge.classifier import RUNTIMES
from edge.config import (
    ABSOLUTE_PATHS,
    LIMITS,
    RUNTIME_NAMES,
    Config,
    needs_restart,
    read_indicator_config,
)
from edge.errors import ConfigError
from edge.gate import Gate
from edge.indicator import STALE_S
from edge.recording import Recording
from edge.run_command import SLOWEST
from tests.listener import SR

ROOT = Path(__file__).resolve().parents[1]
DEFAULTS = dataclasses.asdict(Config())


def test_a_device_holds_no_settings_and_has_no_end():
    with pytest.raises(ConfigError, match="is not a file"):
        Config.read(Path("/dev/zero"))


def test_nothing_said_is_the_defaults():
    assert Config.from_toml("", "x") == Config()


def test_what_is_said_counts():
    config = Config.from_toml('[audio]\ndevice = "USB"\nrates = [48000]\n[gate]\ndc_ratio = 3', "x")
    assert config.audio.device == "USB"
    assert config.audio.rates == (48_000,)
    assert config.gate.dc_ratio == 3.0


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[audoi]", "did you mean audio"),
        ("[audio]\ndevcie = 'x'", "did you mean device"),
        ("[health]\nthreshold = 0.9", r"key health.threshold: it belongs below \[listen\]"),
        ("threshold = 0.9", r"key threshold: it belongs below \[listen\]"),
        ("[listen]\nthreshold = 0.9\nthreshold = 0.8\n", r"a key is there twice \(at line 3"),
        ("[audio]\nxyzzy = 1", "known are device, channel"),
        ("audio = 3", "must be a section"),
        ("[audio", "not valid TOML"),
        ("[listen]\nhop_s = 'often'", "listen.hop_s = 'often' must be a number"),
        ("[listen]\nhop_s = 0.0", "between 0.1 and 2"),
        ("[listen]\nhop_s = nan", "between"),
        ("[listen]\nthreads = true", "whole number"),
        ("[indicator]\nactive_high = 1", "true or false"),
        ("[audio]\nrates = []", "list of one or more whole numbers"),
        ("[audio]\nrates = [100]", "8000 and 192000"),
        ("[detector]\nneeded = 9", "windows"),
        ("[indicator]\nknock_pin = 17", "pin twice"),
        ('[listen]\nmodel = "a\\u0000b"', "contains a null byte"),
        ("[listen]\nruntime = 'tensorflow'", "one of auto, ai-edge-litert"),
        ("[listen]\nhop_s = 1" + "0" * 400, "must be a number"),
    ],
)
def test_what_makes_no_sense_is_named(text, words):
    with pytest.raises(ConfigError, match=words) as caught:
        Config.from_toml(text, "my.toml")
    assert str(caught.value).startswith("my.toml")
    assert "\n" not in str(caught.value)


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.read(tmp_path / "none.toml")
    (tmp_path / "latin.toml").write_bytes(b"# \xff\n")
    with pytest.raises(ConfigError, match="cannot be read"):
        Config.read(tmp_path / "latin.toml")
    (tmp_path / "big.toml").write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(ConfigError, match="larger"):
        Config.read(tmp_path / "big.toml")


def test_a_file_that_was_saved_on_windows(tmp_path):
    file = tmp_path / "edge.toml"
    file.write_bytes(b"\xef\xbb\xbf[listen]\r\nhop_s = 0.25\r\n")  # a byte order mark
    assert Config.read(file).listen.hop_s == 0.25
    file.write_text("[listen]\nhop_s = 0.25\n", encoding="utf-16")
    with pytest.raises(ConfigError, match="not in UTF-8, save it as UTF-8"):
        Config.read(file)


@pytest.mark.parametrize("left", ["", " \n\n", "\ufeff"])
def test_a_file_that_a_power_cut_emptied_does_not_mean_the_defaults(tmp_path, left):
    """Their pin may have other things on it, their microphone be another one."""
    file = tmp_path / "edge.toml"
    file.write_text(left, encoding="utf-8")
    with pytest.raises(ConfigError, match="is empty: was power cut"):
        Config.read(file)
    assert read_indicator_config(file) is None


def test_the_shipped_file_says_every_setting_with_its_default():
    text = (ROOT / "systemd" / "edge.toml").read_text()
    assert Config.from_toml(text, "edge.toml") == Config()
    written = tomllib.loads(text)
    shown = {section: set(values) for section, values in DEFAULTS.items()}
    assert {section: set(values) for section, values in written.items()} == shown


def test_what_counts_only_after_a_restart_is_named():
    new = Config.from_toml(
        '[audio]\ndevice = "x"\n[listen]\nhop_s = 1\nthreads = 2\n[gate]\ndc_ratio = 3\n'
        "[blackbox]\nseconds = 5\nmax_mb = 50\n[health]\nhot_c = 70\n",
        "my.toml",
    )
    assert needs_restart(Config(), new) == [
        "audio.device",
        "listen.threads",
        "blackbox.seconds",
        "blackbox.max_mb",
    ]
    assert needs_restart(new, new) == []


def test_windows_further_apart_than_what_is_remembered_are_refused():
    with pytest.raises(ConfigError, match=r"clear_s = 2 must be three times listen.hop_s = 2"):
        Config.from_toml("[listen]\nhop_s = 2\n[detector]\nclear_s = 2\n", "x")
    for hop in (0.1, 0.2, 0.7, 2):  # three times as much is enough, however it is rounded
        text = f"[listen]\nhop_s = {hop}\n[detector]\nclear_s = {round(3 * hop, 1)}\n"
        assert Config.from_toml(text, "x").listen.hop_s == hop


def test_the_runtimes_are_those_there_are():
    assert set(RUNTIME_NAMES) == {"auto", *RUNTIMES}


def test_every_number_has_limits_and_its_default_keeps_them():
    for section, values in DEFAULTS.items():
        for key, value in values.items():
            if type(value) in (int, float):
                low, high = LIMITS[f"{section}.{key}"]
                assert low <= value <= high
    assert dataclasses.is_dataclass(Config)


def said(key, value):
    """Settings that say this, and others that fit it."""
    section, name = key.split(".")
    others = {
        "detector.windows": "needed = 1\nkeep = 0\n",
        "detector.needed": f"windows = 240\nkeep = {min(value, 1)}\n",
        "detector.keep": "windows = 240\nneeded = 240\n",
    }.get(key, "")
    hop = "[listen]\nhop_s = 0.1\n" if key == "detector.clear_s" else ""
    return f"{hop}[{section}]\n{others}{name} = {value}\n"


@pytest.mark.parametrize("key", LIMITS)
def test_the_limits_are_allowed_and_what_lies_beyond_is_named(key):
    section, name = key.split(".")
    whole = type(DEFAULTS[section][name]) is int
    for limit, beyond in zip(LIMITS[key], (-1, 1), strict=True):
        config = Config.from_toml(said(key, limit), "my.toml")
        assert getattr(getattr(config, section), name) == limit
        outside = limit + beyond * (1 if whole else 0.001)
        with pytest.raises(ConfigError, match=rf"{key} = .* must lie between"):
            Config.from_toml(said(key, outside), "my.toml")


@pytest.mark.parametrize("name", ["hw:1,0", "plughw:0", "HW:1", "sysdefault:CARD=1", "front:0"])
def test_numbers_of_cards_are_refused_and_names_with_them_are_not(name):
    with pytest.raises(ConfigError, match="may change at every boot"):
        Config.from_toml(f'[audio]\ndevice = "{name}"', "my.toml")
    named = Config.from_toml(f'[audio]\ndevice = "USB Mic ({name})"', "my.toml")
    assert named.audio.device == f"USB Mic ({name})"


@pytest.mark.parametrize("usb_id", ["0d8c:0014", "abcd:0014", "FEED:1234"])
def test_a_usb_id_is_no_number_of_a_card(usb_id):
    assert Config.from_toml(f'[audio]\ndevice = "{usb_id}"', "x").audio.device == usb_id


@pytest.mark.parametrize(
    ("windows", "needed", "keep", "right"),
    [(8, 5, 3, True), (5, 5, 5, True), (4, 5, 3, False), (8, 5, 6, False), (1, 1, 0, True)],
)
def test_how_many_windows_the_detector_asks_for(windows, needed, keep, right):
    text = f"[detector]\nwindows = {windows}\nneeded = {needed}\nkeep = {keep}\n"
    if right:
        assert Config.from_toml(text, "my.toml").detector.needed == needed
    else:
        with pytest.raises(ConfigError, match="must hold"):
            Config.from_toml(text, "my.toml")


def test_a_rate_beyond_what_can_be_resampled_is_refused():
    with pytest.raises(ConfigError, match="8000 and 192000"):
        Config.from_toml("[audio]\nrates = [200000]", "x")


@pytest.mark.parametrize("key", sorted(ABSOLUTE_PATHS))
@pytest.mark.parametrize("path", ["records", "./a", "~/a", "../a", "~knock/a", " /a"])
def test_a_path_that_means_another_place_under_systemd_is_refused(key, path):
    section, name = key.split(".")
    words = f"my.toml: {key} = '{path}' must be an absolute path, from /; ~"
    with pytest.raises(ConfigError, match=re.escape(words)):
        Config.from_toml(f'[{section}]\n{name} = "{path}"\n', "my.toml")
    for right in ("", "/a"):
        config = Config.from_toml(f'[{section}]\n{name} = "{right}"\n', "my.toml")
        assert getattr(getattr(config, section), name) == right


def test_every_path_in_the_settings_must_be_a_full_one():
    """A text that is no path is named here, so that a new one is thought of."""
    others = {"audio.device", "listen.runtime"}
    texts = {f"{s}.{k}" for s, told in DEFAULTS.items() for k, v in told.items() if type(v) is str}
    assert texts - others == ABSOLUTE_PATHS


@pytest.mark.parametrize(("hop_s", "clear_s"), [(2, 5), (0.2, 0.55)])
def test_windows_nearly_three_times_apart_are_refused(hop_s, clear_s):
    with pytest.raises(ConfigError, match="three times"):
        Config.from_toml(f"[listen]\nhop_s = {hop_s}\n[detector]\nclear_s = {clear_s}\n", "x")


def test_pin_0_is_a_pin():
    with pytest.raises(ConfigError, match="pin twice"):
        Config.from_toml("[indicator]\nled_pin = 0\nknock_pin = 0\n", "x")


def test_nothing_that_is_allowed_makes_it_deaf():
    assert LIMITS["gate.silence_db"][1] <= -30  # as quiet as pauses between strokes, in dBFS rms
    assert LIMITS["detector.refractory_s"][1] <= 600
    assert LIMITS["detector.windows"][1] <= 240


@pytest.mark.parametrize("key", [k.partition(".")[2] for k in LIMITS if k.startswith("gate.")])
def test_a_gate_as_strict_as_is_allowed_lets_an_engine_through(key, tmp_path):
    write_demo(tmp_path)
    y = Recording(tmp_path / "healthy.wav").read()[: 2 * SR]
    y *= np.float32(0.15 / np.sqrt(Gate(sr=SR).power_in_band(y).sum()))  # a level that is good
    for value in LIMITS[f"gate.{key}"]:
        config = Config.from_toml(f"[gate]\n{key} = {value}\n", "x")
        assert Gate(config.gate, sr=SR).check(y) is None, value


def test_a_likeness_that_real_engines_have_is_no_limit_but_0_is_none():
    assert Config.from_toml("[gate]\nrepetition = 0\n", "x").gate.repetition == 0
    with pytest.raises(ConfigError, match=r"between 0.98 and 1, or be 0"):
        Config.from_toml("[gate]\nrepetition = 0.9\n", "x")


def test_limits_that_other_parts_rely_on():
    assert LIMITS["audio.stall_s"][1] + LIMITS["listen.hop_s"][1] <= STALE_S
    assert LIMITS["listen.hop_s"][1] / SLOWEST < STALE_S  # a slow replay is no fault, either
    record = BlackBox._max_bytes(round(LIMITS["blackbox.seconds"][1] * SR))
    assert LIMITS["blackbox.max_mb"][0] * 1e6 >= record
