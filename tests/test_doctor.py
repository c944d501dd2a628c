"""``edge doctor``: what it finds, and that no fault ends its report early."""

import argparse
import dataclasses
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge import doctor
from edge.config import Config
from edge.doctor import _board, _lamp, _model, _space, _speed
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
    monkeypatch.setattr("edge.doctor.STATE_DIRECTORY", tmp_path)
    monkeypatch.setattr("edge.doctor.volatile_warning", lambda _: "")  # whatever disk it runs on
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


def test_a_folder_full_or_closed_is_a_warning(tmp_path, monkeypatch):
    config = Config.from_toml(f'[blackbox]\ndirectory = "{tmp_path}"\n', "my.toml")
    monkeypatch.setattr("edge.doctor.volatile_warning", lambda _: "")  # whatever disk it runs on
    free = [10**9]
    monkeypatch.setattr(
        "edge.doctor.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**10, 0, free[0])
    )
    assert _space(config).level == "ok"
    free[0] = 10**8
    assert _space(config).level == "warn"
    free[0] = 10**9
    monkeypatch.setattr("edge.doctor.os.access", lambda *_: False)
    assert _space(config).level == "warn"


def test_a_folder_of_the_services_own_is_closed_to_others_and_well(tmp_path, monkeypatch):
    """Such as a USB stick given to the service, when another user runs the doctor."""
    config = Config.from_toml(f'[blackbox]\ndirectory = "{tmp_path}"\n', "my.toml")
    monkeypatch.setattr("edge.doctor.volatile_warning", lambda _: "")
    monkeypatch.setattr("edge.doctor.os.access", lambda *_: False)
    monkeypatch.setattr("edge.doctor.ACCOUNT", "nobody-of-that-name")
    finding = _space(config)
    assert finding.level == "warn"
    assert finding.remedy.endswith("name another folder in blackbox.directory")
    monkeypatch.setattr("edge.doctor.ACCOUNT", pwd.getpwuid(os.getuid()).pw_name)
    assert _space(config).level == "ok"


def test_what_root_may_write_is_not_what_the_service_may(tmp_path, monkeypatch):
    config = Config.from_toml(f'[blackbox]\ndirectory = "{tmp_path}"\n', "my.toml")
    monkeypatch.setattr("edge.doctor.volatile_warning", lambda _: "")
    monkeypatch.setattr("edge.doctor.os.geteuid", lambda: 0)
    monkeypatch.setattr("edge.doctor.os.access", lambda *_: True)
    monkeypatch.setattr("edge.doctor.ACCOUNT", "nobody-of-that-name")
    assert _space(config).level == "ok"  # a workstation: no such account, root writes
    monkeypatch.chdir(tmp_path)
    assert _space(Config()).detail.endswith(f"at {tmp_path}")
    owner = tmp_path.stat().st_uid
    other = next(account for account in pwd.getpwall() if account.pw_uid != owner)
    monkeypatch.setattr("edge.doctor.ACCOUNT", other.pw_name)
    finding = _space(config)
    assert (finding.level, finding.detail) == ("warn", f"{tmp_path} is not writable by the service")
    assert "chown" in finding.remedy
    monkeypatch.setattr("edge.doctor.os.geteuid", lambda: 1000)
    assert _space(config).level == "ok"
    monkeypatch.setattr("edge.doctor.os.geteuid", lambda: 0)
    monkeypatch.setattr("edge.doctor.ACCOUNT", pwd.getpwuid(owner).pw_name)
    assert _space(config).level == "ok"
    monkeypatch.setattr("edge.doctor.ACCOUNT", other.pw_name)
    monkeypatch.setattr("edge.doctor.STATE_DIRECTORY", tmp_path)
    assert _space(Config()).detail == f"{tmp_path} is not writable by the service"
    monkeypatch.setattr("edge.doctor.ACCOUNT", pwd.getpwuid(owner).pw_name)
    assert _space(Config()).level == "ok"
    (tmp_path / "records").mkdir()
    assert _space(Config()).detail.endswith(f"at {tmp_path}/records")
    monkeypatch.setattr("edge.doctor.os.statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    monkeypatch.setattr("edge.doctor.shutil.disk_usage", lambda _: SimpleNamespace(free=1e9))
    assert _space(Config()).detail == f"{tmp_path}/records is not writable by the service"


@pytest.mark.parametrize(
    ("mode", "read_only", "grouped", "level"),
    [
        (0o707, False, False, "ok"),  # a USB stick mounted with umask=000
        (0o702, False, False, "warn"),  # no file can be made in a folder that cannot be entered
        (0o730, False, True, "ok"),
        (0o730, False, False, "warn"),
        (0o707, True, False, "warn"),  # as the kernel remounts a stick after an error
    ],
)
def test_root_is_told_what_is_open_to_the_service(mode, read_only, grouped, level, monkeypatch):
    monkeypatch.setattr("edge.doctor.volatile_warning", lambda _: "")
    monkeypatch.setattr("edge.doctor.os.geteuid", lambda: 0)
    flags = os.ST_RDONLY if read_only else 0
    there = SimpleNamespace(f_flag=flags, f_frsize=1, f_blocks=1e9, f_bfree=1e9, f_bavail=1e9)
    monkeypatch.setattr("edge.doctor.os.statvfs", lambda _: there)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder)
        other = next(a for a in pwd.getpwall() if a.pw_uid not in (0, path.stat().st_uid))
        monkeypatch.setattr("edge.doctor.ACCOUNT", other.pw_name)
        group = path.stat().st_gid if grouped else path.stat().st_gid + 1
        monkeypatch.setattr("edge.doctor.os.getgrouplist", lambda *_: [group])
        config = Config.from_toml(f'[blackbox]\ndirectory = "{path}"\n', "my.toml")
        path.chmod(mode)
        assert _space(config).level == level
        path.chmod(0o700)
        inner = path / "inner"
        inner.mkdir()
        inner.chmod(0o777)
        config = Config.from_toml(f'[blackbox]\ndirectory = "{inner}"\n', "my.toml")
        assert _space(config).level == "warn"  # its parent folder is closed


