"""``edge run`` passes on the settings, the model and what systemd says."""

import argparse
import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edge import assembly, doctor, installed, run_command
from edge.config import Config
from edge.indicator import Signal
from edge.model import ModelFile, default_model
from edge.replay import Replay
from edge.status import Counters
from tests.audio import noise, wav_file
from tests.run_program import arguments

SR = 22_050


class Mic:
    def __init__(self, config, sr, *, process):
        self.sr, self.process = sr, process


@pytest.mark.parametrize("speed", [1.0, math.inf])
@pytest.mark.parametrize(("recorded", "capture"), [(True, None), (False, None), (False, object())])
def test_the_service_is_built_from_what_the_model_says(
    tmp_path, monkeypatch, speed, recorded, capture
):
    built: dict[str, Any] = {}

    def service(config, source, pipeline, **how):
        built.update(source=source, pipeline=pipeline, **how)
        how["blackbox"].close()

    monkeypatch.setattr(assembly, "Service", service)
    monkeypatch.setattr(assembly, "Microphone", Mic)
    wav = wav_file(tmp_path / "a.wav", noise(3).astype("f8"), 22_050)
    source = wav if recorded else None
    assembly.build(
        Config(),
        None,  # type: ignore[arg-type]
        capture,
        settings=None,
        source=source,
        speed=speed,
        state=tmp_path,
    )
    assert built["pipeline"].threshold == ModelFile.read(default_model()).manifest.threshold
    assert built["skip_when_behind"] == (speed < math.inf)
    assert built["source"].sr == 22_050
    assert type(built["source"]) is (Replay if recorded else Mic)
    assert getattr(built["source"], "process", None) is capture


@pytest.mark.parametrize("service", [True, False])
def test_the_service_says_once_that_its_records_are_in_memory(
    tmp_path, monkeypatch, caplog, service
):
    monkeypatch.setattr(assembly, "volatile_warning", lambda folder: f"{folder}: in memory")
    monkeypatch.setattr(assembly, "Service", lambda *_, blackbox, **__: blackbox.close())
    monkeypatch.setattr(assembly, "Microphone", Mic)
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    if service:
        monkeypatch.setenv("STATE_DIRECTORY", str(tmp_path))
    assembly.build(
        Config(),
        None,  # type: ignore[arg-type]
        None,
        settings=None,
        source=None,
        speed=1.0,
        state=None if service else tmp_path,
    )
    told = [line for line in caplog.messages if f"{tmp_path}/records: in memory; " in line]
    assert len(told) == service


@pytest.fixture
def listen(monkeypatch):
    """``edge run`` in this process, without a lamp, signal handlers or logging set up."""
    dark = Config.from_toml("[indicator]\nled_pin = -1\n", "x")
    monkeypatch.setattr(run_command, "load_config", lambda _: dark)
    monkeypatch.setattr(run_command, "set_up_logging", lambda **_: None)
    monkeypatch.setattr("edge.run_command.signal.signal", lambda *_: None)
    told = argparse.Namespace(
        source=None, speed=1, config=None, check_config=False, verbose=False, state=None
    )
    return lambda: run_command._run(told)


def test_a_start_that_failed_is_a_fault_on_the_lamp():
    shown = []

    class Lamp:
        def show(self, signal):
            shown.append(signal)

        def close(self):
            shown.append("closed")

    run_command._show_fault(Lamp(), wait=True)  # type: ignore[arg-type]
    assert shown == [Signal.FAULT, "closed"]
    shown.clear()
    run_command._show_fault(Lamp(), wait=False)  # type: ignore[arg-type]
    assert shown == ["closed"]  # it was told to end, it did not fail


def test_a_lamp_that_cannot_even_be_made_waits_as_every_crash_does(monkeypatch, listen):
    waited = []

    def fails(*_):
        raise RuntimeError("bug")

    monkeypatch.setattr(run_command, "Indicator", fails)
    monkeypatch.setattr(run_command, "start_capture", lambda _: None)
    monkeypatch.setattr(
        run_command, "_show_fault", lambda lamp, *, wait: waited.append((lamp, wait))
    )
    with pytest.raises(RuntimeError):
        listen()
    assert waited == [(None, True)]


def test_no_room_for_another_process_is_the_microphone_s_trouble(monkeypatch, listen):
    """The microphone retries by itself, for ever, and the lamp shows it meanwhile."""
    built = []

    def refuse(_):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    def build(config, indicator, capture, **_):
        built.append((indicator is not None, capture))
        raise SystemExit(0)

    monkeypatch.setattr(run_command, "start_capture", refuse)
    monkeypatch.setattr(assembly, "build", build)
    with pytest.raises(SystemExit):
        listen()
    assert built == [(True, None)]


