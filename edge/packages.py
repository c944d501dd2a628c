"""How a missing package is installed where this program finds it.

On a Pi a plain ``pip install`` is refused or installs elsewhere: the program has an environment of
its own, in /opt, and Debian's Python takes no packages from pip.
"""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path


def pip_install(package: str) -> str:
    """The shell command that installs ``package``, in the versions that were tried, here."""
    python = Path(sys.executable)
    pip = shutil.which("pip")
    command = "pip"
    if not pip or Path(pip).parent != python.parent:  # the environment is not activated
        as_root = "" if os.access(sys.prefix, os.W_OK) else "sudo "
        command = f"{as_root}{shlex.quote(str(python))} -m pip"
    return f"{command} install {shlex.quote(_requirement(package))}"


def _requirement(package: str) -> str:
    """``package`` with the versions that this project's metadata demand, else its bare name."""
    try:
        demanded = requires("knockknock-edge") or []
    except PackageNotFoundError:  # a clone that is not installed
        demanded = []
    for line in demanded:
        requirement = line.partition(";")[0].strip()
        if requirement.startswith(package) and requirement[len(package) :][:1] in "<>=!~":
            return requirement
    return package
