"""Limits of the gate, in a module of their own: reading the settings must not import numpy."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GateConfig:
    """Limits, set on some 2300 windows of real recordings; no engine among them is refused.

    The extremes among those engines: the quietest has -42 dB rms in BAND_HZ, the most clipped 5 %
    of its samples in flat tops, the most tonal 99.9 % of its power in 290 Hz, the most repetitive
    an autocorrelation of 0.979, the most noise-like a structure of 1.5. The most
    drop-out in a window is 0.31 s in all (before a codec starts). Played so quietly that they have
    -55 dB in BAND_HZ, none of the windows counts as silence.
    """

    silence_db: float = -60.0  # rms in BAND_HZ, dB re full scale; below: engine off
    flat_seconds: float = 0.5  # total of stretches without movement; from here on: a drop-out
    clipping: float = 0.2  # share of samples in flat tops; above: overdriven
    dc_ratio: float = 4.0  # |mean| / standard deviation; above, and no sound besides: an offset
    tone_hz: float = 120.0  # width of the bins with TONAL_SHARE of the power; below: a hum. 0: off
    repetition: float = 0.995  # autocorrelation at lags to 0.93 s; above: a stuck buffer. 0: off
    hiss: float = 1.1  # distance from noise of any colour; below: a dead capsule. 0: off
