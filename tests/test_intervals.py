import numpy as np
import pytest

from scripts.intervals import PairwiseAuc, in_percent, interval_of_auc, interval_of_share


def windows(hits, count):
    return np.arange(count) < hits


def test_of_one_source_it_is_wilsons():
    """2 of 8: (p + z² / 2n ± z sqrt(p (1 - p) / n + z² / 4n²)) / (1 + z² / n), z = 1.96."""
    low, high = interval_of_share({"a": windows(2, 8)}) or (0, 0)
    assert (low, high) == pytest.approx((0.0715, 0.5907), abs=1e-4)


def test_none_of_many_are_not_surely_none():
    low, high = interval_of_share({name: windows(0, 50) for name in "abcd"}) or (1, 1)
    assert low == 0
    assert high == pytest.approx(0.0188, abs=1e-4)  # z² / (n + z²)


def test_windows_of_one_source_count_for_less_than_as_many_sources():
    """Half of all either way: of two cars in ten all windows, or a few of each."""
    alike = interval_of_share({str(i): windows(10, 20) for i in range(10)}) or (0, 0)
    apart = interval_of_share({str(i): windows(20 * (i % 2), 20) for i in range(10)}) or (0, 0)
    assert alike == pytest.approx((0.431, 0.569), abs=0.001)  # Wilson's
    # Ten draws of a half: two in a hundred have at most 2, or at least 8.
    assert apart == pytest.approx((0.2, 0.8), abs=0.01)


def test_of_no_window_there_is_none():
    assert interval_of_share({}) is None
    assert in_percent(None) == "-"
    assert in_percent((0.019, 0.054)) == "1.9 to 5.4 %"


def test_an_auc_is_as_sure_as_its_sources_are_alike():
    same = PairwiseAuc(np.full((4, 10), 0.8), [*"abcd"], [*"0123456789"])
    assert interval_of_auc([same]) == pytest.approx((0.8, 0.8))
    odd = same._replace(auc=np.array([[1.0], [1.0], [1.0], [0.0]]).repeat(10, axis=1))
    # How often d is drawn, of four times a quarter: never 0.32, three times or more 0.05.
    assert interval_of_auc([odd]) == pytest.approx((0.25, 1.0))


def test_sources_are_drawn_over_all_parts():
    """Within parts of one source each there would be nothing to draw, and no spread at all."""
    parts = [
        PairwiseAuc(np.array([[auc]]), [auc_name], ["e"]) for auc, auc_name in ((0, "a"), (1, "b"))
    ]
    assert interval_of_auc(parts) == (0, 1)


def test_a_car_in_both_is_drawn_once_for_both():
    """Before and after its repair: a draw without it has no pair here."""
    alone = PairwiseAuc(np.array([[0.7]]), ["golf"], ["golf"])
    assert interval_of_auc([alone, PairwiseAuc(np.array([[0.7]]), ["polo"], ["polo"])]) == (
        0.7,
        0.7,
    )
