"""``edge run`` that is told to stop at an awkward moment."""

import os
import signal
import subprocess
import sys
import time
import weakref
from types import SimpleNamespace

import pytest

from edge import run_command
from edge.errors import MissingPackageError
from tests.audio import noise, wav_file
from tests.run_program import arguments

SR = 22_050


@pytest.fixture(autouse=True)
def the_log_is_pytests(monkeypatch):
    monkeypatch.setattr("edge.run_command.set_up_logging", lambda **_: None)


@pytest.mark.parametrize("name", ["SIGTERM", "SIGINT"])
@pytest.mark.parametrize("then", ["goes on", "fails", "is told again"])
def test_a_stop_that_gets_lost_while_packages_are_loaded_is_kept(tmp_path, monkeypatch, name, then):
    """Python only reports what a weak reference's callback raises, and C code makes it another."""
    told: list[bool] = []
    listened: list[object] = []

    class Lock:
        pass

    def loses(*_, **__):
        lock = Lock()
        reference = weakref.ref(lock, lambda _: os.kill(os.getpid(), getattr(signal, name)))
        del lock
        assert reference() is None
        if then == "fails":
            raise MissingPackageError("initialization failed")
        if then == "is told again":
            os.kill(os.getpid(), getattr(signal, name))
            listened.append("went on loading")
        return SimpleNamespace(run=listened.append, stopped=False)

    def shows(indicator, *, wait):
        indicator.close()
        told.append(wait)

    monkeypatch.setattr("sys.unraisablehook", lambda _: None)
    monkeypatch.setattr("edge.assembly.build", loses)
    monkeypatch.setattr("edge.run_command._show_fault", shows)
    with pytest.raises(SystemExit) as caught:
        run_command._run(arguments(tmp_path))
    assert caught.value.code == 130  # the recording was not played to its end
    assert (told, listened) == ([False], [])


def test_a_stop_while_the_service_fails_is_a_stop(tmp_path, monkeypatch):
    """It shows no fault, for which systemd would not wait: it kills after four seconds."""
    told = []

    def fails(*_):
        os.kill(os.getpid(), signal.SIGTERM)
        raise RuntimeError("bug")

    def shows(indicator, *, wait):
        indicator.close()
        told.append(wait)

    monkeypatch.setattr("edge.replay.Replay.read", fails)
    monkeypatch.setattr("edge.run_command._show_fault", shows)
    with pytest.raises(SystemExit) as caught:
        run_command._run(arguments(tmp_path))
    assert (caught.value.code, told) == (130, [False])


def test_killed_while_it_tells_of_a_crash_it_ends_at_once(tmp_path):
    """systemd allows four seconds before it kills; the lamp must be out by then."""
    program = (
        "import sys, edge.run_command as r\n"
        "from edge.service import Service\n"
        "def crash(*_): raise RuntimeError('bug')\n"
        "Service._listen = crash\n"
        "close = r.Indicator.close\n"
        "r.Indicator.close = lambda self: (close(self), print('out', flush=True))\n"
        "show = r.Indicator.show\n"
        "def shown(self, signal): show(self, signal); print(signal, flush=True)\n"
        "r.Indicator.show = shown\n"
        "from edge.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    (tmp_path / "a.toml").write_text("[indicator]\nled_pin = -1\n")
    wav = wav_file(tmp_path / "a.wav", noise(5).astype("f8"), SR)
    options = ["run", "--source", wav, "--config", tmp_path / "a.toml", "--state", tmp_path / "s"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "nobody")},
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "fault\n"
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=10)
    assert time.monotonic() - began < 3
    assert out == "out\n"


STOPPED_TWICE = """
import os, signal, sys
import edge.assembly
import edge.run_command as run_command

def stop(*_, **__):
    os.kill(os.getpid(), signal.SIGTERM)

close = run_command.Indicator.close

def stopped_again(indicator):
    stop()
    close(indicator)
    print("out", flush=True)

run_command.Indicator.close = stopped_again
edge.assembly.build = stop
from edge.cli import main
sys.exit(main(["run", "--source", sys.argv[1]]))
"""


def test_a_second_stop_does_not_interrupt_the_first(tmp_path):
    path = wav_file(tmp_path / "a.wav", noise(2).astype("f8"), SR)
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_TWICE, str(path)],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (130, "out\n")
    assert "Traceback" not in done.stderr
