"""The settings of a training run; apart from the run itself, so that --help needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from edge.errors import ConfigError


@dataclass(frozen=True)
class TrainConfig:
    """One run; what made the shipped model is in its card, models/README.md."""

    examples: int = 16_000  # made before training
    simple: float = 0.7  # share of simple ones among them, convert.recipe.SIMPLE
    small_epochs: int = 5  # on pictures of a quarter of the size
    full_epochs: int = 1  # on pictures of full size
    batch_size: int = 32
    learning_rate: float = 2e-3  # peak of the one-cycle schedule
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    mixup: float = 0.3  # alpha of the beta distribution; half of the batches are mixed; 0: none
    rounding_noise: float = 1.0  # steps of int8, standard deviation; 0: none
    ema_decay: float = 0.99  # decay of the running average of weights, a step
    frozen_epochs: int = 1  # with init or pretrained: epochs before the body is trained too
    keep: float = 0.0  # with init: share of the start's weights in the result
    hold_out: float = 0.25  # share of sources not trained on
    fold: tuple[int, int] = (0, 0)  # (k, n): instead, part k of n of the sources; (0, 0): no folds
    seed: int = 1

    @property
    def candidates(self) -> int:
        """Epochs of which the best is kept: full-size ones, or small ones if there are no others.

        One alone is kept whatever it does: only of several is this early stopping.
        """
        return self.full_epochs or self.small_epochs

    def __post_init__(self) -> None:
        """Refuse what cannot be trained with."""
        for name, low, high in (
            ("examples", 1, 10_000_000),
            ("simple", 0, 1),
            ("small_epochs", 0, 1000),
            ("full_epochs", 0, 1000),
            ("batch_size", 2, 4096),
            ("learning_rate", 1e-7, 0.1),
            ("keep", 0, 0.95),
            ("hold_out", 0, 0.9),
            ("seed", 0, 2**32 - 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                option = f"--{name.replace('_', '-')}"
                raise ConfigError(f"{option} {value:g} must lie between {low} and {high}")
        part, parts = self.fold
        if self.fold != (0, 0) and not (2 <= parts <= 100 and 1 <= part <= parts):
            raise ConfigError(f"--fold {part}/{parts}: give one of 1/N to N/N, N from 2 to 100")
        if self.small_epochs + self.full_epochs == 0:
            raise ConfigError("--small-epochs and --full-epochs are both 0: nothing to train")

    @classmethod
    def fine_tuning(cls) -> Self:
        """For a network that has learnt already: little, and with small steps."""
        return cls(examples=2000, small_epochs=2, full_epochs=1, learning_rate=2e-4)
