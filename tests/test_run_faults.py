"""``edge run`` with something wrong: what the lamp, the log and systemd are told."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest

from edge import installed, run_command
from edge.config import Config, read_indicator_config
from edge.errors import ConfigError
from edge.model import ModelFile, default_model, write_model
from edge.packages import pip_install
from tests.audio import noise, wav_file
from tests.run_program import arguments, edge, status
from tests.wait import wait_for

SR = 22_050


@pytest.fixture(autouse=True)
def the_log_is_pytests(monkeypatch):
    monkeypatch.setattr("edge.run_command.set_up_logging", lambda **_: None)


@pytest.mark.parametrize(
    ("text", "pin"),
    [
        ("[indicator]\nled_pin = 5\n[audoi]\n", 5),
        ("[listen]\nhop_s = 99\n", 17),
        ("[indcator]\nled_pin = 5\n", None),
        ("[indicator]\nled_pin = 99\n", None),
        ("indicator = 3\n", None),
        ("[indicator\n", None),
        ("a = " + 5000 * "[", None),
        ("a = " + 5000 * "1", None),
    ],
)
def test_the_lamp_of_broken_settings(tmp_path, text, pin):
    (tmp_path / "a.toml").write_text(text)
    with pytest.raises(ConfigError):
        Config.read(tmp_path / "a.toml")
    lamp = read_indicator_config(tmp_path / "a.toml")
    assert (lamp.led_pin if lamp else None) == pin


@pytest.mark.parametrize(
    ("error", "waits"),
    [(RuntimeError("bug"), True), (ConfigError("no"), True), (SystemExit(0), False)],
)
def test_a_start_that_fails_waits_whatever_the_error(tmp_path, monkeypatch, error, waits):
    """systemd restarts it after 0.1 s, for ever; each start costs a lamp test and card wear."""
    told = []

    def fails(*_, **__):
        raise error

    def shows(indicator, *, wait):
        indicator.close()
        told.append(wait)

    monkeypatch.setattr("edge.assembly.build", fails)
    monkeypatch.setattr("edge.run_command._show_fault", shows)
    monkeypatch.setattr("edge.run_command.signal.signal", lambda *_: None)
    with pytest.raises(type(error)):
        run_command._run(arguments(tmp_path))
    assert told == [waits]


@pytest.mark.parametrize(("name", "ends"), [("SIGTERM", True), ("SIGHUP", False)])
def test_broken_settings_are_told_of_and_a_signal_answered(tmp_path, name, ends):
    """Under systemd the lamp shows the fault for a while, and only then the program ends."""
    (tmp_path / "a.toml").write_text("[indicator]\nled_pin = 5\n[listen]\nhop_s = 99\n")
    environment = {**os.environ, "NOTIFY_SOCKET": str(tmp_path / "none")}
    process = edge("run", "--config", tmp_path / "a.toml", env=environment, cwd=tmp_path)
    # It has come as far as the lamp, which is missing here.
    assert "GPIO 5" in process.stderr.readline()
    process.send_signal(getattr(signal, name))
    if ends:
        assert process.wait(timeout=8) == 0
    else:
        time.sleep(0.5)
        assert process.poll() is None
        process.kill()
    process.communicate(timeout=10)


def test_a_garbage_model_ends_with_its_own_code(tmp_path):
    (tmp_path / "m.tflite").write_bytes(b"garbage")
    (tmp_path / "a.toml").write_text(f'[listen]\nmodel = "{tmp_path}/m.tflite"\n')
    process = edge("run", "--config", tmp_path / "a.toml")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "m.tflite" in errors


@pytest.mark.parametrize("runtime", ["tflite-runtime", "ai-edge-litert"])
def test_a_runtime_that_is_not_there_is_refused_before_the_start_as_at_it(tmp_path, runtime):
    """install.sh relies on this check before it replaces a running service."""
    (tmp_path / f"{runtime.replace('-', '_')}.py").write_text("raise ImportError('not here')\n")
    (tmp_path / "a.toml").write_text(f'[listen]\nruntime = "{runtime}"\n')
    wav = wav_file(tmp_path / "a.wav", noise(3).astype("f8"), SR)
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    said = []
    for option in (["--check-config"], ["--source", wav, "--state", tmp_path / "state"]):
        process = edge(
            *("run", "--config", tmp_path / "a.toml", *option),
            env={**os.environ, "PYTHONPATH": path},
        )
        output, errors = process.communicate(timeout=60)
        assert (process.returncode, output) == (6, "")
        said.append(errors.splitlines()[-1])
    assert said[0] == said[1]
    assert f"not here: {pip_install('ai-edge-litert')}" in said[0]


def test_a_runtime_that_computes_wrongly_does_not_listen(tmp_path):
    shipped = ModelFile.read(default_model())
    golden = dict(shipped.manifest.golden)
    golden["p_knocking"] = 1 - golden["p_knocking"]
    changed = dataclasses.replace(shipped.manifest, golden=golden)
    write_model(tmp_path / "a.tflite", shipped.network, changed)
    wav = wav_file(tmp_path / "a.wav", noise(3).astype("f8"), SR)
    environment = {**os.environ, "KNOCKKNOCK_MODEL": str(tmp_path / "a.tflite")}
    process = edge("run", "--source", wav, "--state", tmp_path / "state", env=environment)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 4
    assert "this runtime computes wrongly: choose another by listen.runtime" in errors
    assert "Traceback" not in errors


def test_what_fails_while_it_listens_shows_on_the_lamp_and_waits(tmp_path, monkeypatch):
    shown: list[object] = []

    class Failing:
        stopped = False

        def run(self, on_sighup):
            raise RuntimeError("bug")

    monkeypatch.setattr("edge.assembly.build", lambda *_, **__: Failing())
    monkeypatch.setattr("edge.run_command.signal.signal", lambda *_: None)
    monkeypatch.setattr("edge.run_command.FAULT_SECONDS", 0.7)
    monkeypatch.setattr(
        "edge.indicator.Indicator.show", lambda self, signal: shown.append(str(signal))
    )
    monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")
    began = time.monotonic()
    with pytest.raises(RuntimeError, match="bug"):
        run_command._run(arguments(tmp_path))
    assert shown == ["fault"]
    assert time.monotonic() - began >= 0.7


def test_settings_that_vanish_do_not_become_the_defaults(tmp_path):
    """An editor may delete and rewrite the file; a reload in between must change nothing."""
    settings = tmp_path / "a.toml"
    settings.write_text("[listen]\nthreshold = 0.3\n")
    wav = wav_file(tmp_path / "a.wav", noise(60).astype("f8"), SR)
    process = edge("run", "--config", settings, "--source", wav, "--state", tmp_path / "state")
    try:
        wait_for((tmp_path / "state" / "status.json").exists)
        settings.unlink()
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: any("a.toml" in p for p in status(tmp_path / "state")["problems"]))
    finally:
        process.terminate()
        _, errors = process.communicate(timeout=10)
    assert "settings not reloaded, the old ones stay in force" in errors


def test_the_installed_settings_are_the_same_file_at_every_reload(tmp_path, monkeypatch):
    there = tmp_path / "edge.toml"
    there.write_text("[listen]\nthreshold = 0.3\n[indicator]\nled_pin = -1\n")
    monkeypatch.setattr("edge.installed.DEFAULT_PATH", there)
    reloads = []

    def build(config, *_, settings, **__):
        there.unlink()
        with pytest.raises(ConfigError, match=r"edge\.toml"):
            installed.load_config(settings)
        reloads.append(config.listen.threshold)
        raise SystemExit(0)

    monkeypatch.setattr("edge.assembly.build", build)
    monkeypatch.setattr("edge.run_command.signal.signal", lambda *_: None)
    told = arguments(tmp_path)
    told.config = None
    with pytest.raises(SystemExit):
        run_command._run(told)
    assert reloads == [0.3]


ABORTED = """
import os, signal, sys
import edge.assembly
from edge.quiet import quiet_stderr

