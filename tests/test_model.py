import contextlib
import dataclasses
import io
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from edge.errors import ModelError
from edge.frontend import FrontEndConfig
from edge.model import Manifest, ModelFile, _data_folders, are_labels, default_model, write_model
from edge.temperature import apply_temperature

NETWORK = b"\x1c\0\0\0TFL3" + bytes(range(256)) * 40  # has a flatbuffer's mark, no more is read
MANIFEST = Manifest(
    name="test",
    labels=("knocking", "normal"),
    threshold=0.4,
    precision="int8",
    front_end=FrontEndConfig(),
    temperature=1.5,
    versions={"torch": "2"},
)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "m.tflite"
    write_model(path, NETWORK, MANIFEST)
    return path


def test_what_is_written_is_read(path):
    model = ModelFile.read(path)
    assert model.network == NETWORK
    assert dataclasses.replace(model.manifest, network_sha256="") == MANIFEST


def test_the_manifest_is_a_plain_zip_for_everybody_else(path):
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        assert archive.getinfo("manifest.json").compress_type == zipfile.ZIP_STORED
        assert json.loads(archive.read("manifest.json"))["threshold"] == 0.4


def test_a_compressed_manifest_may_be_longer_than_it_claims(path):
    """A megabyte can hold a gigabyte: it is refused before it is unpacked."""
    archive = io.BytesIO()
    with zipfile.ZipFile(path) as stored, zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as z:
        z.writestr("manifest.json", stored.read("manifest.json"))
    path.write_bytes(NETWORK + archive.getvalue())
    with pytest.raises(ModelError, match="manifest is compressed, which convert export never does"):
        ModelFile.read(path)


def test_the_same_model_gives_the_same_file(path, tmp_path):
    write_model(tmp_path / "again.tflite", NETWORK, MANIFEST)
    assert (tmp_path / "again.tflite").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("keep", [0, 3, 7, 8, 300, -1, -100, -500])
def test_cut_off_files(path, keep):
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ModelError) as caught:
        ModelFile.read(path)
    assert str(path) in str(caught.value)


def test_a_bit_wrong_in_any_byte_behind_the_network_is_one_clear_error_or_harmless(path):
    good = path.read_bytes()
    for number in range(len(NETWORK), len(good)):
        content = bytearray(good)
        content[number] ^= 1 << number % 8
        path.write_bytes(content)
        with contextlib.suppress(ModelError):
            assert ModelFile.read(path).network == NETWORK


def test_a_damaged_network(path):
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError, match="do not belong together"):
        ModelFile.read(path)


def test_a_newer_model_asks_for_a_newer_program_not_for_another_copy(path, monkeypatch):
    with monkeypatch.context() as newer:
        newer.setattr("edge.model.FORMAT", 2)
        write_model(path, NETWORK, dataclasses.replace(MANIFEST, format=2))
    words = r"manifest format 2 is not 1; update this program if the model is newer, or make"
    with pytest.raises(ModelError, match=words) as refused:
        ModelFile.read(path)
    assert str(path) in str(refused.value)
    assert "copy it again" not in str(refused.value)


def test_a_bare_network_has_no_manifest(path):
    path.write_bytes(NETWORK)
    with pytest.raises(ModelError, match="convert export"):
        ModelFile.read(path)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"labels": ["a", "b"]}, "labels"),
        ({"labels": ["knocking"]}, "labels"),
        ({"threshold": 1.5}, "threshold"),
        ({"threshold": 1.0}, "threshold"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": "high"}, "cannot be read"),
        ({"temperature": 0}, "temperature"),
        ({"temperature": 100}, "temperature"),
        ({"temperature": 0.005}, "temperature"),
        ({"precision": "int4"}, "precision"),
        ({"format": 2}, "manifest format 2 is not 1"),
        ({"surprise": 1}, "surprise"),
        ({"front_end": FrontEndConfig().to_dict() | {"sr": -1}}, "sr"),
        ({"front_end": {"no_such": 1}}, "no_such"),
        ({"front_end": 3}, "cannot be read"),
        ({"golden": 5}, "golden"),
        ({"golden": []}, "golden"),
        ({"golden": "x"}, "golden"),
        ({"golden": {"seed": "one", "p_knocking": 0.5}}, "cannot be read"),
        ({"golden": {"seed": -1, "p_knocking": 0.5}}, "golden"),
        ({"golden": {"seed": 1, "p_knocking": None}}, "cannot be read"),
        ({"golden": {"seed": 1, "p_knocking": 2}}, "golden"),
        ({"golden": {"seed": 1, "p_knocking": 0.5, "p_of_knocks": -1}}, "golden"),
    ],
)
def test_a_manifest_that_makes_no_sense(change, word):
    values = {**json.loads(MANIFEST.to_json()), **change}
    with pytest.raises(ModelError, match=word):
        Manifest.from_json(json.dumps(values).encode())


