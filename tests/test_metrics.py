import dataclasses

import numpy as np
import pytest

from convert.metrics import (
    auc,
    calibration_bins,
    cluster_bootstrap_interval,
    max_false_positives,
    min_negatives,
    recall_at,
    roc,
)
from tests.graded import judged, report


def f(*values):
    return np.array(values, dtype=np.float32)


@pytest.mark.parametrize(
    ("positive", "negative", "expected"),
    [
        (f(0.9, 0.8), f(0.1, 0.2), 1.0),
        (f(0.1, 0.2), f(0.9, 0.8), 0.0),
        (f(0.5), f(0.5), 0.5),
        (f(0.9, 0.3), f(0.5, 0.1), 0.75),
    ],
)
def test_auc_of_a_few(positive, negative, expected):
    assert auc(positive, negative) == expected


def test_auc_counts_pairs():
    rng = np.random.default_rng(0)
    p, n = rng.integers(0, 9, 50).astype("f4"), rng.integers(0, 7, 60).astype("f4")
    pairs = [(a > b) + 0.5 * (a == b) for a in p for b in n]
    assert auc(p, n) == pytest.approx(np.mean(pairs))
    assert np.isnan(auc(p, f()))


def test_recall_at_a_false_rate():
    negative = np.arange(100, dtype=np.float32)
    assert recall_at(0.01, f(97.5, 98.5, 200), negative) == pytest.approx(2 / 3)  # one may exceed
    assert recall_at(0.0, f(98.5, 200), negative) == 0.5


def test_a_rate_shows_on_so_many_negatives_that_one_may_be_called():
    assert recall_at(0.01, f(200), np.zeros(99, "f4")) is None
    assert recall_at(0.01, f(200), np.zeros(100, "f4")) == 1
    for n in range(1, 2000):  # a rate of 1/n shows on n, whatever floats make of it
        assert min_negatives(1 / n) == n
        assert max_false_positives(1 / n, n) == 1
    assert min_negatives(0.0) == 0


def test_what_a_rate_allows_is_not_cut_off_by_floats():
    assert max_false_positives(0.57, 100) == 57  # int(0.57 * 100) is 56
    negative = np.arange(100, dtype=np.float32)
    assert recall_at(0.57, f(42.5), negative) == 1  # 57 are above it
    assert all(max_false_positives(k / 100, 100) == k for k in range(101))
    assert max_false_positives(0.001, 1999) == 1


def test_the_interval_comes_from_sources_not_windows():
    rng = np.random.default_rng(0)
    # Two sources of many windows each: one always found, one never.
    positive = {"a": np.ones(1000, "f4"), "b": np.zeros(1000, "f4")}
    negative = {"c": rng.uniform(0.4, 0.6, 1000).astype("f4")}
    low, high = cluster_bootstrap_interval(auc, positive, negative, seed=1)
    assert (low, high) == (0, 1)
    assert cluster_bootstrap_interval(auc, positive, negative, seed=1) == (low, high)


def test_a_car_in_both_classes_is_drawn_once_for_both():
    """Each car's microphone shifts all that it says: within any one car knocks stand out by 1."""
    shifts = {name: 10.0 * number for number, name in enumerate("abcdef")}
    positive = {name: f(shift + 1) for name, shift in shifts.items()}
    negative = {name: f(shift) for name, shift in shifts.items()}

    def gap(p, n):
        return float(p.mean() - n.mean())

    # Means of float32 around 50 are right to six digits.
    found = cluster_bootstrap_interval(gap, positive, negative, seed=1)
    assert found == pytest.approx((1, 1), abs=5e-5)
    apart = {name.upper(): p for name, p in negative.items()}
    low, high = cluster_bootstrap_interval(gap, positive, apart, seed=1)
    assert low < -10
    assert high > 10


def test_a_draw_without_any_negative_is_none():
    positive, negative = {"a": f(1), "b": f(0)}, {"a": f(0.5)}
    # Of a and a it is 1, of a and b 0.5; b and b have no negative.
    assert cluster_bootstrap_interval(auc, positive, negative, seed=1) == (0.5, 1.0)