def hangs(*_):
    with quiet_stderr():  # as while a runtime loads the network
        os.kill(os.getpid(), signal.SIGABRT)

edge.assembly.load_network = hangs
from edge.cli import main
main(["run", "--source", sys.argv[1]])
"""


def test_where_it_hung_is_said_though_standard_error_is_quiet_meanwhile(tmp_path):
    path = wav_file(tmp_path / "a.wav", noise(2).astype("f8"), SR)
    command = [sys.executable, "-c", ABORTED, str(path)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, cwd=tmp_path, timeout=60
    )
    assert done.returncode == -signal.SIGABRT
    assert "hangs" in done.stderr


def test_broken_settings_in_the_installed_file_show_on_the_lamp_that_they_name(
    tmp_path, monkeypatch
):
    shown = []

    class Lamp:
        def __init__(self, config):
            shown.append(config.led_pin)

        def show(self, signal):
            shown.append(str(signal))

        def close(self):
            shown.append("closed")

    (tmp_path / "edge.toml").write_text("[indicator]\nled_pin = 5\n[listen]\nhop_s = 99\n")
    monkeypatch.setattr("edge.installed.DEFAULT_PATH", tmp_path / "edge.toml")
    monkeypatch.setattr("edge.run_command.DEFAULT_PATH", tmp_path / "edge.toml")
    monkeypatch.setattr("edge.run_command.Indicator", Lamp)
    monkeypatch.setattr("edge.run_command.signal.signal", lambda *_: None)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    told = arguments(tmp_path)
    told.config = None
    with pytest.raises(ConfigError, match="hop_s"):
        run_command._run(told)
    assert shown == [5, "fault", "closed"]
