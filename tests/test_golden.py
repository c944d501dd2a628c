import dataclasses

import numpy as np
import pytest

from edge.classifier import Classifier
from edge.frontend import FrontEnd
from edge.gate import Gate
from edge.golden import golden_answer, golden_knocks, golden_sound
from edge.model import ModelFile, default_model
from tests.runtimes import each_runtime


@pytest.fixture(scope="module")
def front_end():
    return FrontEnd()


@pytest.fixture
def classifier():
    return Classifier(ModelFile.read(default_model()))


@each_runtime
def test_every_runtime_gives_the_answer_that_the_export_wrote_down(front_end, runtime):
    model = ModelFile.read(default_model())
    answer = golden_answer(front_end, Classifier(model, runtime=runtime))
    assert answer is not None
    # To the last of five digits on the processor at hand; another may round by a step of 1/256 in
    # a few places.
    assert answer.error <= 0.02
    assert answer.within_tolerance


@pytest.mark.parametrize(("said", "error"), [(0.26, 0.06), (float("nan"), float("inf"))])
def test_how_far_an_answer_is_off(front_end, classifier, monkeypatch, said, error):
    golden = {"seed": 3, "p_knocking": 0.2}
    classifier.manifest = dataclasses.replace(classifier.manifest, golden=golden)
    monkeypatch.setattr(classifier, "predict", lambda picture: said)
    answer = golden_answer(front_end, classifier)
    assert answer is not None
    assert answer.error == pytest.approx(error)
    assert str(answer) == f"golden answer {said:.3f}, off by {error:.3f}"
    assert not answer.within_tolerance


def test_a_runtime_that_takes_everything_for_a_healthy_engine_is_found_out(
    front_end, classifier, monkeypatch
):
    """Of noise it is right."""
    expected = classifier.manifest.golden
    monkeypatch.setattr(classifier, "predict", lambda picture: expected["p_knocking"])
    answer = golden_answer(front_end, classifier)
    assert answer is not None
    assert answer.error == expected["p_of_knocks"] - expected["p_knocking"] > 0.5
    old = {name: expected[name] for name in ("seed", "p_knocking")}
    classifier.manifest = dataclasses.replace(classifier.manifest, golden=old)
    answer = golden_answer(front_end, classifier)
    assert answer is not None
    assert answer.error == 0


def test_both_golden_sounds_are_fit_to_be_drawn_and_knocks_are_heard(front_end, classifier):
    """And the network is not so sure of them that small errors would not show."""
    config = front_end.config
    knocks = golden_knocks(3, config.n_samples, config.sr)
    assert knocks.shape == golden_sound(3, config.n_samples).shape == (44_100,)
    assert np.abs(knocks).max() < 1
    assert Gate(sr=config.sr).check(knocks) is None
    assert 0.8 < classifier.predict(front_end.picture(knocks)) < 0.95


def test_without_a_golden_answer_there_is_nothing_to_compare(front_end, classifier):
    classifier.manifest = dataclasses.replace(classifier.manifest, golden={})
    assert golden_answer(front_end, classifier) is None


@pytest.mark.parametrize(
    ("said", "within"), [(0.249, True), (0.151, True), (0.251, False), (0.149, False)]
)
def test_an_answer_holds_up_to_a_twentieth_to_either_side(
    front_end, classifier, monkeypatch, said, within
):
    golden = {"seed": 3, "p_knocking": 0.2}
    classifier.manifest = dataclasses.replace(classifier.manifest, golden=golden)
    monkeypatch.setattr(classifier, "predict", lambda picture: said)
    answer = golden_answer(front_end, classifier)
    assert answer is not None
    assert answer.within_tolerance is within