@pytest.mark.parametrize("precision", ["int8", "float32"])
@pytest.mark.parametrize("temperature", [0.5, 1, 1.5, 2, 8])
def test_the_highest_answer_is_that_of_the_classifier(precision, temperature):
    manifest = dataclasses.replace(
        MANIFEST, precision=precision, temperature=temperature, threshold=0.4
    )
    surest = 255 / 256 if precision == "int8" else 1.0
    p = apply_temperature(np.array([surest, 0], dtype=np.float32), temperature)
    assert manifest.highest_p == pytest.approx(p[0], abs=1e-6)


def test_a_threshold_that_is_never_reached():
    with pytest.raises(ModelError, match=r"0\.98 is never reached: int8 .* end at 0\.958"):
        dataclasses.replace(MANIFEST, temperature=2.0, threshold=0.98)


def test_a_device_is_no_model_and_has_no_end():
    with pytest.raises(ModelError, match=r"^model .* is not a file$"):
        ModelFile.read(Path("/dev/zero"))


def test_a_file_that_a_power_cut_left_empty_is_named_so(tmp_path):
    path = tmp_path / "my_car.tflite"
    path.touch()
    with pytest.raises(ModelError, match=r"my_car.tflite is empty: .* Copy it again"):
        ModelFile.read(path)


def test_the_default_model_can_be_named(path, monkeypatch):
    monkeypatch.setenv("KNOCKKNOCK_MODEL", str(path))
    assert default_model() == path
    # A name that is wrong must not mean the shipped model.
    monkeypatch.setenv("KNOCKKNOCK_MODEL", f"{path}.not")
    with pytest.raises(ModelError, match=r"KNOCKKNOCK_MODEL, .*\.not, is not a file"):
        ModelFile.read(default_model())


def test_no_model_anywhere_says_where_it_was_looked_for(monkeypatch):
    monkeypatch.setattr("pathlib.Path.is_file", lambda self: False)
    with pytest.raises(ModelError, match="--model"):
        default_model()


@pytest.mark.parametrize("labels", [("knocking", "knocking"), ("knocking", 5), ("knocking",)])
def test_labels_must_be_two_texts(labels):
    assert not are_labels(labels)
    with pytest.raises(ModelError, match="labels"):
        dataclasses.replace(MANIFEST, labels=labels)


def test_numbers_that_no_computer_holds_are_a_model_error():
    content = json.loads(MANIFEST.to_json())
    content["golden"] = {"seed": 10**400, "p_knocking": 0.5}
    with pytest.raises(ModelError):
        Manifest.from_json(json.dumps(content).encode())


def test_the_installed_model_lies_where_pip_puts_it(tmp_path, monkeypatch):
    monkeypatch.delenv("KNOCKKNOCK_MODEL", raising=False)
    monkeypatch.setattr("edge.model.__file__", str(tmp_path / "site-packages/edge/model.py"))
    monkeypatch.setattr("edge.model._data_folders", lambda: [str(tmp_path)])
    with pytest.raises(ModelError, match=r"share/knockknock.*listen\.model in the settings"):
        default_model()
    installed = tmp_path / "share/knockknock/knock-int8.tflite"
    installed.parent.mkdir(parents=True)
    installed.write_bytes(b"")
    assert default_model() == installed


def test_pips_own_folders_for_data_are_looked_at():
    """In an environment, of everybody, and of a user who installs without one."""
    assert _data_folders()[0] == sys.prefix
    assert "/usr/local" in _data_folders()
    assert str(Path("~/.local").expanduser()) in _data_folders()
