"""Temperature scaling: the device's, and the workstation's, which sees one answer of two."""

import numpy as np
import pytest

from edge.model import PRECISIONS
from edge.temperature import (
    apply_temperature,
    apply_temperature_single,
    log_odds,
    raw_threshold,
    remove_temperature,
)


def test_temperature_keeps_order_and_sum():
    p = np.array([0.9, 0.1], dtype=np.float32)
    assert apply_temperature(p, 1) is p
    cooler, hotter = apply_temperature(p, 2), apply_temperature(p, 0.5)
    assert 0.5 < cooler[0] < 0.9 < hotter[0] < 1
    assert cooler.sum() == pytest.approx(1)
    assert np.isfinite(apply_temperature(np.array([1, 0], dtype=np.float32), 3)).all()


def test_log_odds_of_certainty_are_finite():
    for precision in PRECISIONS:
        assert np.isfinite(log_odds(np.array([0, 0.5, 1], dtype=np.float32), precision)).all()


def test_the_surest_answers_are_taken_for_the_surer():
    """An int8 network's 255/256 stands beside 0 or 1/256, and a report has the one alone."""
    p = np.array([255 / 256, 0], dtype=np.float32)
    for temperature in (0.5, 2.0):
        device = apply_temperature(p, temperature)[0]
        ours = 1 / (1 + np.exp(-log_odds(p[:1], "int8")[0] / temperature))
        assert ours == pytest.approx(device, abs=1e-6)
    for precision in PRECISIONS:
        z = log_odds(np.linspace(0, 1, 10_001).astype(np.float32), precision)
        assert (np.diff(z) >= 0).all()


@pytest.mark.parametrize("precision", ["float16", "float32"])
def test_answers_of_a_float_network_are_reckoned_with_as_the_device_does(precision):
    # The last is between 1 - 1/256, where int8 ends, and 1 - 1/512, where the device cuts off.
    for p in (0.0, 0.001, 0.3, 0.99, 0.997):
        both = np.array([p, 1 - p], dtype=np.float32)
        for temperature in (0.5, 2.0):
            ours = 1 / (1 + np.exp(-log_odds(both[:1], precision)[0] / temperature))
            device = apply_temperature(both, temperature)[0]
            assert ours == pytest.approx(device, abs=1e-6)  # float32


@pytest.mark.parametrize("temperature", [0.5, 2.0, 8.0])
def test_what_the_network_said_is_found_again(temperature):
    said = np.array([0.01, 0.3, 0.5, 0.9], dtype=np.float32)
    made = apply_temperature_single(said, temperature, "float32")
    # float32 tells these from certain to 1e-7, of which a temperature of 8 makes eight times that.
    assert remove_temperature(made, temperature) == pytest.approx(said, abs=1e-6)
    for p, threshold in zip(said, made, strict=True):
        assert raw_threshold(float(threshold), temperature) == pytest.approx(p, abs=1e-6)


def test_a_threshold_that_nothing_reaches_is_no_overflow():
    assert raw_threshold(1e-9, 100.0) == pytest.approx(0, abs=1e-300)
    assert raw_threshold(1 - 1e-9, 100.0) == 1
