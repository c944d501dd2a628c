import sys
from pathlib import Path

import numpy as np
import pytest

from convert.dataset import (
    describe,
    find_clips,
    readable,
)
from convert.errors import DatasetError
from convert.fingerprint import fingerprint
from edge.errors import MissingPackageError
from tests.audio import noise, wav_file
from tests.labelled import SR, clips, sound, table


def test_folders_named_after_labels(tmp_path):
    sound(tmp_path / "knocking" / "ford_001.wav", 1)
    sound(tmp_path / "normal" / "ford_002.wav", 2)
    sound(tmp_path / "normal" / "opel.wav", 3)
    sound(tmp_path / "not_engine" / "street_001.wav", 4)
    clips = {c.path.name: c for c in find_clips([tmp_path])}
    assert [clips[n].source for n in sorted(clips)] == ["ford", "ford", "opel", "street"]
    assert clips["ford_001.wav"].knocks
    assert clips["street_001.wav"].kind == "not_engine"


def test_recordings_named_after_their_label_alone_are_sources_of_their_own(tmp_path):
    for number in (1, 2):
        sound(tmp_path / "normal" / f"normal_{number:04}.wav", number)
        sound(tmp_path / "knocking" / f"Knocking_{number:04}.wav", number + 2)
    assert len({clip.source for clip in find_clips([tmp_path])}) == 4


def test_folders_below_those_of_the_labels_are_sources(tmp_path):
    for number in (1, 2):
        sound(tmp_path / "normal" / "golf" / "cold" / f"{number}golf.wav", number)
        sound(tmp_path / "knocking" / "golf" / f"k_{number}.wav", number + 2)
        sound(tmp_path / "normal" / f"polo_{number}.wave", number + 4)
    assert {clip.source for clip in find_clips([tmp_path])} == {"golf", "polo"}
    files = [p.relative_to(tmp_path) for p in sorted(tmp_path.rglob("*.wav"))]
    table(tmp_path, *(f"{p},{p.parts[0]}" for p in files), header="file,label")
    assert {clip.source for clip in find_clips([tmp_path])} == {"golf"}
    table(tmp_path, *(f"{p},{p.parts[0]},mine" for p in files), header="file,label,car")
    assert {clip.source for clip in find_clips([tmp_path])} == {"mine"}


def test_folders_named_after_parts_of_a_split_are_none(tmp_path):
    for number, part in enumerate(("train", "valid")):
        sound(tmp_path / "normal" / part / f"golf_{number}.wav", number)
        sound(tmp_path / "normal" / part / "polo" / f"{number}.wav", number + 2)
    assert {clip.source for clip in find_clips([tmp_path])} == {"golf", "polo"}


def test_the_order_of_lines_changes_nothing(tmp_path):
    """What a seed draws of recordings goes by their order, and which copy stays does, too."""
    for number, name in enumerate(("b_1", "a_1", "c_1", "c_2")):
        sound(tmp_path / f"{name}.wav", min(number, 2))
    rows = [f"{name}.wav,normal" for name in ("c_2", "b_1", "c_1", "a_1")]
    for lines in (rows, rows[::-1]):
        table(tmp_path, *lines, header="file,label")
        assert [clip.path.stem for clip in find_clips([tmp_path])] == ["a_1", "b_1", "c_1"]


def test_where_folders_lie_and_how_they_are_spelt_changes_nothing(tmp_path, monkeypatch):
    for number, name in enumerate(("u/mine", "more", "a/more")):
        sound(tmp_path / name / "normal" / f"golf_{number % 2}.wav", number)
    monkeypatch.chdir(tmp_path / "u")

    def drawn(*folders):
        return [fingerprint(clip.path) for clip in find_clips([Path(f) for f in folders])]

    usual = drawn("mine", tmp_path / "more", "../a/more")
    assert drawn(tmp_path / "u/mine", "../more", tmp_path / "a/more") == usual
    (tmp_path / "a").rename(tmp_path / "z")
    assert drawn("../more", "../z/more", "mine") == usual


def test_a_table_says_label_source_kind_and_car(tmp_path):
    sound(tmp_path / "a.wav")
    table(tmp_path, "a.wav,normal,my car,belt", header="file,label,source,kind")
    (clip,) = find_clips([tmp_path])
    assert (clip.label, clip.source, clip.kind) == ("normal", "my car", "belt")
    assert clip.group == "my car"
    table(tmp_path, "a.wav,normal,my car,golf", header="file,label,source,car")
    (clip,) = find_clips([tmp_path])
    assert clip.group == "golf"


def test_a_source_of_two_cars_and_an_open_quote(tmp_path):
    for name in "ab":
        sound(tmp_path / f"{name}.wav", ord(name))
    table(tmp_path, "a.wav,normal,x,golf", "b.wav,normal,x,up", header="file,label,source,car")
    with pytest.raises(DatasetError, match="source x is of car 'golf' in one line"):
        find_clips([tmp_path])
    table(tmp_path, "a.wav,normal,x,golf", "b.wav,normal,x,", header="file,label,source,car")
    assert [clip.car for clip in find_clips([tmp_path])] == ["golf", "golf"]
    table(tmp_path, 'a.wav,normal,"x', "y" * 200_000)
    with pytest.raises(DatasetError, match="is a quote not closed"):
        find_clips([tmp_path])


