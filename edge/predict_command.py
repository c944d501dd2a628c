"""``edge predict``: recordings in, verdicts and pictures out."""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import logging
import math
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.classifier import Classifier
from edge.config import ListenConfig
from edge.detector import Detector, DetectorConfig
from edge.errors import ConfigError, EdgeError, output_error, print_error, printable
from edge.frontend import FrontEnd
from edge.gate import SOUNDLESS, Fault
from edge.journal import OneLine
from edge.model import ModelFile, default_model
from edge.pipeline import Pipeline, Verdict
from edge.png import write_png
from edge.recording import Recording

PROGRESS_INTERVAL_S = 2.0
DEAD = {*SOUNDLESS, Fault.FLAT_LINE, Fault.DC, Fault.REPEATS}  # a channel's that nothing feeds
MAX_STEM_BYTES = 180  # bytes of a recording's name that are used in its pictures' names


def run(arguments: argparse.Namespace) -> int:
    """Judge the files and return the highest exit code of any."""
    if arguments.end is not None and arguments.end <= arguments.start:
        raise ConfigError(f"--end {arguments.end:g} must be later than --start {arguments.start:g}")
    if arguments.hop < 0.01:
        raise ConfigError(f"--hop {arguments.hop:g} s is too small: must be 0.01 s or more")
    if arguments.channel < 0:
        raise ConfigError(f"--channel {arguments.channel} must be 0 or more")
    if logging.lastResort is not None:  # it prints what the decoders warn of
        logging.lastResort.setFormatter(OneLine())
    model = ModelFile.read(arguments.model or default_model())
    classifier = Classifier(model, runtime=arguments.runtime)
    front_end = FrontEnd(model.manifest.front_end)
    pipeline = Pipeline(front_end, classifier, model.manifest.threshold)
    if arguments.picture:
        _make_folder(arguments.picture)
    worst = 0
    names = _picture_names(arguments.files)
    for path, name in zip(arguments.files, names, strict=True):
        try:
            _predict_file(path, pipeline, arguments, name)
        except EdgeError as error:
            print_error("edge", error)
            worst = max(worst, error.exit_code)
    return worst


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise ConfigError(f"--picture {folder} is a file: name a folder") from error
    except OSError as error:
        raise ConfigError(f"--picture {folder}: {error.strerror}") from error
    if not os.access(folder, os.W_OK | os.X_OK):
        raise ConfigError(f"--picture {folder} is not writable: name another folder")


def _picture_names(files: Sequence[Path]) -> list[str]:
    """First part of each file's picture names: its name, numbered if several files share it."""
    # Truncated, because time and verdict are appended and a name may have at most 255 bytes.
    plain = [re.sub(r"[^\w.-]+", "_", path.name).encode() for path in files]
    stems = [name[:MAX_STEM_BYTES].decode(errors="ignore") for name in plain]
    shared, taken = Counter(stems), set(stems)
    numbers = {stem: itertools.count(1) for stem in shared}
    names: list[str] = []
    for stem in stems:
        free = (name for n in numbers[stem] if (name := f"{stem}-{n}") not in taken)
        names.append(next(free) if shared[stem] > 1 else stem)
        taken.add(names[-1])
    return names


