"""``edge devices`` where a driver does not answer."""

import argparse
import signal
import subprocess
import sys
import time

import pytest

from edge import devices_command
from edge.errors import AudioDeviceError


def hangs(started, *, killed):
    """Processes that do not answer, nor end by ``kill`` unless ``killed``; ``started`` has them."""

    class Hanging(subprocess.Popen[str]):
        def __init__(self, command, **how):
            super().__init__([sys.executable, "-c", "import time; time.sleep(15)"], **how)
            started.append(self)

        def kill(self):
            if killed:
                super().kill()

    return Hanging


@pytest.mark.parametrize("killed", [True, False])
def test_a_driver_that_hangs_is_given_up_even_if_nothing_ends_it(monkeypatch, killed):
    """What is stuck in the kernel outlives SIGKILL."""
    started: list[subprocess.Popen[str]] = []
    monkeypatch.setattr("edge.devices_command.LIST_TIMEOUT_S", 0.2)
    monkeypatch.setattr("edge.devices_command.jack_lock_hint", lambda: "free the lock")
    monkeypatch.setattr("edge.devices_command.subprocess.Popen", hangs(started, killed=killed))
    began = time.monotonic()
    try:
        with pytest.raises(AudioDeviceError, match=r"did not answer within 0\.2 s: unplug.*; free"):
            devices_command.list_devices()
        assert time.monotonic() - began < 8
        (process,) = started
        assert (process.returncode is not None) == killed
    finally:
        for process in started:
            process.send_signal(signal.SIGKILL)
            process.communicate(timeout=10)


def test_a_long_name_does_not_run_into_the_usb_id(monkeypatch, capsys):
    """The name that the I2S microphones of the guide have."""
    long = "snd_rpi_googlevoicehat_soundcar: Google voiceHAT SoundCard HiFi voicehat-hifi-0 (hw:1)"
    facts = {"channels": 2, "rates": [48_000], "usb_id": "0d8c:0014", "default": False}
    devices = [{"name": long, **facts}, {"name": "USB", **facts, "usb_id": "", "default": True}]
    monkeypatch.setattr(devices_command, "list_devices", lambda: devices)
    assert devices_command._run(argparse.Namespace(json=False)) == 0
    head, *rows = capsys.readouterr().out.splitlines()
    assert [row.split("  ")[0] for row in rows] == [long, "USB (default)"]
    assert {row.index(what) for row, what in zip(rows, ["0d8c", "- "], strict=True)} == {
        head.index("USB id")
    }
