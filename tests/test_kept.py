"""What holds the records before a fault against those after it must see whatever is amiss."""

import shutil

import pytest

from edge.blackbox import BlackBox
from edge.config import BlackBoxConfig
from tests.hil.kept import Kept
from tests.listener import SR
from tests.test_blackbox import keep


@pytest.fixture
def kept(tmp_path):
    return Kept(tmp_path / "state" / "records")


def test_all_that_is_still_there_is_counted(kept):
    assert kept.check() == "yes, 2 records"
    assert kept.later() == []


def test_records_that_come_later_are_fine_if_they_are_whole(kept):
    box = BlackBox(kept.folder, BlackBoxConfig(), SR)
    keep(box, 3)
    box.close(20.0)
    assert kept.later() == ["000003"]
    assert kept.check() == "yes, 2 records"
    picture = kept.folder / "000003" / "picture.png"
    picture.write_bytes(picture.read_bytes()[:-1])
    with pytest.raises(AssertionError):
        kept.check()


def test_pinned_ones_make_no_room_for_others(tmp_path):
    kept = Kept(tmp_path, pinned=True)
    box = BlackBox(tmp_path, BlackBoxConfig(max_records=3), SR)
    keep(box, 3, 4, 5)
    box.close(20.0)
    assert kept.later() == ["000005"]
    assert kept.check() == "yes, 2 records"


def flip(path):
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (lambda f: shutil.rmtree(f / "000001"), "lost: .*000001"),
        (lambda f: (f / "000002" / "sound.wav").unlink(), "lost: .*000002/sound.wav"),
        (shutil.rmtree, "lost: .*000001"),
        (lambda f: (f / "000001").rename(f / "000003"), "lost: .*000001"),
        (lambda f: flip(f / "000001" / "sound.wav"), "changed: .*000001/sound.wav"),
        (lambda f: (f / "000002" / "alert.json").write_bytes(b""), "changed: .*000002/alert.json"),
        (lambda f: (f / ".000003.part").mkdir(), "left over: .*000003.part"),
        (lambda f: (f / "..writable.0a1b2c3d").touch(), "left over: .*writable"),
        (lambda f: (f / "000001" / ".alert.json.0a1b2c3d").touch(), "left over: .*000001/.alert"),
        (lambda f: (f / "000003").mkdir(), "000003"),
    ],
)
def test_whatever_is_amiss_is_named(kept, harm, told):
    harm(kept.folder)
    with pytest.raises((AssertionError, FileNotFoundError), match=told):
        kept.check()
