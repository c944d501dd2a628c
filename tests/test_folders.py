"""Where recordings are looked for, and what is said of those that are not used."""

import os
from pathlib import Path

import pytest

from convert.dataset import find_clips
from convert.errors import DatasetError
from convert.fingerprint import fingerprint
from convert.folders import called_sounds, sounds
from edge.recording import Recording
from tests.audio import noise
from tests.encoded import encode
from tests.labelled import sound


def recordings(folder, *names):
    for number, name in enumerate(names):
        sound(folder / name, seed=number, seconds=0.1)


def test_recordings_in_no_label_s_folder_are_counted_and_named(tmp_path, capsys):
    recordings(tmp_path, "normal/a.wav", "faults/b.wav", "c.wav", "x/normal/d.wav", "e/f/g.wav")
    assert [clip.path.name for clip in find_clips([tmp_path])] == ["a.wav"]
    assert capsys.readouterr().err == (
        "note: 4 recordings in no folder knocking, normal or not_engine, not used: "
        f"{tmp_path}/c.wav; {tmp_path}/e/f/g.wav; {tmp_path}/faults/b.wav ...\n"
    )


@pytest.mark.parametrize(
    ("suffix", "form", "codec"),
    [
        (".ogg", "ogg", "flac"),
        (".oga", "ogg", "libopus"),
        (".opus", "ogg", "libopus"),
        (".caf", "caf", "pcm_s16le"),
        (".w64", "w64", "pcm_s16le"),
        (".mka", "matroska", "flac"),
        (".m4b", "ipod", "aac"),
        (".mp2", "mp2", "mp2"),
        (".aifc", "aiff", "pcm_s16be"),
        (".m4a", "ipod", "aac"),
        (".M4A", "ipod", "aac"),
        (".3gp", "3gp", "aac"),
        (".mp3", "mp3", "libmp3lame"),
        (".3gpp", "3gp", "aac"),
        (".3ga", "3gp", "aac"),
        (".MTS", "mpegts", "aac"),
        (".mpg", "mpeg", "mp2"),
        (".flv", "flv", "aac"),
        (".mov", "mov", "aac"),
        (".mp4", "mp4", "aac"),
    ],
)
def test_what_edge_predict_reads_is_a_recording_here_too(tmp_path, suffix, form, codec):
    path = tmp_path / "normal" / f"golf_1{suffix}"
    path.parent.mkdir()
    encode(path, noise(3, 48_000), 48_000, form, codec)
    assert Recording(path).read().size > 2.8 * 22_050
    assert [clip.path for clip in find_clips([tmp_path])] == [path]


def test_what_may_be_a_recording_but_is_not_called_one_is_named(tmp_path, capsys):
    recordings(tmp_path, "normal/1.wav", "Normal/golf/rec0001", "notes/rec0002")
    for name in ("Thumbs.db", "note.TXT", "car.jpg", "labels.txt", ".rec"):
        (tmp_path / "normal" / name).write_text("")
    assert [clip.path.name for clip in find_clips([tmp_path])] == ["1.wav"]
    assert capsys.readouterr().err == (
        "note: 1 file with the suffix of no recording, not used: Normal/golf/rec0001\n"
    )
    (tmp_path / "normal" / "1.wav").rename(tmp_path / "normal" / "1.sound")
    with pytest.raises(DatasetError, match="no recordings in"):
        find_clips([tmp_path])
    assert "not used: Normal/golf/rec0001; normal/1.sound\n" in capsys.readouterr().err


def test_folders_of_labels_are_known_however_they_are_spelt(tmp_path, capsys):
    names = ("KNOCKING/k.wav", "Normal/golf/1.wav", "Not-Engine/car_wash/1.wav")
    recordings(tmp_path, *names, "Not-Engine/not engine_1.wav")
    found = [
        # Of a source that is a number, without what tells it from other sources of that number.
        (clip.label, clip.kind, clip.source.partition("@")[0])
        for clip in find_clips([tmp_path])
    ]
    assert sorted(found) == [
        ("knocking", "engine", "k"),
        ("normal", "engine", "golf"),
        ("not_engine", "not_engine", "car_wash"),
        ("not_engine", "not_engine", "not engine_1"),
    ]
    assert capsys.readouterr().err == ""


def test_what_a_mac_leaves_beside_each_recording_is_none(tmp_path, capsys):
    """As sources of their own they would be held out in the place of real ones."""
    for name in ("golf_1.wav", "._golf_1.wav", ".Trashes/old_1.wav"):
        path = tmp_path / "normal" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    assert [path.name for path in sounds(tmp_path)] == ["golf_1.wav"]


def test_two_folders_of_one_label_are_refused(tmp_path):
    recordings(tmp_path, "normal/a.wav", "knocking/b.wav")
    (tmp_path / "NORMAL").mkdir()  # with nothing in it there is nothing to miss
    assert len(find_clips([tmp_path])) == 2
    recordings(tmp_path / "NORMAL", "c.wav")
    with pytest.raises(DatasetError, match=r"has 'NORMAL' and 'normal' for the label normal: make"):
        find_clips([tmp_path])


