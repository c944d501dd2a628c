"""Pictures for an export: a calibration set and a separate set for the parity check."""

from __future__ import annotations

import hashlib
import math
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
from convert.labels import FOLDERS, TABLE, canonical, file_called, read_table, sources_of
from convert.made import make
from convert.parity import MIN_PICTURES
from edge.errors import RecordingError
from edge.frontend import FrontEnd, FrontEndConfig
from edge.gate import Gate

N_CALIBRATION = 200  # pictures of recordings for calibration, at most
N_MADE_CALIBRATION = 40  # synthetic ones, at least, every other one knocking
N_ALL_CALIBRATION = 240  # of both, at least: the fewer recordings, the more synthetic ones
N_REAL, N_MADE = 300, 100  # for the parity check: of recordings at most, synthetic at least
MIN_CALIBRATION = 16  # windows; fewer say too little about the value ranges
PER_RECORDING = 4  # windows, evenly spread over it; more only where recordings are few
N_SOURCES = 50  # named in a manifest, which every Pi reads; further ones are only counted
TRIES = 20  # attempts at a synthetic sound that the gate accepts; nearly all are accepted


@dataclass(frozen=True)
class ExportPictures:
    """Two disjoint sets of pictures (N, 224, 224, 3) uint8."""

    calibration: NDArray[np.uint8]
    held_back: NDArray[np.uint8]  # for the parity check
    described: dict[str, int]  # counts, as they go into the manifest
    used: list[Path]  # the recordings the pictures are of
    unreadable: list[str]  # one error message for each recording that could not be read


def export_pictures(folder: Path, front_end: FrontEnd, *, seed: int) -> ExportPictures:
    """Pictures of the recordings of ``folder``, half of the recordings for each set.

    They are those that its labels.csv lists, or else all below it. Of identical copies only the
    first is used. Synthetic engines are added to both sets, every other one knocking. Unreadable
    recordings are skipped; their error messages are returned. DatasetError if the folder is missing
    or gives too few windows for calibration.
    """
    if not folder.is_dir():
        raise DatasetError(f"{folder} is not a folder: --calibration takes a folder of recordings")
    found = sorted(_listed(folder)) or called_sounds(folder)
    if not found:
        raise DatasetError(f"{folder} holds no recordings ({', '.join(sorted(SUFFIXES))})")
    found = list({fingerprint(path): path for path in reversed(found)}.values())[::-1]
    order = [found[i] for i in np.random.default_rng(seed).permutation(len(found))]
    unreadable: list[str] = []
    (first, used), (second, used_too) = (
        _take(part, count, front_end, unreadable)
        for part, count in ((order[::2], N_CALIBRATION), (order[1::2], N_REAL))
    )
    if len(first) < MIN_CALIBRATION:
        why = f"; {len(unreadable)} could not be read, first: {unreadable[0]}" if unreadable else ""
        raise DatasetError(
            f"{folder} gives {len(first)} calibration windows from {len(found)} recordings, "
            f"{MIN_CALIBRATION} are needed: add recordings of 2 s or more{why}"
        )
    made = list(made_pictures(max(N_MADE, MIN_PICTURES - len(second)), front_end, seed=seed))
    # Clear knocks, rare in real recordings, give the largest activations in the last layers.
    # Without some of them the measured range is too small, and the surest answers saturate. Where
    # recordings are few, more of them take their place: two networks tuned to one car, calibrated
    # on 40 of its windows, were off by 0.053 and 0.050 with 40 synthetic pictures, by 0.036 and
    # 0.034 with 200.
    n_made = max(N_MADE_CALIBRATION, N_ALL_CALIBRATION - len(first))
    made_first = list(made_pictures(n_made, front_end, seed=seed + 1))
    return ExportPictures(
        np.stack(first + made_first),
        np.stack(second + made),
        {
            "recordings": len(used) + len(used_too),
            "calibration_pictures": len(first),
            "made_calibration_pictures": len(made_first),
            "real_pictures_held_back": len(second),
            "made_pictures_held_back": len(made),
        },
        used + used_too,
        unreadable,
    )


