"""What is read of labels.csv, and of the names of folders and files."""

import os
import re
from collections import Counter
from pathlib import Path

import pytest

from convert.dataset import Clip, find_clips
from convert.errors import DatasetError
from convert.labels import sources_of
from convert.split import split_sources


def recordings(folder, *names):
    """Files with bytes of their own at ``names`` below ``folder``: nothing here is decoded."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)


def table(folder, *lines):
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")


def named(folder, *names, label="normal"):
    return [guess.source for guess in sources_of([(Path(n), label) for n in names], folder)]


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("golf/003.wav", "golf"),
        ("golf/003_a.wav", "golf"),
        ("golf/cold/003.wav", "golf"),
        ("golf/train/003.wav", "golf"),
        ("golf/normal/003.wav", "golf"),
        ("train/golf_003.wav", "golf"),
        ("audio/golf_003.wav", "golf"),
        ("Recordings/golf_003.wav", "golf"),
        ("knocking/golf_003.wav", "golf"),  # somebody else's label is none
        ("audio/normal/golf/cold/003.wav", "golf"),
        ("audio/Normal/golf/cold/003.wav", "golf"),
        ("normal/003.wav", "003"),
        ("../other/golf_003.wav", "other"),
        ("003.wav", "003"),
    ],
)
def test_the_source_by_names_alone(path, source, tmp_path):
    # The label's name above the folder of recordings is none of theirs.
    folder = tmp_path / "normal" / "mine" / "audio"
    others = "polo/1.wav", "up/1.wav"
    assert named(folder, path, *others) == [source, "polo", "up"]
    if ".." not in path:
        assert named(folder, folder / path, *others) == [source, "polo", "up"]


def test_numbered_recordings_share_no_source(tmp_path):
    """Each label, and each data set, has its 003."""
    for owner in "mine", "yours":
        for label in "knocking", "normal":
            (tmp_path / owner / label).mkdir(parents=True)
            for name in "001", "002", f"{label}_003", "golf":
                (tmp_path / owner / label / f"{name}.wav").write_text(f"{owner} {label} {name}")
    clips = find_clips([tmp_path / "mine", tmp_path / "yours"])
    sources = Counter(clip.source for clip in clips)
    assert sources.pop("golf") == 4  # a word says which car it is
    assert set(sources.values()) == {1}
    assert len(sources) == 12
    names = {name.partition("@")[0] for name in sources}
    assert names == {"001", "002", "knocking_003", "normal_003"}
    # Other names and places do not change them.
    moved = (tmp_path / "mine").rename(tmp_path / "moved")
    assert {clip.source for clip in find_clips([moved])} <= {*sources, "golf"}


def test_two_spellings_of_a_kind_are_one(tmp_path):
    kinds = "Engine", "engine", "Cold start", "cold-start"
    recordings(tmp_path, *(f"{n}.wav" for n in range(4)))
    table(tmp_path, "file,label,kind", *(f"{n}.wav,normal,{kind}" for n, kind in enumerate(kinds)))
    assert [clip.kind for clip in find_clips([tmp_path])] == ["engine"] * 2 + ["Cold start"] * 2


def test_names_are_printable(tmp_path):
    recordings(tmp_path, "0.wav", "\x1b[31mgolf/1.wav", "\x1b[32mpolo/1.wav")
    table(
        tmp_path,
        *("file,label,kind,source", "0.wav,normal,\x1b[2J,a\x07"),
        *("\x1b[31mgolf/1.wav,normal,,", "\x1b[32mpolo/1.wav,normal,,"),
    )
    assert sorted((clip.source, clip.kind) for clip in find_clips([tmp_path])) == [
        (r"\x1b[31mgolf", "engine"),
        (r"\x1b[32mpolo", "engine"),
        (r"a\x07", r"\x1b[2J"),
    ]


def test_a_folder_that_all_lie_in_says_nothing(tmp_path):
    assert named(tmp_path, "wavs/ford_0.wav", "wavs/golf_0.wav") == ["ford", "golf"]
    assert named(tmp_path, "wavs/ford_0.wav", "golf_0.wav") == ["ford", "golf"]
    assert named(tmp_path, "../wavs/ford_0.wav", "../wavs/golf_0.wav") == ["ford", "golf"]
    assert named(tmp_path, "my/golf/0.wav", "my/polo/warm/0.wav") == ["golf", "polo"]


def test_absolute_paths_elsewhere_are_of_the_folders_they_do_not_share(tmp_path):
    assert named(tmp_path, "/srv/golf/a/1.wav", "/srv/polo/a/1.wav") == ["golf", "polo"]
    assert named(tmp_path, "/srv/golf/1.wav", "/srv/golf/2.wav", "up/3.wav") == [
        *("golf", "golf", "up")
    ]
    assert named(tmp_path, "/srv/golf_003.wav") == ["golf"]


def test_a_car_inside_the_folder_of_a_label_and_beside_it_is_one(tmp_path):
    assert named(tmp_path, "normal/golf/1.wav", "golf/2.wav") == ["golf", "golf"]
    names = "normal/golf/1.wav", "my/golf/2.wav", "my/polo/2.wav"
    assert named(tmp_path, *names) == ["golf", "golf", "polo"]


def test_a_folder_reached_by_a_link_is_the_folder(tmp_path, capsys):
    real, link = tmp_path / "real", tmp_path / "link"
    names = [f"{car}/{part}/{car}{part}.wav" for car in ("golf", "polo") for part in ("a", "b")]
    recordings(real, *names)
    link.symlink_to(real)
    for here, there in ((real, link), (link, real)):
        table(real, "file,label", *(f"{there / name},normal" for name in names))
        assert [clip.source for clip in find_clips([here])] == ["golf", "golf", "polo", "polo"]
    assert "not list" not in capsys.readouterr().err


def test_links_to_recordings_are_named_by_where_they_lie(tmp_path):
    recordings(tmp_path / "store", "0123", "4567")
    for car, blob in (("golf", "0123"), ("polo", "4567")):
        (tmp_path / "set" / car).mkdir(parents=True)
        (tmp_path / "set" / car / "1.wav").symlink_to(tmp_path / "store" / blob)
    table(tmp_path / "set", "file,label", "golf/1.wav,normal", "polo/1.wav,normal")
    assert {clip.source for clip in find_clips([tmp_path / "set"])} == {"golf", "polo"}


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


def test_cells_that_a_spreadsheet_has_filled_up_with_are_none(tmp_path):
    recordings(tmp_path, "a.wav")
    table(tmp_path, "file,label", "a.wav,normal,,", ",,,", " , ")
    assert [clip.path.name for clip in find_clips([tmp_path])] == ["a.wav"]
    table(tmp_path, "file,label", "a.wav,normal,,golf")
    with pytest.raises(DatasetError, match="line 2 has 4 cells for 2 columns"):
        find_clips([tmp_path])


@pytest.mark.parametrize("column", ["source", "car"])
def test_two_spellings_of_one_name_are_named_with_where_they_stand(tmp_path, column):
    recordings(tmp_path, "a.wav", "b.wav")
    table(tmp_path, f"file,label,{column}", "a.wav,normal,Golf", "b.wav,normal,golf")
    file = tmp_path / "labels.csv"
    said = (
        f"{column} 'Golf' ({file}, line 2) and {column} 'golf' ({file}, line 3) differ in case "
        "only: "
    )
    with pytest.raises(DatasetError, match=re.escape(said)):
        find_clips([tmp_path])
    table(tmp_path, "file,label,source,car", "a.wav,normal,x,Golf", "b.wav,normal,golf,")
    with pytest.raises(DatasetError, match=r"car 'Golf' \(.* and source 'golf' \(.* differ"):
        find_clips([tmp_path])


def test_two_spellings_of_a_folder_are_named_and_of_files_are_two(tmp_path):
    recordings(tmp_path, "normal/Golf_1.wav", "normal/golf_2.wav", "normal/Up/1.wav")
    assert len({clip.source for clip in find_clips([tmp_path])}) == 3
    recordings(tmp_path, "knocking/up/2.wav")
    where = rf"{tmp_path}/knocking/up/2.wav\) and source 'Up' \({tmp_path}/normal/Up/1.wav"
    with pytest.raises(DatasetError, match=where):
        find_clips([tmp_path])


def test_spellings_within_one_car_and_other_letters_do_no_harm(tmp_path):
    recordings(tmp_path, "a.wav", "b.wav")
    table(tmp_path, "file,label,source,car", "a.wav,normal,Cold,golf", "b.wav,normal,cold,golf")
    assert {clip.group for clip in find_clips([tmp_path])} == {"golf"}
    table(tmp_path, "file,label,source", "a.wav,normal,Strasse", "b.wav,normal,Straße")
    assert len(find_clips([tmp_path])) == 2


def test_recordings_that_the_table_does_not_list_are_counted_and_named(tmp_path, capsys):
    recordings(tmp_path, "a.wav", "b/c.wav", "b/d.FLAC", "notes.txt")
    table(tmp_path, "file,label", "./b/../a.wav,normal")
    assert len(find_clips([tmp_path])) == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"note: 2 recordings not listed in {tmp_path / 'labels.csv'}, not used: " in said
    assert "c.wav" in said
    table(tmp_path, "file,label", "a.wav,normal", "b/c.wav,normal", f"{tmp_path}/b/d.FLAC,normal")
    assert len(find_clips([tmp_path])) == 3
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "kind", ["Belt", "other fault", "Other-Fault", "engine other-fault", " MISFIRE ", "not engine"]
)
def test_a_fault_is_one_however_it_is_spelt(kind):
    assert not Clip(Path("a.wav"), "normal", kind, "a").is_healthy


def test_kinds_that_only_count_as_healthy_are_named(tmp_path, capsys):
    kinds = ["petrol", "diesel", "diesel", "Engine", "other fault", ""]
    recordings(tmp_path, *(f"{n}.wav" for n in range(7)))
    rows = [f"{n}.wav,normal,{kind}" for n, kind in enumerate(kinds)]
    table(tmp_path, "file,label,kind", *rows, "6.wav,knocking,diesel")
    find_clips([tmp_path])
    assert capsys.readouterr().err == "counted as healthy engines: diesel 2, petrol 1\n"
    table(tmp_path, "file,label,kind", *rows[3:])
    find_clips([tmp_path])
    assert "healthy" not in capsys.readouterr().err


def test_a_folder_without_recordings_is_not_left_out_without_a_word(tmp_path):
    """One of several: the figures alone would show that it is missing."""
    recordings(tmp_path, "golf/normal/1.wav", "polo/1.wav")
    with pytest.raises(DatasetError, match=r"no recordings in .*polo: needs a labels\.csv"):
        find_clips([tmp_path / "golf", tmp_path / "polo"])


def test_words_of_a_table_may_have_capitals(tmp_path):
    """As folders may: spreadsheets put one at the beginning of each cell."""
    recordings(tmp_path, "a.wav", "b.wav", "c.wav")
    rows = ("a.wav,Normal,X", "b.wav,KNOCKING,Y", "c.wav,Not engine,Z")
    table(tmp_path, "File,Label,Source", *rows)
    found = find_clips([tmp_path])
    assert [(clip.label, clip.source) for clip in found] == [
        ("normal", "X"),
        ("knocking", "Y"),
        ("not_engine", "Z"),
    ]


@pytest.mark.parametrize("column", ["label", "source", "kind"])
def test_a_quote_left_open_does_not_swallow_the_table(tmp_path, column):
    """Else what follows it is one long word of the second line."""
    recordings(tmp_path, *(f"{n}.wav" for n in range(4)))
    cells = {"label": "normal", "source": "golf", "kind": "engine"}
    opened = ",".join({**cells, column: f'"{cells[column]}'}.values())
    rows = [f"{n}.wav," + ",".join(cells.values()) for n in range(4)]
    for lines in ((1,), (3,), (1, 2)):  # the second closes the first, as it seems
        torn = [f"{n}.wav,{opened}" if n in lines else row for n, row in enumerate(rows)]
        table(tmp_path, "file,label,source,kind", *torn)
        with pytest.raises(DatasetError, match=rf"labels\.csv, line {2 + lines[0]}.*quote"):
            find_clips([tmp_path])


def test_a_quote_left_open_in_the_first_line_is_named_too(tmp_path):
    recordings(tmp_path, "a.wav")
    table(tmp_path, 'file,"label', "a.wav,normal")
    with pytest.raises(DatasetError, match=r"labels\.csv, line 1.*quote"):
        find_clips([tmp_path])


def test_lines_that_a_note_has_swallowed_are_missed(tmp_path):
    recordings(tmp_path, "a.wav", "b.wav", "c.wav")
    rows = ('a.wav,normal,"one', 'b.wav,normal,two"', "c.wav,normal,three")
    table(tmp_path, "file,label,notes", *rows)
    with pytest.raises(DatasetError, match=r"line 2: its notes spans several lines"):
        find_clips([tmp_path])


@pytest.mark.parametrize(
    "row", ['"a.wav" ,normal,x', 'a.wav,normal,"fine, quiet" ', 'a.wav,normal,5"']
)
def test_quotes_as_people_write_them_are_read(tmp_path, row):
    recordings(tmp_path, "a.wav")
    table(tmp_path, "file,label,notes", row)
    assert len(find_clips([tmp_path])) == 1


def test_a_word_of_ours_goes_over_no_line(tmp_path):
    recordings(tmp_path, "a.wav")
    table(tmp_path, "file,label,kind", 'a.wav,normal,"eng\nine"')
    with pytest.raises(DatasetError, match=r"line 2: its kind spans several lines"):
        find_clips([tmp_path])


@pytest.mark.parametrize("source", ["VW\u00a0Golf", "トヨタ\u3000アバンザ", "Range\u00adRover"])
def test_notes_and_names_may_hold_what_their_owner_likes(tmp_path, source):
    recordings(tmp_path, "a.wav")
    table(tmp_path, "file,label,source,notes", f'a.wav,normal,{source},"cold start\nrain\t12 °C"')
    (clip,) = find_clips([tmp_path])
    assert clip.source == source


@pytest.mark.parametrize(
    "first", ["Train/golf_003.wav", "my/golf_1.wav", "../golf_1.wav", "golf_1.wav"]
)
def test_a_file_beside_the_folders_of_other_cars_is_named_after_its_car(tmp_path, first):
    root = "".join(re.findall(r"^(?:my/|\.\./)", first))
    others = [f"{root}polo/1.wav", f"{root}up/1.wav"]
    assert named(tmp_path, first, *others) == ["golf", "polo", "up"]


def test_files_from_elsewhere_are_of_the_folder_they_are_in(tmp_path):
    assert named(tmp_path, "/srv/golf/1.wav", "/srv/golf/warm/2.wav") == ["golf", "warm"]


def test_a_date_is_no_car(tmp_path):
    names = [(Path(name), "normal") for name in ("2024-03-01.wav", "1.5.wav")]
    assert all(guess.alone for guess in sources_of(names, tmp_path))
