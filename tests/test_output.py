"""What becomes of the output: a pipe that is closed, a disk that is full, nobody who looks."""

import errno
import io
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from convert.cli import main as convert
from convert.errors import CheckpointError
from convert.export import TEMPORARY_MB, ExportConfig, export
from convert.output import check_output
from edge.cli import main
from edge.errors import ConfigError, os_error_message
from edge.predict_command import _Progress

ROOT = Path(__file__).resolve().parents[1]
SR = 22_050


def shell(line):
    return subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)


@pytest.mark.parametrize("options", ["", "--json"])
def test_a_full_disk_behind_the_output_is_no_damaged_recording(engine, options):
    done = shell(f"{sys.executable} -m edge predict {engine} {options} > /dev/full")
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "edge: the output cannot be written: No space left on device"
    ]


@pytest.mark.parametrize("command", ["edge --help", "edge run --check-config", "convert --help"])
def test_a_full_disk_is_told_of_at_the_end_at_the_latest(command):
    done = shell(f"{sys.executable} -m {command} > /dev/full")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "the output cannot be written: No space left on device" in done.stderr


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EIO, "Input/output error"), "the output cannot be written: Input/output"),
        (OSError(errno.EBADF, "Bad file descriptor"), "the output cannot be written: Bad file"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory"), "No such file or directory"),
        (OSError(errno.EIO, "Input/output error", "a.wav"), "a.wav: Input/output error"),
        (OSError("no number"), "no number"),
    ],
)
def test_only_what_looks_like_the_output_is_said_to_be_of_it(error, words):
    assert os_error_message(error).startswith(words)


@pytest.mark.parametrize("command", ["edge --help", "edge run --check-config", "convert --help"])
def test_a_pipe_that_is_closed_is_no_error(command):
    done = shell(f"{{ sleep 0.1; {sys.executable} -m {command}; echo $? >&2; }} | true")
    assert done.stderr == "0\n"


def test_a_closed_pipe_changes_no_exit_code(tmp_path):
    """What edge doctor found is not well because nobody read it."""
    settings = tmp_path / "edge.toml"
    settings.write_text('[listen]\nmodel = "/none.tflite"\n')
    line = f"{sys.executable} -m edge doctor --config {settings}"
    usual = shell(line)
    assert usual.returncode == 1
    piped = shell(f"{{ sleep 0.1; {line}; echo $? >&2; }} | true")
    assert piped.stderr.splitlines()[-1] == "1"


@pytest.mark.parametrize(("options", "code"), [("predict /nope.wav", 3), ("run --config /no", 2)])
@pytest.mark.parametrize("place", ["2>&1 >/dev/null | true", "2>/dev/full"])
def test_an_error_nobody_reads_is_one_by_its_code(options, code, place):
    done = shell(f"{sys.executable} -m edge {options} {place}; echo ${{PIPESTATUS[0]}}")
    assert done.stdout.splitlines()[-1] == str(code)


def test_a_closed_output_on_a_terminal_ends_no_judging(engine):
    if not shutil.which("script"):
        pytest.skip("no script(1) here, which makes terminals")
    line = f"{sys.executable} -m edge predict {engine} {engine} >&-"
    done = shell(f"script -qec {shlex.quote(line)} /dev/null")
    # On a busy machine it reports its progress meanwhile, on the terminal.
    progress = f"{engine}: judged to "
    lines = [text for text in done.stdout.splitlines() if not text.startswith(progress)]
    assert (done.returncode, lines) == (0, [])


def test_pictures_that_cannot_be_looked_for_are_no_fault_of_the_recording(
    engine, tmp_path, monkeypatch, capsys
):
    def broken(path):
        if path.suffix == ".png":
            raise OSError(5, "Input/output error")
        return True

    monkeypatch.setattr("pathlib.Path.exists", broken)
    assert main(["predict", str(engine), "--json", "--picture", str(tmp_path)]) == 2
    out, errors = capsys.readouterr()
    assert len(out.splitlines()) == 4
    assert "png cannot be written: Input/output error" in errors


