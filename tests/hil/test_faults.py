"""Every fault, really caused, with the whole program running: what the lamp and the status say.

With ``KNOCK_WRITE_FAULTS`` set the table ``docs/faults.md`` is written from what was seen.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge.indicator import PATTERNS, Signal
from tests.audio import noise
from tests.hil.virtual_microphone import RATE, VirtualMicrophone, missing

pytestmark = [
    pytest.mark.hil,
    pytest.mark.skipif(bool(missing()), reason=f"needs Debian's {missing()}: make test-hil"),
]
ROOT = Path(__file__).resolve().parents[2]
TABLE = ROOT / "docs" / "faults.md"
HEAD = """# Faults, and what the listener makes of them

Written by `make faults`, which causes each of these with the whole program running on real
PortAudio and a virtual microphone, and notes what it sees. Dark means not running.

| fault | the lamp | the status says | shown after | back after it is mended |
|---|---|---|---|---|
"""


@pytest.fixture(scope="module")
def table():
    rows: list[tuple[str, ...]] = []
    yield rows
    if os.environ.get("KNOCK_WRITE_FAULTS"):
        TABLE.write_text(HEAD + "".join(f"| {' | '.join(row)} |\n" for row in rows))


def engine(seconds=4.0):
    """Something that is neither silence nor knocking."""
    return (noise(seconds, RATE) * 32767).astype(np.int16)


class Program:
    """``edge run`` on the virtual microphone."""

    def __init__(self, folder, settings=""):
        self.folder = folder
        self.rig = VirtualMicrophone(folder)
        self.settings = folder / "edge.toml"
        self.settings.write_text(settings + '[audio]\ndevice = "knockmic"\n')
        self.process = None

    def start(self):
        command = [sys.executable, "-m", "edge", "run", "--config", str(self.settings)]
        with (self.folder / "edge.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*command, "--state", str(self.folder / "state")],
                env=self.rig.environment,
                cwd=ROOT,
                stderr=log,
            )

    def status(self):
        try:
            return json.loads((self.folder / "state" / "status.json").read_text())
        except FileNotFoundError:
            return {"state": "", "problems": []}

    def wait(self, state, seconds, words=""):
        """Seconds until the status is ``state`` with ``words`` among its problems."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            status = self.status()
            if status["state"] == state and words in " ".join(status["problems"]):
                return time.monotonic() - began
            time.sleep(0.1)
        raise AssertionError(f"not {state} ({words}) within {seconds} s: {self.status()}")

    def close(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(5)
        self.rig.close()


@pytest.fixture
def program(tmp_path):
    program = Program(tmp_path)
    yield program
    program.close()


@pytest.fixture
def listening(program):
    """Running and well."""
    program.rig.start_server()
    program.rig.play(engine())
    program.start()
    program.wait("listening", 30)
    return program


def note(table, fault, shown, status, times):
    after, back = times
    problem = next((p for p in status["problems"] if not p.startswith("no lamp")), "")
    problem = re.sub(r"/\S*/(?=[\w.]+)", "", problem)  # folders are of no interest
    if not problem and status.get("last_reason"):
        problem = f"last_reason: {status['last_reason']}"
    looks = PATTERNS[Signal(shown)].looks
    table.append((fault, f"{looks} (`{shown}`)", problem or "-", f"{after:.1f} s", back))


FAULTS = {
    "no samples arrive (cable out)": (
        lambda p: p.rig.pause(),
        lambda p: p.rig._writing.set(),
        "microphone_lost",
    ),
    "source suspended": (
        lambda p: p.rig.pactl("suspend-source", "pmic", "1"),
        lambda p: p.rig.pactl("suspend-source", "pmic", "0"),
        "microphone_lost",
    ),
    "microphone pulled out": (
        lambda p: p.rig.pactl("unload-module", "module-pipe-source"),
        lambda p: p.rig.put_in(),
        "microphone_lost",
    ),
    "sound server killed": (
        lambda p: p.rig.kill_server(),
        lambda p: p.rig.start_server(),
        "microphone_lost",
    ),
    "capture process stopped for ever": (
        lambda p: subprocess.run(["pkill", "-STOP", "-P", str(p.process.pid)], check=True),
        lambda p: None,
        "microphone_lost",
    ),
    "digital silence": (
        lambda p: p.rig.play(np.zeros(RATE, dtype=np.int16)),
        lambda p: p.rig.play(engine()),
        "unjudged",
    ),
    "overdriven": (
        lambda p: p.rig.play(np.clip(engine().astype(int) * 100, -32768, 32767).astype(np.int16)),
        lambda p: p.rig.play(engine()),
        "unjudged",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_sound_that_goes_and_comes_back(listening, table, fault):
    break_it, mend_it, shown = FAULTS[fault]
    break_it(listening)
    after = listening.wait(shown, 12)
    status = listening.status()
    mend_it(listening)
    back = listening.wait("listening", 45)
    note(table, fault, shown, status, (after, f"{back:.1f} s"))


def test_no_microphone_at_start(program, table):
    program.start()
    after = program.wait("microphone_lost", 20)
    status = program.status()
    program.rig.start_server()
    program.rig.play(engine())
    back = program.wait("listening", 45)
    note(table, "no microphone at start", "microphone_lost", status, (after, f"{back:.1f} s"))


def test_capture_process_killed(listening, table):
    restarts = listening.status()["restarts"]
    subprocess.run(["pkill", "-KILL", "-P", str(listening.process.pid)], check=True)
    began = time.monotonic()
    while listening.status()["restarts"] == restarts:
        assert time.monotonic() - began < 10
        time.sleep(0.05)
    listening.wait("listening", 20)
    back = time.monotonic() - began
    status = {"problems": ["the capture process has died"]}
    note(table, "capture process killed", "microphone_lost", status, (0.0, f"{back:.1f} s"))


def test_settings_broken_while_running(listening, table):
    good = listening.settings.read_text()
    listening.settings.write_text("[audoi]\n")
    listening.process.send_signal(signal.SIGHUP)
    after = listening.wait("fault", 10, "did you mean audio")
    status = listening.status()
    listening.settings.write_text(good)
    listening.process.send_signal(signal.SIGHUP)
    back = listening.wait("listening", 10)
    note(table, "settings broken at SIGHUP", "fault", status, (after, f"{back:.1f} s, at SIGHUP"))


def test_records_cannot_be_written(program, table):
    (program.folder / "state").mkdir()
    (program.folder / "state" / "records").write_text("in the way")
    program.rig.start_server()
    program.rig.play(engine())
    program.start()
    after = program.wait("fault", 30, "black box")
    status = program.status()
    (program.folder / "state" / "records").unlink()
    back = program.wait("listening", 15)
    note(table, "records cannot be written", "fault", status, (after, f"{back:.1f} s"))


def test_the_state_folder_is_deleted(listening, table):
    shutil.rmtree(listening.folder / "state" / "records")
    time.sleep(2)
    assert listening.status()["state"] == "listening"
    note(table, "records deleted", "listening", {"problems": []}, (0.0, "made again at an alert"))


def test_the_model_is_garbage(program, table):
    (program.folder / "m.tflite").write_bytes(b"garbage")
    program.settings.write_text(f'[listen]\nmodel = "{program.folder}/m.tflite"\n')
    began = time.monotonic()
    program.start()
    assert program.process.wait(30) == 4
    status = {"problems": ["exit code 4, the reason in the journal"]}
    after = time.monotonic() - began
    note(table, "model file is garbage", "fault", status, (after, "systemd tries again for ever"))


def test_stopping_is_quick_and_said(listening):
    listening.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    assert listening.process.wait(5) == 0
    assert time.monotonic() - began < 2
    assert listening.status()["state"] == "stopped"
