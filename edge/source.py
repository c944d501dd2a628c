"""What the listener asks of where its sound comes from."""

from __future__ import annotations

from typing import Protocol

from edge.window import Block


class LiveSource(Protocol):
    """Sound that arrives by itself, or is played as if."""

    sr: int
    problem: str  # why there is no sound; "" while there is
    gaps: int  # times that sound was lost
    restarts: int  # of what holds the device
    overflows: int  # that the device reported
    rate_error: float  # relative, of the samples against the clock; 0.0: fine

    @property
    def opening(self) -> bool:
        """Whether it is opened for the first time, and nothing has failed yet."""
        ...

    def read(self, timeout_s: float) -> list[Block] | None:
        """What has arrived; None when the source has ended for good."""
        ...

    def close(self) -> None:
        """Let go of the device."""
        ...
