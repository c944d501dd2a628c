"""The interface that the listener expects of a source of sound."""

from __future__ import annotations

from typing import Protocol

from edge.window import Block


class LiveSource(Protocol):
    """A source that delivers sound in real time, or plays a recording as if it did."""

    problem: str  # why there is no sound; "" while there is
    gaps: int  # how many times sound was lost
    restarts: int  # of the process that holds the device
    overflows: int  # that the device reported
    rate_error: float  # relative error of the sampling rate against the clock; 0.0: fine

    @property
    def name(self) -> str:
        """The microphone's name, or the recording's file."""
        ...

    @property
    def opening(self) -> bool:
        """Whether it is being opened for the first time, and nothing has failed yet."""
        ...

    def read(self, timeout_s: float) -> list[Block] | None:
        """The blocks that have arrived; None when the source has ended for good."""
        ...

    def close(self) -> None:
        """Release the device."""
        ...
