"""Reading a checkpoint, which is a pickle from an untrusted source.

It is read only with torch's restricted unpickler, which builds tensors and plain containers and
runs no code. What that refuses is refused, except for the names in a fastai optimiser's state,
whose objects are not built.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from convert.errors import CheckpointError
from convert.output import holds_tflite

MAGICS = (b"PK", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
# What fastai's one-cycle training leaves in its optimiser's state: learning rates as numpy's
# numbers, and in v2 fastcore's list. Here nobody needs them, so _Ignored takes their place.
OPTIMISER_GLOBALS = (
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray.scalar",  # numpy 2
    "numpy.dtype",
    "fastcore.foundation.L",
)


class _Ignored:
    """Stands in for each of OPTIMISER_GLOBALS: accepts any arguments and state, keeps none."""

    def __new__(cls, *_: object) -> _Ignored:
        return super().__new__(cls)

    def __init__(self, *_: object) -> None: ...

    def __setstate__(self, _: object) -> None: ...


def read_checkpoint(path: Path) -> dict[str, Any]:
    """What the file ``path`` holds, by name: tensors, or such below ``model``.

    CheckpointError if it is missing or damaged, or holds something else.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist or is not a file")
    if holds_tflite(path):
        raise CheckpointError(f"{path} is a TFLite model: give the .pth it was made from")
    try:
        if path.suffix.lower() == ".safetensors":
            from safetensors.torch import load_file  # noqa: PLC0415 - only where it is needed

            return dict(load_file(path))
        with path.open("rb") as file:
            magic = file.read(2)
        if magic not in MAGICS:
            raise ValueError("it is neither an archive from torch nor a pickle")
        ignored: list[Any] = [(_Ignored, name) for name in OPTIMISER_GLOBALS]
        with warnings.catch_warnings(), torch.serialization.safe_globals(ignored):
            warnings.simplefilter("ignore")  # about pickles from elsewhere, refused anyway
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f" ({found[1]})" if found else ""
        # What torch says of the first byte that pickle's protocols 2 and 3 lack.
        newer = ", without pickle_protocol" if "Unsupported operand" in str(error) else ""
        raise CheckpointError(
            f"{path} holds more than tensors{what} and was not read, because that could run code: "
            f"save it again with torch.save(model.state_dict(), ...){newer}"
        ) from error
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path} is damaged or not a checkpoint: {reason}") from error
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, not named parameters")
    state = content.get("model", content)
    if isinstance(state, Mapping) and not all(isinstance(name, str) for name in state):
        raise CheckpointError(f"{path} holds unnamed entries, not named parameters")
    return dict(content)
