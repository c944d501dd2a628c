"""``edge doctor``: what it finds, and that no fault ends its report early."""

import argparse
import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from edge import doctor
from edge.config import Config
from edge.doctor import _board, _lamp, _model, _speed
from edge.finding import Finding, jack_lock_hint, join_remedies
from edge.frontend import FrontEnd
from edge.model import ModelFile, default_model, write_model
from edge.packages import pip_install
from tests.audio import noise
from tests.test_pipeline import Told

ROOT = Path(__file__).resolve().parents[1]


def edge(*arguments, **kwargs):
    command = [sys.executable, "-m", "edge", *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs
    )


def test_nobody_elses_modules_are_run_where_it_is_started(tmp_path):
    (tmp_path / "queue.py").write_text("raise SystemExit('hijacked')")
    for command in (["devices"], ["doctor"]):
        process = subprocess.Popen(
            [Path(sys.executable).with_name("edge"), *command],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said, _ = process.communicate(timeout=60)
        assert said
        assert "hijacked" not in said


def test_doctor_names_what_is_missing_and_fails(tmp_path):
    (tmp_path / "a.toml").write_text('[audio]\ndevice = "no such microphone"\n')
    environment = {**os.environ, "GPIOZERO_PIN_FACTORY": "native"}
    process = edge("doctor", "--config", tmp_path / "a.toml", env=environment)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in errors
    lines = {line.split()[1]: line for line in out.splitlines() if not line.startswith(" ")}
    assert lines["model"].startswith("ok")
    assert lines["microphone"].startswith("fail")
    assert lines["lamp"].startswith("fail")


def test_only_what_can_be_there_is_named_as_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.finding.UNIT", tmp_path / "edge.service")
    monkeypatch.setattr("edge.doctor.flash", lambda *_, **__: "No module named 'gpiozero'")
    assert "systemctl stop" not in _lamp(Config()).remedy
    (tmp_path / "edge.service").touch()
    assert "systemctl stop" in _lamp(Config()).remedy
    assert join_remedies("one", jack_lock_hint(tmp_path), "two") == "one; two"
    lock = tmp_path / f"jack_db-{os.getuid()}"
    lock.mkdir()
    assert f"rm -r {lock}" in jack_lock_hint(tmp_path)


def test_a_lamp_that_is_not_set_is_not_said_to_be_lit():
    finding = _lamp(Config.from_toml("[indicator]\nled_pin = -1\n", "my.toml"))
    assert finding.level == "warn"
    assert "led_pin" in finding.remedy


def test_every_pin_that_is_set_is_tried(monkeypatch):
    tried = []

    def flash(pin, **_):
        tried.append(pin)
        return ""

    monkeypatch.setattr("edge.doctor.flash", flash)
    text = "[indicator]\nled_pin = -1\nknock_pin = 18\nbuzzer_pin = 22\n"
    finding = _lamp(Config.from_toml(text, "my.toml"))
    assert finding.level == "ok"
    assert tried == [18, 22]
    assert "18 and 22" in finding.detail
    busy = "no lamp on GPIO 22: busy"  # the wording of flash()
    monkeypatch.setattr("edge.doctor.flash", lambda pin, **_: busy if pin == 22 else "")
    finding = _lamp(Config.from_toml(text, "my.toml"))
    assert finding.level == "fail"
    assert finding.detail == busy


def test_a_model_without_a_golden_answer_is_a_finding(tmp_path):
    model = ModelFile.read(default_model())
    write_model(
        tmp_path / "m.tflite", model.network, dataclasses.replace(model.manifest, golden={})
    )
    text = f'[listen]\nmodel = "{tmp_path}/m.tflite"\n'
    (finding,) = _model(Config.from_toml(text, "my.toml"))
    assert finding.level == "fail"
    assert "no golden answer" in finding.detail


def test_a_threshold_that_the_service_refuses_is_no_ok():
    finding, *_ = _model(Config.from_toml("[listen]\nthreshold = 0.998\n", "my.toml"))
    assert finding.level == "fail"
    assert "never reached" in finding.detail


@pytest.mark.parametrize(("level", "code"), [("ok", 0), ("fail", 1)])
def test_a_tap_test_that_fails_is_a_failure(monkeypatch, level, code):
    monkeypatch.setattr(doctor, "load_config", lambda _: Config())
    monkeypatch.setattr("edge.sound_check.tap_test", lambda _: Finding(level, "tap test", ""))
    assert doctor.run(argparse.Namespace(config=None, tap_test=True)) == code


def test_without_a_watchdog_it_is_a_warning(monkeypatch):
    for there, level in ((True, "ok"), (False, "warn")):
        monkeypatch.setattr("edge.doctor.Path.exists", lambda _, there=there: there)
        assert doctor._watchdog().level == level


def test_a_runtime_that_computes_wrongly_fails(tmp_path):
    model = ModelFile.read(default_model())
    golden = dict(model.manifest.golden)
    golden["p_knocking"] = golden["p_knocking"] + (0.3 if golden["p_knocking"] < 0.5 else -0.3)
    write_model(
        tmp_path / "m.tflite", model.network, dataclasses.replace(model.manifest, golden=golden)
    )
    first, _ = _model(Config.from_toml(f'[listen]\nmodel = "{tmp_path}/m.tflite"\n', "my.toml"))
    assert first.level == "fail"


def test_no_model_is_a_finding(tmp_path):
    (finding,) = _model(Config.from_toml(f'[listen]\nmodel = "{tmp_path}/m.tflite"\n', "my.toml"))
    assert finding.level == "fail"


@pytest.mark.parametrize(
    ("temperature", "low", "throttled", "level"),
    [
        (40, False, False, "ok"),
        (None, None, None, "ok"),
        (40, True, False, "warn"),
        (80, False, False, "warn"),
        (40, False, True, "warn"),
        (None, None, True, "warn"),
    ],
)
def test_a_board_that_suffers_is_a_warning(monkeypatch, temperature, low, throttled, level):
    monkeypatch.setattr("edge.health.temperature_c", lambda: temperature)
    monkeypatch.setattr("edge.health.under_voltage", lambda: low)
    monkeypatch.setattr("edge.health.throttled", lambda: throttled)
    finding = _board(Config())
    assert finding.level == level
    assert ("throttled" in finding.detail) == bool(throttled)


def test_findings_are_all_that_is_said(tmp_path):
    """Without the service's log messages: the doctor neither retries nor logs."""
    (tmp_path / "a.toml").write_text('[audio]\ndevice = "no such microphone"\n')
    environment = {**os.environ, "GPIOZERO_PIN_FACTORY": "native"}
    process = edge("doctor", "--config", tmp_path / "a.toml", env=environment)
    out, errors = process.communicate(timeout=60)
    assert "fail" in out
    assert errors == ""


@pytest.mark.parametrize(("ms", "level"), [(80, "ok"), (100, "warn")])
def test_a_board_too_slow_is_a_warning(monkeypatch, ms, level):
    monkeypatch.setattr("edge.doctor._median_ms", lambda _: ms)
    told: Any = Told(0.1)
    told.runtime = "ai-edge-litert 2.1.0"
    assert _speed(FrontEnd(), told, noise(2), Config()).level == level


def test_all_that_is_done_for_a_window_counts(monkeypatch):
    """The spectrogram is part of the picture, so three times 50 ms are 30 % of 0.5 s."""
    monkeypatch.setattr("edge.doctor._median_ms", lambda _: 50)
    told: Any = Told(0.1)
    told.runtime = "ai-edge-litert 2.1.0"
    detail = _speed(FrontEnd(), told, noise(2), Config()).detail
    assert detail.startswith("gate 50 ms, spectrogram 50 ms, with its picture 50 ms, network 50 ms")
    assert "; 30% of the time" in detail


@pytest.mark.parametrize("runtime", ["ai-edge-litert 2.1.0", "tflite-runtime 2.14.0"])
@pytest.mark.parametrize("threads", [0, 1])
def test_what_makes_a_slow_board_faster_is_named_where_it_is_not_done_yet(
    monkeypatch, runtime, threads
):
    monkeypatch.setattr("edge.doctor._median_ms", lambda _: 900)
    monkeypatch.setattr("edge.doctor.default_threads", lambda: 3)
    told: Any = Told(0.1)
    told.runtime = runtime
    config = Config.from_toml(f"[listen]\nthreads = {threads}\n", "my.toml")
    remedy = _speed(FrontEnd(), told, noise(2), config).remedy
    assert "listen.hop_s" in remedy
    assert ("listen.threads = 0" in remedy) == (threads == 1)
    assert (pip_install("ai-edge-litert") in remedy) == runtime.startswith("tflite")
