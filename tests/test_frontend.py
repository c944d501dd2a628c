"""The whole front end: golden arrays from librosa and matplotlib, refusals, every setting."""

import gc
from pathlib import Path

import numpy as np
import pytest

from edge.errors import ConfigError, SignalError
from edge.frontend import FrontEnd, FrontEndConfig
from edge.frontend.cqt import ConstantQ
from edge.frontend.picture import bilinear_weights, colour_indices
from tests.audio import noise
from tests.golden.generate import CORNER, FOLDER, PERCUSSIVE_STEP, signals

GOLDEN = sorted(FOLDER.glob("*.npz"))


@pytest.fixture(scope="module")
def front_end() -> FrontEnd:
    return FrontEnd()


def test_there_are_golden_arrays_for_every_signal():
    assert [path.stem for path in GOLDEN] == sorted(signals())


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: Path(path).stem)
def test_equals_librosa_and_matplotlib(front_end, path):
    gold = np.load(path)
    y = gold["y"].astype(np.float32) / 32768
    percussive = front_end.percussive(y)
    # Relative to full scale, a few float32 roundings.
    np.testing.assert_allclose(percussive[::PERCUSSIVE_STEP], gold["percussive"], atol=2e-6)
    C = ConstantQ(front_end.config, y.size)(y)
    np.testing.assert_allclose(C, gold["C"], atol=2e-6 * gold["C"].max())
    S_db = front_end.spectrogram(y)
    near = gold["S_db"] > -60  # quieter cells hold rounding errors of the louder ones
    # Twice what was seen; a rounding of float32 in a cell 60 dB down is 0.0005 dB.
    np.testing.assert_allclose(S_db[near], gold["S_db"][near], atol=0.002)
    assert np.abs(S_db - gold["S_db"]).mean() < 0.0003
    same = (front_end.figure(S_db) == gold["figure"]).all(axis=2)
    assert same.mean() >= 0.99


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: Path(path).stem)
def test_the_same_decibels_give_the_same_picture(front_end, path):
    gold = np.load(path)
    np.testing.assert_array_equal(front_end.figure(gold["S_db"]), gold["figure"])
    corner = front_end.network_picture(gold["S_db"])[CORNER, CORNER].astype(float)
    # Ours is rounded to whole levels.
    np.testing.assert_allclose(corner, gold["corner"], atol=0.51)


def test_shapes_types_and_ranges(front_end):
    y = np.random.default_rng(0).uniform(-1, 1, 44_100).astype(np.float32)
    S_db, picture = front_end.spectrogram(y), front_end.picture(y)
    assert (S_db.shape, S_db.dtype) == ((84, 87), np.float32)
    assert (picture.shape, picture.dtype) == ((224, 224, 3), np.uint8)
    assert S_db.max() == 0 and S_db.min() >= -80
    assert (picture[0] == 255).all() and (picture[:, 0] == 255).all()  # white margins


def test_loudness_does_not_matter(front_end):
    y = np.random.default_rng(1).standard_normal(44_100).astype(np.float32) / 8
    quiet = front_end.spectrogram(y / np.float32(16))  # a power of two: exact in float32
    np.testing.assert_allclose(front_end.spectrogram(y), quiet, atol=1e-3)


def test_network_picture_is_the_figure_enlarged(front_end):
    S_db = front_end.spectrogram(np.random.default_rng(2).standard_normal(44_100).astype("f4"))
    weights = bilinear_weights(122, 224).astype(float)
    figure = front_end.figure(S_db).astype(float)
    enlarged = np.einsum("ab,bcd,ec->aed", weights, figure, weights)
    # Rounded to whole levels; 1e-3 for the float32 sum.
    assert np.abs(front_end.network_picture(S_db) - enlarged).max() <= 0.501


def test_colour_indices_span_the_table():
    S = np.linspace(-80, 0, 1000, dtype=np.float32)[None]
    indices = colour_indices(S)
    assert indices.min() == 0 and indices.max() == 255
    assert (np.diff(indices.astype(int)) >= 0).all()
    assert (colour_indices(np.zeros((3, 3), np.float32)) == 0).all()


@pytest.mark.parametrize(
    ("y", "words"),
    [
        (np.zeros(44_100), "float64"),
        (np.zeros(44_099, np.float32), "44099"),
        (np.zeros((2, 44_100), np.float32), "one channel"),
        (np.full(44_100, np.nan, np.float32), "NaN"),
    ],
)
def test_refuses_what_it_cannot_judge(front_end, y, words):
    with pytest.raises(SignalError, match=words):
        front_end.spectrogram(y)


