"""Training examples, made once and kept on disk: hours of making outlive an interruption."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.examples import Example, Maker, make_examples
from convert.progress import bar
from edge import frontend, hann
from edge.files import remove_leftovers, write_atomically

CHUNK = 1000  # examples in a file: half a minute's work on two cores


@dataclass(frozen=True)
class Drawn:
    """The first N examples of a maker."""

    indices: NDArray[np.uint8]  # (N, 84, 87), colours of the spectrograms
    labels: NDArray[np.int64]  # (N,), places in LABELS
    heard: NDArray[np.bool_]  # (N, sources): whether a recording of that source is in it


def makers() -> str:
    """A name for the code that makes examples: other code makes others of the same seed."""
    here = Path(__file__).parent
    names = ("bay", "dataset", "examples", "faults", "lookalikes", "recipe", "synth")
    files = [here / f"{name}.py" for name in names]
    files += [Path(hann.__file__), *sorted(Path(frontend.__file__).parent.glob("*.py"))]
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def draw(
    maker: Callable[[], Maker],
    sources: Sequence[str],
    count: int,
    folder: Path,
    *,
    workers: int,
    name: str,
) -> Drawn:
    """The first ``count`` examples; those that ``folder`` holds are not made again.

    The folder belongs to one maker: who calls sees to that. It is asked for only if examples are
    missing: it needs all recordings in memory. ``sources`` are the columns of ``heard``; ``name``
    stands beside the progress bar.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder, "*.npz")
    starts = range(0, count, CHUNK)
    paths = [folder / f"{start:08}-{min(start + CHUNK, count):08}.npz" for start in starts]
    missing = [start for start, path in zip(starts, paths, strict=True) if not path.is_file()]
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
        _write(paths[start // CHUNK], list(itertools.islice(made, size)), sources)
    shown.close()
    return _read(paths, count, len(sources))


def _write(path: Path, made: list[Example], sources: Sequence[str]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        indices=np.array([example.indices for example in made]),
        labels=np.array([example.label for example in made], dtype=np.int64),
        heard=np.array([[source in example.heard for source in sources] for example in made]),
    )
    write_atomically(path, buffer.getvalue())


def _read(paths: Sequence[Path], count: int, n_sources: int) -> Drawn:
    """File by file into arrays of the full size: two copies of all would not fit everywhere."""
    indices = np.empty((count, 84, 87), dtype=np.uint8)
    labels = np.empty(count, dtype=np.int64)
    heard = np.empty((count, n_sources), dtype=bool)
    for number, path in enumerate(paths):
        part = slice(number * CHUNK, min((number + 1) * CHUNK, count))
        with np.load(path) as stored:
            indices[part], labels[part] = stored["indices"], stored["labels"]
            heard[part] = stored["heard"].reshape(labels[part].size, n_sources)
    return Drawn(indices, labels, heard)
