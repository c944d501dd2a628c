"""Compute devices: bfloat16 where the hardware has it, and errors about a GPU's memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convert.errors import DatasetError

GRADING_BATCH = 64  # batch size for grading, in pictures
BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16")  # CPU capabilities, as torch names them


def half_precision(device: torch.device) -> torch.autocast:
    """A context that computes in bfloat16 where possible, if ``device`` supports it in hardware.

    A CPU without such support emulates it at a twentieth of its float32 speed.
    """
    if device.type == "cuda":
        can = torch.cuda.is_bf16_supported(including_emulation=False)
    else:
        can = any(map(torch.cpu.get_capabilities().get, BFLOAT16))
    return torch.autocast(device.type, torch.bfloat16, enabled=can)


@contextlib.contextmanager
def report_out_of_memory(batch_size: int, option: str = "") -> Iterator[None]:
    """Turn an out-of-memory error of the GPU in the block into a DatasetError.

    It names ``batch_size`` and, if given, the command-line ``option`` that sets it.
    """
    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DatasetError(
            f"the GPU's memory cannot hold a batch of {batch_size}: end other programs that use "
            f"it{f', or give a smaller {option}' if option else ''}"
        ) from error


def to_device(batch: NDArray[np.generic], device: torch.device) -> Tensor:
    """Copy ``batch`` to the device, to a GPU without waiting for the copy."""
    tensor = torch.from_numpy(batch)
    if device.type == "cuda":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor
