import dataclasses
import json
import sys

import numpy as np
import pytest

from edge.classifier import RUNTIMES, Classifier, installed_runtimes
from edge.errors import ConfigError, MissingPackageError, ModelError
from edge.frontend import FrontEnd
from edge.model import Manifest, ModelFile, default_model, write_model
from tests.audio import noise
from tests.runtimes import NEEDS_TFLITE_RUNTIME, each_runtime


@pytest.fixture(scope="module")
def model():
    return ModelFile.read(default_model())


@pytest.fixture(scope="module")
def pictures():
    front_end = FrontEnd()
    return [front_end.picture(noise(2, seed=seed)) for seed in range(4)]


@each_runtime
def test_probabilities(model, pictures, runtime):
    classifier = Classifier(model, runtime=runtime)
    assert classifier.runtime.startswith(runtime)
    for picture in pictures:
        p = classifier.probabilities(picture)
        assert p.shape == (2,)
        assert p.dtype == np.float32
        assert p.sum() == pytest.approx(1, abs=2 / 256)  # each is rounded to 1/256
        assert classifier.predict(picture) == p[model.manifest.labels.index("knocking")]


@each_runtime
def test_the_answer_does_not_depend_on_how_many_threads_there_are(model, pictures, runtime):
    """``edge predict`` has one, the service as many as the board allows."""
    one, three = (Classifier(model, runtime=runtime, threads=n) for n in (1, 3))
    for picture in pictures:
        assert three.predict(picture) == one.predict(picture)


@pytest.mark.parametrize("answer", [(0, 0), (1, 1), (-0.5, 1.5), (np.nan, 1), (7.3, -2.1)])
@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_an_answer_that_is_no_probabilities_is_nan(model, pictures, answer, temperature):
    classifier = Classifier(model)
    classifier.manifest = dataclasses.replace(model.manifest, temperature=temperature)

    class Broken:
        def set_tensor(self, *_):
            pass

        def invoke(self):
            pass

        def get_tensor(self, _):
            return np.array([answer], dtype=np.float32)

    classifier._interpreter = Broken()
    assert np.isnan(classifier.predict(pictures[0]))


@NEEDS_TFLITE_RUNTIME
def test_the_runtimes_agree(model, pictures):
    first, second = (Classifier(model, runtime=runtime) for runtime in RUNTIMES)
    for picture in pictures:
        # Their kernels round differently: a step of 1/256 at most leads to a few.
        assert first.predict(picture) == pytest.approx(second.predict(picture), abs=0.05)


@NEEDS_TFLITE_RUNTIME
def test_the_successor_is_preferred(model):
    assert installed_runtimes() == list(RUNTIMES)  # both are installed for the tests
    assert Classifier(model).runtime.startswith("ai-edge-litert")


@NEEDS_TFLITE_RUNTIME
def test_the_other_is_taken_where_the_first_cannot_be_imported(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    assert Classifier(model).runtime.startswith("tflite-runtime")
    with pytest.raises(MissingPackageError, match="ai-edge-litert"):
        Classifier(model, runtime="ai-edge-litert")


def broken(monkeypatch, package, error):
    """As tflite-runtime with numpy 2: it can be imported, and fails when it is used."""

    class Module:
        def Interpreter(**_):  # noqa: N802 - as the packages have it
            raise error

    monkeypatch.setitem(sys.modules, RUNTIMES[package], Module)


MEANT = [
    ImportError("numpy.core.multiarray\nfailed to import"),
    AttributeError("_ARRAY_API not found"),
    SystemError("initialization of _pywrap_tensorflow raised unreported exception"),
]


@NEEDS_TFLITE_RUNTIME
@pytest.mark.parametrize("error", MEANT)
def test_the_other_is_taken_where_the_first_fails_when_it_is_used(model, monkeypatch, error):
    broken(monkeypatch, "ai-edge-litert", error)
    assert Classifier(model).runtime.startswith("tflite-runtime")


@NEEDS_TFLITE_RUNTIME
@pytest.mark.parametrize("error", MEANT)
def test_a_runtime_that_fails_with_this_numpy_is_one_line_with_its_remedy(
    model, monkeypatch, error
):
    broken(monkeypatch, "tflite-runtime", error)
    with pytest.raises(MissingPackageError, match=f"numpy {np.__version__}") as caught:
        Classifier(model, runtime="tflite-runtime")
    assert str(caught.value).startswith("tflite-runtime ")
    assert "'numpy<2'" in str(caught.value)
    assert "\n" not in str(caught.value)
    broken(monkeypatch, "ai-edge-litert", error)
    with pytest.raises(MissingPackageError, match=r"ai-edge-litert .*; tflite-runtime "):
        Classifier(model)


@pytest.mark.parametrize("stop", [KeyboardInterrupt(), SystemExit(0)])
def test_a_stop_that_c_code_makes_an_import_error_is_still_a_stop(model, monkeypatch, stop):
    error = ImportError("initialization failed")
    error.__cause__ = stop  # as pybind11 raises it
    broken(monkeypatch, "ai-edge-litert", error)
    with pytest.raises(type(stop)):
        Classifier(model)


def test_no_runtime_at_all(model, monkeypatch):
    monkeypatch.setattr("edge.classifier.installed_runtimes", list)
    with pytest.raises(MissingPackageError, match="pip install"):
        Classifier(model)


def test_a_runtime_that_is_not_installed_is_called_by_name(model, monkeypatch):
    monkeypatch.setattr("edge.classifier.installed_runtimes", lambda: ["ai-edge-litert"])
    with pytest.raises(MissingPackageError, match=r"^runtime 'tflite-runtime' is not installed"):
        Classifier(model, runtime="tflite-runtime")


def test_an_unknown_runtime(model):
    with pytest.raises(ConfigError, match="tensorflow"):
        Classifier(model, runtime="tensorflow")


def test_a_manifest_that_does_not_match_its_network(model, tmp_path):
    for change, word in (
        ({"precision": "float32"}, "input type"),
        ({"front_end": dataclasses.replace(model.manifest.front_end, network_px=200)}, "shape"),
    ):
        values = dataclasses.replace(model.manifest, **change)
        write_model(tmp_path / "m.tflite", model.network, values)
        with pytest.raises(ModelError, match=word):
            Classifier(ModelFile.read(tmp_path / "m.tflite"))


def test_temperature_divides_the_log_odds(model, tmp_path, pictures):
    values = {**json.loads(model.manifest.to_json()), "temperature": 2.0}
    write_model(
        tmp_path / "m.tflite", model.network, Manifest.from_json(json.dumps(values).encode())
    )
    plain = dataclasses.replace(
        model, manifest=dataclasses.replace(model.manifest, temperature=1.0)
    )
    cooler = Classifier(ModelFile.read(tmp_path / "m.tflite"))
    for picture in pictures:
        p = np.clip(Classifier(plain).predict(picture), 1 / 512, 511 / 512)
        # sigmoid(logit(p) / 2) = sqrt(odds) / (1 + sqrt(odds))
        root = np.sqrt(p / (1 - p))
        assert cooler.predict(picture) == pytest.approx(root / (1 + root), abs=0.01)


def test_a_network_of_two_inputs_is_refused(model, monkeypatch):
    class Module:
        class Interpreter:
            def __init__(self, **_):
                pass

            def allocate_tensors(self):
                pass

            def get_input_details(self):
                return [{}, {}]

            def get_output_details(self):
                return [{}]

    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", Module)
    with pytest.raises(ModelError, match="2 inputs and 1 outputs: one of each is needed"):
        Classifier(model)


def test_which_output_is_knocking_is_what_the_labels_say(tmp_path):
    model = ModelFile.read(default_model())
    picture = FrontEnd().picture(noise(2))
    answers = []
    for labels in (model.manifest.labels, model.manifest.labels[::-1]):
        write_model(
            tmp_path / "m.tflite", model.network, dataclasses.replace(model.manifest, labels=labels)
        )
        answers.append(Classifier(ModelFile.read(tmp_path / "m.tflite")).predict(picture))
    # 0.05 and 0.95 of the shipped network; each is rounded to steps of 1/256, here to a sum of 1.
    assert answers[0] != pytest.approx(answers[1], abs=0.02)
    assert sum(answers) == pytest.approx(1, abs=0.02)
