"""The microphone checks of ``edge doctor``: its level, and whether it hears taps on the block."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from edge.config import Config
from edge.finding import Finding, Level, device_in_use_hint, jack_lock_hint, join_remedies
from edge.frontend import FrontEndConfig
from edge.gate import Fault, Gate
from edge.microphone import NOT_OPENED, OPEN_TIMEOUT_S, SILENT, Microphone
from edge.window import Block, Windower

Sound = NDArray[np.float32]

LISTEN_S, HOP_S = 3.0, 0.5
# Limit for everything: opening, listening, interruptions of the sound.
TIMEOUT_S = OPEN_TIMEOUT_S + LISTEN_S + 2.0
# Stored by hand, because the system saves the gain only at a clean shutdown; a car cuts the power.
GAIN_REMEDY = (
    "alsamixer (F6: card, F4: capture; Auto Gain Control off, if it has that), then: sudo alsactl "
    "store"
)
CHANNEL_REMEDY = "or does it send its sound on another channel (audio.channel)?"
FAULT_FINDINGS: dict[Fault, tuple[Level, str, str]] = {
    Fault.CLIPPING: ("fail", "clipping", f"move it away, or turn its gain down: {GAIN_REMEDY}"),
    Fault.TOO_SHORT: (
        "fail",
        "sound is lost; the pieces in between are too short to judge",
        "another USB socket or cable? a busy board?",
    ),
    Fault.TONE: ("fail", "a single tone and nothing else", "a bad earth? nothing plugged in?"),
    Fault.REPEATS: (
        "fail",
        "the same piece over and over",
        "the driver hangs: unplug the microphone and plug it in again",
    ),
    Fault.SILENCE: (
        "fail",
        "silence",
        f"is it muted, or unplugged, or its gain all the way down, {CHANNEL_REMEDY} {GAIN_REMEDY}",
    ),
    Fault.DC: (
        "fail",
        "a constant (DC) and nothing else",
        "its A/D converter is broken: try another microphone",
    ),
    # A warning only: the engine need not be running during this check.
    Fault.HISS: (
        "warn",
        "hiss, no engine",
        "start the engine; if it stays, plug the microphone in",
    ),
}
LOUD_DB, QUIET_DB = -3.0, -50.0  # dBFS, peak and rms
TAP_SECONDS = 15.0
TAP_SPACING_FRAMES = 10  # of 10 ms, the least between two taps: a blow rings on


def check_microphone(config: Config) -> Finding:
    """Check that the microphone delivers sound at a level that can be judged."""
    source = Microphone(config.audio, FrontEndConfig().sr)
    heard: list[Block] = []
    try:
        for blocks in _blocks_within(source, TIMEOUT_S):
            heard += blocks
            _show_level(heard[-1].y)
            if sum(block.y.size for block in heard) >= LISTEN_S * source.sr:
                gate = Gate(config.gate, sr=source.sr)
                return _level_finding(heard, gate, source.sr, source.name)
    finally:
        source.close()
        if sys.stderr.isatty():
            print("\r\033[K", end="", file=sys.stderr)
    why = source.problem or f"too few samples arrive within {TIMEOUT_S:g} s"
    return Finding("fail", "microphone", why, _remedy(source))


def _remedy(source: Microphone) -> str:
    hangs = source.problem in (NOT_OPENED, SILENT)
    lock_hint = jack_lock_hint() if hangs else ""
    return join_remedies("see: edge devices", device_in_use_hint(), lock_hint)


def _blocks_within(source: Microphone, seconds: float) -> Iterator[list[Block]]:
    """The blocks that ``source`` delivers within ``seconds``; ends early if it fails."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        if blocks := source.read(0.25):
            yield blocks
        elif source.problem and not source.opening:
            return


