"""What the board says, read from a made /sys; the status file; the journal's patience."""

import json
import logging
import os
import socket
import subprocess
import sys

import pytest

from edge import health, journal
from edge.child import child_environment
from edge.health import (
    Notifier,
    StatusFile,
    clock_is_synchronised,
    temperature_c,
    throttled,
    under_voltage,
)


def zone(sysfs, number, text):
    folder = sysfs / f"class/thermal/thermal_zone{number}"
    folder.mkdir(parents=True)
    (folder / "temp").write_text(text)


def test_the_hottest_zone_counts(tmp_path):
    assert temperature_c(tmp_path) is None
    zone(tmp_path, 0, "41200\n")
    zone(tmp_path, 1, "80500\n")
    zone(tmp_path, 2, "switched off")
    assert temperature_c(tmp_path) == 80.5


def test_the_supply(tmp_path):
    assert under_voltage(tmp_path) is None
    for number, name in enumerate(("cpu_thermal", "rpi_volt")):
        folder = tmp_path / f"class/hwmon/hwmon{number}"
        folder.mkdir(parents=True)
        (folder / "name").write_text(name + "\n")
        (folder / "in0_lcrit_alarm").write_text("0\n" if name == "rpi_volt" else "1\n")
    assert under_voltage(tmp_path) is False
    (tmp_path / "class/hwmon/hwmon1/in0_lcrit_alarm").write_text("1\n")
    assert under_voltage(tmp_path) is True


@pytest.mark.parametrize("name", ["cpufreq-cpu0", "thermal-cpufreq-0"])
def test_a_processor_that_is_held_back(tmp_path, name):
    assert throttled(tmp_path) is None
    # A fan that turns holds nothing back, nor what has no state, or none that is a number.
    for number, (kind, state) in enumerate(
        [("pwm-fan", "3"), (name, "0"), (name, None), (name, "off")]
    ):
        folder = tmp_path / f"class/thermal/cooling_device{number}"
        folder.mkdir(parents=True)
        (folder / "type").write_text(kind + "\n")
        if state is not None:
            (folder / "cur_state").write_text(state + "\n")
        assert throttled(tmp_path) is (None if number == 0 else False)
    (tmp_path / "class/thermal/cooling_device1/cur_state").write_text("2\n")
    assert throttled(tmp_path) is True


def test_one_processor_that_is_held_back_a_little_is_enough(tmp_path):
    for number, state in enumerate("010"):
        folder = tmp_path / f"class/thermal/cooling_device{number}"
        folder.mkdir(parents=True)
        (folder / "type").write_text(f"cpufreq-cpu{number}\n")
        (folder / "cur_state").write_text(state + "\n")
    assert throttled(tmp_path) is True


def test_a_sensor_that_cannot_be_read_hides_no_weak_supply(tmp_path):
    (tmp_path / "class/hwmon/hwmon0").mkdir(parents=True)
    (tmp_path / "class/hwmon/hwmon0/name").write_bytes(b"\xff\n")  # no text at all
    (tmp_path / "class/hwmon/hwmon1").mkdir()
    (tmp_path / "class/hwmon/hwmon1/name").write_text("rpi_volt\n")
    (tmp_path / "class/hwmon/hwmon1/in0_lcrit_alarm").write_text("1\n")
    assert under_voltage(tmp_path) is True


def test_the_clock(tmp_path):
    assert not clock_is_synchronised(tmp_path)
    (tmp_path / "systemd/timesync").mkdir(parents=True)
    (tmp_path / "systemd/timesync/synchronized").touch()
    assert clock_is_synchronised(tmp_path)


def test_what_a_kill_left_of_a_status_is_removed(tmp_path):
    (tmp_path / ".status.json.0a1b2c3d").write_text("{")
    (tmp_path / "other.json").write_text("{}")
    file = StatusFile(tmp_path / "status.json")
    file.write({"state": "listening"})
    assert sorted(p.name for p in tmp_path.iterdir()) == ["other.json", "status.json"]
    assert json.loads((tmp_path / "status.json").read_text()) == {"state": "listening"}


def test_a_status_that_cannot_be_written_is_said_once(tmp_path, caplog):
    file = StatusFile(tmp_path / "gone" / "status.json")
    for _ in range(3):
        file.write({})
    assert len(caplog.records) == 1


def test_the_board_is_asked_where_linux_tells():
    """On the machine the tests run on: no error, whatever it has."""
    assert health.boot_id() != ""
    temperature = temperature_c()
    assert temperature is None or -50 < temperature < 150
    assert under_voltage() in (None, True, False)
    assert throttled() in (None, True, False)


def test_everybody_may_read_the_status_whatever_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        StatusFile(tmp_path / "status.json").write({"state": "listening"})
    finally:
        os.umask(before)
    assert (tmp_path / "status.json").stat().st_mode & 0o777 == 0o644


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("edge.journal.time.monotonic", lambda: now[0])
    return now


