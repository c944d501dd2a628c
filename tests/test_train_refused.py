"""What ``convert train`` refuses, and when: before the hours that it is for."""

import csv
import dataclasses
import shutil
from pathlib import Path
from unittest.mock import Mock

import pytest

from convert.cli import main
from convert.errors import CheckpointError, DatasetError
from convert.train import _same_run, train
from convert.train_config import TrainConfig
from edge.errors import ConfigError
from tests.audio import noise, wav_file
from tests.networks import checkpoint, random_network

TINY = TrainConfig(examples=64, small_epochs=2, full_epochs=0, hold_out=0.4)


def table_columns(path):
    with path.open(newline="") as lines:
        return next(csv.reader(lines))


def test_a_column_split_and_folds_exclude_each_other(tmp_path):
    (tmp_path / "a.wav").touch()
    (tmp_path / "labels.csv").write_text("file,label,split\na.wav,normal,train\n")
    folded = dataclasses.replace(TINY, fold=(1, 2))
    with pytest.raises(DatasetError, match="exclude each other"):
        train([tmp_path], tmp_path / "a.pth", tmp_path / "w", folded)


def test_a_start_that_cannot_be_read_costs_no_examples(recordings_made, tmp_path, monkeypatch):
    monkeypatch.setattr("convert.run_data.load_or_make", lambda *_, **__: pytest.fail("made"))
    with pytest.raises(CheckpointError, match="does not exist"):
        train([recordings_made], tmp_path / "a.pth", tmp_path / "w", TINY, init=tmp_path / "no.pth")
    assert not (tmp_path / "w").exists()  # and the right one may have the folder


@pytest.mark.parametrize("end", [KeyboardInterrupt(), SystemExit(143), SystemExit(129)])
def test_however_a_run_is_stopped_it_says_how_to_go_on(tmp_path, monkeypatch, capsys, end):
    """By Ctrl-C, kill, or a terminal that closes."""
    (tmp_path / "a.work").mkdir()
    monkeypatch.setattr("convert.train_command._train", Mock(side_effect=end))
    code = end.code if isinstance(end, SystemExit) else 130
    try:
        assert main(["train", str(tmp_path), "--out", str(tmp_path / "a.pth")]) == code
    except SystemExit as leaving:
        assert leaving.code == code
    assert f"the same command resumes the run in {tmp_path}/a.work" in capsys.readouterr().err


def test_a_start_is_the_same_wherever_it_lies(recordings_made, tmp_path, monkeypatch):
    """Another spelling of its path, or another disk, is no other run."""

    def enough(*_, **__):
        raise DatasetError("started")

    monkeypatch.setattr("convert.train._fit", enough)
    monkeypatch.chdir(tmp_path)
    start = checkpoint(tmp_path / "start.pth", random_network())
    moved = shutil.copy(start, tmp_path / "moved.pth")
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "state.pt").touch()  # without an epoch, any run may begin here
    for init in (start, Path("start.pth"), moved):
        with pytest.raises(DatasetError, match="started"):
            train([recordings_made], tmp_path / "a.pth", tmp_path / "w", TINY, init=init)
    for other in (checkpoint(start, random_network(seed=4)), None):
        with pytest.raises(DatasetError, match="another run"):
            train([recordings_made], tmp_path / "a.pth", tmp_path / "w", TINY, init=other)


def test_engines_of_which_none_can_be_read(tmp_path):
    for number in range(3):
        path = tmp_path / "r" / "normal" / f"car{number}_1.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no sound" + b"!" * number)
    with pytest.raises(DatasetError, match="cannot be read, or are shorter than 1 s"):
        train([tmp_path / "r"], tmp_path / "a.pth", tmp_path / "w", TINY)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["train", "r", "--out", "."], "--out . is a folder"),
        (["train", "r", "--out", "a.safetensors"], "must end in .pth"),
        (["train", "r", "--out", "no/a.pth"], "there is no folder no"),
        (["train", "r", "--out", "a.pth", "--threshold", "1"], "--threshold 1 must lie between"),
        (["train", "r", "--out", "a.pth", "--threshold", "nan"], "--threshold nan must lie"),
        (["evaluate", "m.tflite", "r", "--json", "."], "--json . is a folder"),
        (["evaluate", "m.tflite", "r", "--html", ".."], "--html .. is a folder"),
        (["evaluate", "m.tflite", "r", "--hop", "10"], "between 0.01 and 2 s"),
        (
            ["evaluate", "m.tflite", "r", "--for-false-rate", "0.1", "--out", "a.pth"],
            "must end in .tflite",
        ),
        (["export", "a.pth", "--calibration", "r", "--out", "a.pth"], "must end in .tflite"),
        (["export", "a.pth", "--calibration", "r", "--out", "a.tflite", "--seed", "-1"], "--seed"),
    ],
)
def test_where_results_cannot_go_is_said_first(arguments, words, tmp_path, monkeypatch, capsys):
    from convert.cli import main

    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--init", "--pretrained"])
def test_a_start_is_not_written_over(option, tmp_path, monkeypatch, capsys):
    from convert.cli import main

    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.pth").write_bytes(b"a network")
    (tmp_path / "link.pth").symlink_to("a.pth")
    assert main(["train", "r", option, "a.pth", "--out", "link.pth"]) == 2
    assert "--out link.pth is also the network to start from" in capsys.readouterr().err
    assert (tmp_path / "a.pth").read_bytes() == b"a network"


def test_data_that_cannot_be_trained_on(recordings_made, tmp_path):
    shutil.copytree(recordings_made / "knocking", tmp_path / "ill" / "knocking")
    with pytest.raises(DatasetError, match="healthy"):
        train([tmp_path / "ill"], tmp_path / "a.pth", tmp_path / "w", TINY)
    (tmp_path / "belt.wav").write_bytes(b"anything")
    (tmp_path / "labels.csv").write_text("file,label,kind\nbelt.wav,normal,belt\n")
    with pytest.raises(DatasetError, match=r"a healthy engine is left to train on$"):
        train([tmp_path], tmp_path / "a.pth", tmp_path / "w", TINY)
    few = dataclasses.replace(TINY, examples=20)
    with pytest.raises(DatasetError, match="batch of 32"):
        train([recordings_made], tmp_path / "a.pth", tmp_path / "w", few)


@pytest.mark.parametrize("hold_out", [0.0, 0.4])
def test_unreadable_recordings_are_named_once(
    recordings_made, tmp_path, capsys, monkeypatch, hold_out
):
    shutil.copytree(recordings_made, tmp_path / "some")
    with (tmp_path / "some" / "labels.csv").open("a", newline="") as table:
        columns = table_columns(tmp_path / "some" / "labels.csv")
        for number in range(4):
            (tmp_path / "some" / f"broken{number}.wav").write_bytes(b"no sound" + b"!" * number)
            row = {"file": f"broken{number}.wav", "label": "normal", "source": f"broken{number}"}
            csv.DictWriter(table, columns, restval="").writerow(row)
    few = dataclasses.replace(TINY, examples=32, hold_out=hold_out)

    def enough(*_, **__):
        raise DatasetError("all were read")

    monkeypatch.setattr("convert.train.Fit", enough)
    with pytest.raises(DatasetError, match="all were read"):
        train([tmp_path / "some"], tmp_path / "a.pth", tmp_path / "w", few)
    said = capsys.readouterr().err
    # Those that are trained on and those that are held out are read apart.
    assert sum(said.count(f"broken{number}.wav") for number in range(4)) in (3, 4)
    assert said.count("skipped") == (2 if hold_out else 1)


def test_unreadable_recordings_are_named_where_no_epoch_is_chosen_by_what_is_held_out(
    recordings_made, tmp_path, capsys, monkeypatch
):
    shutil.copytree(recordings_made, tmp_path / "some")
    table = tmp_path / "some" / "labels.csv"
    with table.open("a", newline="") as lines:
        (tmp_path / "some" / "broken.wav").write_bytes(b"no sound")
        row = {"file": "broken.wav", "label": "not_engine", "source": "street"}
        csv.DictWriter(lines, table_columns(table), restval="").writerow(row)
    few = dataclasses.replace(TINY, examples=32, hold_out=0)

    def enough(*_, **__):
        raise DatasetError("all were read")

    monkeypatch.setattr("convert.train.Fit", enough)
    for _ in range(2):  # the second has all of it in files
        with pytest.raises(DatasetError, match="all were read"):
            train(
                [tmp_path / "some"],
                tmp_path / "a.pth",
                tmp_path / "w",
                few,
                never_train_on=frozenset({"street"}),
            )
        assert capsys.readouterr().err.count("broken.wav") == 1


@pytest.mark.parametrize(
    "change",
    [
        {"examples": 0},
        {"hold_out": 0.95},
        {"simple": 1.5},
        {"small_epochs": 0},
        {"full_epochs": -1},
        {"fold": (4, 3)},
        {"fold": (0, 3)},
        {"fold": (1, 1)},
    ],
)
def test_settings_that_make_no_sense(change):
    with pytest.raises(ConfigError, match="--"):
        dataclasses.replace(TINY, **change)


@pytest.mark.parametrize(
    ("short", "said"),
    [("normal", "among those held out: hold out others"), ("knocking", "only synthetic ones")],
)
def test_what_is_too_short_to_learn_from_is_missed_where_it_is_the_last(
    tmp_path, capsys, monkeypatch, short, said
):
    """It counts among the recordings there are, until it is read."""

    def enough(*_, **__):
        raise DatasetError("all were read")

    monkeypatch.setattr("convert.train.Fit", enough)
    lines = ["file,label,source,kind,split"]
    for number, (label, split) in enumerate(
        (("normal", "train"), ("normal", "valid"), ("knocking", "train"))
    ):
        last = label == short and (label == "knocking" or split == "valid")
        y = noise(0.5 if last else 3.0, seed=number).astype("f8")
        wav_file(tmp_path / f"{number}.wav", y, 22_050)
        lines.append(f"{number}.wav,{label},{number},engine,{split}")
    (tmp_path / "labels.csv").write_text("\n".join(lines) + "\n")
    few = dataclasses.replace(TINY, examples=32)
    with pytest.raises(DatasetError) as refused:
        train([tmp_path], tmp_path / "a.pth", tmp_path / "w", few)
    out = capsys.readouterr()
    assert said in str(refused.value) + out.out
    assert f"shorter than 1 s: repetition would sound like knocking: {tmp_path}" in out.err


def test_how_much_to_keep_of_the_start_can_be_chosen_afterwards(tmp_path):
    (tmp_path / "state.pt").touch()
    for keep in (0.0, 0.5):
        _same_run(tmp_path, TrainConfig(keep=keep), [], [], [])
    with pytest.raises(DatasetError, match="another run"):
        _same_run(tmp_path, TrainConfig(seed=99), [], [], [])


def test_a_run_that_has_no_epoch_yet_may_change_its_mind(tmp_path):
    """As the errors before the first epoch advise: other settings, the same command."""
    _same_run(tmp_path, TINY, [], [], [])
    other = dataclasses.replace(TINY, learning_rate=1e-4)
    _same_run(tmp_path, other, [], [], [])
    (tmp_path / "state.pt").touch()
    _same_run(tmp_path, other, [], [], [])
    with pytest.raises(DatasetError, match="another run"):
        _same_run(tmp_path, TINY, [], [], [])
