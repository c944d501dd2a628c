"""``convert synth`` as a user meets it."""

import csv
import os
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest

from convert import faults, synth, synth_command
from convert.cli import main
from convert.dataset import find_clips
from convert.errors import DatasetError
from edge.recording import Recording
from tests.audio import noise, wav_file
from tests.program import run

SR = synth.SR


convert = partial(run, "convert")


def test_the_command_fills_a_data_set(tmp_path):
    convert("synth", tmp_path / "a", "--count", 3, "--seconds", 2.5, "--seed", 5)
    clips = find_clips([tmp_path / "a"])
    assert sorted(c.label for c in clips) == ["knocking"] * 3 + ["normal"] * 3
    assert len({c.source for c in clips}) == 6
    for clip in clips:
        assert Recording(clip.path).read().size == 2.5 * SR
    with (tmp_path / "a" / "labels.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        assert 400 < float(row["rpm"]) < 4000
        assert (row["knock"] in synth.KNOCK_KINDS) == (row["label"] == "knocking")
    convert("synth", tmp_path / "b", "--count", 3, "--seconds", 2.5, "--seed", 5)
    for path in (tmp_path / "a").rglob("*.*"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes()


def test_labels_that_are_there_are_left_alone(tmp_path):
    (tmp_path / "labels.csv").write_text("file,label\nmine.wav,normal\n")
    said = convert("synth", tmp_path, "--count", 1, code=12).stderr
    assert "labels.csv exists" in said
    assert (tmp_path / "labels.csv").read_text().startswith("file,label\nmine")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["labels.csv"]
    convert("synth", "", "--count", 1, code=2)  # a variable that is not set


@pytest.mark.parametrize("label", ["normal", "knocking", "not_engine"])
def test_recordings_that_are_there_are_left_alone(tmp_path, label):
    """They may be called as a made one is, and a labels.csv beside them would hide them."""
    (tmp_path / label).mkdir()
    wav_file(tmp_path / label / "golf_00000.wav", noise(4).astype("f8"), SR)
    before = (tmp_path / label / "golf_00000.wav").read_bytes()
    said = convert("synth", tmp_path, "--over", tmp_path, "--count", 1, code=12).stderr
    assert f"{tmp_path / label} exists" in said
    assert (tmp_path / label / "golf_00000.wav").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [label]


def test_a_demo_overwrites_nothing_but_itself(tmp_path):
    convert("synth", tmp_path, "--demo")
    convert("synth", tmp_path, "--demo")
    (tmp_path / "knocking.wav").write_bytes(b"mine")
    (tmp_path / "healthy.wav").unlink()
    said = convert("synth", tmp_path, "--demo", code=12).stderr
    assert f"{tmp_path / 'knocking.wav'} exists" in said
    assert [path.name for path in tmp_path.iterdir()] == ["knocking.wav"]
    assert (tmp_path / "knocking.wav").read_bytes() == b"mine"


def test_what_is_left_of_a_killed_run_is_no_data_set(tmp_path):
    """Faults without the table that calls them so would pass for healthy engines."""
    command = [sys.executable, "-m", "convert", "synth", str(tmp_path), "--faults", "90000"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            if any(tmp_path.rglob("*.wav")):
                break
            time.sleep(0.1)
        assert any(tmp_path.rglob("*.wav"))
    finally:
        process.kill()
        process.wait()
    with pytest.raises(DatasetError, match="no recordings in"):
        find_clips([tmp_path])
    said = convert("synth", tmp_path, "--count", 1, code=12).stderr
    assert f"{tmp_path / '.unfinished'} belongs to a run that was killed" in said


def test_an_interrupted_run_leaves_nothing(tmp_path, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(synth_command, "make", stop)
    assert main(["synth", str(tmp_path), "--count", "1"]) == 130
    assert list(tmp_path.iterdir()) == []


def test_other_faults_are_more_recordings_and_change_no_others(tmp_path):
    options = ["--count", 1, "--seconds", 2]
    convert("synth", tmp_path / "few", *options)
    convert("synth", tmp_path / "more", *options, "--faults", 12)
    clips = find_clips([tmp_path / "more"])
    assert len(clips) == 14
    made = [clip for clip in clips if clip.kind in faults.FAULT_KINDS]
    assert len(made) == 12
    assert {clip.label for clip in made} == {"normal"}
    assert {clip.kind for clip in made} == set(faults.FAULT_KINDS)  # each of 12: one in 40 fails
    for path in (tmp_path / "few").rglob("*.wav"):
        same = tmp_path / "more" / path.relative_to(tmp_path / "few")
        assert path.read_bytes() == same.read_bytes()


def test_knocks_over_recordings_at_a_chosen_level(tmp_path):
    (tmp_path / "own" / "normal").mkdir(parents=True)
    y = noise(4).astype("f8")
    wav_file(tmp_path / "own" / "normal" / "car_1.wav", y, SR)
    convert("synth", tmp_path / "out", "--over", tmp_path / "own", "--count", 1, "--level", 12)
    clips = {c.label: c for c in find_clips([tmp_path / "out"])}
    assert {c.source for c in clips.values()} == {"car"}
    quiet, loud = (Recording(clips[n].path).read() for n in ("normal", "knocking"))
    peak_to_rms = [np.abs(s).max() / s.std() for s in (quiet, loud)]
    assert peak_to_rms[1] > 1.3 * peak_to_rms[0]


def test_what_is_held_out_stays_so_with_knocks_on_it(tmp_path):
    wav_file(tmp_path / "a.wav", noise(4).astype("f8"), SR)
    (tmp_path / "labels.csv").write_text("file,label,source,split\na.wav,normal,golf,valid\n")
    convert("synth", tmp_path / "out", "--over", tmp_path, "--count", 1, "--seconds", 2)
    found = find_clips([tmp_path / "out"])
    assert [(c.source, c.split) for c in found] == [("golf", "valid")] * 2


def test_knocks_are_laid_over_healthy_engines_of_any_kind_and_no_others(tmp_path):
    rows = []
    for number, kind in enumerate(("diesel", "engine_other_fault", "belt")):
        wav_file(tmp_path / f"{kind}.wav", noise(4, seed=number).astype("f8"), SR)
        rows.append(f"{kind}.wav,normal,{kind},{kind}\n")
    (tmp_path / "labels.csv").write_text(f"file,label,kind,source\n{''.join(rows)}")
    convert("synth", tmp_path / "out", "--over", tmp_path, "--count", 4, "--seconds", 2)
    # Eight drawn from three: all of the one that may be by chance, once in 6561.
    made = find_clips([tmp_path / "out"])
    assert {clip.source for clip in made} == {"diesel"}
    assert {clip.kind for clip in made} == {"diesel"}  # its owner's word for it holds still


def test_each_recording_is_used_before_any_again_and_without_knocks_no_copy_is_written(tmp_path):
    (tmp_path / "normal").mkdir()
    for number in range(3):  # as long as what is cut from them
        wav_file(tmp_path / "normal" / f"{number}_1.wav", noise(2, seed=number).astype("f8"), SR)
    few, many = (tmp_path / name for name in ("few", "many"))
    convert("synth", few, "--over", tmp_path, "--count", 3, "--seconds", 2)
    made = find_clips([few])
    assert sorted((c.label, c.source) for c in made) == [
        (label, source) for label in ("knocking", "normal") for source in "012"
    ]
    said = convert("synth", many, "--over", tmp_path, "--count", 5, "--seconds", 2).stdout
    assert "2 fewer without a knock" in said
    assert "wrote 8 recordings" in said
    assert sorted(c.label for c in find_clips([many])) == ["knocking"] * 5 + ["normal"] * 3


def test_no_knock_is_laid_over_silence(tmp_path):
    y = np.zeros(20 * SR)
    y[15 * SR :] = noise(5)  # a recorder started long before the engine
    wav_file(tmp_path / "car_1.wav", y, SR)
    wav_file(tmp_path / "mute_1.wav", np.zeros(3 * SR), SR)
    (tmp_path / "torn_1.wav").write_bytes(b"no sound")
    rows = "".join(f"{name}_1.wav,normal\n" for name in ("car", "mute", "torn"))
    (tmp_path / "labels.csv").write_text(f"file,label\n{rows}")
    out = tmp_path / "out"
    options = ["--count", 12, "--level", 12, "--seconds", 2]
    said = convert("synth", out, "--over", tmp_path, *options).stderr
    assert "skipped 2 recordings that cannot be read" in said
    made = [Recording(clip.path).read() for clip in find_clips([out])]
    assert len(made) == 24
    assert min(np.abs(sound).max() for sound in made) > 0.4


def test_a_source_named_like_a_path_goes_nowhere_else(tmp_path):
    wav_file(tmp_path / "a.wav", noise(4).astype("f8"), SR)
    row = f"a.wav,normal,{tmp_path}/../x/y,golf"
    (tmp_path / "labels.csv").write_text(f"file,label,source,car\n{row}\n")
    convert("synth", tmp_path / "out", "--over", tmp_path, "--count", 1)
    clips = find_clips([tmp_path / "out"])
    assert {(c.source, c.car) for c in clips} == {(f"{tmp_path}/../x/y", "golf")}
    assert {c.path.parent.parent for c in clips} == {tmp_path / "out"}


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--count", "0"], 2),
        (["--faults", "-1"], 2),
        (["--demo", "--faults", "2"], 2),
        (["--seconds", "1"], 2),
        (["--level", "200"], 2),
        (["--over", "nowhere"], 12),
        (["--seed", "-1"], 2),
        (["--demo", "--level", "6"], 2),
        (["--demo", "--count", "6"], 2),
    ],
)
def test_bad_arguments(tmp_path, arguments, code):
    done = convert("synth", tmp_path / "out", *arguments, code=code)
    assert len(done.stderr.splitlines()) == 1


def test_on_the_device_alone_convert_says_what_it_needs():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from convert.cli import main; sys.exit(main(['train', 'r', '--out', 'a.pth']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 6
    assert "pip install '.[convert]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_no_torch_for_synthesis(tmp_path):
    code = (
        "import sys; from convert.cli import main; main(['synth', sys.argv[1], '--demo'])\n"
        "assert not {'torch', 'librosa', 'matplotlib', 'scipy.signal'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["healthy.wav", "knocking.wav"]


NUMPY_AND_SCIPY_ALONE = """
import sys
ours = {*sys.stdlib_module_names, "numpy", "scipy", "convert", "edge"}
class Refused:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in ours and not top.startswith("_sysconfigdata"):  # Python's own, too
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Refused())
from convert.cli import main
sys.exit(main(["synth", *sys.argv[1:]]))
"""


def test_synthesis_needs_numpy_and_scipy_alone(tmp_path):
    """The rest of [convert] is four gigabytes."""
    for arguments in (
        [tmp_path / "a", "--count", "2", "--faults", "1", "--seconds", "2"],
        [tmp_path / "b", "--count", "1", "--over", tmp_path / "a", "--seconds", "2"],
        [tmp_path / "c", "--demo"],
    ):
        code = [sys.executable, "-c", NUMPY_AND_SCIPY_ALONE, *map(str, arguments)]
        done = subprocess.run(code, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert len(find_clips([tmp_path / "a"])) == 5


@pytest.fixture
def usual_signals():
    """As when this is started by no nohup; afterwards as it was."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    for number in before:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("usual_signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_killed_it_ends_as_if_interrupted(monkeypatch, number):
    """So that gigabytes in /tmp go with it: by hand, or as a line of ssh drops."""
    monkeypatch.setattr("convert.cli.run_cli", lambda *_: os.kill(os.getpid(), number))
    with pytest.raises(SystemExit) as ended:
        main([])
        time.sleep(1)
    assert ended.value.code == 128 + number
    assert signal.getsignal(number) is signal.SIG_DFL


@pytest.mark.usefixtures("usual_signals")
def test_a_line_that_drops_is_nothing_to_what_nohup_has_started(monkeypatch):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    monkeypatch.setattr("convert.cli.run_cli", lambda *_: os.kill(os.getpid(), signal.SIGHUP))
    assert main([]) is None  # it went on to its end
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN


@pytest.mark.parametrize("name", ["convert.nowhere", "edge"])
def test_a_module_of_ours_that_is_missing_is_no_package_to_install(name, monkeypatch, capsys):
    def missing(*_):
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    monkeypatch.setattr("convert.cli.run_cli", missing)
    with pytest.raises(ModuleNotFoundError, match=name):
        main(["synth", "out"])
    name = "edgeways"
    assert main(["synth", "out"]) == 6
    assert "package edgeways is missing" in capsys.readouterr().err


def test_the_demo_is_one_engine_with_and_without_a_knock(tmp_path):
    assert main(["synth", str(tmp_path), "--demo"]) == 0
    healthy, knocking = (
        Recording(tmp_path / f"{name}.wav").read() for name in ("healthy", "knocking")
    )
    # Of another engine of the same speed it would be about 0.
    assert np.corrcoef(healthy, knocking)[0, 1] > 0.3
