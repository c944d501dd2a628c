import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge.blackbox import PIN_FILE, Alert, BlackBox
from edge.config import BlackBoxConfig
from edge.sound_memory import SoundMemory
from edge.wav import WavReader, write_wav
from edge.window import Block
from tests.audio import noise
from tests.wait import wait_for

SR = 22_050


def alert(number, seconds=1.0, at=None):
    picture = np.full((224, 224, 3), number % 256, dtype=np.uint8)
    at = 1000.0 * number if at is None else at
    return Alert(noise(seconds, seed=number), picture, {"number": number}, at)


def keep(box, *numbers):
    for number in numbers:
        assert box.keep(alert(number))
        wait_for(box._queue.empty)


def records(folder):
    return sorted(p.name for p in folder.iterdir() if p.name.isdigit())


def check_record(folder):
    facts = json.loads((folder / "alert.json").read_text())
    with WavReader(folder / "sound.wav") as wav:
        assert sum(len(piece) for piece in wav.pieces(4096)) > 0
    assert (folder / "picture.png").read_bytes().endswith(b"IEND\xaeB`\x82")
    return facts


def test_a_record_holds_sound_picture_and_facts(tmp_path):
    box = BlackBox(tmp_path / "new" / "box", BlackBoxConfig(), SR)
    keep(box, 7)
    box.close(20.0)
    assert records(tmp_path / "new" / "box") == ["000001"]
    facts = check_record(tmp_path / "new" / "box" / "000001")
    assert facts == {"record": "000001", "number": 7}
    with WavReader(tmp_path / "new" / "box" / "000001" / "sound.wav") as wav:
        y = np.concatenate(list(wav.pieces(4096)))[:, 0]
    assert np.abs(y - np.clip(noise(1.0, seed=7), -1, 1)).max() < 2 / 32768


def test_a_record_says_which_model_judged(tmp_path):
    box = BlackBox(tmp_path, BlackBoxConfig(), SR, about={"model": "/net.tflite"})
    box.keep(alert(0))
    box.close(20.0)
    facts = json.loads((tmp_path / "000001" / "alert.json").read_text())
    assert (facts["record"], facts["model"]) == ("000001", "/net.tflite")


def test_the_oldest_makes_room_but_never_a_pinned_one(tmp_path):
    box = BlackBox(tmp_path, BlackBoxConfig(max_records=3), SR)
    keep(box, 1, 2)
    wait_for(lambda: len(records(tmp_path)) == 2)
    (tmp_path / "000001" / PIN_FILE).touch()
    keep(box, 3, 4, 5)
    box.close(20.0)
    assert records(tmp_path) == ["000001", "000004", "000005"]


def test_bytes_are_capped(tmp_path):
    # A second of 16-bit sound is 44 kB; 300 kB are reserved for the picture of a new record.
    box = BlackBox(tmp_path, BlackBoxConfig(max_mb=0.5), SR)
    keep(box, *range(1, 9))
    box.close(20.0)
    assert len(records(tmp_path)) < 8
    total = sum(f.stat().st_size for f in tmp_path.rglob("*") if f.is_file())
    assert total <= 500_000
    assert records(tmp_path)[-1] == "000008"


def test_nothing_is_dropped_before_a_record_needs_the_room(tmp_path):
    for _ in range(2):  # nor does another start drop anything
        box = BlackBox(tmp_path, BlackBoxConfig(max_records=1), SR)
        wait_for(lambda box=box: box._write_tested)
        keep(box, 1)
        box.close(20.0)
        assert len(records(tmp_path)) == 1
    box = BlackBox(tmp_path, BlackBoxConfig(max_records=1), SR)
    wait_for(lambda: box._write_tested)
    box._prepare()
    box.close(20.0)
    assert records(tmp_path) == ["000002"]


def test_what_a_power_cut_left_is_swept_away(tmp_path):
    (tmp_path / ".000001.part").mkdir()
    (tmp_path / "..writable.0a1b2c3d").touch()
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    wait_for(lambda: box._write_tested)
    box.close(20.0)
    assert [path.name for path in tmp_path.iterdir()] == [".writable"]