def test_a_flood_of_one_kind_is_held_back_and_counted(clock):
    limit = journal.RateLimit()

    def passes(text, *arguments):
        record = logging.LogRecord("a", logging.WARNING, "", 0, text, arguments, None)
        return record.getMessage() if limit.filter(record) else None

    assert [passes("lost %d", i) is not None for i in range(13)] == [True] * 10 + [False] * 3
    assert passes("another") == "another"
    clock[0] = journal.PERIOD_S
    assert passes("lost %d", 99) == "lost 99 (3 like this were left out)"
    assert passes("lost %d", 100) == "lost 100"
    # The next flood is held back like the first, and counted from nought.
    assert [passes("lost %d", i) is not None for i in range(10)] == [True] * 8 + [False] * 2
    clock[0] = 2 * journal.PERIOD_S
    assert passes("lost %d", 7) == "lost 7 (2 like this were left out)"


def test_a_line_now_and_then_is_never_held_back(clock):
    limit = journal.RateLimit()
    for _ in range(100):
        record = logging.LogRecord("a", logging.WARNING, "", 0, "lost", (), None)
        assert limit.filter(record)
        assert record.getMessage() == "lost"
        clock[0] += journal.PERIOD_S / journal.BURST


def test_what_was_asked_for_is_not_held_back():
    limit = journal.RateLimit()
    record = logging.LogRecord("a", logging.DEBUG, "", 0, "window", (), None)
    assert all(limit.filter(record) for _ in range(50))


def test_the_status_does_not_wear_out_the_card(tmp_path, monkeypatch):
    """Each second another comes; none needs to outlive a power cut."""
    synced: list[int] = []
    monkeypatch.setattr("edge.files.os.fsync", synced.append)
    StatusFile(tmp_path / "status.json").write({"state": "listening"})
    assert "listening" in (tmp_path / "status.json").read_text()
    assert synced == []


def test_systemd_that_does_not_listen_holds_up_nothing(tmp_path):
    assert Notifier("")(WATCHDOG="1")  # there is none, so nothing has failed
    assert not Notifier(str(tmp_path / "none"))(WATCHDOG="1")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        notify = Notifier(str(tmp_path / "notify"))
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as filler:
            filler.setblocking(False)
            try:
                while True:
                    filler.sendto(b"x", str(tmp_path / "notify"))
            except BlockingIOError:
                pass
        import threading

        thread = threading.Thread(target=lambda: notify(WATCHDOG="1"), daemon=True)
        thread.start()
        thread.join(3)
        assert not thread.is_alive()


def test_a_socket_without_a_file_is_found_too():
    """An abstract one: systemd writes @ for the zero byte that its name begins with."""
    name = f"knockknock-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(f"\0{name}")
        line.settimeout(5)
        assert Notifier(f"@{name}")(READY="1", STATUS="listening")
        assert line.recv(100) == b"READY=1\nSTATUS=listening"


def test_each_time_it_fails_anew_is_said(tmp_path, caplog):
    folder = tmp_path / "run"
    file = StatusFile(folder / "status.json")
    file.write({})
    folder.mkdir()
    file.write({})
    (folder / "status.json").unlink()
    folder.rmdir()
    file.write({})
    assert len(caplog.records) == 2


def test_a_reader_of_the_status_never_sees_half(tmp_path):
    file = StatusFile(tmp_path / "status.json")
    file.write({"state": "listening"})
    with (tmp_path / "status.json").open() as reading:
        file.write({"state": "fault"})
        assert json.load(reading) == {"state": "listening"}


@pytest.mark.parametrize(("said", "prefix"), [("{0}:{1}", "<4>"), ("{0}:1", ""), ("1:{1}", "")])
def test_priorities_are_for_the_journal_alone(said, prefix):
    reading, writing = os.pipe()
    there = os.fstat(writing)
    code = (
        "import logging; from edge.journal import set_up_logging\n"
        "set_up_logging(verbose=False); logging.warning('hot')"
    )
    told = {"JOURNAL_STREAM": said.format(there.st_dev, there.st_ino)}
    command = [sys.executable, "-c", code]
    subprocess.run(command, env={**child_environment(), **told}, stderr=writing, check=True)
    os.close(writing)
    with open(reading, encoding="utf-8") as pipe:  # noqa: PTH123 - a pipe has no path
        (line,) = pipe.read().splitlines()
    assert line.startswith("<") == bool(prefix)
    assert line.endswith(f"{prefix}hot")


def logged(code):
    """What a program of its own writes to standard error when it runs ``code``."""
    code = f"import logging; from edge.journal import set_up_logging\n{code}"
    command = [sys.executable, "-c", code]
    environment = child_environment()
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    return done.stderr


def test_no_control_character_of_a_name_reaches_a_terminal():
    told = logged("set_up_logging(verbose=False); logging.warning('a\\x1b[31mb.wav\\nis damaged')")
    assert told.endswith("WARNING a\\x1b[31mb.wav is damaged\n")


@pytest.mark.parametrize(("limited", "lines"), [(True, journal.BURST), (False, journal.BURST + 1)])
def test_without_the_limit_every_line_is_logged(limited, lines):
    """As in a replay, which may be faster than real time."""
    told = logged(
        f"set_up_logging(verbose=False, limited={limited})\n"
        f"for _ in range({journal.BURST + 1}): logging.warning('knocking')"
    )
    assert told.count("knocking") == lines
