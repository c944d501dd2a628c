"""What training examples are drawn of, in which shares."""

from __future__ import annotations

from dataclasses import dataclass

REAL_KNOCKS = 0.15  # of the knocking examples to learn from, where real knocks are at hand

# Level of made knocks above what they are laid over, dB as mix() counts. Below 0 dB a knock is no
# louder than the loudest tenth of the engine's own sound: nobody hears it, the label would lie.
KNOCK_LEVEL_DB = (2.0, 20.0)
# The same counted over everything, the engine's rumble and the knock's pauses too. Blows last some
# 10 ms, ten times a second: 6 dB below all of the engine they still stand some dB above it.
OVERALL_LEVEL_DB = (-6.0, 14.0)


@dataclass(frozen=True)
class Recipe:
    """How examples are drawn; shares are probabilities."""

    knocking: float = 0.5  # examples that knock
    real_knocks: float = 0.0  # of those: real recordings, where the training side has any
    simple: float = 0.0  # of all examples: made by SIMPLE, in the place of what follows here
    level_db: tuple[float, float] = KNOCK_LEVEL_DB  # of made knocks
    overall: bool = False  # that level is of the root mean square of all, not as mix() counts
    plain: float = 0.0  # of made knocks: of no particular kind
    smeared: float = 0.5  # of made knocks: blurred by their way out of the engine
    locked: float = 0.5  # of made knocks: on the beat of what they are laid over
    shaped: float = 0.4  # of made knocks: with the colour of what they are laid over
    made_engine: float = 0.25  # backgrounds that are wholly made
    loping: float = 0.5  # of those: slow and thudding ones
    sharpened: float = 0.3  # of real backgrounds: their own beat made to stand out more
    speeds: tuple[float, float] = (0.6, 1.6)  # a recording is played at; log-uniform
    other_fault: float = 0.2  # of real backgrounds: engines with another fault
    not_engine: float = 0.25  # of normal examples: no engine at all
    starter: float = 0.08  # of the others: an engine that is being started
    bystander: float = 0.3  # of examples with an engine: another recording, no louder, on top
    distractors: float = 0.45  # of normal examples with an engine: clatter, a belt, ticks on top
    distracted: float = 0.25  # of made knocks: the same, below the knock


# Knocks of no particular kind over engines left as they are. What is learnt from them alone tells
# real knocks of cars never heard no worse, and takes fewer other sounds for one: docs/training.md.
SIMPLE = Recipe(
    level_db=OVERALL_LEVEL_DB,
    overall=True,
    plain=1.0,
    shaped=0.0,
    sharpened=0.0,
    speeds=(0.8, 1.25),
    other_fault=0.15,
    bystander=0.0,
    distractors=0.1,
    distracted=0.0,
)
