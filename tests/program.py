"""Our programs as a user runs them: a process, its output, its exit code."""

import subprocess
import sys


def run(package, *arguments, code=0):
    """Run ``python -m package`` with ``arguments``; it must end with ``code`` and no traceback."""
    command = [sys.executable, "-m", package, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done
