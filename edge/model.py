"""A model file: one .tflite with its own description, so that the two cannot get out of step.

A ZIP archive with ``manifest.json`` is appended to the network. This is TFLite's own convention for
associated files: TFLite ignores what follows the flatbuffer, ZIP readers what precedes the archive.
The manifest says how the network's pictures are made, what its outputs mean and how it was checked.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sysconfig
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Self

from edge.errors import ConfigError, ModelError
from edge.files import write_atomically
from edge.frontend import FrontEndConfig
from edge.temperature import TEMPERATURE_RANGE, highest_p

FORMAT = 1
MANIFEST_NAME = "manifest.json"
SHIPPED_MODEL = "knock-int8.tflite"
PRECISIONS = ("int8", "float16", "float32")
MAX_FILE_BYTES = 512 * 2**20  # bytes, far above any model; a stray video must not fill the memory
MAX_MANIFEST_BYTES = 2**20
CHECKPOINT_SUFFIXES = (".pth", ".safetensors")
# What zipfile raises for a damaged archive, found by flipping a bit in every byte.
DAMAGED = (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, RuntimeError, OSError)


@dataclass(frozen=True)
class Manifest:
    """What must be known about a network to use it correctly."""

    name: str
    labels: tuple[str, ...]  # in the order of the outputs; one of them is "knocking"
    threshold: float  # p_knocking from which a window is called knocking, in (0, 1)
    precision: str  # one of PRECISIONS
    front_end: FrontEndConfig  # how its pictures are made
    temperature: float = 1.0  # divides the log-odds; > 1 makes the answers less confident
    network_sha256: str = ""  # of the bytes before the ZIP
    versions: Mapping[str, str] = field(default_factory=dict)  # of the tools that made it
    parity: Mapping[str, Any] = field(default_factory=dict)  # how far it agrees with its checkpoint
    calibration: Mapping[str, Any] = field(default_factory=dict)  # the data it was quantised with
    golden: Mapping[str, float] = field(default_factory=dict)  # its answers to known sounds
    format: int = FORMAT

    def __post_init__(self) -> None:
        """Refuse a description that does not allow judging."""
        if self.format != FORMAT:
            raise ModelError(f"manifest format {self.format!r} is not {FORMAT}")
        if not are_labels(self.labels):
            raise ModelError(f"labels {list(self.labels)} must be two, one of them 'knocking'")
        if self.precision not in PRECISIONS:
            raise ModelError(f"precision {self.precision!r} must be one of {', '.join(PRECISIONS)}")
        if not 0 < self.threshold < 1:
            raise ModelError(f"threshold {self.threshold!r} must lie between 0 and 1")
        low, high = TEMPERATURE_RANGE
        if not low <= self.temperature < high:
            raise ModelError(f"temperature {self.temperature!r} must lie between {low} and {high}")
        if self.threshold > self.highest_p:
            raise ModelError(
                f"threshold {self.threshold:g} is never reached: {self.precision} answers divided "
                f"by a temperature of {self.temperature:g} end at {self.highest_p:.3f}"
            )
        if not isinstance(self.golden, Mapping):
            raise ModelError(f"golden answer {self.golden!r} is not valid")
        has_golden = "seed" in self.golden and "p_knocking" in self.golden
        if has_golden and not (
            0 <= self.golden["p_knocking"] <= 1
            and 0 <= self.golden.get("p_of_knocks", 0) <= 1
            and float(self.golden["seed"]).is_integer()
            and self.golden["seed"] >= 0
        ):
            raise ModelError(f"golden answer {dict(self.golden)!r} is not valid")

    @property
    def highest_p(self) -> float:
        """Highest probability its answers can have, in (0, 1]."""
        return highest_p(self.precision, self.temperature)

    def to_json(self) -> bytes:
        """The manifest as stored in the archive."""
        content = {**asdict(self), "front_end": self.front_end.to_dict()}
        return json.dumps(content, indent=1, sort_keys=True).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Parse the bytes :meth:`to_json` made; ModelError names what is wrong."""
        try:
            values = json.loads(content)
            known = {f.name for f in fields(cls)}
            if wrong := sorted(set(values) - known):
                raise ModelError(f"manifest has unknown entries: {', '.join(wrong)}")
            values["labels"] = tuple(values["labels"])
            values["front_end"] = FrontEndConfig.from_dict(values["front_end"])
            return cls(**values)
        except (ConfigError, KeyError, TypeError, ValueError, OverflowError) as error:
            if isinstance(error, ModelError):
                raise
            raise ModelError(f"manifest cannot be read: {error}") from error


