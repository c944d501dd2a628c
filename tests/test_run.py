"""``edge run`` and ``edge doctor`` as a user runs them: a process, its output, its exit code."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge import cli, installed, run_command
from edge.__main__ import BLAS_THREADS, main
from edge.config import Config
from edge.errors import ConfigError
from tests.audio import noise, wav_file
from tests.run_program import edge, status
from tests.wait import wait_for

SR = 22_050


def test_a_replay_through_the_whole_program(tmp_path):
    wav = wav_file(tmp_path / "a.wav", noise(20, 44_100).astype("f8"), 44_100)
    process = edge("run", "--source", wav, "--speed", "max", "--state", tmp_path / "state")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "windows: 37 due, 37 judged" in errors
    assert status(tmp_path / "state")["windows_judged"] == 37


def test_aborted_by_the_watchdog_it_says_where_it_hung(tmp_path):
    wav = wav_file(tmp_path / "a.wav", noise(60).astype("f8"), SR)
    process = edge("run", "--source", wav, "--state", tmp_path / "state")
    wait_for((tmp_path / "state" / "status.json").exists)
    process.send_signal(signal.SIGABRT)
    _, errors = process.communicate(timeout=10)
    assert "Fatal Python error: Aborted" in errors
    assert 'edge/service.py", line' in errors


def test_a_recording_without_one_whole_window_is_said_to_be(tmp_path):
    wav = wav_file(tmp_path / "a.wav", noise(1.5).astype("f8"), SR)
    process = edge("run", "--source", wav, "--speed", "max", "--state", tmp_path / "state")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert f"{wav}: no 2 s of sound in one piece: nothing was judged" in errors


def test_a_threshold_that_no_answer_reaches_is_refused_at_the_start_and_later(tmp_path):
    (tmp_path / "a.toml").write_text("[listen]\nthreshold = 0.998\n")
    wav = wav_file(tmp_path / "a.wav", noise(60).astype("f8"), SR)
    for option in (["--check-config"], ["--source", wav]):
        process = edge("run", "--config", tmp_path / "a.toml", *option)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 2
        assert "listen.threshold = 0.998 is never reached" in errors
    (tmp_path / "a.toml").write_text("[listen]\nthreshold = 0.99\n")
    process = edge(
        *("run", "--config", tmp_path / "a.toml", "--source", wav, "--state", tmp_path / "state")
    )
    try:
        wait_for((tmp_path / "state" / "status.json").exists)
        (tmp_path / "a.toml").write_text("[listen]\nthreshold = 0.998\n")
        process.send_signal(signal.SIGHUP)
        wait_for(lambda: any("never reached" in p for p in status(tmp_path / "state")["problems"]))
    finally:
        process.terminate()
        process.communicate(timeout=10)


def test_installed_settings_that_nobody_lets_us_look_at(monkeypatch):
    class Closed:
        def __str__(self):
            return "/etc/knockknock/edge.toml"

        def is_file(self):
            raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("edge.installed.DEFAULT_PATH", Closed())
    with pytest.raises(ConfigError, match=r"/etc/knockknock/edge.toml cannot be read: Permission"):
        installed.load_config(None)


def test_a_check_of_the_settings_makes_no_folder(tmp_path):
    """It would be root's, and the service could not write there."""
    process = edge("run", "--check-config", "--state", tmp_path / "state")
    process.communicate(timeout=60)
    assert (process.returncode, list(tmp_path.iterdir())) == (0, [])


