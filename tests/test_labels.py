"""What is read of labels.csv, and of the names of folders and files."""

import os
from pathlib import Path

import pytest

from convert.dataset import find_clips
from convert.errors import DatasetError
from convert.labels import source_of
from convert.split import split_sources


def recordings(folder, *names):
    """Files with bytes of their own at ``names`` below ``folder``: nothing here is decoded."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def table(folder, *lines):
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("golf/003.wav", "golf"),
        ("golf/003_a.wav", "golf"),
        ("golf/cold/003.wav", "cold"),
        ("golf/train/003.wav", "golf"),
        ("train/golf_003.wav", "golf"),
        ("audio/golf_003.wav", "golf"),
        ("Recordings/golf_003.wav", "golf"),
        ("knocking/golf_003.wav", "golf"),  # somebody else's label is none
        ("audio/normal/golf/cold/003.wav", "golf"),
        ("normal/003.wav", "003"),
        ("../other/golf_003.wav", "other"),
        ("../golf_003.wav", "golf"),
        ("003.wav", "003"),
    ],
)
def test_the_source_by_names_alone(path, source, tmp_path):
    # The label's name above the folder of recordings is none of theirs.
    folder = tmp_path / "normal" / "mine" / "audio"
    assert source_of(Path(path), "normal", folder) == source
    if ".." not in path:
        assert source_of(folder / path, "normal", folder) == source


def test_an_absolute_path_elsewhere_is_of_the_folder_it_lies_in(tmp_path):
    assert source_of(Path("/srv/golf/003.wav"), "normal", tmp_path) == "golf"
    assert source_of(Path("/golf_003.wav"), "normal", tmp_path) == "golf"


def test_slices_of_one_car_lie_on_one_side_of_a_split(tmp_path):
    names = [f"{car}/{number:03}.wav" for car in ("golf", "polo", "up") for number in range(4)]
    recordings(tmp_path, *names)
    for prefix in ("", f"{tmp_path}{os.sep}"):
        table(tmp_path, "file,label", *(f"{prefix}{name},normal" for name in names))
        training, held = split_sources(find_clips([tmp_path]), share=0.3, seed=1)
        assert len(held) == 4
        assert not {c.path.parent for c in training} & {c.path.parent for c in held}


def test_blanks_around_cells_and_headings_are_none_of_theirs(tmp_path):
    recordings(tmp_path, "a b.wav", "c.wav")
    table(tmp_path, "file , label,source, kind", "a b.wav, normal , my car,belt ", "c.wav,normal")
    first, second = find_clips([tmp_path])
    assert (first.label, first.source, first.kind) == ("normal", "my car", "belt")
    assert first.path == tmp_path / "a b.wav"
    assert (second.source, second.kind) == ("c", "engine")  # cells that are not there are empty
    table(tmp_path, "file,label", "a b.wav,  ")
    with pytest.raises(DatasetError, match="line 2: file and label are needed"):
        find_clips([tmp_path])


def test_a_line_with_more_cells_than_columns_is_named(tmp_path):
    recordings(tmp_path, "a.wav", "b,c.wav")
    table(tmp_path, "file,label", "a.wav,normal", "b,c.wav,normal")
    with pytest.raises(DatasetError, match=r"labels\.csv, line 3 has 3 cells for 2 columns"):
        find_clips([tmp_path])
    table(tmp_path, "file,label", "a.wav,normal", "", '"b,c.wav",normal')
    assert [clip.path.name for clip in find_clips([tmp_path])] == ["a.wav", "b,c.wav"]


@pytest.mark.parametrize("column", ["source", "car"])
def test_two_spellings_of_one_name_are_named(tmp_path, column):
    recordings(tmp_path, "a.wav", "b.wav")
    table(tmp_path, f"file,label,{column}", "a.wav,normal,Golf", "b.wav,normal,golf")
    with pytest.raises(DatasetError, match=r"sources 'Golf' and 'golf' differ in case alone"):
        find_clips([tmp_path])
    table(tmp_path, "file,label,source,car", "a.wav,normal,x,Golf", "b.wav,normal,y,golf")
    with pytest.raises(DatasetError, match=r"cars 'Golf' and 'golf' differ in case alone"):
        find_clips([tmp_path])


def test_recordings_that_the_table_does_not_list_are_counted_and_named(tmp_path, capsys):
    recordings(tmp_path, "a.wav", "b/c.wav", "b/d.FLAC", "notes.txt")
    table(tmp_path, "file,label", "./b/../a.wav,normal")
    assert len(find_clips([tmp_path])) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"left out 2 recordings that {tmp_path / 'labels.csv'} does not list: " in said
    assert "c.wav" in said
    table(tmp_path, "file,label", "a.wav,normal", "b/c.wav,normal", f"{tmp_path}/b/d.FLAC,normal")
    assert len(find_clips([tmp_path])) == 3
    assert capsys.readouterr().err == ""
