import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from edge.errors import (
    AudioDeviceError,
    MissingPackageError,
    ModelError,
    RecordingError,
)

ROOT = Path(__file__).resolve().parents[1]
UNIT = ROOT / "systemd" / "knockknock-edge.service"


TIDY = (RecordingError, ModelError, AudioDeviceError, MissingPackageError)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder, copy = tmp_path_factory.mktemp("wheel"), tmp_path_factory.mktemp("copy")
    for name in ("edge", "convert", "models"):  # a build in place would leave, and find, old ones
        shutil.copytree(
            ROOT / name, copy / name, ignore=shutil.ignore_patterns("__pycache__", "*.pth")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--wheel-dir", folder, copy], check=True, capture_output=True)
    (path,) = folder.iterdir()
    return zipfile.ZipFile(path)


def test_the_wheel_holds_the_two_packages_the_model_and_nothing_else(wheel):
    with wheel:
        names = set(wheel.namelist())
        metadata = next(n for n in names if n.endswith("METADATA"))
        described = wheel.read(metadata).decode()
    modules = {
        str(p.relative_to(ROOT)) for d in ("edge", "convert") for p in (ROOT / d).rglob("*.py")
    }
    (model,) = {n for n in names if n.endswith(".tflite")}
    assert model.endswith(".data/data/share/knockknock/knock-int8.tflite")
    assert {n for n in names - {model} if ".dist-info/" not in n} == modules
    assert {n.rpartition("/")[2] for n in names - modules - {model}} == {
        "LICENSE",
        "METADATA",
        "WHEEL",
        "entry_points.txt",
        "top_level.txt",
        "RECORD",
    }
    assert "License-Expression: Apache-2.0" in described
    assert "Requires-Python: >=3.11" in described


def test_a_machine_that_the_converters_do_not_run_on_is_refused_first(tmp_path):
    uname = tmp_path / "bin" / "uname"
    uname.parent.mkdir()
    uname.write_text("#!/bin/sh\necho aarch64\n")
    uname.chmod(0o755)
    make = shutil.which("make")
    assert make is not None
    # Nothing else is on the path: a make that goes on can install nothing.
    done = subprocess.run(
        [make, f"VENV={tmp_path}/venv", "setup"],
        cwd=ROOT,
        env={"PATH": str(uname.parent)},
        capture_output=True,
        check=False,
        text=True,
    )
    assert "for aarch64: take an x86-64 machine" in done.stderr
    assert done.stdout == ""


def test_the_unit_is_right_and_shut_in():
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed")
    done = subprocess.run(
        ["systemd-analyze", "verify", str(UNIT)], capture_output=True, text=True, check=False
    )
    # The one thing it may miss here is the program, which install.sh puts there.
    said = [line for line in done.stderr.splitlines() if "is not executable" not in line]
    assert said == []
    subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=12", str(UNIT)],
        check=True,
        capture_output=True,
    )


def said_in_the_unit(key):
    lines = [line for line in UNIT.read_text().splitlines() if line.startswith(f"{key}=")]
    return [word for line in lines for word in line.partition("=")[2].split()]


def test_records_on_a_damaged_partition_keep_nobody_from_listening():
    """StateDirectory= and its like require the mount (systemd.exec(5), implicit dependencies)."""
    folder = "/var/lib/knockknock"
    text = UNIT.read_text()
    for key in ("StateDirectory", "CacheDirectory", "RequiresMountsFor", "BindsTo", "Requisite"):
        assert f"\n{key}=" not in text
    assert said_in_the_unit("Requires") == ["sysinit.target"]
    assert said_in_the_unit("WorkingDirectory") == ["/run/knockknock"]
    # But it waits for one that is there, finds it, and may write to it.
    assert "var-lib-knockknock.mount" in said_in_the_unit("After")
    assert f"STATE_DIRECTORY={folder}" in said_in_the_unit("Environment")
    assert said_in_the_unit("ReadWritePaths") == [f"-{folder}"]
    guide = (ROOT / "docs/raspberry-pi.md").read_text()
    assert f"{folder} ext4 nofail,noatime,x-systemd.device-timeout=5s 0 2" in guide
    assert "systemd-tmpfiles --create knockknock.conf" in guide
    assert "overlayroot=tmpfs:recurse=0" in guide  # else the overlay of the root covers it, too
    owned = (ROOT / "systemd/knockknock.tmpfiles").read_text()
    assert f"d {folder} 0750 knockknock knockknock -" in " ".join(owned.split())


def test_the_sound_devices_are_known_before_they_are_allowed():
    """systemd.resource-control(5): a group of devices that is unknown at the start is left out."""
    assert "DeviceAllow=char-alsa rw" in UNIT.read_text().splitlines()
    assert "modprobe@snd.service" in said_in_the_unit("Wants")
    assert "modprobe@snd.service" in said_in_the_unit("After")
    assert "modprobe@snd.service" not in said_in_the_unit("Requires")


