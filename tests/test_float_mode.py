import importlib
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from edge import float_mode
from edge.classifier import RUNTIMES, Classifier
from edge.model import ModelFile, default_model
from tests.runtimes import each_runtime

ROOT = Path(__file__).resolve().parents[1]

# The bits of fenv_t that flush small numbers to 0: FZ of FPCR, or FTZ and DAZ of MXCSR.
WORD, BITS = {"aarch64": (0, 1 << 24), "x86_64": (7, 0x8040)}[platform.machine()]
FAST_MATH = f"""
import ctypes

libm = ctypes.CDLL("libm.so.6")
mode = (ctypes.c_uint32 * {float_mode.FENV_BYTES // 4})()
libm.fegetenv(mode)
mode[{WORD}] |= {BITS}
libm.fesetenv(mode)
"""


def keeps_small_numbers():
    smallest = np.array([np.finfo(np.float32).tiny]) / np.float32(4)
    return bool(smallest[0] * np.float32(2) > 0)


@pytest.fixture
def fast_math(tmp_path, monkeypatch):
    """A module that, like tflite-runtime on a Pi, makes its thread flush small numbers to 0."""
    (tmp_path / "fast_math.py").write_text(FAST_MATH)
    monkeypatch.syspath_prepend(tmp_path)
    yield "fast_math"
    sys.modules.pop("fast_math", None)


@pytest.fixture(autouse=True)
def restored():
    """Whatever a test does to the mode, the next one starts with the usual one."""
    with float_mode.kept():
        yield


def test_the_fake_flushes_small_numbers(fast_math):
    assert keeps_small_numbers()
    importlib.import_module(fast_math)
    assert not keeps_small_numbers()


def test_the_mode_is_kept(fast_math):
    with float_mode.kept():
        importlib.import_module(fast_math)
        assert not keeps_small_numbers()
    assert keeps_small_numbers()


def test_the_mode_is_kept_when_the_import_fails(fast_math):
    with pytest.raises(ImportError, match="half-way"), float_mode.kept():
        importlib.import_module(fast_math)
        raise ImportError("half-way")
    assert keeps_small_numbers()


LOAD = """
import sys

from edge.classifier import Classifier
from edge.model import ModelFile, default_model
from tests.test_float_mode import keeps_small_numbers

assert keeps_small_numbers()
Classifier(ModelFile.read(default_model()), runtime=sys.argv[1])
assert keeps_small_numbers()
"""


@each_runtime
def test_the_mode_is_kept_by_each_runtime_that_a_device_gets(runtime):
    """In a program of its own: here both may have been loaded before."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", LOAD, runtime],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


def test_a_runtime_does_not_change_how_the_front_end_calculates(fast_math, tmp_path, monkeypatch):
    real = RUNTIMES["ai-edge-litert"]
    with (tmp_path / "fast_math.py").open("a") as module:
        module.write(f"\nfrom {real} import Interpreter\n")
    monkeypatch.setitem(RUNTIMES, "ai-edge-litert", fast_math)
    Classifier(ModelFile.read(default_model()), runtime="ai-edge-litert")
    assert sys.modules["fast_math"].Interpreter
    assert keeps_small_numbers()