def sources_used(folder: Path, used: Sequence[Path]) -> dict[str, Any]:
    """For a manifest: the sources of the recordings ``used`` from ``folder``, and a digest of them.

    Sources are as given in a labels.csv there, or else guessed from file names. The digest is over
    the sorted SHA-256 of the files: it is the same for the same files under other names.
    """
    names = sorted(set(_sources(folder, used)))
    digest = hashlib.sha256("".join(sorted(map(fingerprint, used))).encode()).hexdigest()
    more = {"more_sources": len(names) - N_SOURCES} if len(names) > N_SOURCES else {}
    return {"sources": names[:N_SOURCES], **more, "files_sha256": digest}


def _listed(folder: Path) -> dict[Path, str]:
    """The recordings that a labels.csv in ``folder`` lists, each with its source or car, or "".

    They may lie elsewhere. Nothing is trained here, so that an unusable table is no reason to fail:
    then there are none, as without a table.
    """
    if not (folder / TABLE).is_file():
        return {}
    found = {}
    try:
        for _, row in read_table(folder / TABLE):
            path = file_called(folder, row["file"])
            path.resolve()  # fails for what no file can be called, and for links in a circle
            found[path] = row.get("source") or row.get("car", "")
        return found
    except (DatasetError, OSError, RuntimeError, ValueError):
        return {}


def _sources(folder: Path, used: Sequence[Path]) -> list[str]:
    given = {path.resolve(): source for path, source in _listed(folder).items()}
    files = [path.relative_to(folder) if path.is_relative_to(folder) else path for path in used]
    labels = [next((canonical(n) for n in f.parts if canonical(n) in FOLDERS), "") for f in files]
    guesses = sources_of(list(zip(files, labels, strict=True)), folder)
    return [
        given.get(path.resolve()) or guess.named(path)
        for path, guess in zip(used, guesses, strict=True)
    ]


def _take(
    paths: list[Path], count: int, front_end: FrontEnd, unreadable: list[str]
) -> tuple[list[NDArray[np.uint8]], list[Path]]:
    """Up to ``count`` pictures, as evenly from ``paths`` as possible, and the recordings used."""
    per_recording = max(PER_RECORDING, math.ceil(MIN_CALIBRATION / max(1, len(paths))))
    rounds: list[list[NDArray[np.float32]]] = [[] for _ in range(per_recording)]
    fit_to_be_judged: list[Path] = []
    for path in paths:
        if len(rounds[0]) >= count:
            break
        try:
            fit = _spread(path, front_end.config, per_recording)
        except RecordingError as error:
            unreadable.append(str(error))
            continue
        fit_to_be_judged += [path] if fit else []
        for queue, y in zip(rounds, fit, strict=False):
            queue.append(y)
    cuts = [y for queue in rounds for y in queue][:count]
    return [front_end.picture(y) for y in cuts], fit_to_be_judged[:count]


def _spread(path: Path, config: FrontEndConfig, most: int) -> list[NDArray[np.float32]]:
    """Up to ``most`` windows that the device would judge, evenly spread over a recording.

    The recording is read twice, as all windows of hours of sound would be gigabytes.
    """
    count = sum(1 for _ in judgeable(path, config))
    chosen = set(evenly(count, most).tolist())
    # Copies, as a view would keep the buffer around it in memory.
    return [y.copy() for i, y in enumerate(judgeable(path, config)) if i in chosen]


def evenly(count: int, most: int) -> NDArray[np.int64]:
    """At most ``most`` of the indices below ``count``, evenly spread, with the first and the last.

    Calibration pictures come in an order, recordings before synthetic engines.
    """
    return np.linspace(0, count - 1, min(count, most)).astype(np.int64)


def made_pictures(count: int, front_end: FrontEnd, *, seed: int) -> Iterator[NDArray[np.uint8]]:
    """Pictures of synthetic engines, every other one knocking.

    A sound that the device's gate refuses would never be judged; another takes its place.
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
