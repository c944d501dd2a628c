"""The pictures an export is calibrated on, and others it is proved on."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import DatasetError
from convert.fingerprint import fingerprint
from convert.folders import SUFFIXES, called_sounds
from convert.judgeable import judgeable
from convert.labels import FOLDERS, TABLE, file_called, read_table, sources_of, spelt
from convert.made import make
from convert.parity import MIN_PICTURES
from edge.errors import RecordingError
from edge.frontend import FrontEnd, FrontEndConfig
from edge.gate import Gate

N_CALIBRATION = 200  # pictures the value ranges are taken from
N_MADE_CALIBRATION = 40  # every other one knocking
N_REAL, N_MADE = 300, 100  # pictures the result is proved on: from recordings; synthetic at least
LEAST_CALIBRATION = 16  # windows; fewer say too little about the ranges
PER_RECORDING = 4  # windows, spread over it
N_SOURCES = 50  # named in a manifest, which everybody's Pi reads; the others are counted
TRIES = 20  # made sounds until one is judgeable; nearly all are


@dataclass(frozen=True)
class ExportPictures:
    """Pictures (N, 224, 224, 3) uint8, none in both."""

    calibration: NDArray[np.uint8]
    held_back: NDArray[np.uint8]
    described: dict[str, int]  # how many of what
    used: list[Path]  # the recordings they are of
    unreadable: list[str]  # what could not be read, each with the reason


def export_pictures(folder: Path, front_end: FrontEnd, *, seed: int) -> ExportPictures:
    """Pictures of the recordings below ``folder``, half of the recordings for each purpose.

    Of copies only the first counts. The held-back ones are filled up with made engines, half of
    them knocking. DatasetError if the folder is missing or has too little in it; unreadable
    recordings are skipped and named.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is no folder: --calibration takes a folder of recordings")
    found = called_sounds(folder)
    if not found:
        raise DatasetError(f"{folder} holds no recordings ({', '.join(sorted(SUFFIXES))})")
    found = list({fingerprint(path): path for path in reversed(found)}.values())[::-1]
    order = [found[i] for i in np.random.default_rng(seed).permutation(len(found))]
    unreadable: list[str] = []
    (first, used), (second, used_too) = (
        _take(part, count, front_end, unreadable)
        for part, count in ((order[::2], N_CALIBRATION), (order[1::2], N_REAL))
    )
    if len(first) < LEAST_CALIBRATION:
        why = f"; {len(unreadable)} could not be read, first: {unreadable[0]}" if unreadable else ""
        raise DatasetError(
            f"{folder} gives {len(first)} calibration windows of {len(found)} recordings, "
            f"{LEAST_CALIBRATION} are needed: add recordings of 2 s and more{why}"
        )
    made = list(made_pictures(max(N_MADE, MIN_PICTURES - len(second)), front_end, seed=seed))
    # Clear knocks, rare in real recordings, drive the last layers furthest: without some of them
    # their range is measured too small and the surest answers are cut off.
    knocking = list(made_pictures(N_MADE_CALIBRATION, front_end, seed=seed + 1))
    return ExportPictures(
        np.stack(first + knocking),
        np.stack(second + made),
        {
            "recordings": len(used) + len(used_too),
            "calibration_pictures": len(first),
            "made_calibration_pictures": len(knocking),
            "real_pictures_held_back": len(second),
            "made_pictures_held_back": len(made),
        },
        used + used_too,
        unreadable,
    )


def sources_used(folder: Path, used: Sequence[Path]) -> dict[str, Any]:
    """For a manifest: whose recordings in ``folder`` were ``used``, and a digest of these files.

    Sources are those that a labels.csv there names, or those that the names of files say. The
    digest is of the files' SHA-256 in order: that of the same files, however they are called.
    """
    names = sorted(set(_sources(folder, used)))
    digest = hashlib.sha256("".join(sorted(map(fingerprint, used))).encode()).hexdigest()
    more = {"more_sources": len(names) - N_SOURCES} if len(names) > N_SOURCES else {}
    return {"sources": names[:N_SOURCES], **more, "files_sha256": digest}


def _sources(folder: Path, used: Sequence[Path]) -> list[str]:
    given: dict[Path, str] = {}
    if (folder / TABLE).is_file():
        try:
            for _, row in read_table(folder / TABLE):
                path = file_called(folder, row["file"]).resolve()
                given[path] = row.get("source") or row.get("car", "")
        except (DatasetError, OSError, RuntimeError, ValueError):
            given = {}  # nothing is learnt here: a table that is no use is no hindrance
    files = [path.relative_to(folder) for path in used]
    labels = [next((spelt(n) for n in f.parts if spelt(n) in FOLDERS), "") for f in files]
    guesses = sources_of(list(zip(files, labels, strict=True)), folder)
    return [
        given.get(path.resolve()) or guess.source for path, guess in zip(used, guesses, strict=True)
    ]


def _take(
    paths: list[Path], count: int, front_end: FrontEnd, unreadable: list[str]
) -> tuple[list[NDArray[np.uint8]], list[Path]]:
    """Up to ``count`` pictures, as evenly from ``paths`` as can be, and of which of them."""
    rounds: list[list[NDArray[np.float32]]] = [[] for _ in range(PER_RECORDING)]
    fit_to_be_judged: list[Path] = []
    for path in paths:
        if len(rounds[0]) >= count:
            break
        try:
            fit = _spread(path, front_end.config)
        except (RecordingError, OSError) as error:
            unreadable.append(str(error))
            continue
        fit_to_be_judged += [path] if fit else []
        for queue, y in zip(rounds, fit, strict=False):
            queue.append(y)
    cuts = [y for queue in rounds for y in queue][:count]
    return [front_end.picture(y) for y in cuts], fit_to_be_judged[:count]


def _spread(path: Path, config: FrontEndConfig) -> list[NDArray[np.float32]]:
    """Up to PER_RECORDING windows of a recording that the device would judge, spread over it.

    Read twice, and only those kept: all windows of hours of sound would be gigabytes.
    """
    count = sum(1 for _ in judgeable(path, config))
    chosen = set(np.linspace(0, count - 1, PER_RECORDING).astype(int).tolist())
    # Copies: a view would keep what lies around it.
    return [y.copy() for i, y in enumerate(judgeable(path, config)) if i in chosen]


def made_pictures(count: int, front_end: FrontEnd, *, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Pictures of made engines, every other one knocking.

    Where the device's gate refuses a sound, another is made: it would never be judged.
    """
    config = front_end.config
    seconds, gate = config.n_samples / config.sr, Gate(sr=config.sr)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        knocks = number % 2 == 1
        for _ in range(TRIES):
            made = make(rng, seconds, knocks=knocks, level_db=None, over=None, name="calibration")
            y = made.y.astype(np.float32)
            if gate.check(y) is None:
                break
        yield front_end.picture(y)
