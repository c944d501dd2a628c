"""``edge doctor``: what it finds, and that nothing ends its report."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

from edge.config import Config
from edge.doctor import _lamp, _model, _space
from edge.model import ModelFile, default_model, write_model


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
    monkeypatch.setattr("edge.doctor.flash", lambda pin, **_: "busy" if pin == 22 else "")
    finding = _lamp(Config.from_toml(text, "my.toml"))
    assert finding.level == "fail"
    assert finding.detail == "GPIO 22: busy"


def test_a_folder_closed_to_whoever_asks_ends_no_report(tmp_path, monkeypatch):
    closed = tmp_path / "closed" / "records"
    exists = Path.exists

    def refused(path):
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return exists(path)

    monkeypatch.setattr(Path, "exists", refused)
    text = f'[blackbox]\ndirectory = "{closed}"\n'
    assert str(tmp_path) in _space(Config.from_toml(text, "my.toml")).detail


def test_the_space_is_that_where_the_records_go(tmp_path, monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setattr("edge.doctor.INSTALLED_STATE", tmp_path)
    assert str(tmp_path) in _space(Config()).detail
    own = tmp_path / "own"
    own.mkdir()
    text = f'[blackbox]\ndirectory = "{own}"\n'
    assert _space(Config.from_toml(text, "my.toml")).detail.endswith(str(own))


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
