"""What a write that was killed leaves behind, and who removes it."""

import errno
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge.files import remove_leftovers, remove_leftovers_of, write_atomically

KILLED = """
import os, signal, sys
from pathlib import Path
from edge import files
files.os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
files.write_atomically(Path(sys.argv[1]), b"half")
"""


def killed_while_writing(path):
    process = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert process.returncode == -9


def test_what_a_killed_write_left_is_removed_by_its_name(tmp_path):
    for name in ("state.pt", "0-1.npz", "real-a.npz"):
        killed_while_writing(tmp_path / name)
    others = {".state.pt.backup", ".state.pt", "state.pt.0123abcd", ".0123abcd"}
    for name in others:
        (tmp_path / name).touch()
    (tmp_path / ".state.pt.0123abcd").mkdir()  # nobody's
    assert len(list(tmp_path.iterdir())) == 8
    remove_leftovers(tmp_path, "state.pt", "real-*.npz")
    left = {path.name for path in tmp_path.iterdir()} - others - {".state.pt.0123abcd"}
    assert [name[:-8] for name in left] == [".0-1.npz."]
    remove_leftovers(tmp_path, "*.npz")
    assert {path.name for path in tmp_path.iterdir()} == others | {".state.pt.0123abcd"}
    remove_leftovers(tmp_path / "none", "*")


def test_what_another_process_may_be_writing_is_left_to_it(tmp_path):
    killed_while_writing(tmp_path / "a.npz")
    killed_while_writing(tmp_path / "b.npz")
    (old,) = tmp_path.glob(".a.npz.*")
    os.utime(old, (0, 0))
    remove_leftovers(tmp_path, "*.npz", older_s=600)
    assert [path.name[:-9] for path in tmp_path.iterdir()] == [".b.npz"]


def test_a_folder_that_cannot_be_waited_for_is_no_fault(tmp_path, monkeypatch):
    """As on some network file systems."""
    wrong = errno.EINVAL

    def fsync(handle):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(wrong, "no")

    monkeypatch.setattr(os, "fsync", fsync)
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    wrong = errno.EIO
    with pytest.raises(OSError, match="no"):
        write_atomically(tmp_path / "b", b"new")


def test_leftovers_are_removed_where_a_link_leads_and_a_ring_of_links_is_no_error(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "a[1]").symlink_to(tmp_path / "there" / "b[1]")
    kept, gone = (tmp_path / "there" / f".{name}.0123abcd" for name in ("b1", "b[1]"))
    kept.touch()
    gone.touch()
    remove_leftovers_of(tmp_path / "a[1]")
    assert (kept.exists(), gone.exists()) == (True, False)
    (tmp_path / "ring").symlink_to("ring")
    remove_leftovers_of(tmp_path / "ring")


def test_a_full_disk_is_named_by_the_file(tmp_path, monkeypatch):
    full_device = tmp_path / "full"
    try:  # a copy, because root might replace the real one if a device was not recognised
        os.mknod(full_device, stat.S_IFCHR | 0o666, Path("/dev/full").stat().st_rdev)
        full_device.open("wb").close()
    except OSError:  # no root, or a file system without devices
        full_device = Path("/dev/full")
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(full_device, b"new")
    assert caught.value.filename == str(full_device)

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "a", b"new")
    assert caught.value.filename == str(tmp_path / "a")


def test_links_in_a_ring_are_replaced_and_no_traceback(tmp_path):
    """Path.resolve() raises RuntimeError at one, on Python 3.11 and 3.12."""
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_write_that_fails_leaves_nothing_and_the_old_file(tmp_path, monkeypatch):
    (tmp_path / "a").write_bytes(b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "a", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_bytes() == b"old"


def test_a_link_is_kept_and_its_target_replaced(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "b").write_bytes(b"old")
    (tmp_path / "a").symlink_to(tmp_path / "there" / "b")
    write_atomically(tmp_path / "a", b"new")
    assert (tmp_path / "a").is_symlink()
    assert (tmp_path / "there" / "b").read_bytes() == b"new"


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_what_is_written_is_up_to_the_umask(tmp_path, mask, mode):
    """A model that only its maker can read is none for the service, which is another user."""
    before = os.umask(mask)
    try:
        write_atomically(tmp_path / "a", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_all_of_a_file_is_handed_over_before_the_disk_is_waited_for(tmp_path, monkeypatch):
    """What is still in Python's buffer then is lost by a power cut, and the file is empty."""
    sizes = []
    monkeypatch.setattr(os, "fsync", lambda handle: sizes.append(os.fstat(handle).st_size))
    write_atomically(tmp_path / "a", b"short")
    assert sizes[0] == len(b"short")


def test_writing_uses_up_no_descriptors(tmp_path):
    descriptors = Path("/proc/self/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(10):
        write_atomically(tmp_path / "a", b"new")
    assert len(list(descriptors.iterdir())) <= before
