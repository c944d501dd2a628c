"""Samples against the clock: of a script, and of packets as a capture process sends them."""

import numpy as np
import pytest

from edge.config import AudioConfig
from edge.microphone import Microphone
from edge.rate_monitor import MAX_LATENESS_S, MIN_INTERVAL_S, RateMonitor, rate_error_message
from edge.recording import Recording
from edge.replay import Replay
from tests.audio import noise, wav_file
from tests.captured import packet, stream_of
from tests.test_microphone import SR

PACKET_S = 0.05


def errors(monitor, speed, seconds, *, since_s=0.0, late=None, gaps=(0,)):
    """(time, error) after each packet of a card that delivers ``speed`` of what it claims.

    ``late``: seconds that each packet is late, cut to what can be held; none overtakes another.
    """
    count = round(seconds * speed / PACKET_S)
    times = since_s + np.arange(count) * PACKET_S / speed
    if late is not None:
        times = np.maximum.accumulate(times + np.clip(late(count), 0, MAX_LATENESS_S - 0.1))
    return [(t, monitor.push(PACKET_S, t, gap=n in gaps)) for n, t in enumerate(times)]


def found_s(said):
    """When the first error was told."""
    return next((t for t, error in said if error), None)


@pytest.mark.parametrize("speed", [1.0, 0.999, 1.001, 0.975, 1.025])
def test_a_card_that_keeps_its_rate_is_fine(speed):
    assert found_s(errors(RateMonitor(), speed, 3600)) is None


@pytest.mark.parametrize(
    ("speed", "until_s"),
    # 5 s must be off: after 5 / 0.3 s, but in no less than an interval; and so on.
    [(0.7, 20.1), (0.5, 20.1), (48 / 44.1, 60), (0.9, 51), (0.96, 126), (1.04, 126)],
)
def test_what_is_missing_or_too_much_is_told(speed, until_s):
    said = errors(RateMonitor(), speed, 200)
    assert MIN_INTERVAL_S <= found_s(said) <= until_s
    for t, error in said:
        if t >= found_s(said):
            assert error == pytest.approx(speed - 1, abs=0.003)  # a packet of 50 ms in 20 s


# Where nobody tells when it was mended, one interval holds some of what was before.
@pytest.mark.parametrize(("gaps", "most_s"), [((0,), MIN_INTERVAL_S), ((), 2 * MIN_INTERVAL_S)])
@pytest.mark.parametrize("bad_s", range(60, 80, 3))
def test_once_fine_again_it_is_forgotten(bad_s, gaps, most_s):
    monitor = RateMonitor()
    assert errors(monitor, 0.7, bad_s)[-1][1] == pytest.approx(-0.3, abs=0.003)
    said = errors(monitor, 1.0, 400, since_s=bad_s, gaps=gaps)
    healed_s = next(t for t, error in said if not error)
    assert healed_s - bad_s <= most_s + 0.1  # two packets
    assert found_s((t, e) for t, e in said if t > healed_s) is None


@pytest.mark.parametrize("every", [110, 200, 300])
def test_once_fine_again_it_is_forgotten_though_gaps_leave_no_whole_interval(every):
    """Nothing is judged while it is held wrong: what nobody can measure must not last."""
    monitor = RateMonitor()
    assert errors(monitor, 0.7, 60)[-1][1] == pytest.approx(-0.3, abs=0.003)
    said = errors(monitor, 1.0, 100, since_s=60, gaps=range(0, 2000, every))
    healed_s = next(t for t, error in said if not error)
    assert healed_s - 60 <= every * PACKET_S + 0.1


def test_a_gap_excuses_no_wrong_rate_that_is_known():
    monitor = RateMonitor()
    errors(monitor, 0.7, 60)
    said = errors(monitor, 0.7, 300, since_s=60, gaps=range(0, 20_000, 210))
    assert all(error == pytest.approx(-0.3, abs=0.003) for _, error in said)


def test_it_is_found_though_it_was_fine_for_a_day():
    monitor = RateMonitor()
    assert found_s(errors(monitor, 1.0, 86_400)) is None
    slower = 86_400 + np.arange(1000) * PACKET_S / 0.7
    told_s = found_s((t, monitor.push(PACKET_S, t, gap=False)) for t in slower)
    assert told_s - 86_400 <= 2 * MIN_INTERVAL_S


def bursts(count):
    """A driver that hands out 0.9 s at once: all but the last of them are late."""
    n = np.arange(count)
    return (17 - n % 18) * PACKET_S