def _level_finding(heard: list[Block], gate: Gate, sr: int, name: str) -> Finding:
    y = np.concatenate([block.y for block in heard])
    rms = 20 * np.log10(max(float(y.std()), 1e-9))
    peak = 20 * np.log10(max(float(np.abs(y).max()), 1e-9))
    detail = f"{name}: {y.size / sr:.1f} s heard, {rms:.0f} dBFS rms, {peak:.0f} dBFS peak"
    fault = _first_fault(heard, gate, sr)
    if fault is not None:
        otherwise: tuple[Level, str, str] = (
            "fail",
            str(fault),
            f"is it muted, or unplugged, {CHANNEL_REMEDY}",
        )
        level, words, remedy = FAULT_FINDINGS.get(fault, otherwise)
        return Finding(level, "microphone", f"{detail}: {words}", remedy)
    if peak > LOUD_DB:
        return Finding("warn", "microphone", detail, f"turn its gain down: {GAIN_REMEDY}")
    if rms < QUIET_DB:
        remedy = f"start the engine, or turn its gain up: {GAIN_REMEDY}"
        return Finding("warn", "microphone", detail, remedy)
    return Finding("ok", "microphone", detail)


def _first_fault(heard: list[Block], gate: Gate, sr: int) -> Fault | None:
    """The fault of the first window that the listener would refuse to judge; None if all pass."""
    windower = Windower(FrontEndConfig().n_samples, round(HOP_S * sr), sr)
    windows = [window for block in heard for window in windower.push(block)]
    if not windows:
        return Fault.TOO_SHORT
    faults = (gate.check(window.y, window.flaws) for window in windows)
    return next((fault for fault in faults if fault is not None), None)


def _show_level(y: Sound) -> None:
    """Show the level of ``y`` as a moving bar, if standard error is a terminal."""
    if sys.stderr.isatty():
        level = 20 * np.log10(max(float(np.abs(y).max()), 1e-4))
        print(f"\r{'#' * int((level + 80) / 2):<42}{level:5.0f} dBFS", end="", file=sys.stderr)


class TapDetector:
    """Detects sharp blows: 10 ms peaks 20 dB above their running mean of half a second.

    Peaks are counted from the mean of their 10 ms, so that an offset hides no tap.
    """

    def __init__(self, sr: int) -> None:
        """``sr``: sampling rate of the sound that will be pushed, Hz."""
        self._frame = sr // 100
        self._rest = np.empty(0, dtype=np.float32)
        self._background = 0.0
        self._since = TAP_SPACING_FRAMES

    def push(self, y: Sound, *, gap: bool = False) -> list[float]:
        """Peak levels, dBFS, of the taps in ``y``, which continues the previous ``y``.

        ``gap``: sound before it was lost; the jump in level there does not count as a tap.
        """
        if gap:
            self._rest, self._background = self._rest[:0], 0.0
        y = np.concatenate([self._rest, y])
        whole = y.size // self._frame * self._frame
        self._rest = y[whole:]
        frames = y[:whole].reshape(-1, self._frame)
        frames = frames - frames.mean(axis=1, keepdims=True)
        return [
            20 * float(np.log10(level))
            for level in np.abs(frames).max(axis=1)
            if self._is_tap(float(level))
        ]

    def _is_tap(self, level: float) -> bool:
        before, self._since = self._background, self._since + 1
        self._background = 0.98 * before + 0.02 * level if before else level
        if not before or level <= 10 * before or self._since < TAP_SPACING_FRAMES:
            return False
        self._since = 0
        return True


def tap_test(config: Config) -> Finding:
    """Check that the microphone picks up taps on the block."""
    source = Microphone(config.audio, FrontEndConfig().sr)
    taps, heard = TapDetector(source.sr), 0
    try:
        if not next(_blocks_within(source, TIMEOUT_S), []):  # ask for taps only once sound arrives
            why = source.problem or f"no sound arrives within {TIMEOUT_S:g} s"
            return Finding("fail", "tap test", why, _remedy(source))
        print(f"Tap the block with a spanner, a few times; listening for {TAP_SECONDS:g} s ...")
        for blocks in _blocks_within(source, TAP_SECONDS):
            for block in blocks:
                for level in taps.push(block.y, gap=block.gap):
                    heard += 1
                    print(f"  heard a tap, {level:.0f} dBFS")
    finally:
        source.close()
    if heard:
        return Finding("ok", "tap test", f"{heard} taps heard")
    if source.problem:
        return Finding("fail", "tap test", source.problem, _remedy(source))
    remedy = "fix the microphone to the block, not to plastic"
    return Finding("fail", "tap test", "no taps heard", remedy)