def are_labels(names: Sequence[object]) -> bool:
    """Whether ``names`` can label a network's two outputs: two strings, one of them "knocking"."""
    texts = {name for name in names if isinstance(name, str)}
    return len(names) == len(texts) == 2 and "knocking" in texts


@dataclass(frozen=True)
class ModelFile:
    """A checked model file in memory."""

    path: Path
    network: bytes  # the flatbuffer alone
    manifest: Manifest

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read and check ``path``; ModelError if damaged, inconsistent or no KnockKnock model."""
        try:
            if path.exists() and not path.is_file():  # /dev/zero has no end
                raise ModelError(f"model {path} is not a file")
            size = path.stat().st_size
            content = path.read_bytes() if size <= MAX_FILE_BYTES else b""
        except OSError as error:
            raise ModelError(f"model {path} cannot be read: {error.strerror}") from error
        if size == 0:
            raise ModelError(
                f"model {path} is empty: was power cut while it was copied? Copy it again, "
                "and then call sync"
            )
        if content[4:8] != b"TFL3":
            is_checkpoint = path.suffix in CHECKPOINT_SUFFIXES
            remedy = "convert it" if is_checkpoint else "make one"
            raise ModelError(f"{path} is not a TFLite model: {remedy} with convert export")
        try:
            network, manifest = _split(content)
            parsed = Manifest.from_json(manifest)
        except ModelError as error:
            raise ModelError(
                f"{path}: {error}; update this program if the model is newer, or make the model "
                "again with convert export"
            ) from error
        except DAMAGED as error:
            raise ModelError(
                f"{path} is cut off, or not a KnockKnock model ({error}): copy it again, "
                "or make one with convert export"
            ) from error
        if hashlib.sha256(network).hexdigest() != parsed.network_sha256:
            raise ModelError(f"{path}: network and manifest do not belong together: copy it again")
        return cls(path, network, parsed)


def _split(content: bytes) -> tuple[bytes, bytes]:
    """Network and manifest of a file's content."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        entry = archive.getinfo(MANIFEST_NAME)
        if entry.compress_type != zipfile.ZIP_STORED:  # it may be far longer than it claims
            raise ModelError("its manifest is compressed, which convert export never does")
        if entry.file_size > MAX_MANIFEST_BYTES:
            raise ModelError(f"manifest of {entry.file_size} bytes is too large")
        # zipfile has added the length of the network to the offsets; the first entry is the start.
        start = min(info.header_offset for info in archive.infolist())
        return content[:start], archive.read(entry)


def write_model(path: Path, network: bytes, manifest: Manifest) -> None:
    """Write ``network`` with its manifest to ``path``, atomically; the hash is computed here.

    The same input gives the same bytes: nothing is compressed, and the archive's date is fixed.
    """
    values = {f.name: getattr(manifest, f.name) for f in fields(manifest)}
    values["network_sha256"] = hashlib.sha256(network).hexdigest()
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:
        entry = zipfile.ZipInfo(MANIFEST_NAME, date_time=(1980, 1, 1, 0, 0, 0))
        zipped.writestr(entry, Manifest(**values).to_json())
    write_atomically(path, network + archive.getvalue())


def _data_folders() -> list[str]:
    """Where pip installs data files: in this environment, system-wide, for the user."""
    schemes = (sysconfig.get_default_scheme(), sysconfig.get_preferred_scheme("user"))
    found = [sysconfig.get_path("data", scheme) for scheme in schemes]
    return list(dict.fromkeys([found[0], "/usr/local", found[1]]))


def default_model() -> Path:
    """The model to use if none is named on the command line or in the settings.

    The one in the environment variable KNOCKKNOCK_MODEL, else the shipped one. ModelError lists the
    places searched.
    """
    if named := os.environ.get("KNOCKKNOCK_MODEL"):
        if not os.path.isfile(named):  # noqa: PTH113 - pathlib's raises in an unreadable folder
            raise ModelError(f"$KNOCKKNOCK_MODEL, {named}, is not a file: correct it, or unset it")
        return Path(named)
    package = Path(__file__).resolve().parent
    places = [
        package.parent / "models" / SHIPPED_MODEL,  # a source checkout
        *(Path(folder) / "share" / "knockknock" / SHIPPED_MODEL for folder in _data_folders()),
    ]
    for place in places:
        if place.is_file():
            return place
    looked = ", ".join(str(place) for place in places)
    raise ModelError(
        f"no model found (looked for {looked}): name one with listen.model in the settings, or "
        "with --model of edge predict"
    )