GONE = """
import os
from edge.config import Config
from edge.doctor import _space
from edge.installed import volatile_warning, records_folder
os.rmdir(os.getcwd())
print(_space(Config()).check)
print([volatile_warning(records_folder(Config(), None))])
"""


def test_a_working_folder_that_is_deleted_ends_no_report(tmp_path):
    (tmp_path / "gone").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("STATE_DIRECTORY", None)
    done = subprocess.run(
        [sys.executable, "-c", GONE],
        cwd=tmp_path / "gone",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("space\n['']\n", "")


def test_findings_are_all_that_is_said(tmp_path):
    """Without the service's log messages: the doctor neither retries nor logs."""
    (tmp_path / "a.toml").write_text('[audio]\ndevice = "no such microphone"\n')
    environment = {**os.environ, "GPIOZERO_PIN_FACTORY": "native"}
    process = edge("doctor", "--config", tmp_path / "a.toml", env=environment)
    out, errors = process.communicate(timeout=60)
    assert "fail" in out
    assert errors == ""


@pytest.mark.parametrize(("ms", "level"), [(100, "ok"), (200, "warn")])
def test_a_board_too_slow_is_a_warning(monkeypatch, ms, level):
    monkeypatch.setattr("edge.doctor._median_ms", lambda _: ms)
    told: Any = Told(0.1)
    told.runtime = "ai-edge-litert 2.1.0"
    assert _speed(FrontEnd(), told, noise(2), Config()).level == level


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


def test_records_in_memory_are_a_warning(tmp_path, monkeypatch):
    config = Config.from_toml(f'[blackbox]\ndirectory = "{tmp_path}"\n', "my.toml")
    monkeypatch.setattr("edge.doctor.volatile_warning", lambda folder: f"{folder}: in memory")
    finding = _space(config)
    assert (finding.level, finding.detail) == ("warn", f"{tmp_path}: in memory")
    assert "overlayroot=tmpfs:recurse=0" in finding.remedy


def test_a_working_directory_that_is_closed_is_named(monkeypatch):
    """The parent of "." is itself."""
    monkeypatch.setattr("edge.doctor._is_visible", lambda _: False)
    finding = _space(Config())
    assert finding.level == "warn"
    assert finding.detail == "access to the working directory is denied"
