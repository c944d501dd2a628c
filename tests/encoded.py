"""Recordings in the formats of FFmpeg's libraries."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray


def encode(
    path: Path,
    y: NDArray[np.float32],
    rate: int,
    form: str,
    codec: str,
    *,
    lost: Callable[[int], bool] = lambda _: False,
    bit_rate: int | None = None,
    options: dict[str, str] | None = None,
) -> float:
    """Write ``y`` (n,) to ``path`` without the packets for whose number ``lost`` is true.

    Returns how much that is, s. Skips the test where there is no PyAV.
    """
    av = pytest.importorskip("av")
    missing_s = 0.0
    with av.open(str(path), "w", format=form, options=options or {}) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        if bit_rate:
            stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(y[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate, frame.pts = rate, 0  # packets without times would close up
        converter = av.AudioResampler(format=stream.codec_context.format.name)
        packets = [p for part in converter.resample(frame) for p in stream.encode(part)]
        for number, packet in enumerate([*packets, *stream.encode(None)]):
            if lost(number):
                missing_s += float(packet.duration * packet.time_base)
            else:
                container.mux(packet)
    return missing_s
