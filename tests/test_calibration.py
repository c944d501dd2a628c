import dataclasses
import tracemalloc
from unittest.mock import Mock

import numpy as np
import pytest

from convert.calibration import (
    MIN_CALIBRATION,
    N_SOURCES,
    _take,
    export_pictures,
    made_pictures,
    sources_used,
)
from convert.errors import DatasetError
from convert.export import _final_manifest
from convert.made import make
from convert.parity import MIN_PICTURES, Parity
from edge.frontend import FrontEnd, FrontEndConfig
from edge.model import Manifest, ModelFile, write_model
from tests.audio import noise, wav_file

SR = 22_050


@pytest.fixture(scope="module")
def front_end():
    return FrontEnd()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("recordings")
    for number in range(12):
        wav_file(folder / f"{number}.wav", noise(6, seed=number).astype("f8"), SR)
    (folder / "text.wav").write_text("no audio at all")
    wav_file(folder / "silence.wav", np.zeros(6 * SR), SR)
    return folder


@pytest.fixture(scope="module")
def pictures(folder, front_end):
    return export_pictures(folder, front_end, seed=1)


@pytest.fixture
def few_made(monkeypatch):
    """Few synthetic engines, for tests of what becomes of recordings: 300 take half a minute."""
    for name, few in (
        ("MIN_PICTURES", 30),
        ("N_MADE", 6),
        ("N_MADE_CALIBRATION", 4),
        ("N_ALL_CALIBRATION", 0),
    ):
        monkeypatch.setattr(f"convert.calibration.{name}", few)


def test_where_recordings_are_few_synthetic_engines_make_up_for_them(pictures):
    described = pictures.described
    assert described["calibration_pictures"] < 100
    assert described["calibration_pictures"] + described["made_calibration_pictures"] == 240
    assert len(pictures.calibration) == 240


@pytest.mark.usefixtures("few_made")
def test_some_synthetic_engines_are_always_there(folder, front_end):
    assert export_pictures(folder, front_end, seed=1).described["made_calibration_pictures"] == 4


def test_no_picture_is_on_both_sides(pictures):
    calibration = {p.tobytes() for p in pictures.calibration}
    assert not calibration & {p.tobytes() for p in pictures.held_back}
    assert len(pictures.held_back) >= MIN_PICTURES


