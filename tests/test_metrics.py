import numpy as np
import pytest

from convert.metrics import auc, interval_over_sources, recall_at


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


def test_the_interval_comes_from_sources_not_windows():
    rng = np.random.default_rng(0)
    # Two sources of many windows each: one always found, one never.
    positive = [np.ones(1000, "f4"), np.zeros(1000, "f4")]
    negative = [rng.uniform(0.4, 0.6, 1000).astype("f4")]
    low, high = interval_over_sources(auc, positive, negative, seed=1)
    assert (low, high) == (0, 1)
    assert interval_over_sources(auc, positive, negative, seed=1) == (low, high)
