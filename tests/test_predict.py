"""``edge predict`` as a user meets it: a process, its output and its exit code."""

import dataclasses
import json
import shutil
import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from PIL import Image

from edge.cli import main
from edge.decoders import pieces
from edge.model import ModelFile, default_model, write_model
from tests.audio import hiss, noise, tone, wav_file
from tests.program import run

SR = 22_050
KEYS = ["file", "start_s", "end_s", "verdict", "p_knocking", "reason"]


edge = partial(run, "edge")


def lines(done):
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_one_json_object_a_window(engine):
    found = lines(edge("predict", engine, "--json"))
    assert [list(row) for row in found] == [KEYS] * 4
    assert [(row["start_s"], row["end_s"]) for row in found] == [(0, 2), (1, 3), (2, 4), (3, 5)]
    for row in found:
        assert row["file"] == str(engine)
        assert row["verdict"] in {"knocking", "normal"}
        assert 0 <= row["p_knocking"] <= 1
        assert row["reason"] == ""


def test_part_hop_and_pictures(engine, tmp_path):
    done = edge(
        "predict", engine, "--start", 1, "--end", 4, "--hop", 0.5, "--picture", tmp_path / "new"
    )
    assert "1.00      3.00" in done.stdout
    assert len(list((tmp_path / "new").iterdir())) == 3
    for path in (tmp_path / "new").iterdir():
        with Image.open(path) as picture:
            assert picture.size == (224, 224)


@pytest.mark.parametrize(
    ("form", "channels", "sr"), [("u8", 1, 8000), ("s16", 2, 44_100), ("s24", 8, 192_000)]
)
def test_formats(tmp_path, form, channels, sr):
    """The ends and the usual; test_wav has every form, test_recording every rate."""
    y = noise(2, sr).astype("f8")
    path = wav_file(
        tmp_path / "a.wav", y, sr, form=form, channels=channels, extensible=channels > 2
    )
    (row,) = lines(edge("predict", path, "--json"))
    assert row["verdict"] in {"knocking", "normal"}


@pytest.mark.parametrize(
    ("y", "reason"),
    [
        (np.zeros(3 * SR), "flat_line"),
        (np.full(3 * SR, 0.25), "flat_line"),
        (tone(3, SR) * 1e-4, "silence"),
        (tone(3, SR), "tone"),
        (hiss(3).astype("f8"), "hiss"),
        (noise(0.3).astype("f8"), "too_short"),
        (np.full(3 * SR, np.nan), "not_finite"),
        (hiss(3).astype("f8") * 0.1 + 0.5, "dc"),
        (np.clip(noise(3).astype("f8") * 100, -1, 1), "clipping"),
    ],
)
def test_what_cannot_be_trusted_is_unknown(tmp_path, y, reason):
    path = wav_file(tmp_path / "a.wav", y, SR, form="f32")
    rows = lines(edge("predict", path, "--json"))
    assert len(rows) == (1 if reason == "too_short" else 2)  # of 3 s, one a second
    for row in rows:
        assert (row["verdict"], row["p_knocking"], row["reason"]) == ("unknown", None, reason)


def test_an_unreadable_file_does_not_stop_the_others(engine, tmp_path):
    text = tmp_path / "text.wav"
    text.write_text("once upon a time there was an engine")
    done = edge("predict", text, engine, tmp_path / "none.wav", "--json", code=3)
    assert len(lines(done)) == 4
    complaints = done.stderr.splitlines()
    assert len(complaints) == 2
    assert complaints[0].startswith(f"edge: {text} ")


@pytest.mark.parametrize(
    ("arguments", "code", "word"),
    [
        (["--hop", "0"], 2, "--hop"),
        (["--start", "3", "--end", "2"], 2, "--end"),
        (["--channel", "3"], 3, "channel 3"),
        (["--model", "none.tflite"], 4, "none.tflite"),
        (["--start", "100"], 3, "--start"),
    ],
)
def test_bad_arguments(engine, arguments, code, word):
    done = edge("predict", engine, *arguments, code=code)
    assert word in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [["--start", "x"], ["--start", "-1"], ["--runtime", "x"]])
def test_what_the_parser_refuses(engine, arguments):
    assert arguments[0] in edge("predict", engine, *arguments, code=2).stderr


@pytest.mark.parametrize(
    "empty",
    [
        ["predict", ""],
        ["predict", "a.wav", "--model", ""],
        ["predict", "a.wav", "--picture", ""],
        *(["run", option, ""] for option in ("--config", "--source", "--state")),
        ["doctor", "--config", ""],
    ],
)
def test_a_name_without_letters_is_not_this_very_folder(empty):
    said = edge(*empty, code=2).stderr
    assert "the name is empty" in said
    assert "name a file or a folder" in said