def test_sources_in_one_class_are_drawn_as_ever():
    """The numbers of published intervals: each side drawn whole, the positive ones first."""
    rng = np.random.default_rng(3)
    positive = {f"p{i}": rng.normal(1, 1, 5).astype("f4") for i in range(4)}
    negative = {f"n{i}": rng.normal(0, 1, 7).astype("f4") for i in range(6)}
    again = np.random.default_rng(2)

    def side(sources):
        kept = list(sources.values())
        return np.concatenate([kept[i] for i in again.integers(len(kept), size=len(kept))])

    drawn = [auc(side(positive), side(negative)) for _ in range(1000)]
    expected = tuple(np.percentile(drawn, [2.5, 97.5]))
    assert cluster_bootstrap_interval(auc, positive, negative, seed=2) == expected


def test_the_curve_and_the_area_below_it_are_of_the_same_scores():
    rng = np.random.default_rng(0)
    positive, negative = rng.normal(1, 1, 300).astype("f4"), rng.normal(0, 1, 200).astype("f4")
    false, found = roc(positive, negative)
    assert (false[0], found[0], false[-1], found[-1]) == (0, 0, 1, 1)
    assert (np.diff(false) >= 0).all()
    assert (np.diff(found) >= 0).all()
    assert np.sum(np.diff(false) * (found[1:] + found[:-1]) / 2) == pytest.approx(
        auc(positive, negative), abs=1e-9
    )


def test_a_score_at_the_limit_counts_as_called():
    false, found = roc(f(0.5, 0.9), f(0.5, 0.1))
    assert false.tolist() == [0, 0, 0.5, 1]
    assert found.tolist() == [0, 0.5, 1, 1]


def test_certainty_falls_into_the_last_range_and_empty_ones_are_left_out():
    rows = calibration_bins(f(1.0, 0.95, 0.0), np.array([True, True, False]))
    assert [(row["from"], row["windows"]) for row in rows] == [(0.0, 1), (0.9, 2)]


def test_a_knock_that_scores_like_a_negative_that_must_not_be_called_is_not_found():
    """Answers of int8 are steps of 1/256: many are the same."""
    assert recall_at(0.0, f(99, 99, 100, 100), np.arange(100, dtype=np.float32)) == 0.5


def test_a_range_holds_what_lies_in_it():
    p = f(0.06, 0.14, 0.51, 0.59)
    rows = calibration_bins(p, np.array([False, False, True, True]))
    assert [(row["from"], row["windows"]) for row in rows] == [(0.0, 1), (0.1, 1), (0.5, 2)]


def test_the_mean_of_a_range_weighs_both_classes_alike():
    """As its true share: three answers of one class weigh no more than one of the other."""
    (row,) = calibration_bins(f(0.82, 0.88, 0.88, 0.88), np.array([True, False, False, False]))
    # Without weights the mean would be 0.865; both are rounded to four decimals.
    assert row["mean_p"] == pytest.approx(0.85, abs=6e-5)
    assert row["true_share"] == pytest.approx(0.5, abs=6e-5)


def test_a_report_gives_its_temperature_and_draws_its_intervals_with_its_seed():
    rng = np.random.default_rng(0)
    rows = [judged(f"k{i}", "knocking", rng.random(5)) for i in range(3)]
    rows += [judged(f"n{i}", "normal", rng.random(5)) for i in range(3)]
    for seed in (1, 2):
        graded = dataclasses.replace(report(*rows), seed=seed, temperature=2.5)
        drawn = graded.p_of_knocks(), graded.p_of_kind("engine")
        expected = cluster_bootstrap_interval(auc, *drawn, seed=seed)
        found = graded.to_dict()
        # Rounded to four decimals.
        assert found["separation"]["engine"]["auc_95"] == pytest.approx(expected, abs=6e-5)
        assert (found["seed"], found["temperature"]) == (seed, 2.5)