def _predict_file(path: Path, pipeline: Pipeline, arguments: argparse.Namespace, name: str) -> None:
    source = Recording(
        path,
        channel=arguments.channel,
        start_s=arguments.start,
        end_s=arguments.end,
        sr=pipeline.front_end.config.sr,
    )
    counts: Counter[str] = Counter()
    reasons: set[str] = set()
    detector, alert_s = Detector(DetectorConfig()), math.inf
    picture_error: ConfigError | None = None
    judged = replaced = 0
    progress = _Progress(path)
    width, places = (8, 2) if arguments.hop >= 0.1 else (9, 3)
    if not arguments.json:
        _print_line(
            f"{printable(str(path))}\n"
            f"{'start s':>10}{'end s':>10}  {'verdict':<10}{'p knocking':>10}  reason"
        )
    for verdict in pipeline.verdicts(source.blocks(), hop_s=arguments.hop):
        counts[verdict.verdict] += 1
        reasons.add(verdict.reason)
        if not verdict.extra:
            judged += verdict.knocks is not None
            if detector.update(verdict.knocks, verdict.end_s).started:
                alert_s = min(alert_s, verdict.end_s)
        _print_line(_as_json(path, verdict) if arguments.json else _as_row(verdict))
        progress.report(verdict.end_s)
        if arguments.picture and verdict.picture is not None:
            start = f"{verdict.start_s:0{width}.{places}f}s"
            picture = arguments.picture / f"{name}_{start}_{verdict.verdict}.png"
            replaced += os.path.exists(picture)  # noqa: PTH110 - Path.exists() may raise
            error = _write_picture(picture, verdict.picture)
            picture_error = picture_error or error
    if not arguments.json:
        summary = ", ".join(f"{count} {name}" for name, count in sorted(counts.items()))
        _print_line(
            f"{'':>10}{'':>10}  {summary} (a window knocks if p is {pipeline.threshold:g} or more)"
        )
        words = _alert_in_words(alert_s, judged, detector.config, arguments.hop)
        _print_line(f"{'':>10}{'':>10}  {words}\n")
    if source.channels > 1 and reasons <= DEAD:
        _print_note(
            f"{path}: channel {arguments.channel} has no usable sound; the file has "
            f"{source.channels} channels, numbered from 0: try another --channel"
        )
    if replaced:  # perhaps another car's recording of the same name
        pictures = f"{replaced} picture{'s' if replaced > 1 else ''}"
        _print_note(f"{path}: replaced {pictures} in {arguments.picture}")
    if picture_error is not None:  # raised only now, after every window was judged
        raise picture_error


class _Progress:
    """Prints progress on a terminal, if the verdicts are not printed there themselves."""

    def __init__(self, path: Path) -> None:
        self._path = path
        stdout_seen = sys.stdout is not None and sys.stdout.isatty()
        self._enabled = sys.stderr.isatty() and not stdout_seen
        self._next_s = time.monotonic() + PROGRESS_INTERVAL_S

    def report(self, seconds: float) -> None:
        """Report that the recording is judged up to ``seconds``."""
        if self._enabled and time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + PROGRESS_INTERVAL_S
            _print_note(f"{self._path}: judged to {seconds:.0f} s")


def _alert_in_words(alert_s: float, judged: int, config: DetectorConfig, hop_s: float) -> str:
    """Whether ``judged`` windows would start an alert of the service with its default settings."""
    rule = f"{config.needed} of {config.windows} windows"
    rule += f", here one every {hop_s:g} s; in edge run, one every {ListenConfig().hop_s:g} s"
    if alert_s < math.inf:
        return f"enough for an alert at {alert_s:.1f} s ({rule})"
    if hop_s >= config.clear_s:  # the detector forgets each window before the next comes
        return f"too far apart to tell whether it is enough for an alert ({rule})"
    if judged < config.needed:  # not enough even if all of them knock
        return f"too few judged windows to tell whether it is enough for an alert ({rule})"
    return f"not enough for an alert ({rule})"


def _print_note(line: str) -> None:
    with contextlib.suppress(OSError):  # the terminal has gone: go on judging
        print(printable(line), file=sys.stderr)


def _print_line(line: str) -> None:
    try:
        print(line, flush=True)
    except BrokenPipeError:
        raise
    except OSError as error:  # an error of the output, not of the recording
        raise output_error(error) from error


def _write_picture(path: Path, picture: NDArray[np.uint8]) -> ConfigError | None:
    """Write ``picture``; return an error, so that the rest of the recording is still judged."""
    try:
        write_png(path, picture)
    except OSError as error:
        return ConfigError(f"--picture: {path} cannot be written: {error.strerror}")
    return None


def _as_json(path: Path, verdict: Verdict) -> str:
    return json.dumps(
        {
            "file": str(path),
            "start_s": round(verdict.start_s, 3),
            "end_s": round(verdict.end_s, 3),
            "verdict": verdict.verdict,
            "p_knocking": None if verdict.p_knocking is None else round(verdict.p_knocking, 5),
            "reason": verdict.reason,
        }
    )


def _as_row(verdict: Verdict) -> str:
    p = "" if verdict.p_knocking is None else f"{verdict.p_knocking:.3f}"
    return (
        f"{verdict.start_s:10.2f}{verdict.end_s:10.2f}  {verdict.verdict:<10}{p:>10}  "
        f"{verdict.reason}"
    ).rstrip()
