"""Training examples, made once and kept on disk: hours of making outlive an interruption."""

from __future__ import annotations

import hashlib
import io
import itertools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from convert.errors import DatasetError
from convert.examples import Example, Maker, make_examples
from convert.progress import bar
from edge import frontend
from edge.files import remove_leftovers, write_atomically
from edge.frontend import FrontEndConfig

SHAPE = (FrontEndConfig().n_bins, FrontEndConfig().n_frames)  # of a spectrogram
LEFT_S = 600.0  # no file takes as long to write: one half written is of a run that was killed
CHUNK = 1000  # examples in a file: half a minute's work on two cores


@dataclass(frozen=True)
class Drawn:
    """The first N examples of a maker."""

    indices: NDArray[np.uint8]  # (N, *SHAPE), colours of the spectrograms
    labels: NDArray[np.int64]  # (N,), places in LABELS
    heard: NDArray[np.bool_]  # (N, groups): whether a recording of that group is in it


# Modules whose code shapes examples, and those that choose windows to grade on; edge/ is the
# device's. A test sees to it that none they import is forgotten.
SHAPES = (
    *("bay", "dataset", "examples", "faults", "fingerprint", "folders", "intake", "labels"),
    *("lookalikes", "paths", "recipe", "skipped", "synth"),
    *(
        "edge/recording",
        "edge/decoders",
        "edge/missing_sound",
        "edge/hann",
        "edge/rates",
        "edge/wav",
        "edge/frontend",
    ),
)
CHOOSES = (
    *("judgeable", "edge/gate", "edge/gate_config", "edge/hiss", "edge/repetition"),
    "edge/window",
)
TRAINS = ("augment", "device", "fit", "network", "rendering")


@cache
def makers() -> str:
    """A name for the code that makes examples: other code makes others of the same sound or seed.

    It reads recordings, lays knocks over them and draws what comes of it. What chooses windows to
    grade on is not in it: a change there must not throw away hours of examples.
    """
    return digest_of_code(SHAPES)


@cache
def graders() -> str:
    """A name for the code that makes windows to grade on: those makers, and what chooses them."""
    return digest_of_code((*SHAPES, *CHOOSES))


@cache
def trainers() -> str:
    """A name for the code that learns from examples."""
    return digest_of_code(TRAINS)


def digest_of_code(names: Sequence[str]) -> str:
    """A name for the text of these modules of this package, and of ``edge/`` or folders there."""
    text = b"".join(file.read_bytes() for name in names for file in _files(name))
    return hashlib.sha256(text).hexdigest()[:12]


def _files(name: str) -> list[Path]:
    ours, edge = Path(__file__).parent, Path(frontend.__file__).parents[1]
    where = edge / name.removeprefix("edge/") if name.startswith("edge/") else ours / name
    return sorted(where.glob("*.py")) if where.is_dir() else [where.with_suffix(".py")]


# Asked now, while the files are what is being loaded: whoever edits one as a run goes on must not
# give what the old code makes the new code's name, nor end the run by removing one.
for _name in (makers, graders, trainers):
    _name()


def draw(
    maker: Callable[[], Maker],
    groups: Sequence[str],
    count: int,
    folder: Path,
    *,
    workers: int,
    name: str,
) -> Drawn:
    """The first ``count`` examples; those that ``folder`` holds are not made again.

    The folder belongs to one maker: who calls sees to that. It is asked for only if examples are
    missing, as those of a damaged file are: it needs all recordings in memory. ``groups`` are the
    columns of ``heard``; ``name`` stands beside the progress bar. DatasetError if what was made
    cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Another run may be writing here just now.
    remove_leftovers(folder, "*.npz", older_s=LEFT_S)
    for _ in range(2):
        _make_missing(maker, groups, count, folder, workers=workers, name=name)
        drawn = _read(folder, count, len(groups))
        if drawn is not None:
            return drawn
    raise DatasetError(
        f"{folder}: what was just written there cannot be read: is the disk failing?"
    )


def _place(folder: Path, start: int, count: int) -> Path:
    return folder / f"{start:08}-{min(start + CHUNK, count):08}.npz"


def _make_missing(
    maker: Callable[[], Maker],
    groups: Sequence[str],
    count: int,
    folder: Path,
    *,
    workers: int,
    name: str,
) -> None:
    starts = range(0, count, CHUNK)
    missing = [start for start in starts if not _place(folder, start, count).is_file()]
    numbers = [n for start in missing for n in range(start, min(start + CHUNK, count))]
    shown = bar(
        make_examples(maker(), numbers, workers) if numbers else (),
        f"{name} examples",
        initial=count - len(numbers),
        total=count,
        unit="",
    )
    made = iter(shown)
    for start in missing:
        size = min(CHUNK, count - start)
        _write(_place(folder, start, count), list(itertools.islice(made, size)), groups)
    shown.close()


def _write(path: Path, made: list[Example], groups: Sequence[str]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        indices=np.array([example.indices for example in made]),
        labels=np.array([example.label for example in made], dtype=np.int64),
        heard=np.array(
            [[group in example.heard for group in groups] for example in made], dtype=bool
        ).reshape(len(made), len(groups)),
    )
    write_atomically(path, buffer.getvalue())


def _read(folder: Path, count: int, n_groups: int) -> Drawn | None:
    """File by file into arrays of the full size: two copies of all would not fit everywhere.

    None if some of them were damaged; those are gone then.
    """
    indices = np.empty((count, *SHAPE), dtype=np.uint8)
    labels = np.empty(count, dtype=np.int64)
    heard = np.empty((count, n_groups), dtype=bool)
    whole = True
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        size = part.stop - start
        path = _place(folder, start, count)
        stored = arrays(path, size, indices=SHAPE, labels=(), heard=(n_groups,))
        if stored is None:
            whole = False
            continue
        indices[part], labels[part] = stored["indices"], stored["labels"]
        heard[part] = stored["heard"]
    return Drawn(indices, labels, heard) if whole else None


def arrays(
    path: Path, count: int | None, **shapes: tuple[int, ...]
) -> dict[str, NDArray[Any]] | None:
    """What the ``.npz`` file ``path`` holds; None, and it is removed, if it is damaged.

    So it is, too, without an array of each name in ``shapes``: ``count`` entries (None: as many in
    each) of that shape.
    """
    content = path.read_bytes()  # what fails here is not the file's fault
    try:
        with np.load(io.BytesIO(content)) as stored:
            found = {name: stored[name] for name in shapes}
        for name, shape in shapes.items():
            size = len(found[next(iter(shapes))]) if count is None else count
            if found[name].shape != (size, *shape):
                raise ValueError(f"{name} is of shape {found[name].shape}, not {(size, *shape)}")
    except MemoryError:  # nor is this
        raise
    except Exception as error:
        print(f"{path} is damaged and is made again ({error})", file=sys.stderr)
        path.unlink()
        return None
    return found
