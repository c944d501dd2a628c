import itertools

import numpy as np
import pytest

from edge.indicator import STALE_S
from edge.window import NO_FLAWS, Block, FlawAverage, Flaws, Windower, mean_flaws

SR = 1000


def blocks(n, size, seed=0):
    """A counter cut into random blocks: any sample lost or repeated shows."""
    rng = np.random.default_rng(seed)
    y, at = np.arange(n, dtype=np.float32), 0
    while at < n:
        step = int(rng.integers(1, size + 1))
        yield Block(y[at : at + step], at / SR)
        at += step


def test_flaws_are_those_of_the_window():
    windower = Windower(500, 500, SR)
    blocks = [
        Block(np.zeros(250, np.float32), i / 4, flaws=Flaws(float(i >= 4), float(i < 2)))
        for i in range(8)
    ]
    windows = [window for block in blocks for window in windower.push(block)]
    assert [window.flaws for window in windows] == [(0, 1), (0, 0), (1, 0), (1, 0)]


@pytest.mark.parametrize("hop", [1, 7, 250, 500, 501, 1300])
@pytest.mark.parametrize("size", [1, 64, 3000])
def test_windows_are_cut_where_they_should_be(hop, size):
    windower = Windower(500, hop, SR)
    windows = [w for block in blocks(3210, size) for w in windower.push(block)]
    assert [w.y[0] for w in windows] == list(range(0, 3210 - 500 + 1, hop))
    for window in windows:
        np.testing.assert_array_equal(window.y, np.arange(window.y[0], window.y[0] + 500))
        assert window.start_s == pytest.approx(window.y[0] / SR)
        assert window.end_s == pytest.approx(window.start_s + 0.5)


def test_no_window_spans_a_gap():
    windower = Windower(500, 100, SR)
    before = windower.push(Block(np.zeros(550, dtype=np.float32), 0.0))
    after = windower.push(Block(np.ones(550, dtype=np.float32), 9.0, gap=True))
    assert [w.y.sum() for w in before] == [0]
    assert [w.y.sum() for w in after] == [500]
    assert after[0].start_s == 9.0


def test_a_window_that_gaps_prevent_is_missed_once_it_is_overdue():
    windower = Windower(500, 100, SR)
    assert windower.missed_window() is None
    missed = []
    for at in range(1000, 3000, 50):  # in pieces of 250, with 50 lost before each
        if at % 300 != 250:
            windower.push(Block(np.zeros(50, np.float32), at / SR, gap=at % 300 == 0))
            missed.append(windower.missed_window())
    ends = [round(found[1] * SR) for found in missed if found]
    # After 500 and two of 100; then one every hop, or with the next block of 50.
    assert ends[0] == 1750
    assert {later - end for end, later in itertools.pairwise(ends)} <= {100, 150}
    assert [found[1] - found[0] for found in missed if found] == pytest.approx([0.5] * len(ends))


def test_with_long_hops_one_is_missed_before_the_lamp_calls_it_a_fault():
    windower = Windower(2 * SR, 2 * SR, SR)  # the longest that may be set
    windower.push(Block(np.zeros(2 * SR, np.float32), 0.0))
    ends = []
    for number in range(200):
        windower.push(Block(np.zeros(SR // 10, np.float32), 2 + number / 10, gap=number % 10 == 0))
        ends += [found[1] for found in [windower.missed_window()] if found]
    waits = np.diff([2.0, *ends])
    assert waits[0] == pytest.approx(4.6)  # a window, a hop, half a second, the next block
    assert waits[1:] == pytest.approx(2.0, abs=0.11)  # or with the next block
    assert waits.max() < STALE_S


def test_no_window_is_missed_of_sound_that_has_stopped():
    windower = Windower(500, 100, SR)
    windower.push(Block(np.zeros(550, np.float32), 1.0))
    windower.push(Block(np.zeros(10, np.float32), 9.0, gap=True))
    assert windower.missed_window() == pytest.approx((8.51, 9.01))
    windower.sound_stops()
    windower.push(Block(np.zeros(10, np.float32), 19.0, gap=True))
    assert windower.missed_window() is None
    windower.push(Block(np.zeros(500, np.float32), 19.01))
    assert windower.missed_window() is None  # there was one


def test_the_tail_ends_with_the_signal():
    windower = Windower(500, 400, SR)
    for block in blocks(1250, 64):
        windower.push(block)
    tail = windower.tail(min_new=1)
    assert tail is not None
    assert tail.y[-1] == 1249
    assert tail.end_s == pytest.approx(1.25)


def test_no_tail_where_everything_is_covered_or_too_little_came():
    windower = Windower(500, 500, SR)
    windower.push(Block(np.zeros(400, dtype=np.float32), 0.0))
    assert windower.tail(min_new=1) is None
    windower.push(Block(np.zeros(100, dtype=np.float32), 0.4))
    assert windower.tail(min_new=1) is None


def test_memory_is_bounded():
    windower = Windower(500, 100, SR)
    for block in blocks(100_000, 64):
        windower.push(block)
    assert windower._pending.size <= 600


def test_a_hop_of_nothing_is_refused():
    with pytest.raises(ValueError, match="hop"):
        Windower(500, 0, SR)


def test_flaws_are_averaged_over_what_went_in_since_the_last_block():
    average = FlawAverage()
    assert average.mean_and_reset() == NO_FLAWS
    average.add(Flaws(1.0, 0.0), 100)
    average.add(Flaws(0.0, 0.5), 300)
    assert average.mean_and_reset() == Flaws(0.25, 0.375)
    assert average.mean_and_reset() == Flaws(0.25, 0.375)  # what only the filter still held
    average.add(Flaws(0.1, 0.2), 10)
    assert average.mean_and_reset() == pytest.approx(Flaws(0.1, 0.2))


def test_long_blocks_weigh_more():
    blocks = [Block(np.zeros(900, "f4"), 0.0, flaws=Flaws(1, 0)), Block(np.zeros(100, "f4"), 0.9)]
    assert mean_flaws(blocks) == pytest.approx((0.9, 0))


def test_a_tail_of_exactly_as_much_as_is_asked_for_is_given():
    windower = Windower(500, 500, SR)
    windower.push(Block(np.zeros(600, dtype=np.float32), 0.0))
    assert windower.tail(min_new=101) is None
    tail = windower.tail(min_new=100)
    assert tail is not None
    assert (tail.start_s, tail.end_s) == pytest.approx((0.1, 0.6))


def test_the_wait_for_a_window_begins_at_the_end_of_the_last_one():
    """A block may complete several."""
    windower = Windower(500, 100, SR)
    windower.push(Block(np.zeros(1500, np.float32), 0.0))
    windower.push(Block(np.zeros(100, np.float32), 1.9, gap=True))
    assert windower.missed_window() is None  # 0.5 s; a window and two hops are 0.7 s
    windower.push(Block(np.zeros(250, np.float32), 2.0))
    assert windower.missed_window() == pytest.approx((1.75, 2.25))


def test_an_empty_block_is_no_beginning():
    """What follows it has a start of its own."""
    windower = Windower(500, 500, SR)
    windower.push(Block(np.empty(0, np.float32), 3.0))
    (window,) = windower.push(Block(np.zeros(500, np.float32), 7.0))
    assert (window.start_s, window.end_s) == (7.0, 7.5)
