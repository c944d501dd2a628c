"""Limits of the gate, apart from it: reading the settings must not wait for numpy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GateConfig:
    """Limits, set from some 2300 windows of real recordings; no engine among them is refused.

    The quietest of those engines has -42 dB rms in BAND_HZ, the worst clipped one 5 % of its
    samples in flat tops, the most even one 99.9 % of its power in 290 Hz, the steadiest one a
    likeness to itself of 0.979, the one most like noise a structure of 1.5; most of what was
    dropped out (before a codec starts) is 0.31 s.
    """

    silence_db: float = -60.0  # rms in BAND_HZ, dB re full scale; below: engine off
    flat_seconds: float = 0.5  # all stretches without any movement; from there: dropped out
    clipping: float = 0.2  # share of samples in flat tops; above: overdriven
    dc_ratio: float = 4.0  # mean over deviation; above: a converter's offset, not a sound
    tone_hz: float = 120.0  # all lines that hold TONAL of the power; narrower: a hum. 0: no limit
    repetition: float = 0.995  # autocorrelation up to 0.93 s later; above: a stuck buffer. 0: none
    hiss: float = 1.1  # how far from noise, of whatever colour; below: a dead capsule. 0: no limit
