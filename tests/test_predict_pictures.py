"""``edge predict --picture``: where the pictures go, and what happens where they cannot."""

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from edge.cli import main
from edge.predict_command import _picture_names
from tests.program import run

SR = 22_050

edge = partial(run, "edge")


def test_a_picture_folder_that_cannot_be(engine, tmp_path):
    (tmp_path / "file").write_text("")
    assert "--picture" in edge("predict", engine, "--picture", tmp_path / "file", code=2).stderr


def test_files_of_one_name_keep_their_pictures_apart(engine, tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        shutil.copy(engine, tmp_path / folder / "engine.wav")
    files = [str(tmp_path / folder / "engine.wav") for folder in ("a", "b")]
    done = edge("predict", *files, "--end", "2", "--picture", str(tmp_path / "out"))
    assert done.returncode == 0
    names = sorted(path.name[:13] for path in (tmp_path / "out").iterdir())
    assert names == ["engine.wav-1_", "engine.wav-2_"]


def test_a_number_given_to_a_name_is_not_anothers_name(engine, tmp_path):
    files = [tmp_path / name for name in ("a/x.wav", "b/x.wav", "x.wav-1")]
    for path in files:
        path.parent.mkdir(exist_ok=True)
        shutil.copy(engine, path)
    edge("predict", *files, "--end", "2", "--picture", tmp_path / "out")
    names = sorted(path.name.partition("_")[0] for path in (tmp_path / "out").iterdir())
    assert names == ["x.wav-1", "x.wav-2", "x.wav-3"]


def test_as_many_files_of_one_name_as_there_are_records():
    """The black box calls every sound sound.wav."""
    names = _picture_names([Path(f"records/{i}/sound.wav") for i in range(20_000)])
    assert len(set(names)) == 20_000
    assert names[0] == "sound.wav-1"


def test_every_window_has_a_picture_of_its_own(engine, tmp_path):
    done = edge(
        *("predict", engine, "--end", "2.4", "--hop", "0.01", "--json"),
        *("--picture", tmp_path / "out"),
    )
    assert {json.loads(line)["file"] for line in done.stdout.splitlines()} == {str(engine)}
    assert len(list((tmp_path / "out").iterdir())) == len(done.stdout.splitlines()) > 30


def test_pictures_that_cannot_be_written_cost_no_verdict(engine, tmp_path, monkeypatch, capsys):
    tried = []

    def full(path, picture):
        tried.append(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge.predict_command.write_png", full)
    assert main(["predict", str(engine), "--json", "--picture", str(tmp_path)]) == 2
    out, errors = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert "--picture" in errors  # it is not the recording's fault
    assert errors.count("cannot be written: No space left on device") == 1
    assert len(tried) == 4  # there may be room again


def test_a_folder_nobody_may_write_to_is_refused_before_anything_is_judged(
    engine, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("edge.predict_command.os.access", lambda path, mode: path != tmp_path)
    assert main(["predict", str(engine), "--json", "--picture", str(tmp_path)]) == 2
    out, errors = capsys.readouterr()
    assert out == ""
    assert f"--picture {tmp_path} is not writable: name another folder" in errors


@pytest.mark.parametrize("name", ["n" * 251, "\u00e4" * 120, "\u30ce" * 80])
def test_a_name_as_long_as_can_be_has_pictures(engine, tmp_path, name):
    path = tmp_path / f"{name}.wav"
    shutil.copy(engine, path)
    assert main(["predict", str(path), "--json", "--picture", str(tmp_path / "new")]) == 0
    assert len(list((tmp_path / "new").iterdir())) == 4


def test_one_picture_that_cannot_be_written_is_an_error_though_later_ones_can(
    engine, tmp_path, monkeypatch, capsys
):
    tried = []

    def full_at_first(path, picture):
        tried.append(path)
        if len(tried) == 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge.predict_command.write_png", full_at_first)
    assert main(["predict", str(engine), "--json", "--picture", str(tmp_path)]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert len(tried) == 4


def test_no_picture_of_hundreds_of_windows_takes_the_place_of_another(
    tmp_path, monkeypatch, engine
):
    """The shortest hop is 220 samples, a little less than 0.01 s."""
    written = []
    monkeypatch.setattr("edge.predict_command.Classifier.predict", lambda *_: 0.1)
    monkeypatch.setattr(
        "edge.frontend.FrontEnd.picture", lambda *_: np.zeros((224, 224, 3), np.uint8)
    )
    monkeypatch.setattr("edge.predict_command.write_png", lambda path, _: written.append(path))
    assert main(["predict", str(engine), "--hop", "0.01", "--picture", str(tmp_path)]) == 0
    assert len(set(written)) == len(written) > 300
