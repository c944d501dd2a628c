"""What is learnt from and what is left out, by source and car."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from convert.checkpoint import load_checkpoint, save_checkpoint
from convert.cli import main
from convert.dataset import (
    Clip,
    find_clips,
)
from convert.errors import DatasetError
from convert.network import KnockNet
from convert.split import TrainedOn, fold_sources, groups_trained_on, split_sources
from tests.audio import noise, wav_file
from tests.labelled import SR, clips, sound, table


def test_a_car_lies_on_one_side_of_everything():
    cars = [
        dataclasses.replace(clip, car="avanza" if clip.source in ("n0", "f0", "f1") else "")
        for clip in clips(normal=["n0", "n1", "n2", "n3"], not_engine=["f0", "f1", "f2"])
    ]
    together = {"n0", "f0", "f1"}

    def whole(part):
        held = {clip.source for clip in part}
        return together <= held or not together & held

    for seed in range(10):
        training, held = split_sources(cars, share=0.4, seed=seed)
        assert whole(held)
        assert whole(training)
        assert held
    for named in together:
        _, held = split_sources(cars, share=0, seed=1, always_held_out=frozenset({named}))
        assert {clip.source for clip in held} == together
    parts = fold_sources(cars, 3)
    assert sorted(name for part in parts for name in part) == sorted({c.source for c in cars})
    assert sum(together <= part for part in parts) == 1
    torn = [dataclasses.replace(c, split="valid" if c.source == "f0" else "train") for c in cars]
    with pytest.raises(DatasetError, match="both sides of the split: avanza"):
        split_sources(torn, share=0, seed=1)


def test_a_recording_is_known_again_under_another_name(tmp_path):
    wav_file(tmp_path / "a_1.wav", noise(2).astype("f8"), 22_050)
    table(tmp_path, "a_1.wav,normal,golf_cold")
    (clip,) = find_clips([tmp_path])
    trained_on = TrainedOn(complete=True).extended_with([clip])
    renamed = dataclasses.replace(clip, source="Golf", path=clip.path.rename(tmp_path / "b_1.wav"))
    assert groups_trained_on([renamed], trained_on) == {"Golf"}
    renamed.path.write_bytes(b"another")
    assert groups_trained_on([renamed], trained_on) == set()


def test_another_drive_of_a_car_that_was_heard_is_not_unheard():
    last, this, other = (Clip(Path(n), "normal", "engine", n) for n in ("2024", "2025", "fiat"))
    trained_on = TrainedOn().extended_with([])
    trained_on = dataclasses.replace(
        trained_on, sources=frozenset({"2024"}), cars=frozenset({"golf"})
    )
    this = dataclasses.replace(this, car="golf")
    assert groups_trained_on([this, other], trained_on) == {"golf"}
    assert groups_trained_on([last], trained_on) == {"2024"}


@pytest.mark.parametrize(
    "known", [TrainedOn(sources=frozenset({"golf"})), TrainedOn(cars=frozenset({"golf"}))]
)
def test_a_source_that_is_called_a_car_now_is_still_the_same(known):
    """Who adds the column car to recordings of which a network was trained on some."""
    as_car = Clip(Path("w"), "normal", "engine", "golf_winter", car="golf")
    as_source = Clip(Path("g"), "normal", "engine", "golf")
    fiat = Clip(Path("f"), "normal", "engine", "fiat")
    assert groups_trained_on([as_car, as_source, fiat], known) == {"golf"}


def test_few_sources_of_each_kind_are_dealt_out_all_the_same():
    kinds = [("normal", kind) for kind in ("belt", "engine", "pump")]
    clips = [Clip(Path(f"{k}{i}"), la, k, f"{k}{i}") for la, k in kinds for i in range(2)]
    parts = fold_sources(clips, 3)
    assert [len(part) for part in parts] == [2, 2, 2]
    assert frozenset().union(*parts) == {clip.source for clip in clips}


def test_what_is_learnt_later_is_added_to_what_was(tmp_path):
    first, second = (
        wav_file(tmp_path / f"{n}.wav", noise(1, seed=n).astype("f8"), SR) for n in range(2)
    )
    one = Clip(first, "normal", "engine", "Golf")
    two = Clip(second, "normal", "engine", "Polo", car="golf")
    trained_on = TrainedOn(frozenset({"Uno"}), frozenset({"f"}), complete=True).extended_with([one])
    trained_on = trained_on.extended_with(clip for clip in [two])
    assert trained_on.sources == {"Uno", "Golf", "Polo"}
    assert len(trained_on.files) == 3
    assert trained_on.cars == {"golf"}
    assert trained_on.complete  # to learn more does not make it less known
    assert not TrainedOn().extended_with([one]).complete


def test_who_heard_one_source_of_a_car_has_heard_the_car():
    cold, warm, other = (Clip(Path(n), "normal", "engine", n) for n in ("cold", "warm", "other"))
    golf = [dataclasses.replace(clip, car="golf") for clip in (cold, warm)]
    assert groups_trained_on([*golf, other], TrainedOn(frozenset({"cold", "gone"}))) == {"golf"}
    assert groups_trained_on([cold, warm, other], TrainedOn(frozenset({"cold"}))) == {"cold"}


def test_no_source_is_on_both_sides():
    everything = clips(normal=[f"n{i}" for i in range(12)], knocking=["k0", "k1", "k2", "n3"])
    for seed in range(5):
        training, held = split_sources(everything, share=0.25, seed=seed)
        assert len(training) + len(held) == len(everything)
        assert not {c.source for c in training} & {c.source for c in held}
        assert {c.label for c in training} == {"normal", "knocking"}
    assert training == split_sources(everything, share=0.25, seed=seed)[0]


def test_named_sources_are_held_out():
    everything = clips(normal=["n0", "n1"], knocking=["k0"])
    training, held = split_sources(everything, share=0, seed=1, always_held_out=frozenset({"k0"}))
    assert {c.source for c in held} == {"k0"}
    assert {c.source for c in training} == {"n0", "n1"}
    with pytest.raises(DatasetError, match="k9"):
        split_sources(everything, share=0, seed=1, always_held_out=frozenset({"k9"}))


def test_folds_hold_every_source_once_and_every_label_evenly():
    everything = clips(knocking=["k0", "k1", "k2"], normal=[f"n{i}" for i in range(7)])
    parts = fold_sources(everything, 3)
    assert parts == fold_sources(list(reversed(everything)), 3)
    named = sorted(name for part in parts for name in part)
    assert named == sorted({clip.source for clip in everything})
    for part in parts:
        assert sum(name.startswith("k") for name in part) == 1
        assert 2 <= sum(name.startswith("n") for name in part) <= 3


def test_a_car_with_two_labels_is_one_source():
    everything = clips(knocking=list("abcdef"), normal=list("abcdefgh"))
    for folds in (2, 3, 5):
        parts = fold_sources(everything, folds)
        assert sorted(name for part in parts for name in part) == list("abcdefgh")
    with pytest.raises(DatasetError, match=r"8 sources, .* cannot be divided into 9"):
        fold_sources(everything, 9)
    shared = clips(knocking=["a", "b"], normal=["a", "b"])
    for seed in range(8):
        training, _ = split_sources(shared, share=0.4, seed=seed)
        assert {clip.label for clip in training} == {"knocking", "normal"}


def test_a_split_column_decides(tmp_path):
    for name in ("a_1", "a_2", "b_1"):
        sound(tmp_path / f"{name}.wav", seed=10 * ord(name[0]) + int(name[-1]))
    rows = ["a_1.wav,normal,a,train", "a_2.wav,normal,a,train", "b_1.wav,normal,b,valid"]
    table(tmp_path, *rows, header="file,label,source,split")
    training, held = split_sources(find_clips([tmp_path]), share=0.9, seed=1)
    assert {c.source for c in training} == {"a"}
    assert {c.source for c in held} == {"b"}
    rows[1] = "a_2.wav,normal,a,valid"
    table(tmp_path, *rows, header="file,label,source,split")
    with pytest.raises(DatasetError, match="both sides of the split: a;"):
        split_sources(find_clips([tmp_path]), share=0.9, seed=1)
    table(tmp_path, "a_1.wav,normal,a,test", header="file,label,source,split")
    with pytest.raises(DatasetError, match="split 'test'"):
        find_clips([tmp_path])


def test_a_network_knows_a_car_however_a_disk_writes_it(tmp_path):
    """One trained before names were compared as people read them, and a name typed since."""
    one, other = "K\u00e4fer", "Ka\u0308fer"
    save_checkpoint(
        tmp_path / "a.pth", KnockNet(), labels=("knocking", "normal"), meta={"trained_on": [other]}
    )
    assert load_checkpoint(tmp_path / "a.pth").trained_on.sources == {one}


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("golf, polo ", {"golf", "polo"}),
        ('"golf, cold", polo', {"golf, cold", "polo"}),
        ('polo,"golf, cold" ,', {"golf, cold", "polo"}),
        (" ", set()),
        ('5" wheel', {'5" wheel'}),
        ("Ka\u0308fer", {"K\u00e4fer"}),
    ],
)
def test_sources_to_hold_out_are_named_as_in_a_table(monkeypatch, text, names):
    asked = []
    monkeypatch.setattr("convert.train.train", lambda *_, **said: asked.append(said))
    assert main(["train", "r", "--out", "a.pth", "--hold-out-sources", text]) == 0
    assert asked[0]["never_train_on"] == names


def test_a_source_that_is_not_there_is_shown_with_its_blanks_and_so_are_others():
    with pytest.raises(DatasetError, match=r"of source ' b', 'c' to hold out: there are 'a', 'b'$"):
        split_sources(
            clips(normal=["a", "b"]), share=0, seed=1, always_held_out=frozenset({" b", "c"})
        )


def test_sources_to_hold_out_on_two_lines_are_refused(capsys):
    assert main(["train", "r", "--out", "a.pth", "--hold-out-sources", "a\nb"]) == 2
    assert "--hold-out-sources 'a\\nb': " in capsys.readouterr().err


def test_recordings_listed_in_another_order_are_split_alike():
    everything = clips(normal=[f"n{i}" for i in range(9)], knocking=["k0", "k1", "k2", "n3"])
    # Both labels' sources are the same: one of them has to be given back.
    shared = clips(knocking=["a", "b"], normal=["b", "a"])
    shuffled = np.random.default_rng(0)
    for seed in range(8):
        for some in (everything, shared):
            first, _ = split_sources(some, share=0.4, seed=seed)
            other = [some[i] for i in shuffled.permutation(len(some))]
            again, _ = split_sources(other, share=0.4, seed=seed)
            assert {clip.source for clip in again} == {clip.source for clip in first}


def test_sources_to_hold_out_are_held_out_beside_those_of_the_split_column():
    some = clips(normal=["a", "b", "c"], knocking=["k", "l"])
    told = [dataclasses.replace(c, split="valid" if c.source == "b" else "train") for c in some]
    training, held = split_sources(told, share=0, seed=1, always_held_out=frozenset({"k"}))
    assert {clip.source for clip in held} == {"b", "k"}
    assert {clip.source for clip in training} == {"a", "c", "l"}


@pytest.mark.parametrize("complete", [True, False])
def test_a_checkpoint_says_again_what_it_was_trained_on(tmp_path, complete):
    known = TrainedOn(frozenset({"a"}), frozenset({"f"}), frozenset({"golf"}), complete)
    labels = ("knocking", "normal")
    save_checkpoint(tmp_path / "a.pth", KnockNet(), labels=labels, meta=known.to_meta())
    assert load_checkpoint(tmp_path / "a.pth").trained_on == known


def test_the_share_held_out_is_rounded_and_another_seed_holds_out_others():
    some = clips(normal=[f"n{i}" for i in range(9)])
    found = set()
    for seed in range(5):
        _, held = split_sources(some, share=0.3, seed=seed)
        found.add(frozenset(clip.source for clip in held))
    assert {len(held) for held in found} == {3}  # of 2.7
    assert len(found) > 2


def test_parts_are_dealt_out_as_they_were_for_published_figures():
    parts = fold_sources(clips(normal=[f"n{i}" for i in range(7)], knocking=["k0", "k1"]), 3)
    assert [sorted(part) for part in parts] == [
        ["k0", "n0", "n1", "n2"],
        ["k1", "n5", "n6"],
        ["n3", "n4"],
    ]
