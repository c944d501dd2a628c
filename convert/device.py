"""What a network is computed on: a GPU's memory, a processor's bfloat16."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convert.errors import DatasetError

GRADED = 64  # pictures at a time
BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16")  # what torch calls processors' units for it


def half_precision(device: torch.device) -> torch.autocast:
    """Within, what can be is computed in bfloat16, if ``device`` has units for it.

    A processor without them must emulate it, at a twentieth of its speed in float32.
    """
    if device.type == "cuda":
        can = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        can = any(map(torch.cpu.get_capabilities().get, BFLOAT16))
    return torch.autocast(device.type, torch.bfloat16, enabled=can)


@contextlib.contextmanager
def enough_memory(batch_size: int, option: str = "") -> Iterator[None]:
    """DatasetError if within the GPU's memory does not do for batches of that size.

    ``option``: which one gives the size.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DatasetError(
            f"the GPU's memory does not hold a batch of {batch_size}: end other programs that use "
            f"it{f', or give a smaller {option}' if option else ''}"
        ) from error


def moved(batch: NDArray[np.generic], device: torch.device) -> Tensor:
    """``batch`` on the device; a GPU is not waited for."""
    tensor = torch.from_numpy(batch)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor
