"""Recipes for training examples: what they are made of, and with which probabilities."""

from __future__ import annotations

from dataclasses import dataclass

REAL_KNOCKS = 0.15  # share of the knocking examples, where there are recordings of knocks

# Level of synthetic knocks above their background in dB, as measured by synth.mix(). Below 0 dB a
# knock is no louder than the loudest tenth of the engine's own sound: nobody would hear it, and the
# label would be wrong.
KNOCK_LEVEL_DB = (2.0, 20.0)
# Level of the knocks of SIMPLE: a ratio of overall root mean squares, which include the engine's
# rumble and the pauses between knocks. Knocks last some 10 ms and come ten times a second, so at
# -6 dB they still rise some dB above the engine.
OVERALL_LEVEL_DB = (-6.0, 14.0)


@dataclass(frozen=True)
class Recipe:
    """How examples are drawn. Shares are probabilities; "of ..." says what they apply to."""

    knocking: float = 0.5  # of all examples: that knock
    real_knocks: float = 0.0  # of those: real recordings, where there are any
    simple: float = 0.0  # of all examples: made by SIMPLE instead of by what follows
    level_db: tuple[float, float] = KNOCK_LEVEL_DB  # of synthetic knocks
    rms_level: bool = False  # level_db is a ratio of overall root mean squares, not as in mix()
    plain: float = 0.0  # of synthetic knocks: of no particular kind, synth.plain_knock()
    smeared: float = 0.5  # of synthetic knocks: smeared on the way out of the engine
    at_beat_rate: float = 0.5  # of synthetic knocks: their rate is from the background's beat
    shaped: float = 0.4  # of synthetic knocks: with some of the spectrum of their background
    synthetic_engine: float = 0.25  # of backgrounds: synthetic engines
    loping: float = 0.5  # of those: slow, thudding ones
    sharpened: float = 0.3  # of real backgrounds: with their own beat emphasised
    speeds: tuple[float, float] = (0.6, 1.6)  # playback speeds of recordings, log-uniform
    other_fault: float = 0.2  # of real backgrounds: engines with another fault
    not_engine: float = 0.25  # of normal examples: no engine at all
    starter: float = 0.08  # of the other normal ones: an engine being started
    second_recording: float = 0.3  # of examples with an engine: and another, or a street
    lookalikes_normal: float = 0.45  # of normal ones with an engine: with clatter, a belt or ticks
    lookalikes_knocking: float = 0.25  # of synthetic knocks: the same in the background


# Knocks of no particular kind over engines changed only in speed, before the recording conditions
# are simulated. A network trained on these alone detects real knocks of unseen cars no worse and
# mistakes fewer other sounds for them: docs/training.md.
SIMPLE = Recipe(
    level_db=OVERALL_LEVEL_DB,
    rms_level=True,
    plain=1.0,
    shaped=0.0,
    sharpened=0.0,
    speeds=(0.8, 1.25),
    other_fault=0.15,
    second_recording=0.0,
    lookalikes_normal=0.1,
    lookalikes_knocking=0.0,
)
