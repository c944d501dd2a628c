import numpy as np
import pytest

from edge.frontend.resample import resample
from edge.gate import BAND_HZ, Fault, Gate, longest_run
from tests.audio import noise

SR = 22_050


@pytest.fixture(scope="module")
def gate():
    return Gate(sr=SR)


def test_an_ordinary_sound_passes(gate):
    assert gate.check(noise(2)) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_not_finite(gate, value):
    y = noise(2)
    y[777] = value
    assert gate.check(y) is Fault.NOT_FINITE


@pytest.mark.parametrize("value", [3e38, -11])
def test_far_beyond_full_scale(gate, value):
    y = noise(2)
    y[777] = value
    assert gate.check(y) is Fault.CLIPPING


def test_digital_silence_and_a_stuck_converter_are_flat_lines(gate):
    assert gate.check(np.zeros(2 * SR, dtype=np.float32)) is Fault.FLAT_LINE
    assert gate.check(np.full(2 * SR, 0.5, dtype=np.float32)) is Fault.FLAT_LINE


def test_a_drop_out_in_good_sound(gate):
    y = noise(2)
    y[10_000 : 10_000 + int(0.49 * SR)] = 0
    assert gate.check(y) is None
    y[10_000 : 10_000 + int(0.51 * SR)] = 0
    assert gate.check(y) is Fault.FLAT_LINE


def sine(hz, rms_db, n=2 * SR):
    return (np.sqrt(2) * 10 ** (rms_db / 20) * np.sin(2 * np.pi * hz * np.arange(n) / SR)).astype(
        np.float32
    )


def test_a_sound_in_a_silent_room(gate):
    assert gate.check(sine(440.3, -59)) is None
    assert gate.check(sine(440.3, -61)) is Fault.SILENCE


@pytest.mark.parametrize("hz", [35, 440.3, 4000])
@pytest.mark.parametrize("n", [2 * SR, 30_001])
def test_power_in_band_of_a_sine_is_half_its_square(gate, hz, n):
    assert gate.power_in_band(sine(hz, -20, n)) == pytest.approx(0.01, rel=0.01)  # its main lobe


def test_power_in_band_of_white_noise_is_its_share(gate):
    y = noise(20)
    share = (BAND_HZ[1] - BAND_HZ[0]) / (SR / 2)
    # Some 80 000 degrees of freedom, halved by the window: half a percent of scatter.
    assert gate.power_in_band(y) == pytest.approx(0.01 * share, rel=0.02)


@pytest.mark.parametrize("hz", [0.3, 10, 9000])
def test_what_the_network_has_no_ears_for_is_silence(gate, hz):
    loud = sine(hz, -10)
    assert gate.check(loud) is Fault.SILENCE
    assert gate.check(loud + np.float32(1e-3) * noise(2)) is Fault.SILENCE  # -80 dB of hiss
    assert gate.check(loud + noise(2)) is None


def test_a_small_sound_on_a_large_offset(gate):
    assert gate.check(noise(2) + np.float32(0.3)) is None  # 3 deviations: odd, but heard
    assert gate.check(np.float32(0.1) * noise(2) + np.float32(0.5)) is Fault.DC


def test_overdriven(gate):
    y = noise(2)
    assert gate.check(np.clip(y * 4, -1, 1)) is None  # the loudest samples only
    assert gate.check(np.clip(y * 100, -1, 1)) is Fault.CLIPPING


def test_overdriven_before_the_resampler(gate):
    rng = np.random.default_rng(0)
    hard = np.clip(10 * rng.standard_normal(4 * SR), -1, 1).astype(np.float32)
    assert gate.check(resample(hard, 2 * SR, SR)) is Fault.CLIPPING


def test_a_sine_is_no_clipping(gate):
    # Share of a sine above 0.98 of its peak: 2 acos(0.98) / pi = 13 %.
    sine = np.sin(2 * np.pi * 441.3 * np.arange(2 * SR) / SR).astype(np.float32)
    assert gate.check(sine) is None


@pytest.mark.parametrize(
    ("flags", "longest"),
    [([], 0), ([0, 0], 0), ([1], 1), ([1, 1, 0, 1], 2), ([0, 1, 0, 1, 1, 1], 3)],
)
def test_longest_run(flags, longest):
    assert longest_run(np.array(flags, dtype=bool)) == longest


def test_no_real_engine_is_refused(recordings, gate):
    from edge.capture import Recording

    engines = [r for r in recordings if r.kind != "not_engine"]
    assert len(engines) > 200
    for recording in engines:
        y = Recording(recording.path).read()
        for start in range(0, y.size - 2 * SR + 1, SR):
            assert gate.check(y[start : start + 2 * SR]) is None, recording.path
