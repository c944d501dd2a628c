"""``edge run`` as a process, and its arguments for a test."""

import argparse
import json
import subprocess
import sys

from tests.audio import noise, wav_file

SR = 22_050


def status(folder):
    return json.loads((folder / "status.json").read_text())


def edge(*arguments, **kwargs):
    """Start edge without a terminal, with SIGHUP at its default even if nohup started the tests."""
    command = ["env", "--default-signal=HUP", sys.executable, "-m", "edge", *map(str, arguments)]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def arguments(folder, source="a.wav", *, seconds=3):
    """Arguments of ``edge run --source``; no lamp, as this machine's pins are not to be touched."""
    (folder / "dark.toml").write_text("[indicator]\nled_pin = -1\n")
    wav = wav_file(folder / source, noise(seconds).astype("f8"), SR)
    return argparse.Namespace(
        source=wav,
        speed=1,
        config=folder / "dark.toml",
        check_config=False,
        verbose=False,
        state=folder / "state",
    )
