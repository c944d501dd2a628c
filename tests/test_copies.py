"""Copies of a recording, in its own or another format."""

import numpy as np
import pytest

from convert.dataset import find_clips
from convert.errors import DatasetError
from tests.audio import noise, wav_file
from tests.labelled import SR, sound, table


def test_copies_are_left_out_and_named(tmp_path, capsys):
    for name in ("golf_1", "golf copy_1", "polo_1"):
        sound(tmp_path / "normal" / f"{name}.wav", 1)
    sound(tmp_path / "normal" / "golf_2.wav", 2)
    found = [clip.path.name for clip in find_clips([tmp_path])]
    assert found == ["golf copy_1.wav", "golf_2.wav"]  # the first by name stands for its copies
    said = capsys.readouterr().err
    assert "left out 2 recordings copied from another" in said
    assert "polo_1.wav of" in said


def test_a_line_given_twice_counts_once(tmp_path, capsys):
    sound(tmp_path / "a.wav")
    table(tmp_path, "a.wav,normal,x", "a.wav,normal,y")
    assert [clip.source for clip in find_clips([tmp_path])] == ["x"]
    said = capsys.readouterr().err
    assert f"left out 1 line naming a recording again: {tmp_path / 'a.wav'}\n" in said
    table(tmp_path, "a.wav,normal,x", "a.wav,knocking,x")
    with pytest.raises(DatasetError, match=r"a\.wav is listed twice, labelled knocking and normal"):
        find_clips([tmp_path])


def test_which_copy_stays_is_no_matter_of_lines(tmp_path):
    for folder in ("x", "y"):
        sound(tmp_path / folder / "a.wav", 1)
    rows = ["x/a.wav,normal,golf,train", "y/a.wav,normal,golf,"]
    kept = []
    for lines in (rows, rows[::-1]):
        table(tmp_path, *lines, header="file,label,source,split")
        kept += [(clip.path, clip.split) for clip in find_clips([tmp_path])]
    assert len(kept) == 2
    assert kept[0] == kept[1]


def test_a_link_to_a_recording_is_a_copy_and_both_are_named(tmp_path, capsys):
    sound(tmp_path / "normal" / "a_1.wav")
    (tmp_path / "normal" / "b_1.wav").symlink_to("a_1.wav")
    assert len(find_clips([tmp_path])) == 1
    said = capsys.readouterr().err
    assert f"copied from another: {tmp_path}/normal/b_1.wav of {tmp_path}/normal/a_1.wav" in said
    (tmp_path / "knocking").mkdir()
    (tmp_path / "knocking" / "c_1.wav").symlink_to("../normal/a_1.wav")
    with pytest.raises(DatasetError, match=r"normal/a_1\.wav and .*knocking/c_1\.wav are the same"):
        find_clips([tmp_path])


def test_the_same_audio_under_two_labels(tmp_path):
    sound(tmp_path / "knocking" / "a.wav", 1)
    sound(tmp_path / "normal" / "b.wav", 1)
    with pytest.raises(DatasetError, match="same audio"):
        find_clips([tmp_path])


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (("engine,", "engine_other_fault,"), "of kind engine and engine_other_fault, of which"),
        (("belt,", "diesel,"), "of kind belt and diesel, of which"),
        (("engine,train", "engine,valid"), "of split 'train' and 'valid'"),
        (("engine,", "engine,valid"), "of split '' and 'valid'"),
        (("engine,", "diesel,train"), ""),
        (("belt,valid", "misfire,valid"), ""),
    ],
)
def test_copies_that_contradict_each_other_are_refused(tmp_path, rows, words):
    """The first by its place would decide, and nobody would know that another said otherwise."""
    for name in "ab":
        sound(tmp_path / f"{name}.wav", 1)
    said = (f"{name}.wav,normal,{row}" for name, row in zip("ab", rows, strict=True))
    table(tmp_path, *said, header="file,label,kind,split")
    if not words:
        assert len(find_clips([tmp_path])) == 1
        return
    with pytest.raises(DatasetError, match=f"a.wav and .*b.wav are the same audio, {words}"):
        find_clips([tmp_path])


def as_flac(wav, flac):
    soundfile = pytest.importorskip("soundfile")
    y, rate = soundfile.read(wav, dtype="int16")
    flac.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(flac, y, rate, subtype="PCM_16")


def with_title(wav, other):
    """A copy with a chunk at its end, as editors of sound append."""
    title = b"LIST" + (4).to_bytes(4, "little") + b"INFO"
    other.parent.mkdir(parents=True, exist_ok=True)
    content = wav.read_bytes() + title
    other.write_bytes(content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:])


@pytest.mark.parametrize(("copy", "suffix"), [(as_flac, "flac"), (with_title, "wav")])
def test_the_same_samples_in_other_bytes_are_a_copy(tmp_path, capsys, copy, suffix):
    wav = sound(tmp_path / "normal" / "golf_1.wav", 1)
    copy(wav, tmp_path / "normal" / f"polo_1.{suffix}")
    assert [clip.path for clip in find_clips([tmp_path])] == [wav]
    assert f"polo_1.{suffix} of {wav}" in capsys.readouterr().err
    copy(wav, tmp_path / "knocking" / f"other.{suffix}")
    with pytest.raises(DatasetError, match=r"same audio, labelled knocking and normal: one of"):
        find_clips([tmp_path])


def test_what_only_begins_alike_or_holds_nothing_is_no_copy(tmp_path, capsys):
    y = noise(3).astype("f8")
    wav_file(tmp_path / "a.wav", y, SR)
    wav_file(tmp_path / "b.wav", y[: 2 * SR], SR)
    wav_file(tmp_path / "late.wav", np.concatenate([np.zeros(2 * SR), y]), SR)
    for name, form in (("mute", "s16"), ("still", "s24")):  # other bytes
        wav_file(tmp_path / f"{name}.wav", np.zeros(3 * SR), SR, form=form)
    for name in ("torn", "text"):
        (tmp_path / f"{name}.wav").write_text(f"{name} is no sound")
    names = ("a", "b", "late", "mute", "still", "torn", "text")
    labels = ("normal", "knocking", "normal", "knocking", "normal", "knocking", "normal")
    rows = (f"{name}.wav,{label}" for name, label in zip(names, labels, strict=True))
    table(tmp_path, *rows, header="file,label")
    assert len(find_clips([tmp_path])) == len(names)
    assert "copied" not in capsys.readouterr().err
    as_flac(tmp_path / "late.wav", tmp_path / "later.flac")
    table(tmp_path, "late.wav,normal", "later.flac,normal", header="file,label")
    assert [clip.path.name for clip in find_clips([tmp_path])] == ["late.wav"]


def test_empty_files_are_no_copies(tmp_path, capsys):
    for name in "a", "b":
        (tmp_path / f"{name}.wav").touch()
    table(tmp_path, "a.wav,normal", "b.wav,knocking", header="file,label")
    assert len(find_clips([tmp_path])) == 2
    assert "copied" not in capsys.readouterr().err
