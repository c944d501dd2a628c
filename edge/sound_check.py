"""The microphone's part of ``edge doctor``: its level, and whether taps on the block are heard."""

from __future__ import annotations

import sys
import time

import numpy as np
from numpy.typing import NDArray

from edge.config import Config
from edge.finding import IN_USE, Finding
from edge.frontend import FrontEnd
from edge.gate import Fault, Gate
from edge.microphone import Microphone
from edge.window import Block, Flaws

Sound = NDArray[np.float32]

LISTEN_S = 3.0
OPEN_S = 12.0
LOUD_DB, QUIET_DB = -3.0, -50.0
TAP_SECONDS = 15.0
TAP_APART_FRAMES = 10  # of 10 ms: a blow rings on


def microphone(config: Config) -> Finding:
    """Whether it delivers, at a level that can be judged."""
    source = Microphone(config.audio, FrontEnd().config.sr)
    try:
        heard: list[Block] = []
        began = time.monotonic()
        while time.monotonic() - began < OPEN_S:
            blocks = source.read(0.25)
            if source.problem not in ("", "not opened yet"):
                break
            heard += blocks
            if heard:
                _meter(heard[-1].y)
            if sum(block.y.size for block in heard) >= LISTEN_S * source.sr:
                break
    finally:
        source.close()
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
    if sum(block.y.size for block in heard) < LISTEN_S * source.sr:
        why = source.problem or f"too few samples arrive within {OPEN_S:g} s"
        return Finding("fail", "microphone", why, f"see: edge devices; {IN_USE}")
    return _level(heard, Gate(config.gate, sr=source.sr), source.sr)


def _level(heard: list[Block], gate: Gate, sr: int) -> Finding:
    y = np.concatenate([block.y for block in heard])
    found = Flaws(*map(float, np.mean([block.flaws for block in heard], axis=0)))
    rms = 20 * np.log10(max(float(y.std()), 1e-9))
    peak = 20 * np.log10(max(float(np.abs(y).max()), 1e-9))
    detail = f"{y.size / sr:.1f} s heard, {rms:.0f} dB rms, {peak:.0f} dB peak"
    fault = gate.check(y, found)
    if fault is Fault.CLIPPING:
        remedy = "turn its gain down: alsamixer; or move it away"
        return Finding("fail", "microphone", f"{detail}: {fault}", remedy)
    if fault is not None:
        return Finding("fail", "microphone", f"{detail}: {fault}", "is it muted, or unplugged?")
    if peak > LOUD_DB:
        return Finding("warn", "microphone", detail, "turn its gain down: alsamixer")
    if rms < QUIET_DB:
        return Finding("warn", "microphone", detail, "start the engine, or turn its gain up")
    return Finding("ok", "microphone", detail)


def _meter(y: Sound) -> None:
    """A bar that moves with the level, where somebody looks."""
    if sys.stderr.isatty():
        level = 20 * np.log10(max(float(np.abs(y).max()), 1e-4))
        print(f"\r{'#' * int((level + 80) / 2):<42}{level:5.0f} dB", end="", file=sys.stderr)


def _sound_comes(source: Microphone) -> bool:
    """Whether a first block arrives; nobody should tap for nothing."""
    began = time.monotonic()
    while time.monotonic() - began < OPEN_S:
        if source.read(0.25):
            return True
        if source.problem not in ("", "not opened yet"):
            return False
    return False


class Taps:
    """Finds sharp blows: 20 dB above the level of the second before, within 10 ms."""

    def __init__(self, sr: int) -> None:
        """``sr``: Hz of the sound that will be pushed."""
        self._frame = sr // 100
        self._rest = np.empty(0, dtype=np.float32)
        self._background = 0.0
        self._since = TAP_APART_FRAMES

    def push(self, y: Sound) -> list[float]:
        """Peak levels in dB of full scale of the taps in ``y``, which goes on where it ended."""
        y = np.concatenate([self._rest, y])
        whole = y.size // self._frame * self._frame
        self._rest = y[whole:]
        return [
            20 * float(np.log10(level))
            for level in np.abs(y[:whole].reshape(-1, self._frame)).max(axis=1)
            if self._is_tap(float(level))
        ]

    def _is_tap(self, level: float) -> bool:
        before, self._since = self._background, self._since + 1
        self._background = 0.98 * before + 0.02 * level if before else level
        if not before or level <= 10 * before or self._since < TAP_APART_FRAMES:
            return False
        self._since = 0
        return True


def tap_test(config: Config) -> Finding:
    """Listen for sharp blows on the block."""
    source = Microphone(config.audio, FrontEnd().config.sr)
    taps, heard = Taps(source.sr), 0
    try:
        if not _sound_comes(source):
            why = source.problem or f"no sound arrives within {OPEN_S:g} s"
            return Finding("fail", "tap test", why, f"see: edge devices; {IN_USE}")
        print(f"Tap the block with a spanner, a few times; listening for {TAP_SECONDS:g} s ...")
        began = time.monotonic()
        while time.monotonic() - began < TAP_SECONDS:
            for block in source.read(0.25):
                for level in taps.push(block.y):
                    heard += 1
                    print(f"  heard a tap, {level:.0f} dB")
    finally:
        source.close()
    if heard:
        return Finding("ok", "tap test", f"{heard} taps heard")
    why = source.problem or "no taps heard"
    return Finding("fail", "tap test", why, "fix the microphone to the block, not to plastic")
