import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from edge.packages import pip_install

ROOT = Path(__file__).resolve().parents[1]


def demanded():
    """Name -> versions, as pyproject.toml has them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    lines = [*project["dependencies"], *extras["pi"], *extras["media"]]
    return {one.name: one.specifier for one in map(Requirement, lines)}


@pytest.mark.parametrize("package", ["soundfile", "av", "pyaudio", "ai-edge-litert", "gpiozero"])
def test_the_versions_are_those_that_the_project_demands(package):
    asked = Requirement(shlex.split(pip_install(package))[-1])
    assert (asked.name, asked.specifier) == (package, demanded()[package])
    assert asked.specifier


def test_what_the_project_does_not_demand_or_a_clone_that_is_not_installed(monkeypatch):
    assert pip_install("pyaudi").endswith(" install pyaudi")  # part of a name is not the name
    monkeypatch.setattr("edge.packages.requires", lambda _: None)
    assert pip_install("av").endswith(" install av")


def test_it_installs_into_the_environment_that_runs():
    command = [*shlex.split(pip_install("soundfile")), "--no-deps", "--no-index", "--dry-run"]
    # From /, as pip shortens what lies below the working directory.
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "already satisfied" in done.stdout
    assert sys.prefix in done.stdout


@pytest.fixture
def environment(tmp_path, monkeypatch):
    """An environment in a folder whose name has a blank; its pip is not the first on PATH."""
    folder = tmp_path / "my car/bin"
    folder.mkdir(parents=True)
    pip = folder / "pip"
    pip.write_text("#!/bin/sh\n")
    pip.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(folder / "python"))
    monkeypatch.setattr(sys, "prefix", str(folder.parent))
    return folder


def test_an_environment_that_is_not_activated_is_named(environment):
    python = shlex.quote(f"{environment}/python")
    assert pip_install("pyaudio").startswith(f"{python} -m pip install ")


def test_an_activated_one_need_not_be_named(environment, monkeypatch):
    monkeypatch.setenv("PATH", str(environment), prepend=":")
    assert pip_install("pyaudio").startswith("pip install ")


def test_without_any_pip_on_the_path(environment, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    assert " -m pip install " in pip_install("pyaudio")


def test_one_that_belongs_to_root_needs_sudo(environment, monkeypatch):
    monkeypatch.setattr(sys, "prefix", "/nowhere")  # where root cannot write either
    assert pip_install("pyaudio").startswith("sudo ")
