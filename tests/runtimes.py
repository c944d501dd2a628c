"""Marks for tests of the runtimes, one of which does not exist for every Python."""

import sys

import pytest

from edge.classifier import RUNTIMES

NEEDS_TFLITE_RUNTIME = pytest.mark.skipif(
    sys.version_info >= (3, 12), reason="tflite-runtime has no wheel beyond Python 3.11"
)
each_runtime = pytest.mark.parametrize(
    "runtime",
    [
        pytest.param(name, marks=NEEDS_TFLITE_RUNTIME if name == "tflite-runtime" else ())
        for name in RUNTIMES
    ],
)