def test_the_microphone_is_opened_before_anything_that_computes_is_loaded():
    """In a child process, because the tests have loaded everything themselves."""
    program = (
        "import sys, edge.run_command as r\n"
        "def start(_):\n"
        "    print('numpy' in sys.modules, 'scipy' in sys.modules)\n"
        "    raise KeyboardInterrupt\n"
        "r.start_capture = start\n"
        "from edge.cli import main\n"
        "sys.exit(main(['run']))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("False False\n", 130), done.stderr


def test_a_start_that_fails_lets_go_of_the_microphone(monkeypatch, listen):
    killed = []

    class Started:
        def kill(self):
            killed.append(1)

        def wait(self, timeout_s):
            killed.append(2)

    def fails(*_, **__):
        raise RuntimeError("bug")

    monkeypatch.setattr(run_command, "start_capture", lambda _: Started())
    monkeypatch.setattr(assembly, "build", fails)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    with pytest.raises(RuntimeError):
        listen()
    assert killed == [1, 2]


def test_runtime_and_threads_are_those_that_are_set(monkeypatch):
    asked = []

    class AskedError(Exception):
        pass

    def classifier(model, **how):
        asked.append(how)
        raise AskedError

    monkeypatch.setattr(assembly, "Classifier", classifier)
    monkeypatch.setattr(doctor, "Classifier", classifier)
    config = Config.from_toml("[listen]\nruntime = 'tflite-runtime'\nthreads = 3\n", "x")
    with pytest.raises(AskedError):
        assembly.build(
            config,
            None,  # type: ignore[arg-type]
            None,
            settings=None,
            source=None,
            speed=1.0,
            state=None,
        )
    with pytest.raises(AskedError):
        list(doctor._model(config))
    assert asked == [{"runtime": "tflite-runtime", "threads": 3}] * 2


@pytest.mark.parametrize(("cores", "threads"), [(1, 1), (2, 1), (3, 2), (4, 3), (16, 3)])
def test_by_default_the_network_leaves_one_core_to_the_sound(monkeypatch, cores, threads):
    asked = []
    monkeypatch.setattr(assembly, "Classifier", lambda _, **how: asked.append(how))
    monkeypatch.setattr("edge.assembly.os.sched_getaffinity", lambda _: set(range(cores)))
    assembly.load_network(Config())
    assembly.load_network(Config.from_toml("[listen]\nthreads = 7\n", "x"))
    assert [how["threads"] for how in asked] == [threads, 7]


def test_records_and_status_go_where_systemd_says(monkeypatch):
    monkeypatch.setenv("STATE_DIRECTORY", "/var/lib/knockknock:/other")
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/knockknock:/other")
    assert installed.records_folder(Config(), None) == Path("/var/lib/knockknock/records")
    assert installed.status_file(Config(), None) == Path("/run/knockknock/status.json")
    monkeypatch.delenv("STATE_DIRECTORY")
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert installed.records_folder(Config(), None) == Path("knockknock/records")
    assert installed.status_file(Config(), None) is None


@pytest.mark.parametrize("lamp", [True, False])
@pytest.mark.parametrize("systemd", [True, False])
@pytest.mark.parametrize("wait", [True, False])
def test_under_systemd_a_failed_start_waits_with_a_lamp_or_without(
    monkeypatch, lamp, systemd, wait
):
    slept: list[float] = []
    monkeypatch.setattr("edge.run_command.time.sleep", slept.append)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    if systemd:
        monkeypatch.setenv("NOTIFY_SOCKET", "/nowhere")

    class Dark:
        def show(self, signal):
            pass

        def close(self):
            pass

    run_command._show_fault(Dark() if lamp else None, wait=wait)  # type: ignore[arg-type]
    assert slept == [run_command.FAULT_SECONDS] * (systemd and wait)


@pytest.fixture
def played(tmp_path, monkeypatch):
    """``edge run`` on a recording by a service that does nothing; what each part was told."""
    told: dict[str, Any] = {}

    class Lamp:
        def __init__(self, _config):
            told["lamp"] = "open"

        def close(self):
            told["lamp"] = "closed"

    def build(*_, **how):
        told.update(how)
        config = SimpleNamespace(n_samples=2 * SR, sr=SR)
        return SimpleNamespace(
            run=lambda _: None,
            stopped=False,
            counters=told.get("counters", Counters()),
            records_written=0,
            pipeline=SimpleNamespace(front_end=SimpleNamespace(config=config)),
        )

    monkeypatch.setattr(run_command, "Indicator", Lamp)
    monkeypatch.setattr(run_command, "set_up_logging", told.update)
    monkeypatch.setattr(assembly, "build", build)
    monkeypatch.setattr("edge.run_command.signal.signal", lambda *_: None)
    asked = arguments(tmp_path)
    return told, asked


@pytest.mark.parametrize("verbose", [True, False])
def test_what_the_command_line_says_is_passed_on_and_the_lamp_is_out_at_the_end(played, verbose):
    told, asked = played
    asked.verbose, asked.speed = verbose, 7.0
    assert run_command._run(asked) == 0
    assert (told["verbose"], told["limited"]) == (verbose, False)
    assert (told["speed"], told["lamp"]) == (7.0, "closed")
    assert (told["source"], told["state"]) == (asked.source, asked.state)


@pytest.mark.parametrize(("due", "words"), [(0, True), (3, False)])
def test_sound_unfit_to_judge_is_not_called_too_short(played, capsys, due, words):
    told, asked = played
    told["counters"] = Counters(due, 0, due, unknown_reasons={"silence": due} if due else {})
    assert run_command._run(asked) == 0
    assert ("nothing was judged" in capsys.readouterr().err) == words
