"""The network on the device: runs it in whichever TFLite runtime is installed.

tflite-runtime has wheels for Python up to 3.11 and needs numpy 1; ai-edge-litert is its successor.
They have the same interface, and this is the only module that imports either.
"""

from __future__ import annotations

import importlib
import importlib.util
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge import float_mode
from edge.errors import ConfigError, MissingPackageError, ModelError
from edge.model import ModelFile
from edge.packages import pip_install
from edge.quiet import quiet_stderr
from edge.temperature import apply_temperature

# Package -> module with the Interpreter, in order of preference: the successor is several times
# as fast on the same network.
RUNTIMES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
SUM_TOLERANCE = 0.02  # of probabilities, from 1; an int8 network's have a step of 1/256


def installed_runtimes() -> list[str]:
    """The TFLite runtimes that can be imported here, best first."""
    return [
        name
        for name, module in RUNTIMES.items()
        if importlib.util.find_spec(module.partition(".")[0]) is not None
    ]


class Classifier:
    """One network, loaded and checked, ready to judge pictures."""

    def __init__(self, model: ModelFile, *, runtime: str = "auto", threads: int = 1) -> None:
        """Load ``model`` in ``runtime`` ("auto" or a key of RUNTIMES) with ``threads`` threads.

        ConfigError for an unknown runtime, MissingPackageError if none works, ModelError if the
        network does not match its manifest.
        """
        self.manifest = model.manifest
        package, self._interpreter = _load(model, runtime, threads)
        self.runtime = _package_label(package)
        inputs = self._interpreter.get_input_details()
        outputs = self._interpreter.get_output_details()
        if (len(inputs), len(outputs)) != (1, 1):
            found = f"{len(inputs)} inputs and {len(outputs)} outputs"
            raise ModelError(f"{model.path} has {found}: one of each is needed")
        (self._input,), (self._output,) = inputs, outputs
        self._check(model)
        self._knocking_index = model.manifest.labels.index("knocking")

    def _check(self, model: ModelFile) -> None:
        px = self.manifest.front_end.network_px
        checks = {
            "input shape": (tuple(self._input["shape"]), (1, px, px, 3)),
            "input type": (
                self._input["dtype"],
                np.uint8 if self.manifest.precision == "int8" else np.float32,
            ),
            "output shape": (tuple(self._output["shape"]), (1, len(self.manifest.labels))),
            "output type": (self._output["dtype"], np.float32),
        }
        for what, (actual, expected) in checks.items():
            if actual != expected:
                raise ModelError(f"{model.path}: {what} is {actual}, its manifest says {expected}")

    def probabilities(self, picture: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Probability of each label for ``picture`` (224, 224, 3) uint8 RGB: (2,), adding up to 1.

        An int8 network takes the picture as it is, the others take it divided by 255. All NaN if
        the output is not a set of probabilities, such as 0 and 0, an output never filled.
        """
        is_int8 = self.manifest.precision == "int8"
        x = picture if is_int8 else picture.astype(np.float32) / np.float32(255)
        self._interpreter.set_tensor(self._input["index"], x[np.newaxis])
        self._interpreter.invoke()
        p = np.array(self._interpreter.get_tensor(self._output["index"])[0], dtype=np.float32)
        if not (p.min() >= 0 and abs(float(p.sum()) - 1) <= SUM_TOLERANCE):
            return np.full_like(p, np.nan)
        return apply_temperature(p, self.manifest.temperature)

    def predict(self, picture: NDArray[np.uint8]) -> float:
        """Probability of knocking for ``picture`` (224, 224, 3) uint8 RGB, in [0, 1].

        NaN if the network's output is not valid; the caller must not treat that as normal.
        """
        return float(self.probabilities(picture)[self._knocking_index])


def _load(model: ModelFile, runtime: str, threads: int) -> tuple[str, Any]:
    """The first usable package for ``runtime``, and its interpreter with the network loaded."""
    if runtime != "auto" and runtime not in RUNTIMES:
        raise ConfigError(f"runtime {runtime!r} must be one of auto, {', '.join(RUNTIMES)}")
    candidates = installed_runtimes()
    if runtime != "auto":
        if runtime not in candidates:
            raise MissingPackageError(
                f"runtime {runtime!r} is not installed: {pip_install(runtime)}, or set it to 'auto'"
            )
        candidates = [runtime]
    failures = []
    for package in candidates:
        try:
            return package, _make_interpreter(package, model, threads)
        # With a numpy it was not built for, tflite-runtime imports and fails only afterwards.
        except (ImportError, AttributeError, SystemError) as error:
            if isinstance(error.__cause__, (KeyboardInterrupt, SystemExit)):
                raise error.__cause__ from None  # Ctrl-C while its C code was being initialised
            label, message = _package_label(package), " ".join(str(error).split())
            failures.append(f"{label} cannot be used with numpy {np.__version__}: {message}")
            cause = error
    if failures:
        remedy = f"{pip_install('ai-edge-litert')}, or 'numpy<2' for tflite-runtime"
        raise MissingPackageError(f"{'; '.join(failures)}: {remedy}") from cause
    raise MissingPackageError(f"no TFLite runtime is installed: {pip_install('ai-edge-litert')}")


def _make_interpreter(package: str, model: ModelFile, threads: int) -> Any:
    with float_mode.kept():
        module = importlib.import_module(RUNTIMES[package])
    try:
        with quiet_stderr():
            interpreter = module.Interpreter(model_content=model.network, num_threads=threads)
            interpreter.allocate_tensors()
    except (ValueError, RuntimeError) as error:
        label = _package_label(package)
        raise ModelError(f"{model.path} cannot be loaded by {label}: {error}") from error
    return interpreter


def _package_label(package: str) -> str:
    """The name of ``package`` with its version, if that is known."""
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return package
