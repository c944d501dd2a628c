import json
import multiprocessing
import shutil
import signal
import sys
import time
from contextlib import nullcontext
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convert.checkpoint import load_checkpoint
from convert.cli import main as convert
from convert.dataset import find_clips
from convert.errors import DatasetError
from convert.example_cache import SHAPE
from convert.examples import Example
from convert.split import TrainedOn
from convert.train_config import TrainConfig
from scripts import held_out, learner, lengths
from scripts.held_out import HeldOut, figures
from scripts.learner import Learner, learning_rate
from scripts.lengths import EVERYTHING, Task, table
from scripts.stream import Stream

PARTS = [{"a"}, {"b"}, {"c"}]


def made(number):
    """Example ``number``: its own number as its picture, knocking if odd, of one part each."""
    groups = frozenset("abc"[number % 3])
    return Example(np.full(SHAPE, number % 251, np.uint8), number % 2, groups)


def later(seconds=60.0):
    return time.monotonic() + seconds


def test_examples_come_in_order_whole_and_without_the_part_left_out(tmp_path):
    stream = Stream(tmp_path, 100, new=True)
    for first in (1, 0):
        stream.fill(made, PARTS, first, 2)
    other = Stream(tmp_path, 100)
    batches = list(other.batches(1, 8, later()))
    numbers = np.concatenate(batches)
    wanted = [n for n in range(100) if n % 3 != 1]
    assert [len(batch) for batch in batches] == [8] * (len(wanted) // 8)
    assert numbers.tolist() == wanted[: len(numbers)]
    for number in numbers:
        assert (other.indices[number] == number % 251).all()
        assert other.labels[number] == number % 2


def test_nothing_is_left_out_for_a_network_that_learns_all(tmp_path):
    stream = Stream(tmp_path, 40, new=True)
    stream.fill(made, PARTS, 0, 1)
    numbers = np.concatenate(list(stream.batches(EVERYTHING, 10, later())))
    assert numbers.tolist() == list(range(40))


def test_a_gap_is_waited_for_whatever_lies_behind_it(tmp_path):
    stream = Stream(tmp_path, 20, new=True)
    stream.fill(made, PARTS, 0, 2)
    assert stream.until() == 1
    assert list(stream.batches(EVERYTHING, 2, later(0.1))) == []
    stream.fill(made, PARTS, 1, 2)
    assert stream.until() == 20


class Busy(np.ndarray[Any, Any]):
    """Flags of a maker so busy that one more example is there at each look."""

    def __getitem__(self, key):
        left = np.flatnonzero(self.view(np.ndarray) == 0)
        self.view(np.ndarray)[left[:1]] = 1
        return super().__getitem__(key)


def test_a_reader_does_not_overtake_a_maker_that_goes_on_meanwhile(tmp_path):
    """One that looked twice took the example made between its looks for the last one missing."""
    stream = Stream(tmp_path, 50, new=True)
    stream._made = np.zeros(50, np.uint8).view(Busy)
    for made_by_now in range(1, 51):
        assert stream.until() <= made_by_now
    assert stream.until() == 50


def test_the_learning_rate_rises_then_falls_with_the_root_of_what_was_shown():
    assert learning_rate(0) == 0
    assert learning_rate(learner.WARMUP) == learner.PEAK_RATE == learning_rate(learner.PLATEAU_END)
    assert learning_rate(4 * learner.PLATEAU_END) == pytest.approx(learner.PEAK_RATE / 2)


def test_the_average_is_of_the_weights_and_judges_without_noise():
    rng = np.random.default_rng(0)
    config = TrainConfig(batch_size=4)
    network = Learner(1, config)
    shown = rng.integers(0, 256, (4, *SHAPE), dtype=np.uint8)
    fresh = network.judge(shown)
    network.step(shown, np.array([0, 1, 0, 1]))
    network.step(shown, np.array([0, 1, 0, 1]))
    assert network.shown == 8
    once = network.judge(shown)
    assert np.abs(once - fresh).max() > 0
    np.testing.assert_array_equal(once, network.judge(shown))  # no noise, no dropout


def held(tmp_path):
    """Per part: one knock, ten engines, one strange knock, with room between them."""
    kinds = ["knock", *["engine"] * 10, "strange"] * 3
    count = len(kinds)
    windows = HeldOut(
        np.zeros((count, *SHAPE), np.uint8),
        np.repeat(np.arange(3), count // 3),
        np.array(kinds),
        np.array(["k", *["e"] * 5, *["f"] * 5, "made"] * 3),
    )
    windows.save(tmp_path / "held.npz")
    return windows


def test_windows_to_judge_come_back_as_they_were_kept(tmp_path):
    windows = held(tmp_path)
    again = HeldOut.load(tmp_path / "held.npz")
    for one, other in zip(vars(windows).values(), vars(again).values(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert len(again.only(1).kind) == 12
    assert set(again.only(1).part) == {1}


def test_figures_are_shares_above_what_so_many_engines_reach(tmp_path):
    windows = held(tmp_path)
    z = np.where(windows.kind == "engine", np.arange(36) / 36, 2).astype(np.float32)
    z[np.flatnonzero(windows.kind == "knock")[0]] = -1
    found = figures(windows, z, 0.1)
    assert found["engine"] == pytest.approx(0.1)
    assert found["knock"] == pytest.approx(2 / 3)
    assert found["strange"] == 1
    assert found["auc knock"] == pytest.approx(2 / 3)  # 0, 1 and 1 by parts
    assert found["auc strange"] == 1


def test_a_length_that_not_all_networks_reached_has_no_line(tmp_path):
    windows = held(tmp_path)
    tasks = [Task(part, seed) for seed in (1, 2) for part in (0, 1, 2, EVERYTHING)]
    for task in tasks[:-2]:
        for length in (10, 20):
            z = np.arange(len(windows.only(0).kind), dtype=np.float32) * task.seed
            np.save(tmp_path / f"{task.name}-{length}.npy", z)
    assert table(tmp_path, tasks, (10, 20)) == []
    np.save(tmp_path / f"{tasks[-2].name}-10.npy", z)
    lines = table(tmp_path, tasks, (10, 20))
    assert [(line["length"], line["rate"]) for line in lines] == [
        (10, rate) for rate in lengths.FALSE_RATES
    ]
    assert lines[0]["strange"] == lines[0]["ensemble strange"] == 1
    assert lines[0]["spread auc knock"] == 0


def test_a_count_of_none_is_refused_by_name(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["lengths", "nowhere", "--workers", "0"])
    assert lengths.main() == 2
    assert "--workers 0 must be 1 or more" in capsys.readouterr().err


def test_lengths_that_nobody_reaches_are_refused(monkeypatch, capsys):
    for length in ("0", "400001"):
        monkeypatch.setattr(sys, "argv", ["lengths", "nowhere", "--lengths", length])
        assert lengths.main() == 2
        said = capsys.readouterr().err
        assert f"--lengths {length} must lie between 1 and --most 400000" in said


def test_answers_that_are_no_numbers_are_no_length_too_few(tmp_path):
    windows = held(tmp_path)
    tasks = [Task(part, 1) for part in range(3)]
    for task in tasks:
        np.save(tmp_path / f"{task.name}-10.npy", np.full(len(windows.only(0).kind), np.nan))
    with pytest.raises(DatasetError, match="has diverged"):
        table(tmp_path, tasks, (10,))


class Process(BaseProcess):
    """One that has ended, or goes on for ever."""

    def __init__(self, code):
        self._code = code

    @property
    def exitcode(self):
        return self._code

    def is_alive(self):
        return self._code is None


def test_ctrl_c_is_left_to_the_process_that_started_the_others():
    """Each would end with a traceback of its own."""

    def look():
        sys.exit(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it may be ignored
    other = multiprocessing.get_context("fork").Process(target=look, daemon=True)
    with lengths._ignoring_interrupts():
        other.start()
    assert signal.signal(signal.SIGINT, before) == signal.default_int_handler
    other.join()
    assert other.exitcode == 1


def test_a_maker_that_fails_is_not_waited_for():
    going_on = Process(None)
    with pytest.raises(DatasetError, match="has failed"):
        lengths._wait([going_on, Process(1)], [going_on])
    with pytest.raises(DatasetError, match="has failed"):
        lengths._wait([going_on], [Process(0), Process(-9)])
    lengths._wait([going_on, Process(0)], [Process(0)])


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    assert convert(["synth", str(folder), "--count", "6", "--seconds", "3"]) == 0
    return folder


@pytest.mark.parametrize("gone", ["-k knocking", "-n healthy"])
def test_a_part_without_a_knock_or_an_engine_is_refused_before_anything_is_made(
    recordings, tmp_path, monkeypatch, capsys, gone
):
    few, work = tmp_path / "few", tmp_path / "work"
    names, kind = gone.split()
    shutil.copytree(recordings, few)
    lines = (few / "labels.csv").read_text().splitlines()
    out = [line for line in lines if names in line][1:]
    (few / "labels.csv").write_text("\n".join(line for line in lines if line not in out))
    monkeypatch.setattr(held_out, "N_STRANGE", 1)
    command = ["lengths", str(few), "--work", str(work), "--seeds", "1", "--most", "24"]
    monkeypatch.setattr(sys, "argv", [*command, "--lengths", "4"])
    assert lengths.main() == 12
    assert f"of the sources has no {kind} engine" in capsys.readouterr().err
    assert not work.exists()


def test_recordings_that_show_only_when_heard_that_they_do_not_do_can_be_mended(
    recordings, tmp_path, monkeypatch, capsys
):
    """Their gigabytes would lie there, and the same command would be refused for them."""

    def refused(*_):
        raise DatasetError("part 1 has none that can be heard")

    monkeypatch.setattr(HeldOut, "of", refused)
    command = ["lengths", str(recordings), "--work", str(tmp_path / "work"), "--seeds", "1"]
    monkeypatch.setattr(sys, "argv", [*command, "--most", "24", "--lengths", "4"])
    for _ in range(2):
        assert lengths.main() == 12
        assert "none that can be heard" in capsys.readouterr().err
    assert not list((tmp_path / "work").iterdir())


def test_answers_are_there_whole_or_not_at_all(tmp_path, monkeypatch):
    """A table would be made of half of them."""
    held(tmp_path)

    class Judge(Learner):
        def judge(self, indices):
            return np.zeros(len(indices), np.float32)

    run = lengths.Run(tmp_path, 24, later(), (4,), TrainConfig(), TrainedOn())

    def killed(file, _):
        with file.open("wb") if isinstance(file, Path) else nullcontext(file) as half:
            half.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        run._save(Judge(1, TrainConfig()), Task(1, 1), 4)
    assert [path.name for path in tmp_path.iterdir()] == ["held.npz"]


def test_a_run_makes_learns_and_judges(recordings, tmp_path, monkeypatch, capsys):
    """All of it, with as little as there can be: five processes, a batch or a few each."""
    work = tmp_path / "work"
    monkeypatch.setattr(held_out, "N_STRANGE", 2)
    monkeypatch.setattr(held_out, "N_FAULTS", 1)
    options = ["--seeds", "1", "--workers", "1", "--most", "8", "--batch-size", "2"]
    monkeypatch.setattr(
        sys, "argv", ["lengths", str(recordings), "--work", str(work), *options, "--lengths", "2"]
    )
    assert lengths.main() == 0
    assert "8 examples made" in capsys.readouterr().out
    lines = json.loads((work / "figures.json").read_text())
    assert {line["length"] for line in lines} == {2}
    assert {"knock", "engine", "strange", "belt", "starter", "auc knock"} <= lines[0].keys()
    checkpoint = load_checkpoint(work / "all-1-2.pth")
    assert checkpoint.trained_on.complete
    assert checkpoint.trained_on.sources == {clip.source for clip in find_clips([recordings])}
    assert checkpoint.labels == ("knocking", "normal")
    assert not (work / "stream").exists()
    assert lengths.main() == 12  # it would mix two runs, or lose the first
    assert f"{work} is not empty" in capsys.readouterr().err
