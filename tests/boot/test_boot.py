"""The service under real systemd, in order: installed, booted, broken, upgraded, removed.

``make test-boot``, as root: builds a small Debian (200 MB, a minute) and boots it with nspawn:
Bookworm, or with ``KNOCK_SUITE=trixie KNOCK_PYTHON=python3.13`` in the environment Trixie.
"""

import os
import shutil
import signal
import tempfile
import time
from pathlib import Path

import pytest

from edge.microphone import BACK_OFF_S, OPEN_TIMEOUT_S
from tests.boot.bay import ROOT, UNIT, Bay, missing
from tests.hil.program import engine
from tests.hil.virtual_microphone import VirtualMicrophone
from tests.hil.virtual_microphone import missing as no_sound

pytestmark = pytest.mark.boot
BACK_S = 3.0  # a listener that died must be back by then
STOP_S = 2.0
WATCHDOG_S, KILLING_S, EXTEND_START_S = 30.0, 4.0, 60.0  # as in the unit
SETTINGS = "etc/knockknock/edge.toml"


@pytest.fixture(scope="module")
def sound():
    """A sound server whose socket the service's own user may open."""
    lacking = missing() or no_sound()
    if lacking:
        pytest.skip(f"needs {lacking}: make test-boot")
    folder = Path(tempfile.mkdtemp(prefix="knock-sound-"))
    folder.chmod(0o755)
    rig = VirtualMicrophone(folder)
    yield rig
    rig.close()
    shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def no_thread_left():
    """Nothing: the microphone, which all tests here share, plays on from one to the next."""


@pytest.fixture(scope="module")
def bay(sound):
    """Installed, not booted; not in tmp_path, because it needs a disk that allows device files."""
    folder = Path(tempfile.mkdtemp(prefix="knock-bay-", dir="/var/tmp"))
    bay = Bay(folder, Path(os.environ.get("KNOCK_BAY_CACHE", ROOT / "build/bay")), sound.folder)
    said = bay.chroot("sh", "/srv/knockknock/systemd/install.sh", "--wheels", "/srv/wheels")
    assert "It starts at the next boot" in said
    settings = bay.root / SETTINGS
    settings.write_text(settings.read_text().replace('device = ""', 'device = "knockmic"', 1))
    yield bay
    bay.off()
    shutil.rmtree(folder)


def test_it_starts_at_boot_and_is_ready_only_when_sound_flows(bay, sound, capsys):
    sound.start_server()
    bay.boot()
    time.sleep(10)  # long enough to report READY by mistake
    state = bay.state()
    assert state["ActiveState"] == "activating", state
    assert state["MainPID"] != "0"
    # Waiting for a microphone must not hold up the boot.
    deadline = time.monotonic() + 60
    while bay.state("multi-user.target")["ActiveState"] != "active":
        assert time.monotonic() < deadline, "multi-user.target waits for it"
        time.sleep(0.5)
    sound.play(engine())
    taken = bay.wait("active", 20)
    with capsys.disabled():
        print(f"\nfrom the first sample to READY: {taken:.2f} s")


def test_systemd_finds_nothing_wrong_with_the_unit(bay):
    assert bay.run("systemd-analyze", "verify", f"/etc/systemd/system/{UNIT}") == ""


def test_it_has_a_numpy_of_its_own_though_debian_has_one(bay):
    where = "import numpy; print(numpy.__file__)"
    assert bay.run("python3", "-c", where).startswith("/usr/lib")
    python = "/opt/knockknock/venv/bin/python"
    assert bay.run(python, "-c", where).startswith("/opt/knockknock/venv/")


def test_it_leaves_no_lock_that_could_outlive_it(bay):
    """PortAudio loads JACK's library, which makes a database in /dev/shm wherever it may."""

    def locks():
        there = bay.run("ls", "/dev/shm")  # noqa: S108 - the kernel's own
        return {name for name in there.split() if "jack_db" in name}

    assert locks() == set()
    bay.run("/opt/knockknock/venv/bin/python", "-c", "import pyaudio; pyaudio.PyAudio()")
    assert locks() == {"jack_db-0"}  # so the check above would have seen it


def test_killed_it_is_back_within_three_seconds(bay, capsys):
    taken = []
    for _ in range(5):
        before = bay.send(signal.SIGKILL)
        taken.append(bay.wait("active", 15, other_than=before))
    with capsys.disabled():
        print("\nkilled -> READY again:", ", ".join(f"{t:.2f} s" for t in taken))
    assert max(taken) < BACK_S


def test_hung_the_watchdog_brings_it_back(bay, capsys):
    before = bay.send(signal.SIGSTOP)
    taken = bay.wait("active", WATCHDOG_S + KILLING_S + BACK_S, other_than=before)
    with capsys.disabled():
        print(f"\nhung -> READY again: {taken:.2f} s")
    assert "watchdog" in bay.journal().lower()


def test_it_stops_in_time_and_with_a_good_name(bay, capsys):
    since = bay.run("date", "+%F %T").strip()
    began = time.monotonic()
    bay.run("systemctl", "stop", UNIT)
    taken = time.monotonic() - began
    with capsys.disabled():
        print(f"\nstop: {taken:.2f} s")
    assert taken < STOP_S
    assert bay.state()["Result"] == "success"
    assert "capture process has died" not in bay.run("journalctl", "-u", UNIT, "--since", since)
    bay.run("systemctl", "start", UNIT)
    bay.wait("active", 20)


def test_a_start_without_a_microphone_is_none_that_hangs(bay, sound):
    sound.pause()
    bay.run("systemctl", "restart", "--no-block", UNIT)
    time.sleep(EXTEND_START_S + 10)
    state = bay.state()
    assert state["ActiveState"] == "activating", bay.journal()
    assert state["NRestarts"] == "0", bay.journal()
    sound.play(engine())
    # The longest pause between two attempts, one failed attempt, and a start as at boot.
    bay.wait("active", BACK_OFF_S[-1] + OPEN_TIMEOUT_S + 20)


def test_an_upgrade_keeps_settings_and_records(bay):
    settings = bay.root / SETTINGS
    settings.write_text(settings.read_text() + "# mine\n")
    (bay.root / "var/lib/knockknock/mine").touch()
    before = bay.state()["MainPID"]
    said = bay.run("sh", "/srv/knockknock/systemd/install.sh", "--wheels", "/srv/wheels")
    assert "Installed and started" in said
    bay.wait("active", 20, other_than=before)
    assert settings.read_text().endswith("# mine\n")
    assert (bay.root / "var/lib/knockknock/mine").exists()


def test_removed_it_leaves_settings_and_records_or_nothing(bay):
    installer = ("sh", "/srv/knockknock/systemd/install.sh", "--uninstall")
    bay.run(*installer)
    assert bay.state()["ActiveState"] == "inactive"
    assert not left(bay) - {"etc/knockknock", "var/lib/knockknock"}
    assert (bay.root / SETTINGS).exists()
    bay.run(*installer, "--purge")
    assert not left(bay)
    assert "knockknock" not in (bay.root / "etc/passwd").read_text()


def left(bay):
    """Which of our paths exist; runtime folders are not on the disk."""
    places = (
        "opt etc etc/systemd/system etc/systemd/system/multi-user.target.wants etc/udev/rules.d "
        "etc/sysusers.d etc/tmpfiles.d usr/local/bin usr/local/share var/lib"
    )
    found = set()
    for place in places.split():
        for path in (bay.root / place).iterdir() if (bay.root / place).is_dir() else ():
            if "knock" in path.name or path.name == "edge":
                found.add(f"{place}/{path.name}")
    return found