def test_it_says_how_far_it_is_where_the_verdicts_go_elsewhere(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    now = [0.0]
    monkeypatch.setattr("edge.predict_command.time.monotonic", lambda: now[0])
    for stdout, expected in [(io.StringIO(), "a.wav: judged to 20 s\n"), (Terminal(), "")]:
        monkeypatch.setattr("sys.stdout", stdout)
        stderr = Terminal()
        monkeypatch.setattr("sys.stderr", stderr)
        now[0] = 0.0
        progress = _Progress(Path("a.wav"))
        for at in (10, 20, 30):
            now[0] += 1.5
            progress.report(at)
        assert stderr.getvalue() == expected


def test_pictures_that_were_there_are_not_replaced_without_a_word(engine, tmp_path, capsys):
    line = ["predict", str(engine), "--json", "--end", "3", "--picture", str(tmp_path)]
    assert main(line) == 0
    assert capsys.readouterr().err == ""
    assert main(line) == 0
    assert capsys.readouterr().err == f"{engine}: replaced 2 pictures in {tmp_path}\n"


def test_a_full_disk_behind_a_file_is_named_by_it(recordings_made):
    model = ROOT / "models" / "knock-int8.tflite"
    done = shell(f"{sys.executable} -m convert evaluate {model} {recordings_made} --json /dev/full")
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == "convert: /dev/full: No space left on device"


@pytest.mark.parametrize("command", ["train DIR --out o.pth --work {}", "synth {}"])
@pytest.mark.parametrize("place", ["file", "link", "file/x"])
def test_a_folder_that_cannot_be_is_named_with_its_option(tmp_path, capsys, command, place):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to("nowhere")
    assert convert(command.format(tmp_path / place).split()) == 2
    option = "OUT" if command.startswith("synth") else "--work"
    wrong = "is" if place != "file/x" else f"cannot be made, because {tmp_path}/file is"
    assert capsys.readouterr().err == (
        f"convert: {option}: {tmp_path}/{place} {wrong} not a folder: name another folder\n"
    )


@pytest.mark.parametrize("command", ["train DIR --out o.pth", "synth new"])
def test_a_folder_without_access_is_named(tmp_path, monkeypatch, capsys, command):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("convert.output.os.access", lambda path, _: str(path) != ".")
    monkeypatch.setattr("convert.train_command.check_output", lambda *_: None)
    assert convert(command.split()) == 2
    assert "cannot be written: . is not writable" in capsys.readouterr().err


@pytest.mark.parametrize(
    "command",
    [
        ["export", "a.pth", "--calibration", "", "--out", "a.tflite"],
        ["export", "a.pth", "--calibration", "a", "--out", ""],
        ["train", "", "--out", "a.pth"],
        ["train", "a", "--out", "a.pth", "--work", ""],
        ["evaluate", "", "a"],
        ["evaluate", "a.pth", "a", "--html", ""],
        ["synth", ""],
        ["synth", "a", "--over", ""],
    ],
)
def test_an_empty_name_is_not_this_very_folder(command, capsys):
    with pytest.raises(SystemExit):
        convert(command)
    assert "the name is empty: name a file or a folder" in capsys.readouterr().err


def test_a_device_is_written_to_though_its_folder_is_closed(tmp_path, monkeypatch):
    """Such as /dev/stdout; a link counts as the file that it leads to."""
    closed = tmp_path / "closed"
    closed.mkdir()
    (closed / "link").symlink_to(tmp_path / "file")
    os.mkfifo(closed / "pipe")
    monkeypatch.setattr("convert.output.os.access", lambda path, _: Path(path) != closed)
    check_output("--json", closed / "pipe")
    check_output("--json", closed / "link")
    with pytest.raises(ConfigError, match=f"--json {closed}/new: the folder {closed} is not writ"):
        check_output("--json", closed / "new")
    monkeypatch.setattr("convert.output.os.access", lambda path, _: Path(path).name != "pipe")
    with pytest.raises(ConfigError, match=f"--json {closed}/pipe is not writable"):
        check_output("--json", closed / "pipe")


def test_an_export_without_room_for_its_files_does_not_begin(tmp_path, monkeypatch):
    monkeypatch.setattr("convert.output.tempfile.gettempdir", lambda: str(tmp_path))
    free = [499_400_000]
    monkeypatch.setattr(
        "convert.output.shutil.disk_usage", lambda _: shutil._ntuple_diskusage(10**10, 0, free[0])
    )
    words = f"{tmp_path} has 499 MB free, of {TEMPORARY_MB} MB needed for .*: make room, or set TMP"
    with pytest.raises(ConfigError, match=words):
        export(tmp_path / "a.pth", tmp_path, tmp_path / "a.tflite", ExportConfig())
    free[0] = 500_000_000
    with pytest.raises(CheckpointError, match=r"a\.pth does not exist"):
        export(tmp_path / "a.pth", tmp_path, tmp_path / "a.tflite", ExportConfig())
