import contextlib
import dataclasses
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

from convert.cli import main as convert
from convert.dataset import Clip, find_clips, readable
from convert.examples import ExampleMaker, fill_pools
from convert.fit import Examples
from convert.recipe import REAL_KNOCKS, Recipe
from convert.split import fold_sources
from convert.train_config import TrainConfig
from scripts import ablations, held_out, rotation
from scripts.ablations import CrossValidation
from scripts.held_out import Parts
from scripts.rotation import SharedExamples, judge, table
from scripts.scores import Scores, kind_of


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    assert convert(["synth", str(folder), "--count", "6", "--seconds", "3"]) == 0
    return folder


@pytest.fixture
def small(monkeypatch):
    monkeypatch.setattr(rotation, "STEP", 40)
    monkeypatch.setattr(held_out, "N_STRANGE", 4)


def test_examples_are_those_of_one_stream_each_with_the_parts_in_it(recordings, small, tmp_path):
    clips = find_clips([recordings])
    examples, has_part = SharedExamples(Parts(clips), 0.7, tmp_path).until(30, 0)
    parts = fold_sources(clips, 3)
    maker = ExampleMaker(
        fill_pools(readable(clips)),
        Recipe(real_knocks=REAL_KNOCKS, simple=0.7),
        rotation.EXAMPLE_SEED,
    )
    assert ((~has_part).sum(0) >= 30).all()
    assert has_part.any(0).all()
    for number in (0, 1, 2, 41):
        example = maker(number)
        np.testing.assert_array_equal(examples.indices[number], example.indices)
        assert has_part[number].tolist() == [bool(example.groups & part) for part in parts]


def test_examples_of_a_car_are_kept_from_the_part_that_it_is_in(recordings, small, tmp_path):
    clips = find_clips([recordings])
    pair = {clip.source for clip in clips if not clip.knocks}
    clips = [dataclasses.replace(c, car="golf" if c.source in pair else "") for c in clips]
    _, has_part = SharedExamples(Parts(clips), 0.7, tmp_path).until(5, 0)
    (part,) = (n for n, names in enumerate(fold_sources(clips, 3)) if pair <= names)
    maker = ExampleMaker(
        fill_pools(readable(clips)),
        Recipe(real_knocks=REAL_KNOCKS, simple=0.7),
        rotation.EXAMPLE_SEED,
    )
    with_golf = [number for number in range(10) if "golf" in maker(number).groups]
    assert with_golf
    assert has_part[with_golf, part].all()


def test_a_part_is_learnt_from_nothing_of_it_and_checked_on_nothing_else(tmp_path, monkeypatch):
    """Marked by their first cell: 0 where the example has part 1, 1 where it has not."""
    shown: dict[str, Examples] = {}

    class Recorder:
        def __init__(self, _, examples, *, check, **rest):
            shown.update(learnt=examples, check=check)
            raise KeyboardInterrupt  # enough is known

    monkeypatch.setattr(rotation, "Fit", Recorder)
    has_part = np.random.default_rng(1).random((50, 3)) < 0.4
    indices = np.repeat((~has_part[:, 1]).astype("u1"), 84 * 87).reshape(50, 84, 87)
    indices[:, 0, 1] = np.arange(50)

    window = [(Clip(tmp_path, "normal", "engine", "a"), indices[0])]
    examples = Examples(indices, np.zeros(50, int))
    with pytest.raises(KeyboardInterrupt):
        judge((examples, has_part), (window, window), 1, TrainConfig(examples=20), tmp_path)
    assert shown["learnt"].indices[:, 0, 0].all()
    assert not shown["check"].indices[:, 0, 0].any()
    assert (
        shown["learnt"].indices[:, 0, 1].tolist() == np.flatnonzero(~has_part[:, 1])[:20].tolist()
    )


def test_what_was_drawn_is_drawn_again_for_other_recordings_alone(
    recordings, small, tmp_path, monkeypatch
):
    clips = find_clips([recordings])
    first, _ = SharedExamples(Parts(clips), 0.7, tmp_path).until(10, 0)
    monkeypatch.setattr(
        "convert.example_cache.make_examples", lambda *_: pytest.fail("drawn again")
    )
    again, _ = SharedExamples(Parts(clips), 0.7, tmp_path).until(10, 0)
    np.testing.assert_array_equal(first.indices, again.indices)
    for some, simple in ((clips[1:], 0.7), (clips, 0.6)):
        other = SharedExamples(Parts(some), simple, tmp_path)
        with pytest.raises(pytest.fail.Exception):
            other.until(10, 0)


