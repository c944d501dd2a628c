"""The clock of captured sound: time stamps from counted samples. Reads no clock itself.

Model: two clocks. The sound's clock counts samples, so its seconds are those of the sound card;
the machine's clock stamps each packet on arrival. The lead of the machine's clock is the arrival
time of a packet minus the end of its sound on the sound's clock. Without a gap it changes for two
reasons only:

- drift: the two clocks run at slightly different rates and may be a second apart after some hours;
- jitter: a driver or a busy board delivers late, or in bursts. Late sound only raises the lead, so
  the largest lead of the last second shows how late packets are at worst.

A gap has no samples to count. Its length is estimated as the lead of the first packet after it,
less the largest lead in the second before it: what exceeds both the drift so far and the usual
jitter. It is never less than the duration of the samples counted as lost.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

LEAD_PACKETS = 20  # packets whose leads are remembered: the last second


class ClockState(NamedTuple):
    """Where a sound clock stands; the clock of the next capture process continues from it.

    By default a new one, which the first gap sets to the machine's time.
    """

    end_s: float = 0.0  # end of the sound on its own clock
    max_lead_s: float = 0.0  # largest lead of the machine's clock in the last second


class SoundClock:
    """Places blocks of sound on the sound's own clock.

    Blocks may lag behind packets, because a resampler holds some sound back.
    """

    def __init__(self, resume_at: ClockState) -> None:
        """Continue from ``resume_at``; :meth:`skip_gap` comes before the first packet, too."""
        self.next_block_s = resume_at.end_s  # where the next block starts
        self.held_s = 0.0  # sound that has arrived but is in no block yet
        self._leads_s = deque([resume_at.max_lead_s], maxlen=LEAD_PACKETS)

    def skip_gap(self, sound_s: float, arrival_s: float, *, lost_s: float) -> None:
        """Add the gap before a packet of ``sound_s`` seconds that arrived at ``arrival_s``.

        ``lost_s``: sound known to be lost there. Sound still held back counts as given out.
        """
        self.next_block_s, self.held_s = self.next_block_s + self.held_s, 0.0
        gap_s = arrival_s - sound_s - self.next_block_s - max(self._leads_s)
        self.next_block_s += max(0.0, gap_s, lost_s)

    def advance(self, sound_s: float, arrival_s: float, *, block_s: float) -> float:
        """Count a packet of ``sound_s`` seconds that arrived at ``arrival_s``.

        With it, a block of ``block_s`` seconds is given out (0: none). Returns where it starts.
        """
        start_s = self.next_block_s
        self.held_s += sound_s
        self.next_block_s += block_s
        self.held_s -= block_s
        self._leads_s.append(arrival_s - self.next_block_s - self.held_s)
        return start_s

    @property
    def state(self) -> ClockState:
        """Where the clock stands after all packets so far."""
        return ClockState(self.next_block_s + self.held_s, max(self._leads_s))
