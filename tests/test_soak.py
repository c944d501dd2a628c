"""``make soak``: what it counts, and that it can fail."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from convert import synth
from edge.service import Service
from edge.window import Windower
from scripts import soak
from scripts.soak import Day, steady
from tests.audio import steady as steady_crank

ROOT = Path(__file__).resolve().parents[1]


def soaked(hours, code, **environment):
    command = [sys.executable, "-m", "scripts.soak", "--hours", str(hours)]
    env = {**os.environ, **environment}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done


@pytest.fixture
def quiet(monkeypatch):
    """Its engines take seconds to make; here they are not listened to."""
    monkeypatch.setattr(synth, "engine", lambda _, shaft: np.ones(shaft.n))
    monkeypatch.setattr(synth, "random_knock", lambda *_: 1.0)
    monkeypatch.setattr(synth, "mix", lambda y, *_: y)
    monkeypatch.setattr(synth, "random_crank", lambda *_: steady_crank(900, 4, 30))


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("hours", [0.0003, 0.0006, 0.001, 0.0014, 0.002])
def test_due_are_the_windows_of_the_sound_that_is_played(hours):
    day = Day(hours)
    windower = Windower(2 * day.sr, day.sr // 2, day.sr)
    windows = 0
    while blocks := day.read(0):
        windows += sum(len(windower.push(block)) for block in blocks)
    assert day.windows_due(2, 0.5) == windows


@pytest.mark.usefixtures("quiet")
def test_it_is_measured_once_more_at_the_end():
    day = Day(0.001)
    while day.read(0):
        pass
    assert len(day.rows) == 2


def test_what_was_too_short_to_tell_has_not_passed(capsys):
    """One row was compared with itself: memory had grown by 0.00 MB, always."""
    assert not steady([(0.0, 100.0, 9), (59.0, 100.0, 9)])
    assert not steady([(0.0, 100.0, 9), (61.0, 100.0, 9)])
    assert "ended 61 s after its start" in capsys.readouterr().out


def test_growth_counts_from_the_first_minute_on():
    start = [(0.0, 50.0, 5), (61.0, 100.0, 9)]
    assert steady([*start, (90.0, 101.9, 9)])
    assert not steady([*start, (90.0, 102.1, 9)])
    assert not steady([*start, (90.0, 100.0, 10)])


def test_a_short_run_goes_through_all_windows_and_says_that_this_is_too_little():
    said = soaked(0.001, 1).stdout
    assert "5 windows processed, 5 due" in said
    assert "too short to measure growth" in said


def test_what_cannot_be_done_is_one_line():
    assert "/nowhere" in soaked(1, 4, KNOCKKNOCK_MODEL="/nowhere").stderr
    for hours in ("0", "-1", "nan", "1e9"):
        assert f"--hours {float(hours):g} must lie between" in soaked(hours, 2).stderr


@pytest.mark.usefixtures("quiet")
def test_a_run_that_is_stopped_has_not_passed(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["soak", "--hours", "1"])
    run = Service.run

    def stopped_at_once(service):
        service.stop()
        run(service)

    monkeypatch.setattr(Service, "run", stopped_at_once)
    assert soak.main() == 130


@pytest.mark.usefixtures("quiet")
def test_a_folder_that_cannot_be_removed_does_not_hide_the_result(monkeypatch, capsys, tmp_path):
    """After an hour of soaking, what is left of the black box is no reason to print no figures."""

    def run_and_block_the_removal(service):
        while service._source.read(0):
            pass
        service._blackbox.close()
        monkeypatch.setattr(os, "rmdir", _busy)

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["soak", "--hours", "0.001"])
    monkeypatch.setattr(Service, "run", run_and_block_the_removal)
    assert soak.main() == 1
    assert "0 windows processed, 5 due" in capsys.readouterr().out


def _busy(path, **_):
    raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY), path)
