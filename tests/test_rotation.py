import sys

import numpy as np
import pytest

from convert.cli import main as convert
from convert.dataset import find_clips, fold_sources, load_all
from convert.examples import ExampleMaker, Recipe, fill_pools
from convert.train_config import TrainConfig
from scripts import ablations, rotation
from scripts.ablations import Rotation, Scores
from scripts.rotation import Drawn, judge, table


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    assert convert(["synth", str(folder), "--count", "6", "--seconds", "3"]) == 0
    return folder


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(rotation, "CHUNK", 40)
    monkeypatch.setattr(ablations, "STRANGE", 4)


def test_examples_for_a_part_hold_nothing_of_it_and_are_those_of_one_stream(
    recordings, small, tmp_path
):
    clips = find_clips([recordings])
    examples, heard = Drawn(clips, 0.7, tmp_path).until(30, 0)
    parts = fold_sources(clips, 3)
    maker = ExampleMaker(
        fill_pools(load_all(clips)), Recipe(real_knocks=0.15, simple=0.7), rotation.EXAMPLE_SEED
    )
    assert ((~heard).sum(0) >= 30).all()
    assert heard.any(0).all()
    for number in (0, 1, 2, 41):
        example = maker(number)
        np.testing.assert_array_equal(examples.indices[number], example.indices)
        assert heard[number].tolist() == [bool(example.heard & part) for part in parts]


def test_what_was_drawn_is_not_drawn_again(recordings, small, tmp_path, monkeypatch):
    clips = find_clips([recordings])
    first, _ = Drawn(clips, 0.7, tmp_path).until(10, 0)
    monkeypatch.setattr(rotation, "make_examples", lambda *_: pytest.fail("drawn again"))
    again, _ = Drawn(clips, 0.7, tmp_path).until(10, 0)
    np.testing.assert_array_equal(first.indices, again.indices)


def test_every_window_of_a_part_is_judged(recordings, small, tmp_path):
    clips = find_clips([recordings])
    drawn = Drawn(clips, 0.7, tmp_path / "examples").until(8, 0)
    config = TrainConfig(examples=8, batch_size=4, small_epochs=1, full_epochs=0)
    scores = judge(drawn, Rotation(clips, 0), 1, config, tmp_path / "1")
    part = fold_sources(clips, 3)[1]
    expected = sorted(clip.source for clip in clips if clip.source in part for _ in range(2))
    assert sorted(scores.source) == expected  # two windows in 3 s
    assert len(scores.strange) == 4
    assert np.isfinite(scores.z).all()


def test_the_table_counts_parts_and_all():
    def scores(*z):
        values = [np.array([v], "f4") for v in z]
        return Scores(
            ["k", "a", "b", "c"],
            ["engine", "engine", "engine_other_fault", "not_engine"],
            [True, False, False, False],
            values,
            [np.array([1.0], "f4"), np.array([-3.0], "f4")],
        )

    lines = table([scores(2, -1, 0.5, 3), scores(-2, -1, -1, -1)], 0.5).split("\n")
    # strange 1 and -3 against the engine's -1: one of two above it
    assert lines[2:] == [
        "| part 1 | 1.000 | 0.500 | 1 of 1 | 50.0 % | 0.0 % | 100.0 % | 100.0 % |",
        "| part 2 | 0.000 | 0.500 | 0 of 1 | 50.0 % | 0.0 % | 0.0 % | 0.0 % |",
        "| all | 0.500 | 0.500 | 1 of 2 | 50.0 % | 0.0 % | 50.0 % | 50.0 % |",
    ]
    assert "| part 1 | 1.000 | 0.500 | 0 of 1 |" in table([scores(2, -1, 0.5, 3)], 0.9)


def test_recordings_that_cannot_be_dealt_out_are_one_line(capsys, monkeypatch, tmp_path):
    def said(folder):
        monkeypatch.setattr(sys, "argv", ["rotation", str(folder)])
        with pytest.raises(SystemExit):
            rotation.main()
        return capsys.readouterr().err

    assert "none is no folder" in said(tmp_path / "none")
    assert convert(["synth", str(tmp_path), "--count", "2", "--seconds", "2"]) == 0
    assert "sources of knocking engines: 3 at least are needed" in said(tmp_path)