@pytest.mark.usefixtures("few_made")
def test_copies_are_not_on_both_sides_either(folder, front_end, tmp_path):
    for path in folder.glob("*.wav"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
        (tmp_path / f"copy of {path.name}").write_bytes(path.read_bytes())
    twice, once = (export_pictures(f, front_end, seed=1) for f in (tmp_path, folder))
    calibration = {p.tobytes() for p in twice.calibration}
    assert not calibration & {p.tobytes() for p in twice.held_back}
    assert twice.described == once.described


@pytest.mark.usefixtures("few_made")
def test_what_is_no_file_is_named_or_left_alone(folder, front_end, tmp_path):
    for path in folder.glob("*.wav"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nowhere.wav")
    unreadable = export_pictures(tmp_path, front_end, seed=1).unreadable
    assert sorted(message.split()[0].split("/")[-1] for message in unreadable) == [
        "gone.wav",
        "text.wav",
    ]


def test_what_is_silent_or_unreadable_is_not_calibrated_on(pictures):
    assert len(pictures.unreadable) == 1
    assert "text.wav" in pictures.unreadable[0]
    # 12 recordings of 5 windows, 4 of each taken.
    described = pictures.described
    assert described["calibration_pictures"] + described["real_pictures_held_back"] == 48


@pytest.mark.usefixtures("few_made")
def test_windows_that_wait_for_their_picture_hold_no_recording(folder, front_end, monkeypatch):
    seen = []
    picture = FrontEnd.picture

    def watched(self, y):
        seen.append(y.base)
        return picture(self, y)

    monkeypatch.setattr(FrontEnd, "picture", watched)
    export_pictures(folder, front_end, seed=1)
    assert len(seen) > 48
    assert all(base is None for base in seen)


def test_of_a_long_recording_four_windows_are_kept(front_end, tmp_path):
    seconds = 90
    path = wav_file(tmp_path / "long.wav", noise(seconds).astype("f8"), SR)
    short = [wav_file(tmp_path / f"{n}.wav", noise(2, seed=n).astype("f8"), SR) for n in range(3)]
    tracemalloc.start()
    pictures, used = _take([path, *short], 8, front_end, [])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(pictures), used) == (4 + 3, [path, *short])
    # All of its windows, in float32, are 15.7 MB; seen: 7 MB, most of it one picture's work.
    assert peak < 0.6 * (seconds - 1) * 4 * front_end.config.n_samples


@pytest.mark.usefixtures("few_made")
def test_few_recordings_are_enough_if_they_are_long(tmp_path, front_end):
    for number in range(2):
        wav_file(tmp_path / f"{number}.wav", noise(40, seed=number).astype("f8"), SR)
    assert len(export_pictures(tmp_path, front_end, seed=1).calibration) > MIN_CALIBRATION


@pytest.mark.usefixtures("few_made")
def test_the_same_seed_gives_the_same_pictures(folder, front_end):
    first, again = (export_pictures(folder, front_end, seed=3) for _ in range(2))
    np.testing.assert_array_equal(first.calibration, again.calibration)
    np.testing.assert_array_equal(first.held_back, again.held_back)


def test_too_little(tmp_path, front_end):
    with pytest.raises(DatasetError, match="not a folder"):
        export_pictures(tmp_path / "none", front_end, seed=1)
    with pytest.raises(DatasetError, match="no recordings"):
        export_pictures(tmp_path, front_end, seed=1)
    wav_file(tmp_path / "a.wav", noise(4).astype("f8"), SR)
    with pytest.raises(DatasetError, match=f"{MIN_CALIBRATION} are needed"):
        export_pictures(tmp_path, front_end, seed=1)


def test_a_made_sound_that_the_device_would_refuse_is_made_again(front_end, monkeypatch):
    """A third of them silent, say."""
    made = []
    silent = iter([True, False, False] * 4)

    def some(*arguments, **options):
        one = make(*arguments, **options)
        made.append(dataclasses.replace(one, y=one.y * (not next(silent))))
        return made[-1]

    monkeypatch.setattr("convert.calibration.make", some)
    pictures = list(made_pictures(4, front_end, seed=2))  # of which the gate refuses no other
    heard = [front_end.picture(one.y.astype("f4")) for one in made if one.y.any()]
    assert len(made) == 6
    np.testing.assert_array_equal(pictures, heard)
    assert [one.row["label"] for one in made if one.y.any()] == ["normal", "knocking"] * 2


def test_made_pictures_differ(front_end):
    assert len({p.tobytes() for p in made_pictures(6, front_end, seed=1)}) == 6


@pytest.mark.usefixtures("few_made")
def test_a_table_says_which_recordings_there_are(folder, front_end, tmp_path):
    """Those it lists elsewhere, too, and none that lies there unlisted."""
    recordings = tmp_path / "set"
    recordings.mkdir()
    wav_file(recordings / "unlisted.wav", noise(6, seed=99).astype("f8"), SR)
    wav_file(recordings / "inside.wav", noise(6, seed=98).astype("f8"), SR)
    outside = [folder / f"{n}.wav" for n in range(11)]
    (tmp_path / "away").symlink_to(folder)
    lines = [f"../away/{n}.wav,normal,car{n}" for n in range(10)]
    lines += [f"{outside[10]},normal,car10", "inside.wav,normal,golf"]
    table = recordings / "labels.csv"
    table.write_text("\n".join(["file,label,source", *lines]))
    used = export_pictures(recordings, front_end, seed=1).used
    assert {path.resolve() for path in used} == {*outside, recordings / "inside.wav"}
    told = sources_used(recordings, used)["sources"]
    assert told == sorted(["golf", *(f"car{n}" for n in range(11))])
    table.write_text("no table")
    with pytest.raises(DatasetError, match="from 2 recordings"):  # all there are in the folder
        export_pictures(recordings, front_end, seed=1)


def test_the_recordings_used_are_those_that_gave_pictures(folder, front_end, pictures):
    used = pictures.used
    assert sorted(used) == sorted(folder / f"{number}.wav" for number in range(12))
    few = [path for path in used if path.stem != "3"]
    assert _take([folder / "silence.wav", *few], 2, front_end, [])[1] == few[:2]


def test_a_manifest_names_the_sources_that_it_was_quantised_on(tmp_path, monkeypatch):
    names = ("normal/golf/1.wav", "normal/golf/2.wav", "normal/polo_3.wav", "knocking/uno/4.wav")
    for number, name in enumerate(names):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"%d" % number)
    used = [tmp_path / name for name in names]
    found = sources_used(tmp_path, used)
    assert found["sources"] == ["golf", "polo", "uno"]
    assert sources_used(tmp_path, used[::-1]) == found
    assert sources_used(tmp_path, used[1:])["files_sha256"] != found["files_sha256"]
    table = "file,label,source\nnormal/golf/1.wav,normal,jetta\nnormal/golf/2.wav,normal,jetta\n"
    (tmp_path / "labels.csv").write_text(table)
    assert sources_used(tmp_path, used)["sources"] == ["jetta", "polo", "uno"]
    (tmp_path / "labels.csv").write_text('file,label\n"normal/golf/1.wav,normal\n')
    assert sources_used(tmp_path, used) == found
    (tmp_path / "loop").symlink_to("loop")
    for file in ("golf\0/1.wav", "loop/1.wav"):
        (tmp_path / "labels.csv").write_text(f"file,label\n{file},normal\n")
        assert sources_used(tmp_path, used) == found
    monkeypatch.setattr("convert.calibration.read_table", Mock(side_effect=PermissionError))
    assert sources_used(tmp_path, used) == found


def test_a_manifest_stays_small_and_the_device_reads_it(tmp_path):
    (tmp_path / "r").mkdir()
    used = [tmp_path / "r" / f"{'car' * 60}{number}_1.wav" for number in range(400)]
    for number, path in enumerate(used):
        path.write_bytes(b"%d" % number)
    found = sources_used(tmp_path / "r", used)
    assert len(found["sources"]) == N_SOURCES
    assert found["more_sources"] == 400 - N_SOURCES
    parity = Parity(400, [], [])
    manifest = Manifest("net", ("knocking", "normal"), 0.5, "int8", FrontEndConfig())
    golden = np.array([[0.25, 0.75], [0.875, 0.125]], np.float32)
    manifest = _final_manifest(manifest, parity, {"folder": "r", **found}, golden)
    write_model(tmp_path / "net.tflite", b"\0\0\0\0TFL3" + bytes(100), manifest)
    assert (tmp_path / "net.tflite").stat().st_size < 20_000
    manifest = ModelFile.read(tmp_path / "net.tflite").manifest
    assert manifest.calibration == {"folder": "r", **found}
    assert (manifest.golden["p_knocking"], manifest.golden["p_of_knocks"]) == (0.25, 0.875)