def test_every_window_of_a_part_is_judged(recordings, small, tmp_path):
    clips = find_clips([recordings])
    parts = Parts(clips)
    shared = SharedExamples(parts, 0.7, tmp_path / "examples").until(8, 0)
    config = TrainConfig(examples=8, batch_size=4, small_epochs=1, full_epochs=0)
    scores = judge(shared, parts.held[1], 1, config, tmp_path / "1")
    part = fold_sources(clips, 3)[1]
    expected = sorted(clip.source for clip in clips if clip.source in part for _ in range(2))
    assert sorted(scores.source) == expected  # two windows in 3 s
    assert len(scores.strange) == 4
    assert np.isfinite(scores.z).all()


def test_engines_of_any_name_are_judged(recordings, small, tmp_path, monkeypatch):
    clips = [dataclasses.replace(clip, kind="diesel") for clip in find_clips([recordings])]
    rotated = CrossValidation(Parts(clips), 1)

    def z(_, epochs, __, shown, **___):
        return np.zeros((len(shown), epochs), "f4")

    monkeypatch.setattr(ablations, "fit", z)
    monkeypatch.setattr(CrossValidation, "_examples", lambda *_: None)
    (score,) = rotated.judge(ablations.VARIATIONS[0], 1, [1])
    assert set(score.kind) == {"engine"}
    figures = score.figures(0)
    assert figures["auc"] == figures["strange_auc"] == 0.5
    assert table([score], 0.5).split("\n")[3].startswith("| all | 0.500 | 0.500 | ")


def test_what_a_recording_counts_as():
    def counted(label, kind):
        return kind_of(Clip(Path("a.wav"), label, kind, "a"))

    assert counted("normal", "diesel") == counted("knocking", "diesel") == "engine"
    assert counted("normal", "Other fault") == counted("normal", "belt") == "engine_other_fault"
    assert counted("not_engine", "street") == "not_engine"


def said(*z, strange=(1.0, -3.0)):
    """Of a knock, three windows of engines, another fault and what is no engine."""
    names = ["k", "a", "b", "b", "f", "c"]
    return Scores(
        source=names,
        group=["k", "golf", "b", "b", "golf", "c"],
        kind=[*["engine"] * 4, "engine_other_fault", "not_engine"],
        knocks=[True, *[False] * 5],
        z=[np.array([v], "f4") for v in z],
        strange_group=["golf", "b"],
        strange=[np.array([v], "f4") for v in strange],
    )


def test_the_table_counts_parts_and_all():
    scores = [said(2, -1, -1, -1, 0.5, 3), said(-2, -1, -1, -1, -1, -1)]
    lines = table(scores, 0.5).split("\n")
    # strange 1 and -3 against the engines' -1: one of two above them
    assert lines[2:5] == [
        "| part 1 | 1.000 | 0.500 | 1 of 1 | 50.0 % | 0.0 % | 100.0 % | 100.0 % |",
        "| part 2 | 0.000 | 0.500 | 0 of 1 | 50.0 % | 0.0 % | 0.0 % | 0.0 % |",
        "| all | 0.500 | 0.500 | 1 of 2 | 50.0 % | 0.0 % | 50.0 % | 50.0 % |",
    ]
    # One knocking car, the same in both: no draw differs. Windows, by Wilson: 0 of 6, 1 of 2.
    spread = lines[5].split(" | ")
    assert spread[:2] == ["| 95 % over sources", "0.500 to 0.500"]
    assert spread[3:] == [
        "9.5 to 90.5 %", "0.0 to 100.0 %", "0.0 to 39.0 %", "9.5 to 90.5 %", "9.5 to 90.5 % |"
    ]  # fmt: skip
    assert lines[6].startswith(
        "Sources, a car counted once: 1 of knock, 2 of strange, 2 of engine, "
    )
    assert "| part 1 | 1.000 | 0.500 | 0 of 1 |" in table(scores[:1], 0.9)


def test_engines_have_a_line_for_each_source():
    lines = table([said(2, -1, 1, -1, 0.5, 3)], 0.5).split("\n")
    head = "| kind | source | called knocking | 95 %, as if windows were independent |"
    assert lines[lines.index(head) + 2 :] == [  # Wilson's intervals
        "| knock | k | 1 of 1 | 20.7 to 100.0 % |",
        "| engine | a | 0 of 1 | 0.0 to 79.3 % |",
        "| engine | b | 1 of 2 | 9.5 to 90.5 % |",
        "| engine_other_fault | f | 1 of 1 | 20.7 to 100.0 % |",
    ]


def test_what_there_is_none_of_has_no_figure():
    """NaN is no JSON, and would be the mean of the seeds that have one, too."""
    score = said(2, -1, -1, -1, 0.5, 3)
    for name in ("source", "group", "kind", "knocks", "z"):
        del getattr(score, name)[4:]
    figures = score.figures(0)
    assert figures["false_engine_other_fault"] is figures["false_not_engine"] is None
    assert "NaN" not in json.dumps(figures)
    assert ablations._line("x", [[figures], [figures]]).endswith("| 0.0 % | - | - |")
    assert table([score], 0.5).split("\n")[3].endswith("| 0.0 % | - | - |")
    assert table([score], 0.5).split("\n")[4].endswith("| - | - |")


def test_what_cannot_be_done_is_one_line(capsys, monkeypatch, recordings, small, tmp_path):
    def told(*arguments):
        command = ["rotation", *map(str, arguments), "--work", str(tmp_path / "work")]
        monkeypatch.setattr(sys, "argv", command)
        with contextlib.suppress(SystemExit):  # of argparse
            assert rotation.main() in (2, 12)
        return capsys.readouterr().err

    assert "none is not there or not a folder" in told(tmp_path / "none")
    for threshold in ("1", "much"):
        assert f"--threshold: '{threshold}' is not a number" in told(
            tmp_path, "--threshold", threshold
        )
    few = tmp_path / "few"
    shutil.copytree(recordings, few)
    table = few / "labels.csv"
    lines = table.read_text().splitlines()
    knocking = [line for line in lines if "knocking" in line]
    table.write_text("\n".join(line for line in lines if line not in knocking[1:]))
    assert "part 2 of the sources has no knocking engine" in told(few)
    assert "do not fill one batch" in told(recordings, "--examples", 4)


def test_another_run_does_not_go_on_with_what_this_one_left(
    recordings, small, tmp_path, monkeypatch, capsys
):
    folders = []

    def recorded(shared, rotated, part, config, work):
        folders.append(work)
        work.mkdir(parents=True)  # fails where it is there already
        return said(*[0] * 6, strange=(0, 0))

    monkeypatch.setattr(rotation, "judge", recorded)
    for more in ([], ["--full-epochs", "2"], ["--seed", "2"]):
        command = ["rotation", str(recordings), "--examples", "8", "--work", str(tmp_path), *more]
        monkeypatch.setattr(sys, "argv", command)
        assert rotation.main() == 0
    assert len(set(folders)) == 9
    assert "| all | 0.500 |" in capsys.readouterr().out
    # Of another version of this program.
    for modules in ("TRAINING_MODULES", "GRADING_MODULES"):
        monkeypatch.setattr(rotation, modules, ("errors",))
        assert rotation.main() == 0
    assert len(set(folders)) == 15
    assert len(list(tmp_path.glob("run-*/answers.json"))) == 5


def test_examples_of_a_recipe_are_kept_until_the_next(recordings, monkeypatch):
    """Of all of them at once, hours later the memory would be full."""
    rotated = CrossValidation(Parts(find_clips([recordings])), 2)
    monkeypatch.setattr(ablations, "make_examples", lambda maker, numbers, _: map(maker, numbers))
    base, whole, other = (
        ablations.Variation("base"),
        ablations.Variation("whole", skip_hpss=True),
        ablations.Variation("other", Recipe(plain=1)),
    )
    first = rotated._examples(base, 0)
    rotated._examples(whole, 0)
    assert rotated._examples(base, 0) is first
    rotated._examples(other, 0)
    assert rotated._examples(base, 0) is not first
