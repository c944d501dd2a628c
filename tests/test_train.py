import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from convert import example_cache
from convert.checkpoint import load_checkpoint
from convert.cli import main
from convert.errors import CheckpointError, DatasetError
from convert.evaluate import evaluate
from convert.fit import Examples, Fit
from convert.train import train
from convert.train_config import TrainConfig
from tests.networks import checkpoint, random_network, torchvision_state

TINY = TrainConfig(examples=32, batch_size=16, small_epochs=2, full_epochs=0, hold_out=0.4)


@pytest.fixture(scope="module")
def whole_run(recordings_made, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    train([recordings_made], folder / "a.pth", folder / "work", TINY)
    return folder


def test_a_run_gives_a_checkpoint_that_says_how_it_was_made(whole_run):
    loaded = load_checkpoint(whole_run / "a.pth")
    assert loaded.labels == ("knocking", "normal")
    assert loaded.meta["config"] == dataclasses.asdict(TINY)
    assert not set(loaded.meta["trained_on"]) & set(loaded.meta["held_out"])
    assert [epoch["side"] for epoch in loaded.meta["history"]] == [112, 112]


def test_an_interrupted_run_goes_on_to_the_same_end(
    whole_run, recordings_made, tmp_path, monkeypatch
):
    epoch = Fit._epoch

    def power_cut(self, number, pictures):
        if number == 1:
            raise KeyboardInterrupt
        return epoch(self, number, pictures)

    monkeypatch.setattr(Fit, "_epoch", power_cut)
    with pytest.raises(KeyboardInterrupt):
        train([recordings_made], tmp_path / "a.pth", tmp_path / "work", TINY)
    assert not (tmp_path / "a.pth").exists()
    monkeypatch.undo()
    train([recordings_made], tmp_path / "a.pth", tmp_path / "work", TINY)
    ours = load_checkpoint(tmp_path / "a.pth")
    whole = load_checkpoint(whole_run / "a.pth")
    # Bit for bit, where sums are taken in one order; a library may choose another one each time.
    for name, value in whole.network.state_dict().items():
        other = ours.network.state_dict()[name]
        assert (value - other).float().abs().max() <= 0.01 * value.float().abs().max() + 1e-5, name


def test_a_folder_belongs_to_one_run(whole_run, recordings_made):
    other = dataclasses.replace(TINY, seed=2)
    with pytest.raises(DatasetError, match="another run"):
        train([recordings_made], whole_run / "b.pth", whole_run / "work", other)


def test_a_network_to_start_from_has_heard_what_it_was_trained_on(
    whole_run, recordings_made, tmp_path, capsys
):
    start = whole_run / "a.pth"
    tiny = dataclasses.replace(TINY, small_epochs=1, fold=(1, 2))
    train([recordings_made], tmp_path / "b.pth", tmp_path / "w", tiny, init=start)
    first, second = load_checkpoint(start).meta, load_checkpoint(tmp_path / "b.pth").meta
    assert set(first["trained_on"]) <= set(second["trained_on"])
    assert not set(second["trained_on"]) & set(second["held_out"])
    assert "of the held-out sources" in capsys.readouterr().out


def test_a_changed_label_is_another_run(whole_run, recordings_made, tmp_path):
    shutil.copytree(recordings_made, tmp_path / "some")
    shutil.copytree(whole_run / "work", tmp_path / "w")
    train([tmp_path / "some"], tmp_path / "a.pth", tmp_path / "w", TINY)  # it goes on, at its end
    text = (tmp_path / "some" / "labels.csv").read_text()
    (tmp_path / "some" / "labels.csv").write_text(text.replace("knocking,", "normal,", 1))
    with pytest.raises(DatasetError, match="another run"):
        train([tmp_path / "some"], tmp_path / "a.pth", tmp_path / "w", TINY)


def test_a_changed_recording_of_the_same_size_is_another_run(whole_run, recordings_made, tmp_path):
    shutil.copytree(recordings_made, tmp_path / "some")
    shutil.copytree(whole_run / "work", tmp_path / "w")
    path = next((tmp_path / "some").rglob("*.wav"))
    content = path.read_bytes()
    path.write_bytes(content[:-2000] + bytes(reversed(content[-2000:])))
    with pytest.raises(DatasetError, match="another run"):
        train([tmp_path / "some"], tmp_path / "a.pth", tmp_path / "w", TINY)


def test_examples_outlive_what_has_no_part_in_them(
    whole_run, recordings_made, tmp_path, monkeypatch
):
    shutil.copytree(whole_run / "work", tmp_path / "w")
    slower = dataclasses.replace(TINY, learning_rate=1e-4)
    with pytest.raises(DatasetError, match=r"remove state.pt and best.pt"):
        train([recordings_made], tmp_path / "a.pth", tmp_path / "w", slower)
    for name in ("state.pt", "best.pt"):
        (tmp_path / "w" / name).unlink()
    monkeypatch.setattr("convert.example_cache.make_examples", lambda *_: pytest.fail("made again"))
    train([recordings_made], tmp_path / "a.pth", tmp_path / "w", slower)


def test_what_is_held_out_is_looked_at_anew(whole_run, recordings_made, tmp_path, monkeypatch):
    shutil.copytree(whole_run / "work", tmp_path / "w")
    for name in ("run.json", "state.pt", "best.pt"):
        (tmp_path / "w" / name).unlink()
    held = []

    def looked(*_, real, **__):
        held.append(len(real.labels))
        raise DatasetError("enough")

    monkeypatch.setattr("convert.train.Fit", looked)
    none = Examples(np.empty(0, np.uint8), np.empty(0, np.int64))
    monkeypatch.setattr("convert.run_data.load_or_make", lambda *_, **__: none)
    for work in ("w", "fresh"):
        other = dataclasses.replace(TINY, hold_out=0.2)
        with pytest.raises(DatasetError, match="enough"):
            train([recordings_made], tmp_path / "a.pth", tmp_path / work, other)
    with np.load(next((whole_run / "work").glob("real-*.npz"))) as before:
        assert held[0] == held[1] != len(before["labels"])


@pytest.mark.parametrize("name", ["fit", "augment", "network", "rendering", "synth", "judgeable"])
def test_other_code_does_not_go_on_with_a_run(
    whole_run, recordings_made, tmp_path, monkeypatch, *, anew, name
):
    shutil.copytree(whole_run / "work", tmp_path / "w")
    shutil.copytree(Path(example_cache.__file__).parent, tmp_path / "convert")
    monkeypatch.setattr(example_cache, "__file__", str(tmp_path / "convert" / "example_cache.py"))
    anew()
    train([recordings_made], tmp_path / "a.pth", tmp_path / "w", TINY)  # the same goes on
    with (tmp_path / "convert" / f"{name}.py").open("a") as module:
        module.write("CHANGED = 1\n")
    anew()
    with pytest.raises(DatasetError, match="another version of this program"):
        train([recordings_made], tmp_path / "a.pth", tmp_path / "w", TINY)


def test_pictures_of_other_code_are_not_graded_on(recordings_made, tmp_path, monkeypatch):
    def looked(*_, **__):
        raise DatasetError("enough")

    monkeypatch.setattr("convert.train.Fit", looked)
    none = Examples(np.empty(0, np.uint8), np.empty(0, np.int64))
    monkeypatch.setattr("convert.run_data.load_or_make", lambda *_, **__: none)
    for module in ("errors", "paths"):
        monkeypatch.setattr("convert.train.GRADING_MODULES", (module,))
        with pytest.raises(DatasetError, match="enough"):
            train([recordings_made], tmp_path / "a.pth", tmp_path / "w", TINY)
        (tmp_path / "w" / "run.json").unlink()
    assert len(list((tmp_path / "w").glob("real-*.npz"))) == 2


def test_turning_the_answers_round_is_another_run(recordings_made, tmp_path, monkeypatch):
    start = checkpoint(tmp_path / "start.pth", random_network())

    def enough(*_, **__):
        raise DatasetError("enough")

    monkeypatch.setattr("convert.train.examples_of", enough)
    (tmp_path / "w").mkdir()
    (tmp_path / "w" / "state.pt").touch()
    for labels, words in ((None, "enough"), (("normal", "knocking"), "another run")):
        with pytest.raises(DatasetError, match=words):
            train(
                [recordings_made],
                tmp_path / "a.pth",
                tmp_path / "w",
                TINY,
                init=start,
                labels=labels,
            )


def test_a_batch_that_cannot_be_filled_costs_no_examples(recordings_made, tmp_path, monkeypatch):
    monkeypatch.setattr("convert.run_data.load_or_make", lambda *_, **__: pytest.fail("made"))
    large = dataclasses.replace(TINY, batch_size=128)
    with pytest.raises(DatasetError, match="32 examples do not fill one batch of 128"):
        train([recordings_made], tmp_path / "a.pth", tmp_path / "w", large)
    assert not (tmp_path / "w").exists()


def test_threshold_and_temperature_are_handed_on(recordings_made, tmp_path):
    meta = {"threshold": 0.8, "temperature": 1.5, "trained_on": []}
    state = random_network().state_dict()
    torch.save({"model": state, "meta": meta}, tmp_path / "start.pth")
    few = dataclasses.replace(TINY, examples=16, small_epochs=1)
    train([recordings_made], tmp_path / "a.pth", tmp_path / "w", few, init=tmp_path / "start.pth")
    tuned = load_checkpoint(tmp_path / "a.pth")
    assert (tuned.threshold, tuned.temperature) == (0.8, 1.5)
    train(
        [recordings_made],
        tmp_path / "b.pth",
        tmp_path / "w",
        few,
        init=tmp_path / "start.pth",
        threshold=0.7,
    )
    tuned = load_checkpoint(tmp_path / "b.pth")
    assert (tuned.threshold, tuned.temperature) == (0.7, 1.5)


def test_a_threshold_is_given_without_learning_again(whole_run, recordings_made, tmp_path):
    shutil.copytree(whole_run / "work", tmp_path / "w")
    assert load_checkpoint(whole_run / "a.pth").threshold == 0.5
    killed = [".a.pth.0123abcd", "w/.state.pt.0123abcd", "w/.real-a.npz.0123abcd"]
    for name in killed:  # 340 MB that nobody else would remove
        (tmp_path / name).touch()
    command = ["train", str(recordings_made), "--out", str(tmp_path / "a.pth")]
    command += ["--work", str(tmp_path / "w"), "--threshold", "0.8"]
    for name in ("examples", "batch_size", "small_epochs", "full_epochs", "hold_out"):
        command += [f"--{name.replace('_', '-')}", str(getattr(TINY, name))]
    assert main(command) == 0
    given = load_checkpoint(tmp_path / "a.pth")
    assert given.threshold == 0.8
    assert not any((tmp_path / name).exists() for name in killed)
    before = load_checkpoint(whole_run / "a.pth").network.state_dict()
    assert all(torch.equal(v, before[k]) for k, v in given.network.state_dict().items())


def test_half_of_the_start_is_kept_where_that_is_asked(whole_run, recordings_made, tmp_path):
    start = whole_run / "a.pth"
    nets = [load_checkpoint(start).network.state_dict()]
    for keep in (0.0, 0.5):
        # Not frozen in any epoch: whichever is the best has moved everything.
        config = dataclasses.replace(TINY, examples=16, small_epochs=1, keep=keep, frozen_epochs=0)
        out, work = tmp_path / f"{keep}.pth", tmp_path / f"work{keep}"
        train([recordings_made], out, work, config, init=start)
        nets.append(load_checkpoint(out).network.state_dict())
    before, tuned, kept = nets
    for name in ("0.0.weight", "1.8.weight", "0.1.running_mean"):
        moved = (tuned[name] - before[name]).abs().max()
        assert moved > 0
        off = (kept[name] - (tuned[name] + before[name]) / 2).abs().max()
        # Two trainings may differ by the order of sums; the files are in float16.
        assert off < 0.1 * moved + 2**-10 * before[name].abs().max(), name


def test_what_is_kept_half_is_graded_and_not_the_epoch_it_is_half_of(
    whole_run, recordings_made, tmp_path, monkeypatch, capsys
):
    graded = []

    def figures(fit, side):
        graded.append(fit.ema.state_dict()["1.8.weight"].clone())
        return {"check_auc": 0.9 if len(graded) <= 2 else 0.55}  # the start, the epoch; both

    monkeypatch.setattr(Fit, "_figures", figures)
    few = dataclasses.replace(TINY, examples=16, small_epochs=1, keep=0.5)
    init = whole_run / "a.pth"
    train([recordings_made], tmp_path / "a.pth", tmp_path / "w", few, init=init)
    given = load_checkpoint(tmp_path / "a.pth")
    assert torch.equal(graded[-1].half(), given.network.state_dict()["1.8.weight"].half())
    assert given.meta["history"][-1] == {"keep": 0.5, "side": 112, "check_auc": 0.55}
    assert json.loads((tmp_path / "w" / "history.json").read_text()) == given.meta["history"]
    said = capsys.readouterr().out
    assert "with keep 0.5, side 112, check_auc 0.55\n" in said
    assert "next to nothing: an AUC of 0.55" in said
    assert given.meta["start"] == {"side": 112, "check_auc": 0.9}
    assert "before training: side 112, check_auc 0.9\n" in said
    assert "training has not raised check_auc (0.5500, before 0.9000)" in said


@pytest.mark.parametrize("epochs", [1, 2])
def test_the_body_is_frozen_first_but_never_to_the_end(
    recordings_made, tmp_path, capsys, monkeypatch, epochs
):
    start = checkpoint(tmp_path / "start.pth", random_network())
    before = load_checkpoint(start).network.body.state_dict()["4.0.conv1.weight"]
    changed = []
    write_state = Fit._state

    def watched(fit, epoch):
        changed.append(not torch.equal(fit.network.body[4][0].conv1.weight.cpu(), before))
        return write_state(fit, epoch)

    monkeypatch.setattr(Fit, "_state", watched)
    few = dataclasses.replace(TINY, small_epochs=epochs)
    train([recordings_made], tmp_path / "a.pth", tmp_path / "w", few, init=start)
    assert "does not list everything it was trained on" in capsys.readouterr().out
    assert not load_checkpoint(tmp_path / "a.pth").trained_on.complete  # nor does what came of it
    assert changed == ([True] if epochs == 1 else [False, True])


def test_starting_from_a_body(recordings_made, tmp_path, capsys):
    tiny = dataclasses.replace(TINY, small_epochs=1)
    torch.save(torchvision_state(random_network(seed=4)), tmp_path / "body.pth")
    train(
        [recordings_made],
        tmp_path / "b.pth",
        tmp_path / "w2",
        tiny,
        pretrained=tmp_path / "body.pth",
    )
    assert "epoch 1/1" in capsys.readouterr().out
    with pytest.raises(CheckpointError):
        train(
            [recordings_made],
            tmp_path / "c.pth",
            tmp_path / "w3",
            tiny,
            init=tmp_path / "body.pth",
        )


def test_sources_that_the_epoch_was_chosen_by_are_named(
    whole_run, recordings_made, tmp_path, capsys
):
    meta = load_checkpoint(whole_run / "a.pth").meta
    assert meta["chosen_by"] == meta["held_out"]
    said = ") are slightly optimistic: they were used to choose the best epoch"
    evaluate(whole_run / "a.pth", [recordings_made], hold_out_only=True)
    assert f"on {len(meta['held_out'])} of these sources" in (err := capsys.readouterr().err)
    assert said in err
    for name, settings, said_of_it in (
        ("one", {"small_epochs": 1}, "epoch 1, the only one)"),
        ("none", {"hold_out": 0.0}, ", the best on new examples of the same sources)"),
    ):
        config = dataclasses.replace(TINY, examples=16, **settings)  # no choice, or by others
        train([recordings_made], tmp_path / f"{name}.pth", tmp_path / name, config)
        assert load_checkpoint(tmp_path / f"{name}.pth").chosen_by == ()
        assert said_of_it in capsys.readouterr().out
    meta["chosen_by"] = 7
    state = load_checkpoint(whole_run / "a.pth").network.state_dict()
    torch.save({"model": state, "meta": meta}, tmp_path / "odd.pth")
    evaluate(tmp_path / "odd.pth", [recordings_made], hold_out_only=True)
    assert said not in capsys.readouterr().err


def test_evaluation_knows_what_was_held_out(whole_run, recordings_made):
    held_out = set(load_checkpoint(whole_run / "a.pth").meta["held_out"])
    report = evaluate(whole_run / "a.pth", [recordings_made], hold_out_only=True)
    assert {j.clip.source for j in report.judged} == held_out
    figures = report.to_dict()
    assert json.loads(json.dumps(figures)) == figures
    assert 0 <= figures["separation"]["engine"]["auc"] <= 1
    assert "knocking against engine: AUC" in report.table()