def test_sigterm_ends_it_within_two_seconds(tmp_path):
    wav = wav_file(tmp_path / "a.wav", noise(60).astype("f8"), SR)
    process = edge("run", "--source", wav, "--state", tmp_path / "state")
    deadline = time.monotonic() + 20
    while not (tmp_path / "state" / "status.json").exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    _, errors = process.communicate(timeout=10)
    assert time.monotonic() - began < 2
    assert process.returncode == 130  # the recording was not played to its end
    assert f"{wav}: stopped at " in errors
    assert "nothing was judged" not in errors
    assert status(tmp_path / "state")["state"] == "stopped"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--config", "none.toml", "--check-config"], 2, "none.toml cannot be read"),
        (["--source", "none.wav"], 2, "none.wav does not exist"),
        (["--source", "/proc/self/mem", "--state", "state"], 3, "/proc/self/mem cannot be read"),
        (["--source", __file__, "--speed", "0"], 2, "--speed"),
    ],
)
def test_bad_arguments(arguments, code, words, tmp_path):
    process = edge("run", *arguments, cwd=tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert words in errors
    assert "Traceback" not in errors


def test_a_state_that_is_a_file_is_refused_before_records_are_kept_there(tmp_path):
    (tmp_path / "file").write_text("")
    wav = wav_file(tmp_path / "a.wav", noise(3).astype("f8"), SR)
    process = edge("run", "--source", wav, "--state", tmp_path / "file")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.splitlines()[-1] == f"edge: --state {tmp_path}/file is a file: name a folder"
    assert "ERROR" not in errors


def test_a_model_that_is_not_there_is_named_with_its_setting(tmp_path):
    (tmp_path / "a.toml").write_text('[listen]\nmodel = "/x.tflite"\n')
    process = edge("run", "--config", tmp_path / "a.toml", "--check-config")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 4
    assert errors.startswith("edge: listen.model: model /x.tflite cannot be read")


def test_a_status_file_that_is_a_folder_is_refused(tmp_path):
    (tmp_path / "a.toml").write_text('[health]\nstatus_file = "/tmp"\n')
    process = edge("run", "--config", tmp_path / "a.toml", "--check-config")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors == "edge: health.status_file = '/tmp' is a folder: name a file in it\n"


def test_a_status_file_nobody_lets_us_look_at_keeps_nobody_from_listening(monkeypatch):
    def closed(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("pathlib.Path.is_dir", closed)
    config = Config.from_toml('[health]\nstatus_file = "/home/pi/status.json"\n', "a.toml")
    assert installed.status_file(config, None) == Path("/home/pi/status.json")


def test_a_recording_is_heard_on_the_channel_that_is_set(tmp_path):
    both = np.stack([np.zeros(8 * SR), noise(8).astype("f8")], axis=1)
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a.wav", both, SR)
    (tmp_path / "a.toml").write_text("[audio]\nchannel = 1\n")
    process = edge(
        *("run", "--source", tmp_path / "a.wav", "--speed", "max"),
        *("--config", tmp_path / "a.toml", "--state", tmp_path / "state"),
    )
    _, errors = process.communicate(timeout=60)
    assert "windows: 13 due, 13 judged, 0 unknown" in errors


@pytest.mark.parametrize("program", ["edge", "convert"])
def test_ctrl_c_while_it_is_still_being_loaded(program):
    """The signal comes at the import of the command-line module."""
    code = (
        "import os, signal, sys\n"
        # A shell makes its background processes ignore Ctrl-C.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "class Early:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == '{program}.cli': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Early())\n"
        f"from {program}.__main__ import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr == ""


def test_no_thread_of_the_blas_spins_while_it_waits_for_work():
    """There is none but the main thread."""
    code = (
        "import contextlib, os\n"
        "from edge.__main__ import main\n"
        "with contextlib.suppress(SystemExit): main()\n"  # no command: only the help
        "import numpy\n"
        "print(len(os.listdir('/proc/self/task')))\n"
    )
    unset = {name: value for name, value in os.environ.items() if name not in BLAS_THREADS}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, env=unset, capture_output=True, text=True, check=False)
    assert done.stdout == "1\n", done.stderr


@pytest.mark.parametrize("asked", BLAS_THREADS)
def test_threads_of_the_blas_that_the_environment_asks_for(monkeypatch, asked):
    """OpenBLAS would heed its own variable first: no other is set beside the one that is."""
    for name in BLAS_THREADS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(asked, "3")
    monkeypatch.setattr("edge.__main__.run", lambda _: 0)
    main()
    assert {name: os.environ[name] for name in BLAS_THREADS if name in os.environ} == {asked: "3"}


def test_a_reload_or_an_end_during_the_start(tmp_path):
    """SIGHUP then reloads the settings; SIGTERM ends the program and puts out the lamp."""
    program = (
        "import os, signal, sys, edge.assembly as a, edge.run_command as r\n"
        # nohup makes the processes it starts ignore SIGHUP.
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "build = a.build\n"
        "def slow(*given, **how):\n"
        "    os.kill(os.getpid(), getattr(signal, sys.argv.pop()))\n"
        "    return build(*given, **how)\n"
        "a.build = slow\n"
        "close = r.Indicator.close\n"
        "r.Indicator.close = lambda self: (print('lamp out', file=sys.stderr), close(self))\n"
        "from edge.cli import main\n"
        "name = sys.argv.pop()\n"
        "sys.argv.append(name)\n"
        "sys.exit(main(sys.argv[1:-1]))\n"
    )
    wav = wav_file(tmp_path / "a.wav", noise(4).astype("f8"), SR)
    for name, words, code in (("SIGHUP", "windows: 5 due", 0), ("SIGTERM", "lamp out", 130)):
        arguments = ["run", "--source", str(wav), "--speed", "max", "--state", str(tmp_path / "s")]
        done = subprocess.run(
            [sys.executable, "-c", program, *arguments, name],
            stdin=subprocess.DEVNULL,  # in a terminal, SIGHUP ends the program
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        assert words in done.stderr


def test_sound_that_is_none_is_unknown_and_no_warning(tmp_path):
    y = noise(4).astype("f8")
    y[[100, 60_000]] = np.nan, 3e38
    wav = wav_file(tmp_path / "a.wav", y, SR, form="f32")
    process = edge("run", "--source", wav, "--speed", "max", "--state", tmp_path / "state")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "Warning" not in errors
    assert status(tmp_path / "state")["unknown_reasons"] == {"not_finite": 1, "clipping": 3}
    assert "4 unknown (3 clipping, 1 not_finite)" in errors


def test_records_that_would_go_into_a_file_are_no_right_settings(tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "a.toml").write_text(f'[blackbox]\ndirectory = "{tmp_path}/file"\n')
    process = edge("run", "--config", tmp_path / "a.toml", "--check-config")
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "blackbox.directory" in errors


@pytest.mark.parametrize(("seconds", "enough"), [(3.9, False), (4.0, True), (4.3, True)])
def test_the_last_window_counts_only_where_the_service_has_it(
    tmp_path, monkeypatch, capsys, seconds, enough
):
    """At the end of 3.9 s there is a fifth one, which begins 0.4 s after the fourth."""
    monkeypatch.setattr("edge.predict_command.Classifier.predict", lambda *_: 0.9)
    monkeypatch.setattr("edge.assembly._self_test", lambda *_: None)
    monkeypatch.setattr("edge.run_command.set_up_logging", lambda **_: None)
    path = wav_file(tmp_path / "a.wav", noise(seconds).astype("f8"), SR)
    assert cli.main(["predict", str(path), "--hop", "0.5"]) == 0
    *rows, _, last, _ = capsys.readouterr().out.splitlines()[2:]
    assert len(rows) >= 5
    assert last.strip().startswith("enough for an alert") == enough
    state = ["--state", str(tmp_path / "state")]
    assert cli.main(["run", "--source", str(path), "--speed", "max", *state]) == 0
    assert f"alerts: {int(enough)}," in capsys.readouterr().err


@pytest.mark.parametrize("text", ["0.5", "1", "1000", "max"])
def test_a_speed_within_its_limits_is_taken(text):
    assert run_command._speed(text) == float(text.replace("max", "inf"))
