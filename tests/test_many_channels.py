"""Tracks of many channels, or of channels in an order without a name, read without a crash."""

import json
import struct
import subprocess
import sys

import numpy as np
import pytest

LEFT, RIGHT, MONO, DISCRETE = 1, 2, 42, 0x10000  # CAF's channel labels
# In a process of its own, because such a track used to end it.
READ = """
import json, sys
from pathlib import Path
from edge.recording import Recording
path, count = Path(sys.argv[1]), int(sys.argv[2])
peaks = [float(abs(Recording(path, channel=c).read()).max()) for c in range(count)]
print(json.dumps(peaks))
"""


def write_caf(path, labels, rate=22_050):
    """Two seconds of PCM; channel ``i`` is a square wave of amplitude ``(i + 1) / 32``."""
    count = len(labels)
    wave = np.where(np.arange(2 * rate) // 20 % 2, 1, -1)
    samples = wave[:, np.newaxis] * (np.arange(count) + 1) * 1024
    described = b"".join(struct.pack(">II3f", label, 0, 0, 0, 0) for label in labels)
    chunks = {
        b"desc": struct.pack(">d4s5I", rate, b"lpcm", 2, 2 * count, 1, count, 16),
        b"chan": struct.pack(">3I", 0, 0, count) + described,
        b"data": struct.pack(">I", 0) + samples.astype("<i2").tobytes(),
    }
    packed = (name + struct.pack(">q", len(data)) + data for name, data in chunks.items())
    path.write_bytes(b"caff" + struct.pack(">HH", 1, 0) + b"".join(packed))


@pytest.mark.parametrize(
    "labels",
    [
        [RIGHT, LEFT],
        [LEFT, RIGHT, MONO, MONO],
        *([DISCRETE + i for i in range(count)] for count in (7, 8, 9, 16)),
    ],
)
def test_every_channel_is_read(tmp_path, labels):
    pytest.importorskip("av")
    write_caf(tmp_path / "a.caf", labels)
    done = subprocess.run(
        [sys.executable, "-c", READ, tmp_path / "a.caf", str(len(labels))],
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-300:]
    # The file's rate is the front end's, so samples are as written: half a step of float32.
    expected = (np.arange(len(labels)) + 1) / 32
    np.testing.assert_allclose(json.loads(done.stdout), expected, atol=1e-7)