def test_silence_is_no_picture_of_anything(front_end):
    picture = front_end.picture(np.zeros(44_100, np.float32))
    assert picture.max() == 255 and len(np.unique(picture[60:160, 60:160])) <= 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("hpss_kernel", 15),
        ("hpss_power", 1.0),
        ("hpss_margin", 3.0),
        ("fmin", 55.0),
        ("sparsity", 0.1),
        ("top_db", 30.0),
        ("n_fft", 1024),
        ("hop_length", 256),
        ("figure_px", 160),
        ("network_px", 96),
        ("n_samples", 22_050),
        ("n_bins", 72),
        ("bins_per_octave", 14),
        ("sr", 32_000),
    ],
)
def test_every_setting_changes_the_picture(front_end, name, value):
    config = FrontEndConfig(**{**FrontEndConfig().to_dict(), name: value})
    y = np.random.default_rng(3).standard_normal(config.n_samples).astype(np.float32)
    y[::3000] += 20  # something percussive
    picture = FrontEnd(config).picture(y)
    reference = front_end.picture(np.resize(y, 44_100))
    assert picture.shape == (config.network_px, config.network_px, 3)
    assert picture.shape != reference.shape or (picture != reference).any()


def test_settings_survive_json():
    config = FrontEndConfig(hpss_kernel=15)
    assert FrontEndConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"hpss_kernel": 30}, "odd"),
        ({"hop_length": 100}, "halve"),
        ({"n_bins": 80}, "multiple"),
        ({"fmin": 200.0}, "half of sr"),
        ({"sr": 22_050.5}, "whole number"),
        ({"sr": 40, "fmin": 0.05}, "8000 and 192000 Hz"),
        ({"top_db": -3.0}, "out of range"),
        ({"n_ftt": 2048}, "n_ftt"),
    ],
)
def test_impossible_settings_are_named(changes, words):
    with pytest.raises(ConfigError, match=words):
        FrontEndConfig.from_dict({**FrontEndConfig().to_dict(), **changes})


def test_a_picture_leaves_no_circles_of_references_behind():
    # A listener runs for years: what waits for the collector of circles piles up meanwhile.
    front_end, y = FrontEnd(), noise(2)
    front_end.picture(y)
    gc.collect()
    gc.disable()
    try:
        front_end.picture(y)
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize("value", [1e16, -1e20, 3e38])
def test_absurd_samples_give_no_picture(value):
    y = noise(2)
    y[5] = value
    with pytest.raises(SignalError, match="absurd"):
        FrontEnd().picture(y)


@pytest.mark.parametrize("draw", [FrontEnd.figure, FrontEnd.network_picture])
@pytest.mark.parametrize(
    "S_db", [np.zeros((87, 84), "f4"), np.zeros((84, 86), "f4"), [1.0], [[0.0] * 87] * 84]
)
def test_only_a_spectrogram_is_drawn(draw, S_db):
    with pytest.raises(SignalError, match=r"finite floats of shape \(84, 87\) are needed"):
        draw(FrontEnd(), S_db)
    with pytest.raises(SignalError, match="spectrogram contains NaN or infinite values: finite"):
        draw(FrontEnd(), np.full((84, 87), np.nan, dtype=np.float32))


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"hpss_kernel": 999_999}, "87 frames"),
        ({"network_px": 1}, "1 px"),
        ({"figure_px": 1}, "1 px"),
        ({"sparsity": 1.0}, "nothing of a kernel"),
        # Of these a model's manifest could ask for terabytes.
        ({"network_px": 4097}, "4097 px is too large"),
        ({"fmin": 1e-6, "n_bins": 12}, "filter of the lowest bin"),
        ({"fmin": 2000.0, "n_bins": 4000, "bins_per_octave": 4000}, "filter of the lowest bin"),
        ({"n_samples": 999_998, "hop_length": 64, "hpss_kernel": 3}, "too large"),
        ({"n_fft": 999_998}, "exceed n_fft"),
    ],
)
def test_settings_that_nothing_can_be_built_from(settings, words):
    with pytest.raises(ConfigError, match=words):
        FrontEndConfig(**settings)


def test_the_smallest_pictures_can_be_drawn():
    front_end = FrontEnd(FrontEndConfig(network_px=2, figure_px=2, hpss_kernel=87))
    assert front_end.picture(noise(2)).shape == (2, 2, 3)