def test_the_folder_below_that_of_the_label_wherever_it_lies(tmp_path):
    for name in ("golf", "polo"):
        path = tmp_path / "audio" / "normal" / name / "001.wav"
        path.parent.mkdir(parents=True)
        path.write_text(name)
    table(
        tmp_path,
        *(f"audio/normal/{n}/001.wav,normal" for n in ("golf", "polo")),
        header="file,label",
    )
    assert {clip.source for clip in find_clips([tmp_path])} == {"golf", "polo"}


def test_a_decoder_that_is_not_there_is_no_fault_of_the_recordings(tmp_path, monkeypatch):
    (tmp_path / "normal").mkdir()
    (tmp_path / "normal" / "a_1.flac").write_bytes(b"fLaC and more")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(MissingPackageError, match="soundfile"):
        list(readable(find_clips([tmp_path])))


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        (["a.wav,broken,x"], "line 2: label 'broken'"),
        (["a.wav,normal,x", "b.wav,normal,x"], "line 3: there is no file 'b.wav'"),
        (["a\0.wav,normal,x"], r"line 2: there is no file 'a\\x00\.wav'"),
    ],
)
def test_bad_rows_are_named(tmp_path, rows, word):
    sound(tmp_path / "a.wav")
    table(tmp_path, *rows)
    with pytest.raises(DatasetError, match=word):
        find_clips([tmp_path])


def test_a_table_without_labels_and_folders_without_recordings(tmp_path):
    with pytest.raises(DatasetError, match="no recordings"):
        find_clips([tmp_path])
    with pytest.raises(DatasetError, match="not a folder"):
        find_clips([tmp_path / "none"])
    table(tmp_path, "a.wav", header="file")
    with pytest.raises(DatasetError, match="has no column label"):
        find_clips([tmp_path])


def test_tables_of_spreadsheets(tmp_path):
    sound(tmp_path / "a.wav")
    text = "file,label,source\na.wav,normal,Händler\n"
    (tmp_path / "labels.csv").write_text(text, encoding="utf-8-sig")
    (clip,) = find_clips([tmp_path])
    assert clip.source == "Händler"
    (tmp_path / "labels.csv").write_text(text, encoding="cp1252")
    with pytest.raises(DatasetError, match="not in UTF-8"):
        find_clips([tmp_path])
    table(tmp_path, "normal", header="label,file")
    with pytest.raises(DatasetError, match="line 2: file and label are needed"):
        find_clips([tmp_path])


def test_recordings_without_sound_are_named_and_left_out(tmp_path, capsys):
    sound(tmp_path / "normal" / "a.wav")
    wav_file(tmp_path / "normal" / "mute.wav", np.zeros(SR), SR)
    broken = np.full(SR, 0.1)
    broken[100] = np.nan
    wav_file(tmp_path / "normal" / "nan.wav", broken, SR, form="f32")
    assert [clip.path.stem for clip, _ in readable(find_clips([tmp_path]))] == ["a"]
    assert "skipped 2" in (said := capsys.readouterr().err)
    assert "mute.wav" in said
    assert "nan.wav" in said


def test_what_would_beat_when_repeated_is_named_and_left_out(tmp_path, capsys):
    sound(tmp_path / "normal" / "a_1.wav", 1, seconds=1.0)
    sound(tmp_path / "normal" / "b_1.wav", 2, seconds=0.25)
    sound(tmp_path / "normal" / "c_1.wav", 3, seconds=0.9)
    assert [clip.path.name for clip, _ in readable(find_clips([tmp_path]))] == ["a_1.wav"]
    said = capsys.readouterr().err
    assert "left out 2 recordings shorter than 1 s" in said
    assert "b_1.wav" in said
    assert "c_1.wav" in said


def test_description():
    assert describe(clips(normal=["a", "b"])) == "normal/engine 6 (2 sources)"


def test_unreadable_recordings_are_skipped_counted_and_named(tmp_path, capsys):
    sound(tmp_path / "normal" / "a_1.wav")
    (tmp_path / "normal" / "b_1.wav").write_text("no audio at all")
    loaded = readable(find_clips([tmp_path]))
    assert [clip.path.name for clip, _ in loaded] == ["a_1.wav"]
    said = capsys.readouterr().err
    assert "skipped 1 recording that cannot be read" in said
    assert "b_1.wav" in said


def test_an_accent_is_the_same_however_a_disk_writes_it(tmp_path):
    """A Mac writes names of files with accents of their own; they look the same."""
    one, other = "K\u00e4fer", "Ka\u0308fer"
    for number, car in enumerate((one, other)):
        (tmp_path / "normal" / car).mkdir(parents=True)
        wav_file(tmp_path / "normal" / car / f"{number}.wav", noise(number).astype("f8"), SR)
    assert {clip.source for clip in find_clips([tmp_path])} == {one}
    (tmp_path / "labels.csv").write_text(
        f"file,label,source,car\nnormal/{one}/0.wav,normal,{other},\n"
        f"normal/{one}/1.wav,normal,{one},{other}\n",
        encoding="utf-8",
    )
    clips = find_clips([tmp_path])
    assert {(clip.source, clip.car) for clip in clips} == {(one, one)}
    assert [clip.path.parent.name for clip in clips] == [one, other]  # as it is called there


def test_a_column_named_twice_is_refused(tmp_path):
    wav_file(tmp_path / "a.wav", noise(2).astype("f8"), SR)
    (tmp_path / "labels.csv").write_text("file,label,label\na.wav,normal,knocking\n")
    with pytest.raises(DatasetError, match="names the column label twice"):
        find_clips([tmp_path])
