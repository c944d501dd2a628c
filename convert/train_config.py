"""Settings of a training run, in a module of their own so that --help need not import torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from edge.errors import ConfigError


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one run; those of the shipped model are in its card, models/README.md."""

    examples: int = 16_000  # made before training
    simple: float = 0.7  # share of them made by the recipe convert.recipe.SIMPLE
    small_epochs: int = 5  # on pictures a quarter of the size
    full_epochs: int = 1  # on full-size pictures
    batch_size: int = 32
    learning_rate: float = 2e-3  # peak of the one-cycle schedule
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    mixup: float = 0.3  # alpha of the beta distribution, for half of the batches; 0: no mixup
    rounding_noise: float = 1.0  # standard deviation in int8 steps; 0: no noise
    ema_decay: float = 0.99  # decay per step of the moving average of weights
    frozen_epochs: int = 1  # with init or pretrained: first epochs that train only the head
    keep: float = 0.0  # with init: share of its weights averaged into the result
    hold_out: float = 0.25  # share of sources held out
    fold: tuple[int, int] = (0, 0)  # (k, n): instead, hold out part k of n; (0, 0): no folds
    seed: int = 1

    @property
    def candidates(self) -> int:
        """Number of epochs among which the best is kept: full-size ones, or else small ones.

        A single one is kept whatever its figures; only with several is this early stopping.
        """
        return self.full_epochs or self.small_epochs

    def __post_init__(self) -> None:
        """ConfigError if a value cannot be trained with."""
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
        """Defaults for fine-tuning a trained network: fewer examples and a lower learning rate.

        No small pictures, which unsettle a network that was trained on large ones.
        """
        return cls(examples=1000, small_epochs=0, full_epochs=2, learning_rate=5e-5)
