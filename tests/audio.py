"""Signals and audio files for tests; the files are written without the project's own writer."""

import struct
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from convert import synth


def tone(seconds: float, sr: int, hz: float = 440.0) -> NDArray[np.float64]:
    """A sine of amplitude 0.5: (n,) float64."""
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(round(seconds * sr)) / sr)


def noise(seconds: float, sr: int = 22_050, seed: int = 0) -> NDArray[np.float32]:
    """White noise modulated as an engine's is, rms 0.1: (n,) float32. The gate lets it through."""
    # At 11 Hz; the factor's mean square is 1.
    beat = (1 + 0.5 * np.sin(2 * np.pi * 11 * np.arange(round(seconds * sr)) / sr)) / np.sqrt(1.125)
    return (beat * hiss(seconds, sr, seed)).astype("f4")


def hiss(seconds: float, sr: int = 22_050, seed: int = 0) -> NDArray[np.float32]:
    """White noise, rms 0.1: (n,) float32. The gate refuses it."""
    return (0.1 * np.random.default_rng(seed).standard_normal(round(seconds * sr))).astype("f4")


def encode(y: NDArray[np.float64], form: str) -> bytes:
    """``y`` in [-1, 1) as little-endian samples: u8, s16, s24, s32, f32 or f64."""
    if form == "u8":
        return np.round(y * 127 + 128).astype("u1").tobytes()
    if form == "s24":
        wide = np.round(y * (2**23 - 1)).astype("<i4")
        return wide.view("u1").reshape(-1, 4)[:, :3].tobytes()
    if form.startswith("s"):
        bits = int(form[1:])
        return np.round(y * (2 ** (bits - 1) - 1)).astype(f"<i{bits // 8}").tobytes()
    return y.astype(f"<f{int(form[1:]) // 8}").tobytes()


def wav_file(
    path: Path,
    y: NDArray[np.float64],
    sr: int,
    *,
    form: str = "s16",
    channels: int = 1,
    extensible: bool = False,
    claimed: int | None = None,
) -> Path:
    """Write ``y`` (n,) to the first channel, silence to the others, with a standard header.

    ``claimed``: the size that the data chunk claims, bytes; None: its real one.
    """
    frames = np.zeros((y.size, channels))
    frames[:, 0] = y
    data = encode(frames.ravel(), form)
    bits = int(form[1:])
    code = 3 if form.startswith("f") else 1
    align = channels * bits // 8
    base = struct.pack("<HIIHH", channels, sr, sr * align, align, bits)
    if extensible:
        guid = struct.pack("<H", code) + bytes.fromhex("000000001000800000aa00389b71")
        fmt = struct.pack("<H", 0xFFFE) + base + struct.pack("<HHI", 22, bits, 0) + guid
    else:
        fmt = struct.pack("<H", code) + base
    listed = b"LIST" + struct.pack("<I", 3) + b"abc\0"  # odd sizes are padded
    body = b"WAVEfmt " + struct.pack("<I", len(fmt)) + fmt + listed
    body += b"data" + struct.pack("<I", len(data) if claimed is None else claimed) + data
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    return path


def steady(rpm: float, cylinders: int, seconds: float = 4.0) -> synth.Crank:
    """A crank at constant speed, so that rates can be counted."""
    turns = np.arange(round(seconds * synth.SR)) / synth.SR * rpm / 60
    return synth.Crank(turns, cylinders)


def watch_trains(monkeypatch: pytest.MonkeyPatch, *modules: ModuleType) -> list[tuple[Any, Any]]:
    """Record ``(times, gains)`` of each train of strokes that ``modules`` place from now on."""
    trains: list[tuple[Any, Any]] = []
    pulse_train = synth.pulse_train

    def watched(n: int, times: Any, gains: Any, wave: Any) -> Any:
        trains.append((times, gains))
        return pulse_train(n, times, gains, wave)

    for module in modules:
        monkeypatch.setattr(module, "pulse_train", watched)
    return trains