def test_alerts_in_quick_succession_are_not_all_kept(tmp_path):
    box = BlackBox(tmp_path, BlackBoxConfig(min_interval_s=30), SR)
    assert box.keep(alert(1, at=0.0))
    assert not box.keep(alert(2, at=29.9))
    assert box.keep(alert(3, at=30.0))
    box.close(20.0)
    assert box.skipped == 1
    assert len(records(tmp_path)) == 2


ROOT = Path(__file__).resolve().parents[1]
WRITER = """
import sys, time
from pathlib import Path
from tests.test_blackbox import alert, BlackBox, BlackBoxConfig, SR
box = BlackBox(Path(sys.argv[1]), BlackBoxConfig(max_records=5), SR)
print("ready", flush=True)
for number in range(1, 10000):
    while not box.keep(alert(number, seconds=0.2)):
        time.sleep(0.001)
"""


def kill_while_writing(folder, times):
    """Kill a writer ``times`` times at random moments; return how many records were checked."""
    rng = np.random.default_rng(0)
    seen = 0
    for _ in range(times):
        before = set(records(folder))
        process = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE, cwd=ROOT
        )
        assert process.stdout is not None
        process.stdout.readline()
        # On a slow disk the first record takes a while.
        wait_for(lambda before=before: set(records(folder)) - before)
        time.sleep(rng.uniform(0.02, 0.25))
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.stdout.close()
        for name in records(folder):
            check_record(folder / name)
            seen += 1
    return seen


def test_killed_at_any_moment_no_record_is_broken(tmp_path):
    assert kill_while_writing(tmp_path, 8) > 8
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    box.close(20.0)
    assert not list(tmp_path.glob(".*.part"))


def test_the_memory_keeps_the_last_seconds_and_no_more():
    memory = SoundMemory(2.0, SR)
    y = noise(10)
    for at in range(0, y.size, 777):
        memory.add(Block(y[at : at + 777], at / SR))
    kept = memory.read()
    assert kept.size == 2 * SR
    assert np.abs(kept - y[-2 * SR :]).max() < 1e-4
    assert memory._size < 2 * SR + 777
    assert SoundMemory(2.0, SR).read().size == 0


@pytest.mark.parametrize(("outage_s", "kept_s"), [(0.9, 2.0), (1.1, 1.0), (3600.0, 1.0)])
def test_a_record_holds_nothing_from_before_an_outage(outage_s, kept_s):
    memory = SoundMemory(10, SR)
    memory.add(Block(noise(1, seed=1), 0.0))
    memory.add(Block(noise(1, seed=2), 1.0 + outage_s, gap=True))
    kept = memory.read()
    assert kept.size == kept_s * SR
    assert np.abs(kept[-SR:] - noise(1, seed=2)).max() < 1e-4


def test_what_others_keep_in_the_folder_is_theirs(tmp_path):
    """Folders of pictures named after years consist of digits, too."""
    for name in ("2023", "000007", "²", "20231126", ".cache.part"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "x.txt").write_text("mine")
    box = BlackBox(tmp_path, BlackBoxConfig(max_records=2), SR)
    keep(box, 1, 2, 3, 4)
    box.close(20.0)
    assert box.problem == ""
    assert [p.name for p in sorted(tmp_path.iterdir()) if (p / "alert.json").exists()] == [
        "20231129",
        "20231130",
    ]
    assert len(list(tmp_path.rglob("x.txt"))) == 5


def test_an_alert_that_could_not_be_kept_does_not_keep_out_the_next(tmp_path, monkeypatch):
    box = BlackBox(tmp_path, BlackBoxConfig(min_interval_s=30), SR)
    with monkeypatch.context() as broken:
        broken.setattr("edge.blackbox.write_png", lambda *_: 1 / 0)  # an error that nobody foresaw
        box.keep(alert(1, at=100.0))
        wait_for(lambda: box.problem)
    wait_for(lambda: box._last_s < 0)
    assert box.keep(alert(2, at=110.0))
    wait_for(lambda: box.written == 1 and not box.problem)
    box.close(20.0)


def test_an_hour_of_sound_takes_no_more_memory_than_its_seconds():
    memory = SoundMemory(2.0, SR)
    for at in range(3600):
        memory.add(Block(np.zeros(777, dtype=np.float32), at))
    assert sum(piece.size for piece in memory._pieces) < 2 * SR + 777


