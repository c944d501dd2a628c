"""Training examples, made once and cached on disk so that hours of work survive an interruption."""

from __future__ import annotations

import ast
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
LEFTOVER_S = 600.0  # no file takes this long to write: an older partial file is of a killed run
CHUNK = 1000  # examples per file: half a minute's work on two cores


@dataclass(frozen=True)
class CachedExamples:
    """The first N examples of a maker."""

    indices: NDArray[np.uint8]  # (N, *SHAPE), colour indices of the spectrograms
    labels: NDArray[np.int64]  # (N,), indices into LABELS
    has_group: NDArray[np.bool_]  # (N, groups): whether a recording of the group is in it


# What makes examples: reads recordings, mixes knocks into them, computes spectrograms. With the
# recordings, the recipe and the seed it determines them. SELECTION_MODULES are apart because a
# change there must not discard hours of examples. A test checks that none is missing in these two.
EXAMPLE_MODULES = (
    *("bay", "copies", "dataset", "examples", "faults", "fingerprint", "folders", "intake"),
    *("labels", "lookalikes", "paths", "recipe", "skipped", "synth"),
    *(
        "edge/recording",
        "edge/decoders",
        "edge/av_decoder",
        "edge/soundfile_decoder",
        "edge/piece",
        "edge/missing_sound",
        "edge/hann",
        "edge/rates",
        "edge/wav",
        "edge/frontend",
    ),
)
SELECTION_MODULES = (
    *("judgeable", "edge/gate", "edge/gate_config", "edge/hiss", "edge/repetition"),
    "edge/band",
    "edge/window",
)
GRADING_MODULES = (*EXAMPLE_MODULES, *SELECTION_MODULES)  # that make the windows to grade on
TRAINING_MODULES = ("augment", "device", "fit", "metrics", "network", "rendering")
DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


@cache
def digest_of_code(names: tuple[str, ...]) -> str:
    """Digest of the code, without docstrings and comments, of modules here and in ``edge/``."""
    code = "".join(_code(file.read_bytes()) for name in names for file in _files(name))
    return hashlib.sha256(code.encode()).hexdigest()[:12]


@cache
def _code(text: bytes) -> str:
    """Syntax tree of a module without docstrings: rewording those must not discard hours of work.

    Texts in the code still count, and another version of Python may give another tree.
    """
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            del node.body[0]
    return ast.dump(tree)


def _files(name: str) -> list[Path]:
    ours, edge = Path(__file__).parent, Path(frontend.__file__).parents[1]
    where = edge / name.removeprefix("edge/") if name.startswith("edge/") else ours / name
    return sorted(where.glob("*.py")) if where.is_dir() else [where.with_suffix(".py")]


# Computed on import, while the files are still the code that runs: editing one during a run must
# not label what the old code makes with the digest of the new, and removing one must not end it.
for _names in (EXAMPLE_MODULES, GRADING_MODULES, TRAINING_MODULES):
    digest_of_code(_names)


def load_or_make(
    maker: Callable[[], Maker],
    groups: Sequence[str],
    count: int,
    folder: Path,
    *,
    workers: int,
    name: str,
) -> CachedExamples:
    """Return the first ``count`` examples; only those that ``folder`` lacks are made.

    Files of CHUNK examples are used again; a shorter last one only for the same ``count``.
    The caller must use a separate folder for each maker. ``maker`` is called only if examples are
    missing or in a damaged file, because a maker needs all recordings in memory. ``groups`` are the
    columns of ``has_group``; ``name`` labels the progress bar. DatasetError if the files just
    written cannot be read.
    """
    folder.mkdir(parents=True, exist_ok=True)
    # Only old partial files: another run may be writing here at this moment.
    remove_leftovers(folder, "*.npz", older_s=LEFTOVER_S)
    for _ in range(2):
        _make_missing(maker, groups, count, folder, workers=workers, name=name)
        cached = _read(folder, count, len(groups))
        if cached is not None:
            return cached
    raise DatasetError(f"{folder}: files just written there cannot be read: is the disk failing?")


def _chunk_path(folder: Path, start: int, count: int) -> Path:
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
    missing = [start for start in starts if not _chunk_path(folder, start, count).is_file()]
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
        _write(_chunk_path(folder, start, count), list(itertools.islice(made, size)), groups)
    shown.close()


def _write(path: Path, made: list[Example], groups: Sequence[str]) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(
        buffer,
        indices=np.array([example.indices for example in made]),
        labels=np.array([example.label for example in made], dtype=np.int64),
        has_group=np.array(
            [[group in example.groups for group in groups] for example in made], dtype=bool
        ).reshape(len(made), len(groups)),
    )
    write_atomically(path, buffer.getvalue())


def _read(folder: Path, count: int, n_groups: int) -> CachedExamples | None:
    """Read file by file into arrays of the full size: two copies might not fit in memory.

    None if some files were damaged; :func:`load_arrays` has then removed them.
    """
    indices = np.empty((count, *SHAPE), dtype=np.uint8)
    labels = np.empty(count, dtype=np.int64)
    has_group = np.empty((count, n_groups), dtype=bool)
    complete = True
    for start in range(0, count, CHUNK):
        part = slice(start, min(start + CHUNK, count))
        size = part.stop - start
        path = _chunk_path(folder, start, count)
        stored = load_arrays(path, size, indices=SHAPE, labels=(), has_group=(n_groups,))
        if stored is None:
            complete = False
            continue
        indices[part], labels[part] = stored["indices"], stored["labels"]
        has_group[part] = stored["has_group"]
    return CachedExamples(indices, labels, has_group) if complete else None


def load_arrays(
    path: Path, count: int | None, **shapes: tuple[int, ...]
) -> dict[str, NDArray[Any]] | None:
    """Read the arrays named in ``shapes`` from ``path``, an ``.npz`` file.

    Each must have ``count`` entries (None: the same number in all) of its shape. A file that is
    damaged or lacks any of this is removed, and None returned.
    """
    content = path.read_bytes()  # an OSError here does not mean that the file is damaged
    try:
        with np.load(io.BytesIO(content)) as stored:
            found = {name: stored[name] for name in shapes}
        for name, shape in shapes.items():
            size = len(found[next(iter(shapes))]) if count is None else count
            if found[name].shape != (size, *shape):
                raise ValueError(f"{name} has shape {found[name].shape}, not {(size, *shape)}")
    except MemoryError:  # nor does this
        raise
    except Exception as error:
        print(f"{path} is damaged and will be made again ({error})", file=sys.stderr)
        path.unlink()
        return None
    return found
