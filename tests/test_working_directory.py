"""A lamp's driver, lgpio, changes the working directory: relative names must lead where they did.

In processes of their own, as it does so when it is loaded, once.
"""

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.audio import noise, wav_file
from tests.run_program import edge

SR = 22_050
LAMP = "import os, sys; from edge.lamp import flash; flash(17, active_high=True, seconds=0); "

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("lgpio") is None, reason="lgpio is not installed"
)


@pytest.fixture
def real_driver(tmp_path, monkeypatch):
    """No pins of a mock; temporary files go to the folder that is returned."""
    for name in ("GPIOZERO_PIN_FACTORY", "LG_WD", "STATE_DIRECTORY", "RUNTIME_DIRECTORY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "temporary"))
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[1]))
    return tmp_path / "temporary"


def python(code, folder):
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.mark.usefixtures("real_driver")
def test_a_lamp_leaves_the_program_where_it_was(tmp_path):
    done = python(LAMP + "print('lgpio' in sys.modules, os.getcwd())", tmp_path)
    assert done.stdout == f"True {tmp_path}\n", done.stderr


@pytest.mark.usefixtures("real_driver")
def test_a_lamp_is_no_trouble_in_a_folder_that_has_gone(tmp_path):
    (tmp_path / "gone").mkdir()
    away = "import os; os.rmdir(os.getcwd()); "
    where = "print('lgpio' in sys.modules, os.readlink('/proc/self/cwd'))"
    done = python(away + LAMP + where, tmp_path / "gone")
    assert done.stdout == f"True {tmp_path}/gone (deleted)\n", done.stderr


@pytest.mark.usefixtures("real_driver")
def test_where_nobody_may_be_no_record_goes_to_a_folder_that_is_deleted(tmp_path):
    """Started by root, say, in a folder of his: / refuses relative names as that folder does."""
    refused = (
        "import os, edge.lamp\n"
        "real = os.open\n"
        "def refuse(path, *how, **more):\n"
        "    if path == '.': raise PermissionError(13, 'Permission denied')\n"
        "    return real(path, *how, **more)\n"
        "os.open = refuse\n"
    )
    done = python(refused + LAMP + "print('lgpio' in sys.modules, os.getcwd())", tmp_path)
    assert done.stdout == "True /\n", done.stderr


def test_a_lamp_of_a_killed_program_leaves_nothing(real_driver, tmp_path):
    done = python(LAMP + "os.kill(os.getpid(), 9)", tmp_path)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert list(real_driver.iterdir()) == []


@pytest.mark.usefixtures("real_driver")
def test_relative_names_count_from_where_edge_run_was_started(tmp_path):
    """The recording is found, and what was heard in it is kept."""
    here = tmp_path / "here"
    here.mkdir()
    wav_file(here / "drive.wav", noise(8).astype("f8"), SR)
    # Anything knocks; and there is a lamp.
    (here / "my.toml").write_text("[listen]\nthreshold = 0.0001\n[indicator]\nled_pin = 17\n")
    process = edge(
        *("run", "--config", "my.toml", "--source", "drive.wav", "--speed", "max"), cwd=here
    )
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "alerts: 1" in errors
    assert list((here / "knockknock" / "records").glob("*/sound.wav"))
    assert {path.name for path in here.iterdir()} == {"drive.wav", "my.toml", "knockknock"}
