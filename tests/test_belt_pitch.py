import numpy as np
import pytest

from convert import faults
from convert.synth import SR
from tests.audio import steady
from tests.scripted_rng import ScriptedRng

LOG_PITCH = ("uniform", np.log(600), np.log(4500))


def squealing(hz, seed=0, *, partials=5, wander=0.0):
    """A generator for a belt that squeals at ``hz``, within ``wander``, with strong harmonics."""
    fixed = {
        LOG_PITCH: np.log(hz),
        ("normal", 0, 0.03): 0.0,
        ("normal", 0, 0.02): wander,
        ("integers", 2, 7): partials + 1,
        ("uniform", 0.5, 2): 0.5,
        ("choice", ("squeal", "chirp", "flap")): "squeal",
    }
    return ScriptedRng(seed, fixed)


@pytest.mark.parametrize("hz", [2300, 3300, 4400])
def test_a_squeal_has_harmonics_up_to_half_the_sample_rate_and_no_aliases(hz):
    y = faults.belt(squealing(hz), steady(1200, 4))
    power = np.abs(np.fft.rfft(y * np.hanning(y.size))) ** 2
    heard = np.fft.rfftfreq(y.size, 1 / SR)
    # The belt trembles at up to 40 Hz, as if switched at most: sidebands within some 400 Hz.
    near = [np.abs(heard - k * hz) < 400 for k in range(1, 6)]
    for k in range(1, 6):
        if k * hz < SR / 2:  # the partials' power falls as 1 / k
            assert power[near[k - 1]].sum() > 0.05 * power.sum()
    # Seen: 1e-18; with aliases 9 % and more. Other ways of trembling leave some 1e-5.
    assert power[~np.any(near, axis=0)].sum() < 0.005 * power.sum()


def test_a_wander_upwards_counts():
    """The third partial of 3600 Hz is at 10 800: below half the sample rate until it wanders."""
    y = faults.belt(squealing(3600, partials=3, wander=0.05), steady(1200, 4))
    power = np.abs(np.fft.rfft(y * np.hanning(y.size))) ** 2
    heard = np.fft.rfftfreq(y.size, 1 / SR)
    # Wandering by 5 % the second partial ends at 7560; the third would cover 10 260 to 11 025.
    assert power[heard > 9000].sum() < 0.005 * power.sum()


@pytest.mark.parametrize("seed", range(3))
def test_a_partial_left_out_does_not_move_the_draws_after_it(seed):
    low, high = squealing(700, seed), squealing(4400, seed)
    for rng in (low, high):
        faults.belt(rng, steady(1200, 4, 1))
    assert low.bit_generator.state == high.bit_generator.state