def busy(rng):
    """A machine that is busy now and then: all is late by up to 5 s, for up to half a minute."""

    def late(count):
        lateness = np.zeros(count)
        for at in np.cumsum(rng.integers(1, 1200, count // 600)):
            lateness[at : at + rng.integers(1, 600)] = rng.uniform(0, MAX_LATENESS_S)
        return lateness

    return late


def falling_behind(count):
    """Ever later for 25 s, and then it catches up at once; again and again."""
    return np.arange(count) % 500 * MAX_LATENESS_S / 500


@pytest.mark.parametrize("late", [bursts, falling_behind])
def test_sound_that_is_late_but_comes_is_no_loss(late):
    assert found_s(errors(RateMonitor(), 1.0, 3600, late=late)) is None


@pytest.mark.parametrize("seed", range(20))
def test_a_busy_machine_loses_nothing(seed):
    late = busy(np.random.default_rng(seed))
    assert found_s(errors(RateMonitor(), 1.0, 3600, late=late)) is None


@pytest.mark.parametrize("late", [bursts, falling_behind])
def test_lateness_hides_no_loss_for_long(late):
    assert found_s(errors(RateMonitor(), 0.7, 300, late=late)) <= 60


def test_what_is_known_to_be_lost_is_no_wrong_rate():
    """Packets with a gap every 15 s: nobody can say what the time between them means."""
    assert found_s(errors(RateMonitor(), 0.7, 600, gaps=range(0, 20_000, 210))) is None


def between_gaps(monitor, speed, hours, every_s, late, *, since_s=0.0, lost_s=0.4):
    """(time, error) of a card that delivers ``speed`` and tells of a loss ``every_s`` or so.

    ``late(t, since_s, left_s)``: how late each packet is, by the time from and to those losses.
    """
    rng = np.random.default_rng(7)
    ends = np.cumsum(rng.uniform(0.8, 1.2, 1 + round(hours * 3600 / every_s / 0.8)) * every_s)
    n = np.arange(round(hours * 3600 * speed / PACKET_S))
    at = n * PACKET_S / speed
    which = np.searchsorted(ends, at, side="right")
    began, ended = np.append(0, ends)[which], ends[which]
    lost = lost_s * which + since_s  # what is lost takes its time, too
    times = np.maximum.accumulate(at + lost + np.clip(late(at, at - began, ended - at), 0, 4.9))
    gaps = np.diff(which, prepend=-1) > 0
    return [
        (t, monitor.push(PACKET_S, t, gap=gap))
        for t, gap in zip(times.tolist(), gaps.tolist(), strict=True)
    ]


def held_up(at, since, left):
    """By up to 5 s, for up to half a minute, now more and now less."""
    rng = np.random.default_rng(3)
    changes = np.cumsum(rng.uniform(0.05, 30, 2 + int(at[-1] / 10)))
    return rng.uniform(-3, MAX_LATENESS_S, changes.size)[np.searchsorted(changes, at)]


LATE = {
    "never": lambda at, since, left: 0 * at,
    "now and then": held_up,
    "handed out at once": lambda at, since, left: -at % 0.9,
    "for long, and then it catches up": lambda at, since, left: at % 25 / 5,
    "all before a loss comes at once": lambda at, since, left: left * (left < MAX_LATENESS_S),
    "all after a loss comes at once": lambda at, since, left: MAX_LATENESS_S - since,
    "held up before a loss, and dropped": lambda at, since, left: 5.0 * (left < 8),
    "the driver fills up until there is a loss": lambda at, since, left: since / (since + left),
    "the loss is told too late": lambda at, since, left: 3.0 * (left < 0.5),
    "the loss is told too early": lambda at, since, left: 3.0 * (since > 0.5),
}


@pytest.mark.parametrize("every_s", [7, 25, 45, 90])
@pytest.mark.parametrize("late", LATE)
def test_losses_that_are_told_of_are_no_wrong_rate_in_hours(late, every_s):
    assert found_s(between_gaps(RateMonitor(), 1.0, 2, every_s, LATE[late])) is None


@pytest.mark.parametrize("late", ["never", "now and then", "the loss is told too late"])
@pytest.mark.parametrize(
    ("speed", "every_s"), [(0.9, 40), (0.9, 45), (0.94, 60), (0.8, 26), (48 / 44.1, 45)]
)
def test_losses_that_are_told_of_hide_no_wrong_rate_for_long(speed, every_s, late):
    """In each interval between two of them too little is off to be more than late."""
    said = between_gaps(RateMonitor(), speed, 0.25, every_s, LATE[late])
    told_s = found_s(said)
    assert told_s <= 300
    assert dict(said)[told_s] * (speed - 1) > 0
    if late == "never":
        assert dict(said)[told_s] == pytest.approx(speed - 1, abs=0.003)


@pytest.mark.parametrize("count", [1, 2])
def test_one_packet_or_two_show_no_trend(count):
    monitor = RateMonitor()
    monitor.push(1.0, 0.0, gap=True)
    for n in range(count):
        monitor.push(18.0 / count, 20.0 * (n + 1) / count, gap=False)
    assert monitor.push(1.0, 21.0, gap=True) == 0.0


@pytest.mark.parametrize("every_s", [7, 25, 45])
def test_what_was_found_between_losses_is_forgotten_once_it_is_mended(every_s):
    monitor = RateMonitor()
    said = between_gaps(monitor, 0.9, 0.1, 45, LATE["never"])
    assert said[-1][1] < 0
    mended_s = said[-1][0]
    said = between_gaps(monitor, 1.0, 1, every_s, LATE["never"], since_s=mended_s)
    healed_s = next(t for t, error in said if not error)
    assert healed_s - mended_s <= 2 * MIN_INTERVAL_S
    assert found_s((t, e) for t, e in said if t > healed_s) is None


def test_a_gap_of_an_hour_is_not_held_against_the_card():
    monitor = RateMonitor()
    errors(monitor, 1.0, 30)
    assert found_s(errors(monitor, 1.0, 100, since_s=3600)) is None


@pytest.mark.parametrize(
    ("speed", "lost_at", "error"),
    [(1, None, 0), (0.7, None, -0.3), (48 / 32, None, 0.5), (0.7, 175, 0)],
)
def test_a_stream_tells_it_unless_it_knows_of_a_loss(speed, lost_at, error):
    rate, n = 32_000, 1600
    # Read at once: that is no matter.
    stream = stream_of(
        packet(n, 100 + i * PACKET_S / speed, rate=rate, lost=i == lost_at)
        for i in range(700 if speed > 1 else 350)  # 23 s of clock, or 25
    )
    assert stream.rate_error == pytest.approx(error, abs=0.005)


def test_a_microphone_tells_it_until_it_is_fine_again(caplog):
    microphone = Microphone(AudioConfig(), SR, command=["false"])
    assert microphone.rate_error == 0.0
    slow = 100 + np.arange(350) * 1102 / SR / 0.7  # 25 s
    fine = slow[-1] + np.arange(1, 900) * 1102 / SR  # 45 s: two intervals and some more
    for came, error in ((slow, -0.3), (slow, -0.3), (np.append(slow, fine), 0.0)):
        stream = stream_of(packet(1102, at) for at in came)
        microphone._on_blocks(stream, stream.take(0))
        assert microphone.rate_error == pytest.approx(error, abs=0.003)  # a packet of 50 ms in 20 s
        assert microphone.problem == ""  # it is heard, after all
    (warning,) = caplog.messages  # once
    assert "30% too few samples" in warning
    assert "audio.rates" in warning


def test_a_microphone_that_is_lost_has_no_rate():
    microphone = Microphone(AudioConfig(), SR, command=["false"])
    microphone.rate_error = -0.3
    microphone._give_up("gone")
    assert microphone.rate_error == 0.0


def test_a_recording_has_the_rate_it_has(tmp_path):
    wav = wav_file(tmp_path / "a.wav", noise(1).astype("f8"), SR)
    replay = Replay(Recording(wav), 1.0)
    assert (replay.rate_error, replay.name) == (0.0, str(wav))


def test_what_is_wrong_is_said_in_words():
    assert rate_error_message(0.0) == ""
    assert "30% too few" in rate_error_message(-0.3)
    assert "9% too many" in rate_error_message(0.09)


def test_a_moment_between_two_gaps_does_not_show_that_the_rate_is_right():
    monitor = RateMonitor()
    assert errors(monitor, 0.7, 60)[-1][1] == pytest.approx(-0.3, abs=0.003)
    said = errors(monitor, 1.0, 60, since_s=60, gaps=range(0, 1200, 60))  # 3 s each
    assert all(error == pytest.approx(-0.3, abs=0.003) for _, error in said)
    assert errors(monitor, 1.0, 21, since_s=120)[-1][1] == 0


def test_what_a_driver_may_hold_back_and_drop_at_each_gap_is_no_wrong_rate():
    """Its buffer of less than a second fills up between one gap and the next."""
    monitor = RateMonitor()
    count = round(25 * 0.964 / PACKET_S)  # of 25 s, 0.9 s are missing
    said = errors(monitor, 0.964, 1000, gaps=range(0, 10**6, count))
    assert found_s(said) is None


def test_steady_losses_between_gaps_count_in_full():
    """Of every 40 s, 3 s are missing: after the second gap it is more than 5 s."""
    monitor = RateMonitor()
    speed = 1 - 3 / 40
    count = round(40 * speed / PACKET_S)
    told_s = found_s(errors(monitor, speed, 400, gaps=range(0, 10**6, count)))
    assert told_s == pytest.approx(80, abs=0.2)


def test_sound_held_up_in_the_middle_of_a_third_hides_no_steady_loss():
    """As in the test above, but in every interval all is late for a while."""
    speed = 1 - 3 / 40
    count = round(40 * speed / PACKET_S)

    def late(packets):
        return np.where(np.arange(packets) % count == count // 6 - 3, 4.9, 0.0)

    said = errors(RateMonitor(), speed, 400, late=late, gaps=range(0, 10**6, count))
    told_s = found_s(said)
    assert told_s == pytest.approx(120, abs=0.2)
