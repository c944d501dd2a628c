"""Compute devices: which trains, bfloat16 where hardware has it, errors about a GPU's memory."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from convert.errors import DatasetError

GRADING_BATCH = 64  # batch size for grading, in pictures
BFLOAT16 = ("amx_bf16", "avx512_bf16", "bf16")  # CPU capabilities, as torch names them


def training_device() -> torch.device:
    """The GPU, if there is one that this build of torch can compute on; else the CPU.

    The usual build counts cards from before 2018 as available, but has no code for them.
    """
    if torch.cuda.is_available():
        try:
            torch.ones(1, device="cuda").add_(1).item()
        except torch.OutOfMemoryError:  # of another program: it can be ended
            raise
        except RuntimeError as error:
            reason = str(error).partition("\n")[0]
            print(f"note: training on the CPU: torch cannot use the GPU: {reason}", file=sys.stderr)
        else:
            return torch.device("cuda")
    return torch.device("cpu")


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