def test_the_name_of_a_file_cannot_control_the_terminal_or_forge_a_line(engine, tmp_path, capfd):
    named = tmp_path / "\x1b[31ma\n      0.00      2.00  normal         0.000.wav"
    shutil.copy(engine, named)
    assert main(["predict", str(named), str(tmp_path / "\x1b]0;gone\7")]) == 3
    out, errors = capfd.readouterr()
    assert out.splitlines()[0].endswith(
        r"/\x1b[31ma\n      0.00      2.00  normal         0.000.wav"
    )
    assert errors.endswith(r"/\x1b]0;gone\x07 does not exist" + "\n")
    assert "\x1b" not in out + errors


def test_a_warning_about_a_file_is_one_printable_line(tmp_path):
    path = wav_file(tmp_path / "\x1b[31m.wav", noise(3).astype("f8"), SR)
    path.write_bytes(path.read_bytes()[:-1001])
    done = edge("predict", path)
    assert r"\x1b[31m.wav is damaged" in done.stderr
    assert "\x1b" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_the_other_channel_is_pointed_at_where_this_one_is_silent(tmp_path):
    """A stereo recorder and one microphone: the likeliest slip."""
    path = wav_file(tmp_path / "a.wav", noise(3).astype("f8"), SR, channels=2)
    said = edge("predict", path, "--channel", 1).stderr
    assert said.startswith(
        f"{path}: channel 1 has no usable sound; the file has 2 channels, numbered from 0: "
    )
    assert edge("predict", path).stderr == ""


@pytest.mark.parametrize(
    "dead",
    [hiss(3), hiss(3) / 10 + 0.5, np.float32(0.1) * tone(3, SR), np.resize(noise(0.1), 3 * SR)],
)
def test_the_other_channel_is_pointed_at_where_an_open_input_hisses_or_hums(tmp_path, dead):
    path = wav_file(tmp_path / "a.wav", dead.astype("f8"), SR, channels=2)
    assert "try another --channel" in edge("predict", path).stderr


@pytest.mark.parametrize(
    ("p", "words"),
    [
        ([0.9] * 5, "enough for an alert at 6.0 s"),
        ([0.9] * 4 + [0.1] * 4 + [0.9] * 4, "not enough for an alert"),
        ([0.1] * 5, "not enough for an alert"),
        ([0.9] * 4, "too few judged windows to tell whether it is enough for an alert"),
        ([0.1] + [0.9, 0.9, 0.1] * 3, "enough for an alert at 9.0 s"),
    ],
)
def test_it_says_whether_the_lamp_would_have_been_lit(tmp_path, monkeypatch, capsys, p, words):
    answers = iter(p)
    monkeypatch.setattr("edge.predict_command.Classifier.predict", lambda *_: next(answers))
    path = wav_file(tmp_path / "a.wav", noise(len(p) + 1).astype("f8"), SR)
    assert main(["predict", str(path)]) == 0
    last = capsys.readouterr().out.splitlines()[-2].strip()
    assert last == f"{words} (5 of 8 windows, here one every 1 s; in edge run, one every 0.5 s)"


def test_of_windows_far_apart_it_says_nothing_of_an_alert(engine):
    said = edge("predict", engine, "--hop", 10).stdout
    assert "too far apart to tell" in said


def test_a_cut_off_model(engine, tmp_path):
    path = tmp_path / "cut.tflite"
    path.write_bytes(default_model().read_bytes()[:1_000_000])
    done = edge("predict", engine, "--model", path, code=4)
    assert str(path) in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("options", [["--json"], []])
