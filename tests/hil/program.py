"""The whole program on a virtual microphone, with a recorded lamp and records to protect."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.indicator import Signal
from tests.audio import noise
from tests.hil.fault_table import NOT_AT_ALL, Row, in_words, looks
from tests.hil.kept import Kept
from tests.hil.lamp_record import settings_of, shown
from tests.hil.virtual_microphone import RATE, VirtualMicrophone

ROOT = Path(__file__).resolve().parents[2]


def engine(seconds=4.0):
    """A sound that is judged, and not as knocking."""
    return (noise(seconds, RATE) * 32767).astype(np.int16)


@dataclass(frozen=True)
class Sight:
    """What was observed of one state."""

    state: str  # as in the status
    lamp: str  # the pattern that the pin showed, in words
    says: str
    after_s: float  # until the status said so
    at: float  # when it did, monotonic seconds


class Program:
    """``edge run`` on the virtual microphone."""

    def __init__(self, folder, settings="", names=("knockmic",), device="knockmic"):
        self.folder = folder
        self.rig = VirtualMicrophone(folder, names)
        self.settings = folder / "edge.toml"
        self.configure(f'[audio]\ndevice = "{device}"\n{settings}')
        self.environment = self.rig.environment
        self.lamp = folder / "lamp"
        self.environment["LAMP_RECORD"] = str(self.lamp)
        self.records = folder / "state" / "records"
        self.kept: Kept | None = None
        self.process: subprocess.Popen[bytes] | None = None

    def configure(self, text):
        """Write the settings file."""
        self.settings.write_text(text)

    def keep(self):
        """Write records that must survive the fault."""
        self.kept = Kept(self.records)

    def start(self):
        """Start it, with records in its folder."""
        if self.kept is None:
            self.keep()
        command = ["env", "--default-signal=HUP"]  # even if nohup started the tests
        command += [sys.executable, "-m", "tests.hil.recorded_lamp", "run"]
        command += ["--config", str(self.settings), "--state", str(self.folder / "state")]
        with (self.folder / "edge.log").open("ab") as log:
            # Without a terminal: on one, SIGHUP would end it.
            self.process = subprocess.Popen(
                command,
                env=self.environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def restart(self):
        """Restart it as systemd does."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(5)
        self.start()

    def status(self):
        """The contents of its status file; an empty state if there is none."""
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

    def wait_lamp(self, wanted, since, seconds=30):
        """When the pin began to show ``wanted`` after ``since``, both in monotonic seconds."""
        deadline = time.monotonic() + seconds
        while wanted not in (seen := shown(settings_of(self.lamp), since)):
            assert time.monotonic() < deadline, f"the lamp shows {set(seen)}, not {wanted}"
            time.sleep(0.1)
        return seen[wanted]

    def see(self, state, seconds, words="", *, since=None):
        """Wait for ``state`` in the status, as above, and for the lamp to show it, too.

        Only what the lamp shows after ``since`` counts, by default from now on.
        """
        began = time.monotonic()
        after_s = self.wait(state, seconds, words)
        says = in_words(self.status())
        self.wait_lamp(Signal(state), began if since is None else since)
        return Sight(state, looks(Signal(state)), says, after_s, began + after_s)

    def row(self, fault, sight, back, *, kept=""):
        """Stop the program and give the table's row: ``fault`` showed as ``sight``.

        ``back``: time until all was well again. ``kept``: what became of the records; if empty,
        they are checked to be intact.
        """
        self.end()
        assert self.kept is not None
        state = f"`{sight.state}`" if sight.state else NOT_AT_ALL
        after = NOT_AT_ALL if sight.state == "listening" else f"{sight.after_s:.1f} s"
        return Row(fault, state, sight.lamp, sight.says, after, back, kept or self.kept.check())

    def end(self):
        """Stop it, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(5)

    def close(self):
        """Stop the program and its microphone."""
        self.end()
        self.rig.close()
