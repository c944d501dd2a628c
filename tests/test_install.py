"""``install.sh`` with every place in a folder of the test, and programs that only note."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NOTED = (
    *("systemctl", "udevadm", "systemd-sysusers", "systemd-tmpfiles", "apt-get", "sync", "userdel"),
)


def program(path, text="exit 0"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def board(tmp_path):
    """One with an older version on it, and settings of its owner."""
    shutil.copytree(ROOT / "systemd", tmp_path / "systemd")
    script = tmp_path / "systemd/install.sh"
    text = script.read_text()
    for place in ("/opt/", "/etc/", "/usr/local/", "/run/", "/var/lib/"):
        text = text.replace(place, f"{tmp_path}{place}")
    script.write_text(text)
    for folder in ("etc/systemd/system", "etc/udev/rules.d", "etc/knockknock", "usr/local/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    (tmp_path / "wheels").mkdir()
    (tmp_path / "etc/systemd/system/knockknock-edge.service").write_text("old")
    (tmp_path / "etc/knockknock/edge.toml").write_text("# mine")
    program(tmp_path / "opt/knockknock/venv/bin/python")
    for name in NOTED:
        program(tmp_path / f"bin/{name}", f'echo "{name} $*" >> {tmp_path}/noted')
    program(tmp_path / "bin/id", "echo 0")
    program(tmp_path / "bin/dpkg")
    # As somebody else would need root and a user: what is run only knows as whom.
    program(tmp_path / "bin/runuser", '[ "$1 $3" = "-u --" ] && AS=$2 && export AS\nshift 3; "$@"')
    (tmp_path / "noted").touch()
    return tmp_path


def install(board, *options):
    return subprocess.run(
        ["sh", str(board / "systemd/install.sh"), *options],
        env={"PATH": f"{board}/bin{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )


def upgrade(board, check):
    program(board / "opt/knockknock/venv/bin/edge", check)
    return install(board, "--wheels", str(board / "wheels"))


def test_settings_that_the_new_version_refuses_leave_the_service_as_it_was(board):
    done = upgrade(board, "echo 'edge.toml: unknown key gate.hum' >&2; exit 2")
    assert done.returncode != 0
    assert "unknown key gate.hum" in done.stderr
    assert f"edit {board}/etc/knockknock/edge.toml" in done.stderr
    assert "runs as before" in done.stderr
    assert (board / "etc/systemd/system/knockknock-edge.service").read_text() == "old"
    assert "systemctl" not in (board / "noted").read_text()


@pytest.mark.parametrize(("code", "settings"), [(1, True), (4, True), (6, True), (2, False)])
def test_what_does_not_run_at_all_is_no_fault_of_the_settings(board, code, settings):
    """A library or a runtime that is missing, a damaged model; or settings not there yet."""
    if not settings:
        (board / "etc/knockknock/edge.toml").unlink()
    done = upgrade(board, f"exit {code}")
    assert done.returncode != 0
    assert "does not run here" in done.stderr
    assert f"sudo rm -rf {board}/opt/knockknock" in done.stderr
    assert "edge.toml" not in done.stderr


def test_an_upgrade_loads_the_new_unit_and_starts_it(board):
    done = upgrade(board, f'echo "$AS: edge $*" >> {board}/noted')
    assert done.returncode == 0, done.stderr
    unit = ROOT / "systemd/knockknock-edge.service"
    assert (board / "etc/systemd/system/knockknock-edge.service").read_text() == unit.read_text()
    assert (board / "etc/knockknock/edge.toml").read_text() == "# mine"
    noted = [line for line in (board / "noted").read_text().splitlines() if "udevadm" not in line]
    assert noted == [
        "sync ",
        "systemd-sysusers ",
        "systemd-tmpfiles --create knockknock.conf",
        "knockknock: edge run --check-config",
        "systemctl daemon-reload",
        "systemctl enable knockknock-edge.service",
        "systemctl restart --no-block knockknock-edge.service",
        "sync ",
    ]


def test_what_it_calls_installed_is_on_the_disk(board):
    """The ignition may be switched off as soon as it says so."""
    program(board / "bin/sync", f'test -e {board}/usr/local/bin/edge && echo "it is on the disk"')
    done = upgrade(board, "exit 0")
    assert done.returncode == 0, done.stderr
    said = done.stdout.splitlines()
    assert said[-1].startswith("Installed")
    assert said[-2] == "it is on the disk"


AS_THE_SERVICE = (
    "[ -z \"$AS\" ] || { echo 'edge.toml cannot be read: Permission denied' >&2; exit 2; }"
)


def test_settings_that_root_alone_may_read_are_refused(board):
    """The service would fail at each start on what root had found to be right."""
    settings = board / "etc/knockknock/edge.toml"
    says = f"echo '{settings} (root:root, mode 600) '"
    program(board / "bin/find", f'[ "$AS" = knockknock ] && [ "$1" = {settings.parent} ] && {says}')
    done = upgrade(board, AS_THE_SERVICE)
    assert done.returncode != 0
    assert f"{settings} (root:root, mode 600);" in done.stderr
    assert f"sudo chmod a+r {settings.parent}/*" in done.stderr
    assert (board / "etc/systemd/system/knockknock-edge.service").read_text() == "old"
    assert "systemctl" not in (board / "noted").read_text()


def test_a_model_that_root_alone_may_read_is_refused(board):
    program(board / "bin/find")  # nothing in the settings' own folder
    done = upgrade(board, AS_THE_SERVICE)
    assert done.returncode != 0
    assert "open the file to it" in done.stderr
    assert "edit" not in done.stderr
    assert (board / "etc/systemd/system/knockknock-edge.service").read_text() == "old"


def test_closed_files_are_looked_for_in_words_that_find_knows(board):
    """To whoever owns the folder, or root, nothing in it is closed."""
    done = upgrade(board, AS_THE_SERVICE)
    assert "find:" not in done.stderr
    assert "open the file to it" in done.stderr


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ('model = "/home/pi/mine.tflite"', True),
        ('model = "/tmp/mine.tflite"', True),
        ("listen.model = '/var/tmp/mine.tflite'", True),
        ('model = "/etc/knockknock/tmp/mine.tflite"', False),
        (f"listen.model='{Path('/', 'root', 'mine.tflite')}'", True),
        ('  model = "/run/user/1000/mine.tflite"', True),
        ('model = "/etc/knockknock/home/mine.tflite"', False),
        ('# model = "/home/pi/mine.tflite"', False),
        ('directory = "/home/pi/records"', True),
        ('blackbox.directory = "/media/stick"', False),
        ('status_file = "/tmp/status.json"', True),
    ],
)
def test_a_place_that_the_service_does_not_see_is_refused(board, line, refused):
    """The check may see it, where its folder is open to all; the service, by ProtectHome=, not."""
    settings = board / "etc/knockknock/edge.toml"
    settings.write_text(f"{line}\n")
    done = upgrade(board, "exit 0")
    assert (done.returncode != 0) == refused
    assert (f"change the paths there in {settings}" in done.stderr) == refused
    loaded = (board / "etc/systemd/system/knockknock-edge.service").read_text()
    assert (loaded == "old") == refused


def test_another_program_of_the_same_name_stays(board):
    program(board / "usr/local/bin/edge", "echo mine")
    done = upgrade(board, "exit 0")
    assert done.returncode == 1
    assert f"{board}/usr/local/bin/edge is another program" in done.stderr
    assert (board / "noted").read_text() == ""
    assert install(board, "--uninstall").returncode == 0
    assert not (board / "opt/knockknock").exists()
    assert (board / "usr/local/bin/edge").is_file()


def test_its_own_link_goes_with_it(board):
    assert upgrade(board, "exit 0").returncode == 0
    assert (board / "usr/local/bin/edge").is_symlink()
    assert install(board, "--uninstall").returncode == 0
    assert not (board / "usr/local/bin/edge").is_symlink()


@pytest.mark.parametrize(("bits", "refused"), [("armhf", True), ("armel", True), ("arm64", False)])
def test_a_system_of_32_bits_is_refused_before_anything_is_done(board, bits, refused):
    """Under a kernel of 64 bits, too, which uname would tell of."""
    program(board / "bin/uname", "echo aarch64")
    program(board / "bin/dpkg", f'[ "$1" != --print-architecture ] || echo {bits}')
    done = upgrade(board, "exit 0")
    assert (done.returncode != 0) == refused
    assert (f"32-bit one ({bits})" in done.stderr) == refused
    assert ((board / "noted").read_text() == "") == refused


@pytest.mark.parametrize("there", [True, False])
def test_without_raspberry_pis_lgpio_it_goes_on_without_a_lamp(board, there):
    program(board / "bin/python3")  # whatever it is asked: it is 3.13, say
    program(board / "bin/dpkg", '[ "$2" != python3-lgpio ]')
    code = 0 if there else 100  # as apt ends where it knows no such package
    program(board / "bin/apt-get", f'echo "apt-get $*" >> {board}/noted; exit {code}')
    done = upgrade(board, "exit 0")
    assert done.returncode == 0, done.stderr
    first = (board / "noted").read_text().splitlines()[0]
    assert first.startswith("apt-get install")
    assert first.endswith(" python3-lgpio")
    assert ("no lamp will be lit" in done.stderr) != there
    assert done.stdout.splitlines()[-1].startswith("Installed and started.")


def test_where_lgpio_has_a_wheel_apt_is_not_asked_for_it(board):
    program(board / "bin/python3", "exit 1")  # no, not 3.13
    program(board / "bin/dpkg", '[ "$2" != python3-lgpio ]')
    done = upgrade(board, "exit 0")
    assert done.returncode == 0, done.stderr
    assert "apt-get" not in (board / "noted").read_text()


@pytest.mark.parametrize("options", [[], ["--wheels", "."]])
def test_packages_that_debian_has_are_installed_all_the_same(board, options):
    """One such as numpy may be slower there, and may be removed while the service needs it."""
    done = install(board, "--dry-run", *options)
    assert done.returncode == 0, done.stderr
    first = next(line for line in done.stdout.splitlines() if "pip install" in line)
    assert "--upgrade --upgrade-strategy eager" in first


def test_pip_does_not_unpack_into_memory(board):
    """Where it does by itself is memory on Trixie: 200 MB on the smallest board."""
    says = f'echo "$TMPDIR: $*" >> {board}/asked'
    program(board / "opt/knockknock/venv/bin/python", says)
    done = upgrade(board, "exit 0")
    assert done.returncode == 0, done.stderr
    asked = (board / "asked").read_text().splitlines()
    installs = [line for line in asked if "pip install" in line]
    assert len(installs) == 2
    assert {line.partition(":")[0] for line in installs} == {str(Path("/", "var", "tmp"))}


@pytest.mark.parametrize("options", [["--wheels"], ["--wheels", "nowhere"]])
def test_a_folder_of_wheels_that_is_not_there_is_named(board, options):
    done = install(board, *options)
    assert done.returncode == 2
    assert f"{' '.join(options)} needs a folder of wheels" in " ".join(done.stderr.split())
    assert (board / "noted").read_text() == ""


def purged(board):
    done = install(board, "--uninstall", "--purge")
    assert done.returncode == 0, done.stderr
    assert not (board / "etc/knockknock").exists()
    assert "userdel knockknock" in (board / "noted").read_text()
    return done


def test_purged_it_leaves_no_settings_for_the_next_installation(board):
    (board / "var/lib/knockknock/records/000001").mkdir(parents=True)
    own = board / "etc/systemd/system/knockknock-edge.service.d"  # of systemctl edit
    own.mkdir()
    (own / "override.conf").write_text("[Service]")
    assert install(board, "--uninstall").returncode == 0
    assert own.exists()
    assert (board / "var/lib/knockknock/records/000001").exists()
    done = purged(board)
    assert f"Removed, with settings and the records in {board}/var/lib/knockknock." in done.stdout
    assert not done.stderr
    assert not own.exists()
    assert not (board / "var/lib/knockknock").exists()


@pytest.mark.parametrize("key", ["directory =", "  directory=", "blackbox.directory ="])
def test_records_kept_elsewhere_are_named_since_nobody_will_know(board, key):
    (board / "etc/knockknock/edge.toml").write_text(
        f'[blackbox]\n{key} "/media/stick/a b" # mine\n'
    )
    assert "Records in /media/stick/a b stay: remove them yourself." in purged(board).stderr


def test_of_a_link_to_a_stick_the_records_go_and_the_rest_stays(board):
    for name in ("stick/records/000001", "stick/photos"):
        (board / name).mkdir(parents=True)
    (board / "var/lib").mkdir(parents=True)
    (board / "var/lib/knockknock").symlink_to(board / "stick")
    purged(board)
    assert [path.name for path in (board / "stick").iterdir()] == ["photos"]
    assert not (board / "var/lib/knockknock").is_symlink()


def test_records_that_cannot_be_removed_are_not_said_to_be(board):
    program(
        board / "bin/rm", f'case "$*" in *lib/knockknock) exit 1 ;; esac; {shutil.which("rm")} "$@"'
    )
    (board / "var/lib/knockknock").mkdir(parents=True)
    done = purged(board)
    assert done.stdout == "Removed, with settings.\n"
    assert f"Records in {board}/var/lib/knockknock stay" in done.stderr
