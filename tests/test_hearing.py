import json
import sys
from pathlib import Path

import numpy as np
import pytest

from convert import faults
from convert.synth import SR
from edge.frontend import FrontEnd
from edge.pipeline import Pipeline
from scripts import hearing, held_out
from scripts.hearing import Listener, Outcome, by_level, figures, pipeline_of, table
from scripts.held_out import add_strange_knock
from tests.audio import noise, steady, tone
from tests.scripted_rng import ScriptedRng


class Brightness:
    """A classifier that answers how bright a picture is."""

    def predict(self, picture):
        return float(picture.mean() / 255)


@pytest.fixture(scope="module")
def engines(recordings_made):
    return hearing.engines_of([recordings_made], FrontEnd())


@pytest.fixture(scope="module")
def listener(engines):
    return Listener(Pipeline(FrontEnd(), Brightness(), 0.4), engines)


def test_engines_are_the_healthy_ones_of_the_recordings(engines):
    assert len(engines) == 5
    assert all("-n" in name for name in engines)
    assert {y.shape for windows in engines.values() for y in windows} == {(2 * SR,)}


def test_a_seed_gives_the_same_sounds_however_many(listener):
    rows = listener.rows(3, 1)
    assert listener.rows(3, 1) == rows
    assert {name: row[:2] for name, row in rows.items()} == listener.rows(2, 1)
    levels = [[heard.level_db for heard in listener.rows(3, s)[hearing.STRANGE]] for s in (1, 2)]
    assert levels[0] != levels[1]


def test_every_kind_is_there_alone_or_over_engines(listener):
    rows = listener.rows(1, 1)
    alone = {name for name, (heard,) in rows.items() if not heard.source}
    belts = {f"belts that {style}" for style in ("squeal", "chirp", "flap")}
    assert alone == {"starters", "dead cylinders", *belts}
    assert set(rows) - alone == {
        "engines as they are",
        "strange knocks over engines",
        *(f"{name} over engines" for name in {"starters", *belts, *hearing.OVER_ENGINES_ONLY}),
    }


def test_a_strange_knock_is_as_far_above_its_engine_as_it_says():
    for seed in range(5):
        engine = noise(2, seed=seed).astype("f8")
        y, level_db = add_strange_knock(np.random.default_rng(seed), engine)
        assert 0 <= level_db <= 14
        assert 20 * np.log10((y - engine).std() / engine.std()) == pytest.approx(level_db)


def test_each_blow_of_a_strange_knock_comes_once(monkeypatch):
    """Unpadded, the filter's pre-ringing came round to the end, as an echo of -13 dB."""
    blows = []

    def train(n, _times, _gains, blow):
        blows.append(blow)
        return np.ones(n)

    monkeypatch.setattr(held_out, "pulse_train", train)
    for seed in range(50):
        held_out.strange_knock(np.random.default_rng(seed), 2 * SR)
    for blow in blows:
        end = np.abs(blow[-SR // 100 :]).max()
        assert end < 0.1 * np.abs(blow).max()  # the slowest of 50 has decayed to 0.04


def test_nothing_is_refused_for_what_was_added_to_it(engines):
    """At full scale the gate takes it for overdriven."""
    loudest = []

    class Ear(Pipeline):
        def judge_window(self, window):
            loudest.append(np.abs(window.y).max())
            return super().judge_window(window)

    Listener(Ear(FrontEnd(), Brightness(), 0.4), engines).rows(2, 1)
    assert loudest == pytest.approx([hearing.PEAK] * len(loudest))


def test_what_the_device_refuses_is_unknown(engines):
    hum = {name: [tone(2, SR).astype("f4")] for name in engines}
    rows = Listener(Pipeline(FrontEnd(), Brightness(), 0.4), hum).rows(2, 1)
    assert [heard.knocking for heard in rows["engines as they are"]] == [None, None]
    found = figures(rows["engines as they are"], 1)
    assert (found["sounds"], found["unknown"], found["sources"]) == (2, 2, len({*_sources(rows)}))
    assert found["called_knocking"] is found["interval_95"] is None
    assert table({"x": found}).endswith("| x | 2 | 2 | - | - |")


def _sources(rows):
    return [heard.source for heard in rows["engines as they are"]]


def test_shares_are_of_what_was_judged_with_intervals_over_sources():
    row = [Outcome(name, 0, name in "ab") for name in "aabbccddeeff"] + [Outcome("a", 0, None)]
    found = figures(row, 1)
    assert (found["sounds"], found["unknown"], found["sources"]) == (13, 1, 6)
    assert found["called_knocking"] == pytest.approx(1 / 3)
    assert found["interval_95"] == pytest.approx((0, 2 / 3), abs=0.01)
    # All made, there are no sources: Wilson's interval.
    made = figures([Outcome("", 0, knocks) for knocks in (True, False, False)], 1)
    assert made["sources"] == 0
    assert made["interval_95"] == pytest.approx((0.0615, 0.7923), abs=1e-3)
    assert table({"x": made}).endswith("| x | 3 | 0 | 33.3 % | 6.1 to 79.2 % |")


def test_levels_part_the_strange_knocks():
    row = [Outcome("a", level, True) for level in (0.0, 4.9, 5.0, 9.9, 10.0, 13.9)]
    found = by_level({"x": row, hearing.STRANGE: row})
    assert {name: len(part) for name, part in found.items()} == {
        "x": 6,
        hearing.STRANGE: 6,
        f"{hearing.STRANGE}, 0 to 5 dB": 2,
        f"{hearing.STRANGE}, 5 to 10 dB": 2,
        f"{hearing.STRANGE}, 10 to 14 dB": 2,
    }


@pytest.mark.parametrize("style", faults.BELT_STYLES)
def test_a_belt_of_a_style_is_what_might_have_been_drawn(style):
    rng = ScriptedRng(3, {("choice", faults.BELT_STYLES): style})
    drawn = faults.belt(rng, steady(900, 4))
    np.testing.assert_array_equal(
        faults.belt(np.random.default_rng(3), steady(900, 4), style), drawn
    )


def test_either_kind_of_file_is_judged_by_its_own_threshold():
    for name in ("knock-int8.tflite", "knock.pth"):
        pipeline = pipeline_of(Path("models") / name)
        assert pipeline.threshold == pytest.approx(0.8)
        assert 0 <= pipeline.classifier.predict(np.zeros((224, 224, 3), np.uint8)) <= 1


def test_the_program_prints_a_table_and_writes_it(recordings_made, tmp_path, monkeypatch, capsys):
    out = tmp_path / "new" / "hearing.json"
    command = ["hearing", "models/knock-int8.tflite", str(recordings_made), "--out", str(out)]
    monkeypatch.setattr(sys, "argv", [*command, "--count", "1"])
    assert hearing.main() == 0
    said = capsys.readouterr().out
    assert "threshold 0.8, 5 healthy engines" in said
    found = json.loads(out.read_text())
    assert found["seed"] == 1
    assert found["sounds"][hearing.STRANGE]["sounds"] == 1
    assert said.count("\n| ") == len(found["sounds"]) + 1
    monkeypatch.setattr(sys, "argv", [*command, "--count", "0"])
    assert hearing.main() == 2
    assert "--count 0 must lie between 1 and" in capsys.readouterr().err
