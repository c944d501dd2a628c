"""``edge doctor``: checks everything the service needs, one line per check.

A line says ok, warn or fail; a remedy follows where there is one.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import pwd
import shutil
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge import health, sound_check
from edge.assembly import default_threads, load_network
from edge.classifier import Classifier
from edge.config import Config
from edge.errors import EdgeError
from edge.finding import Finding, device_in_use_hint, join_remedies
from edge.frontend import FrontEnd
from edge.gate import Gate
from edge.golden import MISMATCH, golden_answer, golden_sound
from edge.installed import (
    OVERLAY_REMEDY,
    STATE_DIRECTORY,
    load_config,
    records_folder,
    volatile_warning,
)
from edge.lamp import flash
from edge.packages import pip_install

Sound = NDArray[np.float32]

MIN_FREE_MB = 200
ACCOUNT = "knockknock"  # the account that the service runs as


def run(arguments: argparse.Namespace) -> int:
    """Print the findings; the exit code is 1 if anything fails."""
    config = load_config(arguments.config)
    # Discard what microphone and lamp would log for the service: the findings report it.
    logging.getLogger("edge").addHandler(logging.NullHandler())
    if arguments.tap_test:
        finding = sound_check.tap_test(config)
        print(finding.line())
        return int(finding.level == "fail")
    worst = 0
    for finding in examine(config):
        with contextlib.suppress(BrokenPipeError):  # the reader has gone, but the exit code counts
            print(finding.line(), flush=True)
        worst = max(worst, finding.level == "fail")
    return int(worst)


def examine(config: Config) -> Iterator[Finding]:
    """Run the checks one after another; each finding is yielded as soon as it is known."""
    yield from _model(config)
    yield _versions()
    yield sound_check.check_microphone(config)
    yield _lamp(config)
    yield _board(config)
    yield _space(config)
    yield _watchdog()


def _model(config: Config) -> Iterator[Finding]:
    try:
        model, classifier = load_network(config)
    except EdgeError as error:
        yield Finding("fail", "model", str(error), "see listen.model and listen.runtime")
        return
    front_end = FrontEnd(model.manifest.front_end)
    answer = golden_answer(front_end, classifier)
    if answer is None:
        remedy = "export it again with convert export"
        yield Finding("fail", "model", f"{model.path.name} has no golden answer to check", remedy)
        return
    detail = f"{model.path.name} in {classifier.runtime}: {answer}"
    if answer.within_tolerance:
        yield Finding("ok", "model", detail)
    else:
        yield Finding("fail", "model", detail, MISMATCH)
    y = golden_sound(0, front_end.config.n_samples)
    yield _speed(front_end, classifier, y, config)


def _speed(front_end: FrontEnd, classifier: Classifier, y: Sound, config: Config) -> Finding:
    picture = front_end.picture(y)
    gate = Gate(config.gate, sr=front_end.config.sr)
    stages = {
        "gate": lambda: gate.check(y),
        "spectrogram": lambda: front_end.spectrogram(y),
        "with its picture": lambda: front_end.picture(y),
        "network": lambda: classifier.predict(picture),
    }
    times_ms = {name: _median_ms(stage) for name, stage in stages.items()}
    total = times_ms["gate"] + times_ms["with its picture"] + times_ms["network"]
    share = total / (1000 * config.listen.hop_s)
    detail = ", ".join(f"{name} {ms:.0f} ms" for name, ms in times_ms.items())
    detail += f"; {share:.0%} of the time between windows"
    if share < 0.5:
        return Finding("ok", "speed", detail)
    remedy = _speed_remedy(classifier.runtime, config.listen.threads)
    return Finding("warn", "speed", detail, remedy)


def _speed_remedy(runtime: str, threads: int) -> str:
    """Remedies for a board that is too slow, the best first."""
    remedies = ["raise listen.hop_s", "cool the board"]
    if 0 < threads < default_threads():
        remedies.insert(0, f"set listen.threads = 0 (all cores but one) instead of {threads}")
    if runtime.startswith("tflite-runtime"):
        remedies.insert(0, f"{pip_install('ai-edge-litert')}, which is several times as fast")
    return "; or ".join(remedies)


def _median_ms(stage: Callable[[], object], rounds: int = 7) -> float:
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        stage()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times[1:])


def _versions() -> Finding:
    found = [f"python {sys.version.split()[0]}"]
    names = ("numpy", "scipy", "ai-edge-litert", "tflite-runtime", "pyaudio", "gpiozero", "lgpio")
    for name in names:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    return Finding("ok", "versions", ", ".join(found))


def _lamp(config: Config) -> Finding:
    lamp = config.indicator
    pins = lamp.pins
    if not pins:
        return Finding(
            "warn", "lamp", "no pin is set", "set indicator.led_pin; until then, see the log"
        )
    for pin in pins:
        problem = flash(pin, active_high=lamp.active_high, seconds=0.5)
        if problem:
            check = "on a Pi: check gpiozero, lgpio and group gpio"
            remedy = join_remedies(device_in_use_hint(), check)
            return Finding("fail", "lamp", problem, remedy)
    names = " and ".join(map(str, pins))
    return Finding("ok", "lamp", f"GPIO {names} on for half a second: did you see it?")


def _board(config: Config) -> Finding:
    temperature, low = health.temperature_c(), health.under_voltage()
    detail = "temperature unknown" if temperature is None else f"{temperature:.0f} degrees Celsius"
    if low:
        return Finding("warn", "board", f"{detail}, under-voltage", "use a stronger supply")
    throttled = health.throttled()
    if throttled or (temperature is not None and temperature >= config.health.hot_c):
        detail += ", throttled" if throttled else ""
        return Finding("warn", "board", detail, "move the board away from the heat")
    return Finding("ok", "board", detail + (", supply good now" if low is False else ""))


def _space(config: Config) -> Finding:
    folder = records_folder(config, None)
    own = bool(config.blackbox.directory) or "STATE_DIRECTORY" in os.environ
    if not own and STATE_DIRECTORY.is_dir():
        folder = STATE_DIRECTORY / "records"
    while not _is_visible(folder) and folder != folder.parent:
        folder = folder.parent
    if not _is_visible(folder):  # the working directory, to which a relative folder leads
        return Finding("warn", "space", "access to the working directory is denied", "cd elsewhere")
    free = shutil.disk_usage(folder).free / 1e6
    with contextlib.suppress(OSError):  # the working directory has been deleted
        folder = Path(os.path.abspath(folder))  # noqa: PTH100 - links stay as they are written
    detail = f"{free:.0f} MB free at {folder}"
    # Root may write anywhere, which proves nothing for the service.
    as_root = os.geteuid() == 0 and _has_account()
    if not (_service_may_write(folder) or (os.access(folder, os.W_OK) and not as_root)):
        where = "is not writable by the service" if as_root else "is not writable by this user"
        remedy = "name another folder in blackbox.directory"
        if _has_account():
            remedy = f"sudo chown {ACCOUNT}: FOLDER"
        remedy = f"without write access the service keeps no records: {remedy}"
        return Finding("warn", "space", f"{folder} {where}", remedy)
    if warning := volatile_warning(folder):
        return Finding("warn", "space", warning, OVERLAY_REMEDY)
    if free < MIN_FREE_MB:
        return Finding("warn", "space", detail, "free some space, or old records are deleted early")
    return Finding("ok", "space", detail)


def _service_may_write(folder: Path) -> bool:
    """Whether the account that the service runs as may create files in ``folder``."""
    with contextlib.suppress(OSError, KeyError):
        account = pwd.getpwnam(ACCOUNT)
        groups = os.getgrouplist(ACCOUNT, account.pw_gid)

        def has_access(path: Path, wanted: int) -> bool:
            there = path.stat()
            grouped = 3 if there.st_gid in groups else 0
            shift = 6 if there.st_uid == account.pw_uid else grouped
            return there.st_mode >> shift & wanted == wanted

        # Not access(2), which checks the permissions of the calling process.
        reached = all(has_access(parent, os.X_OK) for parent in folder.resolve().parents)
        return reached and not _is_read_only(folder) and has_access(folder, os.W_OK | os.X_OK)
    return False


def _is_read_only(folder: Path) -> bool:
    """Whether its file system is mounted so, as by the kernel after an error."""
    return bool(os.statvfs(folder).f_flag & os.ST_RDONLY)


def _has_account() -> bool:
    """Whether the account exists that the service runs as; if not, it is not installed."""
    with contextlib.suppress(KeyError):
        pwd.getpwnam(ACCOUNT)
        return True
    return False


def _is_visible(folder: Path) -> bool:
    """Whether ``folder`` exists and may be seen by this user (Python 3.11 raises if not)."""
    try:
        return folder.exists()
    except OSError:
        return False


def _watchdog() -> Finding:
    if Path("/dev/watchdog").exists():
        return Finding("ok", "watchdog", "the board has a hardware watchdog")
    return Finding(
        "warn", "watchdog", "no hardware watchdog", "on a Pi: dtparam=watchdog=on in config.txt"
    )
