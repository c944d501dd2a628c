"""The whole program on a virtual microphone, and the table of what its faults looked like."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from edge.indicator import PATTERNS, Signal
from tests.audio import noise
from tests.hil.virtual_microphone import RATE, VirtualMicrophone

ROOT = Path(__file__).resolve().parents[2]


def engine(seconds=4.0):
    """Something that is neither silence nor knocking."""
    return (noise(seconds, RATE) * 32767).astype(np.int16)


class Program:
    """``edge run`` on the virtual microphone."""

    def __init__(self, folder, settings="", names=("knockmic",), device="knockmic"):
        self.folder = folder
        self.rig = VirtualMicrophone(folder, names)
        self.settings = folder / "edge.toml"
        self.configure(f'[audio]\ndevice = "{device}"\n{settings}')
        self.environment = self.rig.environment
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, text):
        """What the settings file holds from now on."""
        self.settings.write_text(text)

    def start(self, *launcher):
        """Start it; ``launcher`` replaces ``-m edge``."""
        command = ["env", "--default-signal=HUP"]  # though these tests be started by nohup
        command += [sys.executable, *(launcher or ("-m", "edge")), "run"]
        command += ["--config", str(self.settings), "--state", str(self.folder / "state")]
        with (self.folder / "edge.log").open("ab") as log:
            # No terminal: there SIGHUP would end it.
            self.process = subprocess.Popen(
                command,
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def restart(self):
        """As systemd does it."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(5)
        self.start()

    def status(self):
        """What it says of itself."""
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
        """All off."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(5)
        self.rig.close()


def note(table, fault, shown, status, times, *, lamp=""):
    """Add a row to the table of faults; ``shown`` is the state, "" where nothing runs.

    ``lamp``: how it looks, if not as the state's pattern. ``times``: until it is shown, None where
    nothing is, and until all is well again.
    """
    after, back = times
    problem = next((p for p in status["problems"] if not p.startswith("no lamp")), "")
    problem = re.sub(r"/\S*/(?=[\w.]+)", "", problem)  # folders are of no interest
    if not problem and status.get("last_reason"):
        problem = f"last_reason: {status['last_reason']}"
    problem = re.sub(r" by <.*>$", "", problem)  # Python's own name of a lamp
    looks = lamp or (PATTERNS[Signal(shown)].looks if shown else "dark")
    state = f"`{shown}`: {looks}" if shown else looks
    table.append((fault, state, problem or "-", "-" if after is None else f"{after:.1f} s", back))