def test_a_record_keeps_out_the_next_even_when_it_is_long_written(tmp_path):
    box = BlackBox(tmp_path, BlackBoxConfig(min_interval_s=30), SR)
    assert box.keep(alert(1, at=0.0))
    box.close(20.0)  # waits for everything that the writer still does
    assert box.written == 1
    assert not box.keep(alert(2, at=29.9))


def test_every_file_is_on_the_disk_before_the_record_has_its_name(tmp_path, monkeypatch):
    """The order protects against a power cut; a mere kill loses nothing that was written."""
    done = []
    sync, rename = os.fsync, Path.rename

    def note_sync(handle):
        done.append(("sync", Path(f"/proc/self/fd/{handle}").readlink().name))
        sync(handle)

    def note_rename(path, target):
        done.append(("rename", Path(target).name))
        return rename(path, target)

    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    wait_for(lambda: box._write_tested)
    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "rename", note_rename)
    box.keep(alert(1))
    box.close(20.0)
    named = done.index(("rename", "000001"))
    before = [name for what, name in done[:named] if what == "sync"]
    # Each file under its temporary name, each rename within the folder, then the folder itself.
    assert before[-1] == ".000001.part"
    assert {name.rpartition(".")[0].lstrip(".") for name in before[:-1]} >= {
        "sound.wav",
        "picture.png",
        "alert.json",
    }
    assert done[named + 1] == ("sync", tmp_path.name)


@pytest.mark.parametrize(("wrong", "kept"), [(errno.EINVAL, ["000001"]), (errno.EIO, [])])
def test_a_folder_that_cannot_be_waited_for_keeps_its_records(tmp_path, monkeypatch, wrong, kept):
    """Some network file systems cannot fsync a folder (EINVAL); EIO is a failing disk."""
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    wait_for(lambda: box._write_tested)
    sync = os.fsync

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(wrong, "no")
        sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    box.keep(alert(1))
    box.close(20.0)
    assert records(tmp_path) == kept
    assert bool(box.problem) == (not kept)


def test_what_must_go_has_lost_its_name_before_it_is_touched(tmp_path, monkeypatch):
    """A power cut during removal must not leave half a record."""
    removed = []
    rmtree = shutil.rmtree

    def note(folder, **how):
        removed.append(Path(folder).name)
        rmtree(folder, **how)

    monkeypatch.setattr("edge.blackbox.shutil.rmtree", note)
    box = BlackBox(tmp_path, BlackBoxConfig(max_records=1), SR)
    keep(box, 1, 2)
    box.close(20.0)
    assert records(tmp_path) == ["000002"]
    assert ".000001.part" in removed
    assert all(name.startswith(".") for name in removed)


def test_odd_things_in_a_record_keep_out_no_other(tmp_path):
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    keep(box, 1)
    wait_for(lambda: box.written == 1)
    (tmp_path / "000001" / "note").symlink_to(tmp_path / "nowhere")
    keep(box, 2)
    box.close(20.0)
    assert box.problem == ""
    assert records(tmp_path) == ["000001", "000002"]


def test_sound_of_the_models_rate_is_kept_to_the_bit(tmp_path):
    """A record is evidence: it keeps the very 16 bits that came from the microphone."""
    sent = np.arange(-32768, 32768).astype(np.int16)
    memory = SoundMemory(10, SR)
    memory.add(Block(sent.astype(np.float32) / np.float32(32768), 0.0))
    write_wav(tmp_path / "a.wav", memory.read(), SR)
    assert (tmp_path / "a.wav").read_bytes()[44:] == sent.astype("<i2").tobytes()


def test_a_record_takes_no_more_than_is_reckoned_with(tmp_path):
    box = BlackBox(tmp_path, BlackBoxConfig(), SR)
    long = alert(1, seconds=20.0)
    picture = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    assert box.keep(Alert(long.sound, picture, long.facts, long.end_s))
    box.close(20.0)
    used = sum(file.stat().st_size for file in (tmp_path / "000001").iterdir())
    assert used <= BlackBox._max_bytes(long.sound.size)


def test_after_an_outage_the_memory_is_as_long_as_before():
    memory = SoundMemory(2.0, SR)
    memory.add(Block(noise(2), 0.0))
    for second in (100, 101, 102):
        memory.add(Block(noise(1, seed=second), second, gap=second == 100))
    expected = np.concatenate([noise(1, seed=101), noise(1, seed=102)])
    np.testing.assert_allclose(memory.read(), expected, atol=1e-4)