def test_a_start_that_hangs_is_ended_and_says_where():
    """Until it is ready no watchdog counts; the service puts the end off while its loop turns."""
    assert said_in_the_unit("TimeoutStartSec") == ["60"]
    assert said_in_the_unit("TimeoutStartFailureMode") == ["abort"]


def test_a_stop_looks_like_no_microphone_that_was_lost():
    """control-group, the default, would end the capture process at the same moment."""
    assert said_in_the_unit("KillMode") == ["mixed"]


def test_no_lock_outlives_a_capture_process_that_was_killed():
    """JACK's library, which PortAudio asks, keeps one in /dev/shm where it can write there."""
    assert said_in_the_unit("TemporaryFileSystem") == ["/dev/shm:ro"]  # noqa: S108


def test_what_the_watchdog_aborts_leaves_no_core_on_the_card():
    assert said_in_the_unit("LimitCORE") == ["0"]


@pytest.mark.parametrize("name", ["systemd/edge.toml", "docs/raspberry-pi.md"])
def test_records_on_a_stick_that_is_not_there_keep_nobody_from_listening(name):
    """Without the - systemd makes no namespace (226), and not the brake's, either."""
    advised = re.findall(r"ReadWritePaths=(\S*)", (ROOT / name).read_text())
    assert advised
    assert all(path.startswith("-/") for path in advised)


def test_settings_are_checked_as_the_user_that_will_read_them():
    """What root may read the service may not. sudo finds what is linked into /usr/local/bin."""
    asked = "sudo -u knockknock edge run --check-config && sudo systemctl reload knockknock-edge"
    assert f"#   {asked}\n" in (ROOT / "systemd/edge.toml").read_text()
    assert "User=knockknock\n" in UNIT.read_text()
    installer = (ROOT / "systemd/install.sh").read_text()
    assert "link=/usr/local/bin/edge\n" in installer
    assert 'ln -sf "$prefix/venv/bin/edge" "$link"' in installer


@pytest.mark.parametrize(
    ("result", "status", "waits"),
    [
        ("exit-code", "1", True),  # a traceback of Python's, before main
        ("exit-code", "203", True),  # no such program
        ("exit-code", "2", True),  # of argparse's, which waits for nothing, and of settings
        ("core-dump", "SEGV", True),
        ("signal", "SEGV", True),  # where no core is dumped
        ("signal", "KILL", False),
        ("watchdog", "ABRT", False),
        ("timeout", "ABRT", False),  # of the start: it has taken a minute
        ("oom-kill", "KILL", False),
        ("success", "0", False),
        *(("exit-code", str(error.exit_code), False) for error in TIDY),
    ],
)
def test_only_after_a_crash_nobody_told_of_it_is_not_started_at_once(
    tmp_path, result, status, waits
):
    (line,) = [line for line in UNIT.read_text().splitlines() if line.startswith("ExecStopPost=")]
    command = shlex.split(line.partition("=")[2])
    assert command[:2] == ["/bin/sh", "-c"]
    assert "$" not in command[2].replace("$$", "")  # systemd would put something else there
    (tmp_path / "sleep").write_text(f"#!/bin/sh\necho $1 > {tmp_path}/slept\n")
    (tmp_path / "sleep").chmod(0o755)
    told = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SERVICE_RESULT": result, "EXIT_STATUS": status}
    subprocess.run([*command[:2], command[2].replace("$$", "$")], env=told, check=True)
    slept = tmp_path / "slept"
    assert slept.exists() == waits
    if waits:
        (most,) = said_in_the_unit("TimeoutStopSec")
        assert 2 <= int(slept.read_text()) < int(most)


def test_the_installer_says_what_it_would_do_and_does_nothing():
    script = ROOT / "systemd" / "install.sh"
    places = [Path("/opt/knockknock"), Path("/etc/knockknock"), Path("/var/lib/knockknock")]
    before = [place.stat().st_mtime_ns if place.exists() else None for place in places]
    done = subprocess.run(
        ["sh", str(script), "--dry-run"], capture_output=True, text=True, check=True
    )
    planned = done.stdout.splitlines()
    assert any("systemctl enable" in line for line in planned)
    assert all(line.startswith("would:") for line in planned[:-1])
    assert planned[-1] == "Nothing was done."
    after = [place.stat().st_mtime_ns if place.exists() else None for place in places]
    assert after == before
    removed = subprocess.run(
        ["sh", str(script), "--dry-run", "--uninstall"], capture_output=True, text=True, check=True
    )
    assert "records (/var/lib/knockknock) stay" in removed.stdout
    wrong = subprocess.run(
        ["sh", str(script), "--nonsense"], capture_output=True, text=True, check=False
    )
    assert wrong.returncode == 2
