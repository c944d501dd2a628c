"""A separate Debian under real systemd, with the listener installed as its users would."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.wait import wait_for

ROOT = Path(__file__).resolve().parents[2]
MIRROR = "http://deb.debian.org/debian"
SUITE = os.environ.get("KNOCK_SUITE", "bookworm")
PYTHON = os.environ.get("KNOCK_PYTHON", sys.executable)  # of the suite's version: builds the wheels
PACKAGES = (
    "systemd,systemd-sysv,dbus,udev,python3,python3-venv,libportaudio2,libasound2-plugins,"
    "procps,adduser,python3-numpy"  # numpy, as on a desktop image, is not for us
)
NEEDED = ("debootstrap", "systemd-nspawn", "nsenter")
UNIT = "knockknock-edge.service"
COPIED = ("pyproject.toml", "README.md", "LICENSE", "edge", "convert", "systemd", "models")


def missing():
    """What this machine lacks for it, separated by commas, or ""."""
    lacking = [name for name in (*NEEDED, PYTHON) if shutil.which(name) is None]
    return ", ".join([*lacking, *(["root"] if os.geteuid() != 0 else [])])


class Bay:
    """A machine in a folder: a copy of a base that is built once and kept in ``cache``."""

    def __init__(self, folder: Path, cache: Path, sound: Path):
        self.root = folder / "root"
        self.sound = sound  # folder with the sound server's socket
        self._machine: subprocess.Popen[bytes] | None = None
        base = cache / SUITE
        complete = base / ".complete"
        if not complete.exists() or complete.read_text() != PACKAGES:
            shutil.rmtree(base, ignore_errors=True)
            command = ["debootstrap", "--variant=minbase", f"--include={PACKAGES}", SUITE]
            subprocess.run([*command, str(base), MIRROR], check=True, stdout=subprocess.DEVNULL)
            for mounted in ("proc", "sys"):  # debootstrap leaves them mounted
                subprocess.run(["umount", "-q", str(base / mounted)], check=False)
            complete.write_text(PACKAGES)
        subprocess.run(["cp", "-a", "--one-file-system", str(base), str(self.root)], check=True)
        self._put_in_the_project()

    def _put_in_the_project(self):
        target = self.root / "srv/knockknock"
        target.mkdir(parents=True)
        for name in COPIED:
            source = ROOT / name
            ignored = shutil.ignore_patterns("*.pth", "__pycache__")
            if source.is_dir():
                shutil.copytree(source, target / name, ignore=ignored)
            else:
                shutil.copy(source, target)
        wheels = self.root / "srv/wheels"
        command = [PYTHON, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check"]
        if SUITE == "bookworm":  # the versions that install.sh pins, there only
            command += ["-c", str(ROOT / "constraints.txt")]
        subprocess.run([*command, "--wheel-dir", str(wheels), f"{target}[pi]"], check=True)
        (self.root / "srv/sound").mkdir()
        # System-wide, as a card would be: the unit's environment stays as shipped.
        (self.root / "etc/asound.conf").write_text(
            'pcm.knockmic { type pulse server "unix:/srv/sound/socket" device "pmic" '
            'hint { show on description "knockmic" } }\n'
        )

    def chroot(self, *command):
        """Run ``command`` in the machine while it is off; return its output."""
        nspawn = ["systemd-nspawn", "-q", "-D", str(self.root), "--register=no", "--keep-unit"]
        return _run([*nspawn, "--private-network", "--pipe", *command])

    def boot(self):
        """Boot the machine and wait until systemd answers."""
        command = ["systemd-nspawn", "-q", "-D", str(self.root), "--register=no", "--keep-unit"]
        command += ["--private-network", "-b", "--console=pipe", f"--bind={self.sound}:/srv/sound"]
        self._machine = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while self._leader() is None or not self.state("multi-user.target")["ActiveState"]:
            assert time.monotonic() < deadline, "it does not boot"
            time.sleep(0.1)

    def _leader(self):
        assert self._machine is not None
        path = Path(f"/proc/{self._machine.pid}/task/{self._machine.pid}/children")
        with contextlib.suppress(FileNotFoundError):
            for child in path.read_text().split():
                if Path(f"/proc/{child}/comm").read_text().strip() == "systemd":
                    return int(child)
        return None

    def run(self, *command):
        """Run ``command`` in the running machine; return its output."""
        return _run(["nsenter", "-t", str(self._leader()), "-a", *command])

    def state(self, unit=UNIT):
        """Properties of the unit as systemd reports them."""
        wanted = "ActiveState,SubState,StatusText,MainPID,NRestarts,Result"
        try:
            said = self.run("systemctl", "show", "-p", wanted, unit)
        except AssertionError:  # systemd is not up yet
            return {"ActiveState": ""}
        return dict(line.split("=", 1) for line in said.splitlines() if "=" in line)

    def wait(self, state, seconds, *, other_than="0"):
        """Seconds until the unit is in ``state`` with another main process than ``other_than``."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            now = self.state()
            if now["ActiveState"] == state and now["MainPID"] != other_than:
                return time.monotonic() - began
            time.sleep(0.05)
        raise AssertionError(f"not {state} within {seconds} s: {self.state()}\n{self.journal()}")

    def journal(self):
        """The last 40 lines of the unit's journal."""
        return self.run("journalctl", "-u", UNIT, "-n", "40", "--no-pager")

    def send(self, number: signal.Signals):
        """Send a signal to the listener's main process; return its PID."""
        pid = self.state()["MainPID"]
        self.run("kill", f"-{number.value}", pid)
        return pid

    def off(self):
        """Cut the power, and wait until nothing in the machine can write any more."""
        if self._machine is not None:
            leader = self._leader()
            self._machine.kill()
            self._machine.wait()
            self._machine = None
            if leader is not None:  # outlives nspawn; every process in the machine dies with it
                os.kill(leader, signal.SIGKILL)
                wait_for(lambda: not _runs(leader))


def _runs(pid):
    """Whether the process exists and is not a zombie."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    return False


def _run(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr
