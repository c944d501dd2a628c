"""``edge doctor`` on the folder of the records: space, and who may write there."""

import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from edge.config import Config
from edge.doctor import _space

ROOT = Path(__file__).resolve().parents[1]


def test_a_folder_closed_to_whoever_asks_ends_no_report(tmp_path, monkeypatch):
    closed = tmp_path / "closed" / "records"
    exists = Path.exists

    def refused(path):
        if path == closed:
            raise PermissionError(13, "Permission denied")
        return exists(path)

    monkeypatch.setattr(Path, "exists", refused)
    text = f'[blackbox]\ndirectory = "{closed}"\n'
    assert str(tmp_path) in _space(Config.from_toml(text, "my.toml")).detail


def test_the_space_is_that_where_the_records_go(tmp_path, monkeypatch):
    monkeypatch.delenv("STATE_DIRECTORY", raising=False)
    monkeypatch.setattr("edge.doctor.STATE_DIRECTORY", tmp_path)
    monkeypatch.setattr("edge.doctor.volatile_warning", lambda _: "")  # whatever disk it runs on
    assert str(tmp_path) in _space(Config()).detail
    own = tmp_path / "own"
    own.mkdir()
    text = f'[blackbox]\ndirectory = "{own}"\n'
    assert _space(Config.from_toml(text, "my.toml")).detail.endswith(str(own))


def test_a_folder_full_or_closed_is_a_warning(tmp_path, monkeypatch):
    config = Config.from_toml(f'[blackbox]\ndirectory = "{tmp_path}"\n', "my.toml")
    monkeypatch.setattr("edge.doctor.volatile_warning", lambda _: "")  # whatever disk it runs on
    free = [10**9]
    monkeypatch.setattr(
        "edge.doctor.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**10, 0, free[0])
    )
    assert _space(config).level == "ok"
    free[0] = 10**8
    assert _space(config).level == "warn"
    free[0] = 10**9
    monkeypatch.setattr("edge.doctor.os.access", lambda *_: False)
    assert _space(config).level == "warn"


def test_a_folder_of_the_services_own_is_closed_to_others_and_well(tmp_path, monkeypatch):
    """Such as a USB stick given to the service, when another user runs the doctor."""
    config = Config.from_toml(f'[blackbox]\ndirectory = "{tmp_path}"\n', "my.toml")
    monkeypatch.setattr("edge.doctor.volatile_warning", lambda _: "")
    monkeypatch.setattr("edge.doctor.os.access", lambda *_: False)
    monkeypatch.setattr("edge.doctor.ACCOUNT", "nobody-of-that-name")
    finding = _space(config)
    assert finding.level == "warn"
    assert finding.remedy.endswith("name another folder in blackbox.directory")
    monkeypatch.setattr("edge.doctor.ACCOUNT", pwd.getpwuid(os.getuid()).pw_name)
    assert _space(config).level == "ok"


def test_what_root_may_write_is_not_what_the_service_may(tmp_path, monkeypatch):
    config = Config.from_toml(f'[blackbox]\ndirectory = "{tmp_path}"\n', "my.toml")
    monkeypatch.setattr("edge.doctor.volatile_warning", lambda _: "")
    monkeypatch.setattr("edge.doctor.os.geteuid", lambda: 0)
    monkeypatch.setattr("edge.doctor.os.access", lambda *_: True)
    monkeypatch.setattr("edge.doctor.ACCOUNT", "nobody-of-that-name")
    assert _space(config).level == "ok"  # a workstation: no such account, root writes
    monkeypatch.chdir(tmp_path)
    assert _space(Config()).detail.endswith(f"at {tmp_path}")
    owner = tmp_path.stat().st_uid
    other = next(account for account in pwd.getpwall() if account.pw_uid != owner)
    monkeypatch.setattr("edge.doctor.ACCOUNT", other.pw_name)
    finding = _space(config)
    assert (finding.level, finding.detail) == ("warn", f"{tmp_path} is not writable by the service")
    assert "chown" in finding.remedy
    monkeypatch.setattr("edge.doctor.os.geteuid", lambda: 1000)
    assert _space(config).level == "ok"
    monkeypatch.setattr("edge.doctor.os.geteuid", lambda: 0)
    monkeypatch.setattr("edge.doctor.ACCOUNT", pwd.getpwuid(owner).pw_name)
    assert _space(config).level == "ok"
    monkeypatch.setattr("edge.doctor.ACCOUNT", other.pw_name)
    monkeypatch.setattr("edge.doctor.STATE_DIRECTORY", tmp_path)
    assert _space(Config()).detail == f"{tmp_path} is not writable by the service"
    monkeypatch.setattr("edge.doctor.ACCOUNT", pwd.getpwuid(owner).pw_name)
    assert _space(Config()).level == "ok"
    (tmp_path / "records").mkdir()
    assert _space(Config()).detail.endswith(f"at {tmp_path}/records")
    monkeypatch.setattr("edge.doctor.os.statvfs", lambda _: SimpleNamespace(f_flag=os.ST_RDONLY))
    monkeypatch.setattr("edge.doctor.shutil.disk_usage", lambda _: SimpleNamespace(free=1e9))
    assert _space(Config()).detail == f"{tmp_path}/records is not writable by the service"


@pytest.mark.parametrize(
    ("mode", "read_only", "grouped", "level"),
    [
        (0o707, False, False, "ok"),  # a USB stick mounted with umask=000
        (0o702, False, False, "warn"),  # no file can be made in a folder that cannot be entered
        (0o730, False, True, "ok"),
        (0o730, False, False, "warn"),
        (0o707, True, False, "warn"),  # as the kernel remounts a stick after an error
    ],
)
def test_root_is_told_what_is_open_to_the_service(mode, read_only, grouped, level, monkeypatch):
    monkeypatch.setattr("edge.doctor.volatile_warning", lambda _: "")
    monkeypatch.setattr("edge.doctor.os.geteuid", lambda: 0)
    flags = os.ST_RDONLY if read_only else 0
    there = SimpleNamespace(f_flag=flags, f_frsize=1, f_blocks=1e9, f_bfree=1e9, f_bavail=1e9)
    monkeypatch.setattr("edge.doctor.os.statvfs", lambda _: there)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder)
        other = next(a for a in pwd.getpwall() if a.pw_uid not in (0, path.stat().st_uid))
        monkeypatch.setattr("edge.doctor.ACCOUNT", other.pw_name)
        group = path.stat().st_gid if grouped else path.stat().st_gid + 1
        monkeypatch.setattr("edge.doctor.os.getgrouplist", lambda *_: [group])
        config = Config.from_toml(f'[blackbox]\ndirectory = "{path}"\n', "my.toml")
        path.chmod(mode)
        assert _space(config).level == level
        path.chmod(0o700)
        inner = path / "inner"
        inner.mkdir()
        inner.chmod(0o777)
        config = Config.from_toml(f'[blackbox]\ndirectory = "{inner}"\n', "my.toml")
        assert _space(config).level == "warn"  # its parent folder is closed


GONE = """
import os
from edge.config import Config
from edge.doctor import _space
from edge.installed import volatile_warning, records_folder
os.rmdir(os.getcwd())
print(_space(Config()).check)
print([volatile_warning(records_folder(Config(), None))])
"""


def test_a_working_folder_that_is_deleted_ends_no_report(tmp_path):
    (tmp_path / "gone").mkdir()
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("STATE_DIRECTORY", None)
    done = subprocess.run(
        [sys.executable, "-c", GONE],
        cwd=tmp_path / "gone",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("space\n['']\n", "")


def test_records_in_memory_are_a_warning(tmp_path, monkeypatch):
    config = Config.from_toml(f'[blackbox]\ndirectory = "{tmp_path}"\n', "my.toml")
    monkeypatch.setattr("edge.doctor.volatile_warning", lambda folder: f"{folder}: in memory")
    finding = _space(config)
    assert (finding.level, finding.detail) == ("warn", f"{tmp_path}: in memory")
    assert "overlayroot=tmpfs:recurse=0" in finding.remedy


def test_a_working_directory_that_is_closed_is_named(monkeypatch):
    """The parent of "." is itself."""
    monkeypatch.setattr("edge.doctor._is_visible", lambda _: False)
    finding = _space(Config())
    assert finding.level == "warn"
    assert finding.detail == "access to the working directory is denied"