def test_without_standard_error_it_judges_all_the_same(engine, tmp_path, options):
    command = [sys.executable, "-m", "edge", "predict", str(engine), str(tmp_path / "none.wav")]
    closed = subprocess.run(
        ["sh", "-c", '"$@" 2>&-', "sh", *command, *options],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    usual = edge("predict", engine, *options)
    assert closed.returncode == 3  # for the file that is none
    assert closed.stdout.startswith(usual.stdout)
    assert "Bad file" not in closed.stdout


def test_help_shows_examples_and_exit_codes():
    text = edge("predict", "--help").stdout
    assert "IMG_3414.MOV --start 4 --end 6" in text
    assert "exit codes" in text
    assert edge("--version").stdout.startswith("edge 0.")


def test_a_reader_that_has_seen_enough(engine):
    command = f"{sys.executable} -m edge predict {engine} --hop 0.05 --json | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)  # noqa: S602 - a pipe is what is tested
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_what_the_system_says_of_a_file_names_the_file(engine, capsys):
    assert main(["predict", "/proc/self/mem", str(engine), "--json"]) == 3
    out, errors = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert errors == "edge: /proc/self/mem cannot be read: Input/output error\n"


def test_infinite_samples_are_unknown_and_no_warning(tmp_path, capsys):
    y = noise(3, 44_100).astype("f8")
    y[[100, 101, 60_000]] = np.inf, -np.inf, np.nan
    path = wav_file(tmp_path / "a.wav", y, 44_100, form="f32")
    assert main(["predict", str(path), "--json"]) == 0
    out, errors = capsys.readouterr()
    assert [json.loads(line)["reason"] for line in out.splitlines()] == ["not_finite"] * 2
    assert errors == ""


@pytest.fixture
def wav(tmp_path):
    return wav_file(tmp_path / "a.wav", noise(2).astype("f8"), SR)


def test_the_models_own_threshold_decides(wav, tmp_path, capsys):
    model = ModelFile.read(default_model())
    assert main(["predict", str(wav), "--json"]) == 0
    p = json.loads(capsys.readouterr().out)["p_knocking"]
    for threshold, verdict in ((p * 0.9, "knocking"), (p + 0.9 * (0.9 - p), "normal")):
        path = tmp_path / "m.tflite"
        write_model(path, model.network, dataclasses.replace(model.manifest, threshold=threshold))
        assert main(["predict", str(wav), "--json", "--model", str(path)]) == 0
        assert json.loads(capsys.readouterr().out)["verdict"] == verdict


def test_a_file_that_may_not_be_read_does_not_stop_the_others(wav, capsys, monkeypatch):
    def refused(path, part):
        if path == closed:
            raise PermissionError(13, "Permission denied", str(path))
        return pieces(path, part)

    closed = shutil.copy(wav, wav.with_name("closed.wav"))
    monkeypatch.setattr("edge.recording.pieces", refused)
    assert main(["predict", str(closed), str(wav), "--json"]) == 3
    out, errors = capsys.readouterr()
    assert errors == f"edge: {closed} cannot be read: Permission denied\n"
    assert str(wav) in out


def test_the_highest_code_counts(wav, monkeypatch):
    from edge import predict_command
    from edge.errors import MissingPackageError, RecordingError

    errors = [MissingPackageError("no av"), RecordingError("damaged")]

    def fails(*_):
        raise errors.pop(0)

    monkeypatch.setattr(predict_command, "_predict_file", fails)
    assert main(["predict", str(wav), str(wav)]) == MissingPackageError.exit_code


def test_an_error_of_the_system_is_no_success(monkeypatch, wav):
    from edge import predict_command

    def fails(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(predict_command, "run", fails)
    assert main(["predict", str(wav)]) == 2


@pytest.fixture
def answered(monkeypatch):
    """Answers of the network, one by one."""

    def answer(p):
        answers = iter(p)
        monkeypatch.setattr("edge.predict_command.Classifier.predict", lambda *_: next(answers))

    return answer


def test_a_part_of_no_length_is_refused(engine):
    assert (
        "--end 3 must be later" in edge("predict", engine, "--start", 3, "--end", 3, code=2).stderr
    )


def test_the_first_alert_is_told_of_several(tmp_path, answered, capsys):
    answered([0.9] * 5 + [0.1] * 20 + [0.9] * 5)
    path = wav_file(tmp_path / "a.wav", noise(31).astype("f8"), SR)
    assert main(["predict", str(path)]) == 0
    assert "enough for an alert at 6.0 s" in capsys.readouterr().out


def test_windows_that_could_not_be_judged_tell_of_no_alert(tmp_path, answered, capsys):
    answered([0.1])
    y = noise(8).astype("f8")
    y[2 * SR :] = 0
    assert main(["predict", str(wav_file(tmp_path / "a.wav", y, SR))]) == 0
    assert "too few judged windows" in capsys.readouterr().out


def test_another_channel_is_pointed_at_only_where_there_is_one_and_nothing_else_was_heard(tmp_path):
    mono = wav_file(tmp_path / "a.wav", np.zeros(3 * SR), SR)
    assert edge("predict", mono).stderr == ""
    y = noise(6).astype("f8")
    y[3 * SR :] = 0
    assert edge("predict", wav_file(tmp_path / "b.wav", y, SR, channels=2)).stderr == ""
