"""The whole process that holds the microphone, on a fake PyAudio whose samples count up."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edge.capture_process import (
    HEADER,
    MAGIC,
    MAX_COUNT,
    OPENED_PREFIX,
    QUEUE_SECONDS,
    Capture,
    Input,
    _list_inputs,
    inputs_of,
    open_stream,
)
from edge.child import child_environment
from edge.cli import main
from edge.devices_command import list_devices
from edge.errors import AudioDeviceError, MissingPackageError
from edge.packages import pip_install
from tests.fake_pyaudio import GO_ON, OVERFLOW, FakePyAudio, as_module

ROOT = Path(__file__).resolve().parents[1]
NAME, RATES = "USB Mic: Audio (hw:1,0)", [44_100, 48_000]
CARD = {"name": NAME, "channels": 2, "rates": RATES}
SPEAKER = {"name": "Speaker (hw:0,0)", "channels": 0, "rates": [48_000]}
OTHER = {"name": "Webcam (hw:2,0)", "channels": 1, "rates": [16_000]}
COUNTED = 30_000  # the fake counts modulo this


def environment(tmp_path, **how):
    """An environment in which ``import pyaudio`` gives a fake built with ``how``."""
    text = f"import tests.fake_pyaudio as fake\nfake.install(**{how!r})\n"
    (tmp_path / "sitecustomize.py").write_text(text)
    return {**child_environment(), "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}


class Process(subprocess.Popen[bytes]):
    """A process that knows when it was started."""

    began_s: float


@pytest.fixture
def capture(tmp_path):
    """A function that starts the process with arguments; it is killed at the end."""
    started = []

    def start(*arguments, **how):
        began_s = time.monotonic()
        process = Process(
            [sys.executable, "-m", "edge.capture_process", *arguments],
            env=environment(tmp_path, **how),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        process.began_s = began_s
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=10)


def packet(process):
    """Rate, samples, lost samples and overflows of the next packet."""
    pipe = process.stdout
    magic, rate, count, lost, overflows, came_s = HEADER.unpack(pipe.read(HEADER.size))
    assert magic == MAGIC
    assert process.began_s < came_s <= time.monotonic()
    return rate, np.frombuffer(pipe.read(2 * count), "<i2"), lost, overflows


def test_every_input_is_listed_with_the_rates_that_open(capture):
    process = capture("--list", devices=[SPEAKER, CARD, OTHER], default=2)
    out, errors = process.communicate(timeout=30)
    assert process.returncode == 0, errors
    listed = json.loads(out)
    assert [(d["name"], d["channels"], d["default"], d["rates"]) for d in listed] == [
        (NAME, 2, False, RATES),
        (OTHER["name"], 1, True, OTHER["rates"]),
    ]


def test_to_try_a_rate_leaves_nothing_open():
    instance = FakePyAudio([CARD])
    (listed,) = _list_inputs(as_module(instance), instance)
    assert listed["rates"] == RATES
    assert len(instance.streams) == len(RATES)
    assert all(stream.closed for stream in instance.streams)


@pytest.mark.parametrize("channel", [0, 1])
def test_the_wanted_channel_comes_at_the_first_rate_that_opens(capture, channel):
    rates = "[22050, 44100, 48000]"
    process = capture("usb mic", str(channel), rates, devices=[SPEAKER, CARD, OTHER], default=2)
    expected = 1000 * channel
    for _ in range(20):
        rate, samples, lost, overflows = packet(process)
        assert (rate, samples.size, lost, overflows) == (44_100, 2205, 0, 0)
        assert samples.tolist() == [n % COUNTED for n in range(expected, expected + 2205)]
        expected += 2205
    assert process.stderr.readline().decode().strip() == f"{OPENED_PREFIX}{NAME}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ("usb mic", "0", "[8000, 16000]"),
            ["opens at none of audio.rates", "8000 Hz", "16000 Hz", "Invalid"],
        ),
        (("usb mic", "2", "[44100]"), ["has 2 channels: there is no channel 2"]),
        (("piano", "0", "[44100]"), ["no microphone matches 'piano'", NAME]),
    ],
)
def test_what_cannot_be_opened_is_one_line(capture, arguments, words):
    process = capture(*arguments, devices=[CARD])
    out, errors = process.communicate(timeout=30)
    assert process.returncode == AudioDeviceError.exit_code
    assert out == b""
    (line,) = errors.decode().splitlines()
    assert all(word in line for word in words)


def test_a_stream_that_stops_is_an_error_after_all_it_sent(capture):
    process = capture("", "0", "[44100]", devices=[CARD], default=0, packets=5)
    out, errors = process.communicate(timeout=30)
    assert len(out) == 5 * (HEADER.size + 2 * 2205)
    assert errors.decode().splitlines()[-1] == f"microphone {CARD['name']!r} has stopped"
    assert process.returncode == AudioDeviceError.exit_code


def test_a_reader_that_has_gone_ends_it_without_a_word(capture):
    process = capture("", "0", "[44100]", devices=[CARD], default=0)
    packet(process)
    process.stdout.close()
    assert process.wait(10) == 0
    assert process.stderr.read().decode().strip() == f"{OPENED_PREFIX}{NAME}"


def test_what_a_sound_library_prints_gets_among_no_packets(capture):
    process = capture("", "0", "[44100]", devices=[CARD], default=0, chatter="jack is down\n")
    for n in range(20):
        _, samples, lost, _ = packet(process)
        assert (samples[0], lost) == (n * 2205 % COUNTED, 0)
    assert process.stderr.readline() == b"jack is down\n"


def test_what_a_sound_library_prints_gets_into_no_list(tmp_path, monkeypatch):
    how = environment(tmp_path, devices=[CARD], default=0, chatter="jack is down\n")
    monkeypatch.setattr("edge.devices_command.child_environment", lambda: how)
    assert [device["name"] for device in list_devices()] == [NAME]


@pytest.mark.parametrize("said", ["", "Segmentation fault", "\xff\xfe"])
def test_a_list_that_is_none_is_one_clear_line(tmp_path, monkeypatch, capsys, said):
    folder = tmp_path / "edge"
    folder.mkdir()
    folder.joinpath("__init__.py").touch()
    code = f"import sys; sys.stdout.buffer.write({said.encode('latin-1')!r})\n"
    folder.joinpath("capture_process.py").write_text(code)
    theirs = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONSAFEPATH": "1"}
    monkeypatch.setattr("edge.devices_command.child_environment", lambda: theirs)
    assert main(["devices"]) == AudioDeviceError.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert "not JSON but" in line
    assert "arecord -l" in line


def test_without_the_package_its_remedy_is_said(tmp_path):
    (tmp_path / "pyaudio.py").write_text("raise ImportError('libportaudio.so.2')")
    done = subprocess.run(
        [sys.executable, "-m", "edge.capture_process", "--list"],
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == MissingPackageError.exit_code
    assert f"then {pip_install('pyaudio')}" in done.stderr
    assert "Traceback" not in done.stderr


def test_ctrl_c_is_the_services_business(capture):
    process = capture("", "0", "[44100]", devices=[CARD], default=0)
    packet(process)
    process.send_signal(signal.SIGINT)
    for _ in range(200):  # more than pipe and queue hold, so written after it
        packet(process)
    assert process.poll() is None


def test_it_dies_with_a_parent_that_was_killed(tmp_path):
    code = (
        "import subprocess, sys, time\n"
        "command = [sys.executable, '-m', 'edge.capture_process', '', '0', '[44100]']\n"
        "child = subprocess.Popen(command, stdout=int(sys.argv[1]))\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    how = environment(tmp_path, devices=[CARD], default=0)
    # The reading end stays open here, so that it is no broken pipe that ends the process.
    reading, writing = os.pipe()
    parent = subprocess.Popen(
        [sys.executable, "-c", code, str(writing)],
        env=how,
        pass_fds=[writing],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        assert os.read(reading, HEADER.size)
        assert alive(child)
    finally:
        parent.kill()
        parent.communicate()
    until = time.monotonic() + 10
    while alive(child) and time.monotonic() < until:
        time.sleep(0.05)
    dead = not alive(child)
    os.close(reading)
    os.close(writing)
    assert dead


def alive(pid):
    """Whether the process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_no_module_of_the_folder_comes_before_ours(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    environment = child_environment()
    assert environment["PYTHONSAFEPATH"] == "1"
    assert environment["PYTHONPATH"].split(os.pathsep) == [str(ROOT), "/theirs"]
    monkeypatch.delenv("PYTHONPATH")
    assert child_environment()["PYTHONPATH"] == str(ROOT)


def test_without_a_default_there_is_none():
    assert inputs_of(FakePyAudio([SPEAKER, CARD])) == ([Input(1, NAME, 2, "")], None)
    assert inputs_of(FakePyAudio([SPEAKER, CARD], default=1))[1] == 1


def test_no_more_channels_are_opened_than_needed():
    instance = FakePyAudio([CARD])
    module = as_module(instance)
    device = Input(0, NAME, 2, "")
    stream, rate = open_stream(module, instance, device, [48_000], Capture(module, 0))
    assert rate == 48_000
    assert not stream.is_active()  # it starts only when somebody reads
    assert instance.opened[0]["channels"] == 1
    assert instance.opened[0]["frames_per_buffer"] == 2400


def test_an_overflow_is_counted_and_makes_a_gap_once():
    capture = Capture(as_module(None), 0)
    assert capture(b"ab", 1, None, 0) == (None, GO_ON)
    capture(b"cd", 1, None, OVERFLOW)
    capture(b"ef", 1, None, 0)
    told = [capture.packets.get_nowait()[:3] for _ in range(3)]
    assert told == [(b"ab", 0, 0), (b"cd", 1, 1), (b"ef", 0, 1)]


def test_what_the_queue_cannot_hold_is_counted_and_told_with_the_next():
    capture = Capture(as_module(None), 0)
    held = round(QUEUE_SECONDS / 0.05)
    for _ in range(held + 3):
        assert capture(b"ab", 1102, None, 0) == (None, GO_ON)
    assert capture.packets.qsize() == held
    told = [capture.packets.get_nowait() for _ in range(held)]
    assert {lost for _, lost, *_ in told} == {0}
    capture(b"ab", 1102, None, 0)
    capture(b"ab", 1102, None, 0)
    assert [capture.packets.get_nowait()[1] for _ in range(2)] == [3 * 1102, 0]


@pytest.mark.parametrize("status", [OVERFLOW, 0])
def test_more_than_a_header_can_tell_is_as_much_as_it_can(status):
    capture = Capture(as_module(None), 0)
    capture._overflows = MAX_COUNT
    for _ in range(round(QUEUE_SECONDS / 0.05)):
        capture(b"", 0, None, 0)
    for _ in range(3):  # hours each, in the place of many small ones
        capture(b"", 2**31, None, status)
    capture.packets.get_nowait()
    capture(b"", 0, None, status)
    *_, (_, lost, overflows, _) = list(capture.packets.queue)
    assert (lost, overflows) == (MAX_COUNT, MAX_COUNT)
    header = HEADER.pack(MAGIC, 44_100, 0, lost, overflows, 1.0)
    assert HEADER.unpack(header)[3:5] == (MAX_COUNT, MAX_COUNT)


@pytest.mark.parametrize("channel", [0, 1])
def test_a_rate_that_a_card_has_with_16_bits_only_is_taken_with_them(capture, channel):
    card = {**CARD, "rates": [96_000], "rates_of_16_bits": [44_100]}
    process = capture("usb mic", str(channel), "[44100, 96000]", devices=[card])
    rate, samples, *_ = packet(process)
    assert rate == 44_100
    np.testing.assert_array_equal(samples, np.arange(samples.size) + 1000 * channel)


def test_the_upper_half_of_one_channel_is_passed_on():
    data = (np.arange(-3, 3, dtype="<i4") * 2**16 + 2**15).tobytes()
    module = as_module(None)
    assert np.frombuffer(Capture(module, 0).mono(data), "<i2").tolist() == [-3, -2, -1, 0, 1, 2]
    assert np.frombuffer(Capture(module, 2).mono(data), "<i2").tolist() == [-1, 2]


def test_the_fake_refuses_what_a_card_would():
    instance = FakePyAudio([CARD])
    how = {"channels": 1, "format": 8, "input": True, "input_device_index": 0, "start": False}
    with pytest.raises(OSError, match="sample rate"):
        instance.open(rate=8000, **how)
    with pytest.raises(ValueError, match="channels"):
        instance.open(rate=44_100, **{**how, "channels": 3})
    with pytest.raises(OSError, match="Default"):
        instance.get_default_input_device_info()


def test_without_a_microphone_a_program_is_told_so_too(monkeypatch, capsys):
    monkeypatch.setattr("edge.devices_command.list_devices", list)
    for option in ([], ["--json"]):
        assert main(["devices", *option]) == AudioDeviceError.exit_code
    assert capsys.readouterr().out == "[]\n"


def test_an_overflow_counts_among_other_flags():
    capture = Capture(as_module(None), 0)
    capture(b"ab", 1, None, OVERFLOW | 1)
    assert capture.packets.get_nowait()[:3] == (b"ab", 1, 1)
