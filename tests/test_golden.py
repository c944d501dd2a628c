import dataclasses

import pytest

from edge.classifier import RUNTIMES, Classifier
from edge.frontend import FrontEnd
from edge.golden import TOLERANCE, golden_answer
from edge.model import ModelFile, default_model


@pytest.fixture(scope="module")
def front_end():
    return FrontEnd()


@pytest.fixture
def classifier():
    return Classifier(ModelFile.read(default_model()))


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_every_runtime_gives_the_answer_that_the_export_wrote_down(front_end, runtime):
    model = ModelFile.read(default_model())
    answer = golden_answer(front_end, Classifier(model, runtime=runtime))
    assert answer is not None
    p, off = answer
    assert p == pytest.approx(model.manifest.golden["p_knocking"], abs=TOLERANCE)
    assert off <= TOLERANCE


@pytest.mark.parametrize(("said", "off"), [(0.25, 0.05), (float("nan"), float("inf"))])
def test_how_far_an_answer_is_off(front_end, classifier, monkeypatch, said, off):
    golden = {"seed": 3, "p_knocking": 0.2}
    classifier.manifest = dataclasses.replace(classifier.manifest, golden=golden)
    monkeypatch.setattr(classifier, "predict", lambda picture: said)
    answer = golden_answer(front_end, classifier)
    assert answer is not None
    assert answer[1] == pytest.approx(off)


def test_without_a_golden_answer_there_is_nothing_to_compare(front_end, classifier):
    classifier.manifest = dataclasses.replace(classifier.manifest, golden={})
    assert golden_answer(front_end, classifier) is None
