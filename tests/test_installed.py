"""Whether records outlive a power cut, by what the kernel says of its mounts."""

from pathlib import Path

import pytest

from edge.installed import volatile_warning

# A Pi with a read-only root: raspi-config's overlay, with a partition for records and a stick. The
# kernel promises no order but that of mounts at one place.
MOUNTS = """\
34 26 8:1 / /media/a\\040stick rw shared:8 master:3 - ext4 /dev/sda1 rw
21 26 0:20 / /proc rw,relatime shared:11 - proc proc rw
26 1 0:24 / / rw,relatime shared:1 - overlay overlayroot rw,lowerdir=/media/root-ro
27 26 179:2 / /media/root-ro ro,relatime shared:2 - ext4 /dev/mmcblk0p2 ro
30 26 179:1 / /boot/firmware rw,relatime shared:4 - vfat /dev/mmcblk0p1 rw
31 26 0:30 / /tmp rw,nosuid shared:5 - tmpfs tmpfs rw
32 26 0:31 / /var/lib/knockknock rw shared:6 - autofs systemd-1 rw
33 32 179:3 / /var/lib/knockknock rw,noatime shared:7 - {kind} /dev/mmcblk0p3 rw
"""


@pytest.mark.parametrize(
    ("folder", "kind", "memory"),
    [
        ("/var/lib/knockknock/records", "ext4", ""),
        ("/var/lib/knockknock", "ext4", ""),
        ("/var/lib/knockknock/records", "overlay", "overlay"),  # recurse=1
        ("/var/lib/knockknocks", "ext4", "overlay"),  # another folder, of the root
        ("/nowhere/yet", "ext4", "overlay"),
        ("/tmp/records", "ext4", "tmpfs"),  # noqa: S108 - a name
        ("/media/a stick/records", "ext4", ""),
    ],
)
def test_records_on_an_overlay_or_in_memory_are_lost(tmp_path, folder, kind, memory):
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(kind=kind))
    told = volatile_warning(Path(folder), mounts)
    assert told == (
        f"{folder} is in memory ({memory}): records are lost at the next power cut"
        if memory
        else ""
    )


def test_where_the_kernel_says_nothing_nothing_is_claimed(tmp_path):
    assert volatile_warning(tmp_path, tmp_path / "none") == ""


def test_links_in_a_ring_are_no_traceback(tmp_path):
    (tmp_path / "ring").symlink_to(tmp_path / "ring")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS.format(kind="ext4"))
    assert "is in memory" in volatile_warning(tmp_path / "ring", mounts)


def test_memory_is_memory_here_too():
    assert "tmpfs" in volatile_warning(Path("/dev/shm"))  # noqa: S108 - the kernel's own
    assert volatile_warning(Path("/proc")) == ""
