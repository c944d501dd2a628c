"""``edge run`` and SIGHUP: in a terminal that is closed, under nohup, and without a terminal."""

import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edge.sighup import SighupAction, sighup_action
from tests.run_program import arguments, edge, status
from tests.wait import wait_for

ROOT = Path(__file__).resolve().parents[1]
# Runs the program in a terminal of its own, which closes when a line is written to this script. The
# SIGHUP disposition is set, so that one inherited from the tests (under nohup) has no effect.
IN_A_TERMINAL = """
import os, pty, signal, sys
disposition, *command = sys.argv[1:]
signal.signal(signal.SIGHUP, getattr(signal, disposition))
pid, terminal = pty.fork()
if not pid:
    os.execv(sys.executable, [sys.executable, "-m", "edge", *command])
sys.stdin.readline()
os.close(terminal)
print("closed", flush=True)
if sys.stdin.readline():
    os.kill(pid, signal.SIGTERM)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""


FASTER = 4  # a window of 2 s then takes 0.5 s, and the 120 s of sound half a minute


def run_in_a_terminal(folder, disposition):
    told = arguments(folder, seconds=120)
    options = ["run", "--source", told.source, "--config", told.config, "--state", told.state]
    options += ["--speed", FASTER]
    environment = {k: v for k, v in os.environ.items() if k != "NOTIFY_SOCKET"}
    process = subprocess.Popen(
        [sys.executable, "-c", IN_A_TERMINAL, disposition, *map(str, options)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )
    wait_for(lambda: judged(told.state) > 0)
    return process, told.state


def judged(state):
    there = (state / "status.json").exists()
    return status(state)["windows_judged"] if there else 0


def test_a_terminal_that_is_closed_ends_it_in_good_order(tmp_path):
    """Otherwise it would hold the microphone and the lamp for ever, unseen."""
    process, state = run_in_a_terminal(tmp_path, "SIG_DFL")
    print(file=process.stdin, flush=True)
    assert process.stdout.readline() == "closed\n"
    try:
        out, _ = process.communicate(timeout=10)  # nothing else tells it to end
    finally:
        process.kill()
    assert out == "130\n"  # the recording was not played to its end
    assert status(state)["state"] == "stopped"


def test_by_nohup_it_goes_on(tmp_path):
    process, state = run_in_a_terminal(tmp_path, "SIG_IGN")
    print(file=process.stdin, flush=True)
    assert process.stdout.readline() == "closed\n"
    try:
        before = judged(state)
        wait_for(lambda: judged(state) > before + 2)
        assert status(state)["state"] != "stopped"
    finally:
        out, _ = process.communicate("end\n", timeout=10)
    assert out == "130\n"  # the recording was not played to its end


@pytest.fixture
def sighup_is_default():
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def terminals(monkeypatch):
    """A set of the file descriptors 0 to 2 that pass for terminals."""
    found: set[int] = set()
    monkeypatch.setattr("edge.sighup.os.isatty", lambda number: number in found)
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    return found


@pytest.mark.usefixtures("sighup_is_default")
@pytest.mark.parametrize(
    ("of", "means"),
    [
        (set(), SighupAction.RELOAD),
        ({0}, SighupAction.STOP),
        ({1}, SighupAction.STOP),
        ({2}, SighupAction.STOP),
    ],
)
def test_any_terminal_will_do(terminals, of, means):
    terminals |= of
    assert sighup_action() is means


@pytest.mark.usefixtures("sighup_is_default")
def test_what_was_ignored_stays_so_but_a_service_reloads(terminals, monkeypatch):
    terminals.add(2)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    assert sighup_action() is SighupAction.IGNORE
    monkeypatch.setenv("NOTIFY_SOCKET", "/run/systemd/notify")
    assert sighup_action() is SighupAction.RELOAD


def test_a_terminal_that_goes_during_the_start_ends_it_too(tmp_path):
    program = (
        "import os, signal, sys, edge.assembly as a\n"
        "signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
        "def slow(*_, **__):\n"
        "    os.kill(os.getpid(), signal.SIGHUP)\n"
        "    os._exit(9)\n"
        "a.build = slow\n"
        "from edge.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    told = arguments(tmp_path)
    options = ["run", "--source", told.source, "--config", told.config, "--state", told.state]
    master, terminal = pty.openpty()
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, *map(str, options)],
            stdin=terminal,
            capture_output=True,
            timeout=60,
            check=False,
            cwd=ROOT,
        )
    finally:
        os.close(master)
        os.close(terminal)
    assert done.returncode == 130, done.stderr  # the recording was not played to its end


def test_without_a_terminal_settings_are_read_again(tmp_path):
    told = arguments(tmp_path, seconds=120)
    options = ["--source", told.source, "--config", told.config, "--state", told.state]
    process = edge("run", *options, "--speed", FASTER)
    try:
        wait_for(lambda: judged(told.state) > 0)
        process.send_signal(signal.SIGHUP)
    finally:
        before = judged(told.state)
        wait_for(lambda: judged(told.state) > before + 2)
        process.terminate()
        _, errors = process.communicate(timeout=10)
    assert "settings reloaded" in errors
