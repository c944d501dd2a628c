"""The sound's own clock: samples counted, gaps estimated, the machine's clock no authority."""

import numpy as np
import pytest

from edge.sound_clock import LEAD_PACKETS, ClockState, SoundClock

PACKET_S = 0.05
BEGAN_S = 1000.0  # machine time at which the first packet's sound began


def run(clock, arrivals_s, *, sound_s=PACKET_S):
    """Start times of the blocks of packets without gaps, one block each."""
    return [clock.advance(sound_s, at_s, block_s=sound_s) for at_s in arrivals_s]


def started(seconds=5.0, *, speed=1.0):
    """A clock after a first gap and ``seconds`` of sound of a card that runs at ``speed``."""
    clock = SoundClock(ClockState())
    arrivals_s = BEGAN_S + np.arange(1, round(seconds / PACKET_S) + 1) * PACKET_S / speed
    clock.skip_gap(PACKET_S, BEGAN_S + PACKET_S, lost_s=0.0)
    run(clock, arrivals_s)
    return clock, arrivals_s[-1]


def gap_s(clock, arrival_s, *, lost_s=0.0, sound_s=PACKET_S):
    """How much the clock adds before a packet that arrives at ``arrival_s``."""
    before_s = clock.state.end_s
    clock.skip_gap(sound_s, arrival_s, lost_s=lost_s)
    return clock.next_block_s - before_s


def test_the_first_packet_begins_at_the_machines_time():
    clock = SoundClock(ClockState())
    clock.skip_gap(PACKET_S, BEGAN_S, lost_s=0.0)
    assert clock.next_block_s == BEGAN_S - PACKET_S
    assert clock.state.end_s == BEGAN_S - PACKET_S


@pytest.mark.parametrize("late_s", [0.0, 0.7, 30.0])
def test_without_a_gap_the_sound_is_continuous_whenever_it_arrives(late_s):
    clock, now_s = started()
    rng = np.random.default_rng(0)
    starts_s = run(clock, now_s + np.sort(rng.uniform(0, 1 + late_s, 20)))
    np.testing.assert_allclose(starts_s, BEGAN_S + 5 + np.arange(20) * PACKET_S, atol=1e-9)
    assert clock.state.end_s == pytest.approx(BEGAN_S + 6, abs=1e-9)


def test_a_gap_lasts_as_long_as_the_machines_clock_says():
    clock, now_s = started()
    assert gap_s(clock, now_s + 3.0 + PACKET_S) == pytest.approx(3.0, abs=1e-9)


@pytest.mark.parametrize(("away_s", "lost_s", "expected_s"), [(0, 0.8, 0.8), (2.5, 0.8, 2.5)])
def test_a_gap_is_no_shorter_than_the_sound_known_to_be_lost(away_s, lost_s, expected_s):
    clock, now_s = started()
    found_s = gap_s(clock, now_s + away_s + PACKET_S, lost_s=lost_s)
    assert found_s == pytest.approx(expected_s, abs=1e-9)


def test_no_gap_is_negative():
    """The first packet after it came early, as after a burst."""
    clock, now_s = started()
    run(clock, [now_s + 0.5])
    assert gap_s(clock, now_s + 0.5, lost_s=0.0) == 0.0


def test_late_delivery_does_not_stretch_a_gap():
    """What comes as late after the gap as it came before it is not missing."""
    clock, now_s = started()
    late_s = 0.9
    run(clock, [now_s + late_s + PACKET_S] + [now_s + (i + 2) * PACKET_S for i in range(10)])
    now_s += 11 * PACKET_S
    assert gap_s(clock, now_s + late_s + PACKET_S) == pytest.approx(0.0, abs=1e-9)
    assert gap_s(clock, now_s + 2.0 + late_s + PACKET_S) == pytest.approx(2.0, abs=1e-9)


def test_lateness_counts_for_a_second_and_no_longer():
    clock, now_s = started()
    run(clock, [now_s + 0.9 + PACKET_S])
    now_s += PACKET_S
    for n in range(1, LEAD_PACKETS):
        run(clock, [now_s + n * PACKET_S])
    assert clock.state.max_lead_s == pytest.approx(0.9)
    run(clock, [now_s + LEAD_PACKETS * PACKET_S])
    assert clock.state.max_lead_s == pytest.approx(0.0, abs=1e-9)
    assert LEAD_PACKETS * PACKET_S == pytest.approx(1.0)


@pytest.mark.parametrize("speed", [0.9997, 0.9999, 1.0001, 1.0003])
def test_drift_over_hours_is_in_no_gap(speed):
    hours = 3
    clock, now_s = started(hours * 3600, speed=speed)
    drift_s = now_s - clock.state.end_s
    assert drift_s == pytest.approx(hours * 3600 * (1 / speed - 1), abs=1e-3)
    assert abs(drift_s) > 1  # else this shows nothing
    # Except for the drift within the second over which the lead is measured.
    assert gap_s(clock, now_s + 0.3 + PACKET_S) == pytest.approx(0.3, abs=1e-3)


def test_the_clock_of_the_next_process_carries_on():
    first, now_s = started(2 * 3600, speed=0.9997)
    run(first, [now_s + 0.2])  # the last packet is late
    second = SoundClock(first.state)
    assert second.state == first.state
    assert second.next_block_s == first.state.end_s
    # Neither drift nor lateness is in the outage, nor is the machine's time restored.
    found_s = gap_s(second, now_s + 0.2 + 8.0 + PACKET_S)
    assert found_s == pytest.approx(8.0, abs=1e-3)
    (start_s,) = run(second, [now_s + 0.2 + 8.0 + PACKET_S])
    assert start_s == pytest.approx(first.state.end_s + 8.0, abs=1e-3)
    assert now_s + 8.0 - start_s > 2.0


def test_what_a_resampler_holds_delays_blocks_but_no_time():
    clock = SoundClock(ClockState(100.0, 0.0))
    now_s = 100.0
    starts_s = []
    for n in range(40):
        now_s += PACKET_S
        block_s = 0.0 if n < 2 else PACKET_S
        starts_s.append(clock.advance(PACKET_S, now_s, block_s=block_s))
        assert clock.state.end_s == pytest.approx(now_s, abs=1e-9)
        assert clock.state.max_lead_s == pytest.approx(0.0, abs=1e-9)
    assert starts_s[:3] == [100.0] * 3
    assert clock.held_s == pytest.approx(2 * PACKET_S)
    assert clock.next_block_s == pytest.approx(now_s - 2 * PACKET_S)


@pytest.mark.parametrize(("away_s", "lost_s"), [(1.5, 0.1), (0.0, 1.5)])
def test_a_gap_comes_after_what_a_resampler_held(away_s, lost_s):
    clock = SoundClock(ClockState(100.0, 0.0))
    clock.advance(PACKET_S, 100.0 + PACKET_S, block_s=0.01)
    found_s = gap_s(clock, 100.0 + 2 * PACKET_S + away_s, lost_s=lost_s)
    assert found_s == pytest.approx(1.5)
    assert clock.held_s == 0.0
    assert clock.next_block_s == pytest.approx(100.0 + PACKET_S + 1.5)
