"""Windows of the recordings held out, as the device would hear them, and their cache."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from convert.dataset import Clip, find_clips
from convert.example_cache import SHAPE
from convert.examples import KNOCKING, NORMAL
from convert.judgeable import all_judgeable, judgeable
from convert.recipe import Recipe
from convert.run_data import _sample_windows, examples_of, identity, real_windows, say_unused
from edge.frontend import FrontEnd, FrontEndConfig
from scripts.held_out import Parts
from tests.audio import noise, wav_file

SR = FrontEndConfig().sr


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """4 s of an engine, 6 s of a knocking one with a silent middle, silence, and a broken file."""
    folder = tmp_path_factory.mktemp("recordings")
    half_silent = noise(6, seed=1).astype("f8")
    half_silent[2 * SR : 4 * SR] = 0
    for name, label, y in (
        ("a", "normal", noise(4).astype("f8")),
        ("b", "knocking", half_silent),
        ("c", "normal", np.zeros(4 * SR)),
    ):
        (folder / label).mkdir(exist_ok=True)
        wav_file(folder / label / f"{name}_1.wav", y, SR)
    (folder / "normal" / "d_1.wav").write_bytes(b"no sound")
    return sorted(find_clips([folder]), key=lambda clip: clip.source)


def test_windows_are_those_the_device_would_judge(clips, tmp_path, capsys):
    real = real_windows(tmp_path / "real-a.npz", clips)
    # 0 to 2 s and 4 to 6 s of the knocking one: partly silent windows are refused, too.
    assert real.labels.tolist() == [NORMAL] * 3 + [KNOCKING] * 2
    assert real.indices.shape == (5, 84, 87)
    assert "d_1.wav" not in capsys.readouterr().err
    assert [clip.source for clip, _ in all_judgeable(clips, FrontEndConfig())] == [*"aaabb"]
    assert "d_1.wav" in capsys.readouterr().err


def test_what_parts_are_judged_by_are_the_same_windows(clips, tmp_path):
    parts = Parts(clips)
    held = [pair for number in range(3) for pair in parts._windows(number)]
    real = real_windows(tmp_path / "real-a.npz", clips)
    assert sorted(indices.tobytes() for _, indices in held) == sorted(
        indices.tobytes() for indices in real.indices
    )


@pytest.mark.parametrize("damage", [lambda b: b[:300], lambda b: b"", lambda b: b[:90] + b[91:]])
def test_a_damaged_cache_is_made_again(clips, tmp_path, capsys, damage, monkeypatch):
    path = tmp_path / "real-a.npz"
    before = real_windows(path, clips)
    path.write_bytes(damage(path.read_bytes()))
    again = real_windows(path, clips)
    np.testing.assert_array_equal(again.indices, before.indices)
    said = [line for line in capsys.readouterr().err.splitlines() if "damaged" in line]
    assert len(said) == 1
    assert f"{path} is damaged and will be made again" in said[0]
    monkeypatch.setattr("convert.run_data.all_judgeable", lambda *_, **__: pytest.fail("anew"))
    np.testing.assert_array_equal(real_windows(path, clips).labels, before.labels)


def test_a_cache_of_something_else_is_made_again(clips, tmp_path):
    path = tmp_path / "real-a.npz"
    before = real_windows(path, clips)
    for other in ({"indices": before.indices}, {"indices": before.indices, "labels": [1]}):
        np.savez_compressed(path, **other)
        np.testing.assert_array_equal(real_windows(path, clips).labels, before.labels)


def test_of_days_of_recordings_some_windows_are_drawn(clips, tmp_path, monkeypatch, capsys):
    whole = real_windows(tmp_path / "real-a.npz", clips)
    assert "windows" not in capsys.readouterr().out
    monkeypatch.setattr("convert.run_data.MAX_WINDOWS", 2)
    some = real_windows(tmp_path / "real-b.npz", clips)
    said = "real_auc and real_false use 2 of 3 held-out windows of class normal\n"
    assert capsys.readouterr().out == said
    assert some.labels.tolist() == [NORMAL] * 2 + [KNOCKING] * 2  # still in their order
    assert {x.tobytes() for x in some.indices} < {x.tobytes() for x in whole.indices}
    again = real_windows(tmp_path / "real-c.npz", clips)
    np.testing.assert_array_equal(again.indices, some.indices)


def test_any_window_is_as_likely_to_be_drawn_as_any_other(monkeypatch):
    """A thousand windows of one recording; each four have a colour of their own."""
    numbered = [np.full(1, i) for i in range(1000)]
    clip = Clip(Path("a.wav"), "normal", "engine", "a")
    monkeypatch.setattr("convert.run_data.MAX_WINDOWS", 200)
    monkeypatch.setattr(
        "convert.run_data.all_judgeable", lambda *_, **__: ((clip, y) for y in numbered)
    )
    monkeypatch.setattr(FrontEnd, "spectrogram", lambda _, y: y)
    monkeypatch.setattr(
        "convert.run_data.colour_indices",
        lambda y: np.full(SHAPE, int(y[0]) // 4, dtype=np.uint8),  # 250 colours for 1000 windows
    )
    sampled = _sample_windows([clip], []).indices[:, 0, 0]
    assert sampled.size == 200
    assert (np.diff(sampled.astype(int)) >= 0).all()
    quarters = np.histogram(sampled, bins=[0, 63, 125, 188, 250])[0]
    # Hypergeometric with mean 50 and standard deviation 5.5: within four deviations.
    assert (np.abs(quarters - 50) < 22).all()


def test_nothing_held_out_is_no_window(tmp_path):
    assert real_windows(tmp_path / "real-a.npz", []).indices.shape == (0, 84, 87)
    gone = [Clip(tmp_path / "gone.wav", "normal", "engine", "a")]
    assert real_windows(tmp_path / "real-b.npz", gone).labels.shape == (0,)


def named(captured):
    """How many lines of ``captured`` name the file that cannot be read."""
    return sum("skipped" in line and "d_1.wav" in line for line in captured.err.splitlines())


def test_what_cannot_be_read_is_named_by_each_run_that_is_to(clips, tmp_path, capsys):
    """Also by a resumed run, which does not read it again."""
    for quiet, lines in ((False, 1), (False, 1), (True, 0)):
        real_windows(tmp_path / "real-a.npz", clips, quiet=quiet)
        assert named(capsys.readouterr()) == lines
    for quiet, lines in ((True, 0), (False, 1), (False, 1)):
        examples_of(tmp_path / "train", clips, Recipe(), 2, 1, quiet=quiet)
        assert named(capsys.readouterr()) == lines
    (note,) = tmp_path.glob("train-*/skipped.json")
    odd = b'{"unreadable": "d_1.wav", "short": []}'
    for damage in (b"{", b"[]", b'{"short": 1}', odd, 100_000 * b"["):
        note.write_bytes(damage)
        examples_of(tmp_path / "train", clips, Recipe(), 2, 1)
        assert named(capsys.readouterr()) == 0


def test_what_another_version_left_is_named_with_its_size_and_kept(clips, tmp_path, capsys):
    old = tmp_path / "train-0123456789ab"
    (tmp_path / "train-mine").mkdir()
    old.mkdir()
    (old / "00000000-00001000.npz").write_bytes(bytes(7_000_000))
    (old / "gone.npz").symlink_to("nowhere")
    for _ in range(2):  # said once, when the new examples are begun
        examples_of(tmp_path / "train", clips, Recipe(), 2, 1)
    said = capsys.readouterr().err
    assert said.count("train-0123456789ab from other recordings, settings or another version") == 1
    assert "7.0 MB that are not used: remove them" in said
    assert "mine" not in said
    assert old.is_dir()
    (tmp_path / "real-0123456789ab.npz").write_bytes(bytes(1000))
    say_unused(tmp_path / "real-ba9876543210.npz")
    assert "holds real-0123456789ab.npz from other" in capsys.readouterr().err
    say_unused(tmp_path / "none" / "real-ba9876543210.npz")
    assert not capsys.readouterr().err


def test_whatever_examples_depend_on_is_in_what_their_files_are_known_by(clips, tmp_path):
    clip = clips[0]
    other = {"label": "knocking", "kind": "belt", "source": "z", "car": "golf"}
    changed = [replace(clip, **{name: value}) for name, value in other.items()]
    assert len({tuple(identity(one)) for one in [clip, *changed]}) == 5
    for seed in (1, 2):
        examples_of(tmp_path / "train", clips[:1], Recipe(), 2, seed, quiet=True)
    assert len(list(tmp_path.glob("train-*"))) == 2


def test_the_gate_is_told_of_flaws_that_resampling_hides(tmp_path, monkeypatch):
    hard = np.clip(10 * noise(3, 44_100).astype("f8"), -0.4, 0.4)
    path, seen = wav_file(tmp_path / "a.wav", hard, 44_100), []
    monkeypatch.setattr(
        "convert.judgeable.Gate.check", lambda _, __, flaws: seen.append(flaws.clipped)
    )
    assert len(list(judgeable(path, FrontEndConfig()))) == 2
    assert min(seen) > 0.5  # seen: most of it
