"""Write PNG files without an imaging library (W3C, "Portable Network Graphics", third edition)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.files import write_atomically


def encode_png(picture: NDArray[np.uint8]) -> bytes:
    """Encode ``picture`` (H, W, 3) uint8 RGB as the bytes of a PNG file."""
    height, width, _ = picture.shape
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # a 0 before each row: no filter
    rows[:, 1:] = picture.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB
    return (
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6))
        + _chunk(b"IEND", b"")
    )


def write_png(path: Path, picture: NDArray[np.uint8]) -> None:
    """Write ``picture`` to ``path``, atomically."""
    write_atomically(path, encode_png(picture))


def _chunk(name: bytes, content: bytes) -> bytes:
    body = name + content
    return struct.pack(">I", len(content)) + body + struct.pack(">I", zlib.crc32(body))