@pytest.mark.parametrize("what", ["pipe", "device"])
def test_what_never_ends_is_not_read(tmp_path, what):
    path = tmp_path / "a.wav"
    if what == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    assert fingerprint(path) == f"unreadable: {path}"


def test_linked_folders_are_followed_and_named_as_the_link_is(tmp_path, capsys):
    recordings(tmp_path / "usb", "blob/1.wav", "blob/cold/2.wav")
    sound(tmp_path / "set/normal/polo/3.wav", 3, 0.1)
    (tmp_path / "set/normal/opel").symlink_to(tmp_path / "usb/blob")
    found = [(clip.path.name, clip.source) for clip in find_clips([tmp_path / "set"])]
    assert found == [("1.wav", "opel"), ("2.wav", "opel"), ("3.wav", "polo")]
    assert {path.name for path in called_sounds(tmp_path / "set")} == {"1.wav", "2.wav", "3.wav"}
    (tmp_path / "set/Normal").symlink_to("normal")  # one folder, not two
    assert len(find_clips([tmp_path / "set"])) == len(found)


def test_links_in_a_circle_end_and_no_folder_counts_twice(tmp_path, capsys):
    recordings(tmp_path, "normal/golf/1.wav", "knocking/polo/2.wav")
    (tmp_path / "normal/again").symlink_to("golf")  # by name before the folder itself
    (tmp_path / "normal/golf/up").symlink_to(tmp_path)  # where knocks are no healthy engines
    (tmp_path / "normal/golf/self").symlink_to(".")
    (tmp_path / "normal/lost").symlink_to("nowhere")  # a stick that is not plugged in
    (tmp_path / "normal/b.wav").symlink_to("/usb/b.wav")
    (tmp_path / "notes.txt").write_text("none")
    (tmp_path / "loop").symlink_to("loop")
    found = [(clip.label, clip.source) for clip in find_clips([tmp_path])]
    assert sorted(found) == [("knocking", "polo"), ("normal", "golf")]
    assert capsys.readouterr().err == (
        "note: 3 places that cannot be opened, not used: "
        f"{tmp_path}/loop; {tmp_path}/normal/b.wav; {tmp_path}/normal/lost\n"
    )
    files = [path for path in tmp_path.rglob("*.wav") if path.is_file()]
    assert sounds(tmp_path) == sorted(files)


def test_a_link_into_what_somebody_keeps_closed_is_named_and_the_rest_is_used(
    tmp_path, capsys, monkeypatch
):
    """Where a folder on the way may not be entered, not even what lies there can be asked."""
    recordings(tmp_path, "normal/golf/1.wav", "normal/golf/0.wav", "normal/a/2.wav")
    real = Path.stat

    def closed(path, **how):
        if path.name in ("0.wav", "a"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, **how)

    monkeypatch.setattr(Path, "stat", closed)
    assert [clip.path.name for clip in find_clips([tmp_path])] == ["1.wav"]
    assert capsys.readouterr().err == (
        "note: 2 places that cannot be opened, not used: "
        f"{tmp_path}/normal/a; {tmp_path}/normal/golf/0.wav\n"
    )
    (tmp_path / "labels.csv").write_text("file,label\nnormal/golf/0.wav,normal\n")
    with pytest.raises(DatasetError, match=r"line 2: there is no file 'normal/golf/0\.wav'"):
        find_clips([tmp_path])


def test_labels_on_a_stick_that_is_not_plugged_in_are_named(tmp_path, capsys):
    (tmp_path / "normal").symlink_to("/media/stick/normal")
    with pytest.raises(DatasetError, match="no recordings in"):
        find_clips([tmp_path])
    said = f"note: 1 place that cannot be opened, not used: {tmp_path}/normal\n"
    assert capsys.readouterr().err == said


def test_a_folder_of_somebody_else_s_is_named(tmp_path, capsys, monkeypatch):
    recordings(tmp_path, "normal/golf/1.wav", "normal/polo/2.wav", "lost+found/3.wav")
    real = Path.iterdir

    def closed(path):
        if path.name in ("polo", "lost+found"):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path)

    monkeypatch.setattr(Path, "iterdir", closed)
    assert [clip.source for clip in find_clips([tmp_path])] == ["golf"]
    said = f"note: 1 place that cannot be opened, not used: {tmp_path}/normal/polo\n"
    assert capsys.readouterr().err == said


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("labels.csv", "labels.csv is a broken link: repair it, or remove it"),
        ("LABELS.CSV", "LABELS.CSV is not read: a table of labels must be called labels.csv"),
        ("Labels.csv", "Labels.csv is not read: a table of labels must be called labels.csv"),
        ("labels.csv/", "labels.csv is not a file: put the table of labels there, or rename it"),
    ],
)
def test_a_table_that_cannot_be_one_is_not_passed_over(tmp_path, name, words):
    """Without its kinds, faults would be healthy engines."""
    recordings(tmp_path, "normal/a.wav")
    if name.endswith("/"):
        (tmp_path / name).mkdir()
    elif "is a broken link" in words:
        (tmp_path / name).symlink_to("/usb/labels.csv")
    else:
        (tmp_path / name).write_text("file,label,kind\nnormal/a.wav,normal,belt\n")
    with pytest.raises(DatasetError, match=f"{tmp_path}/{words}"):
        find_clips([tmp_path])
