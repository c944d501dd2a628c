"""RIFF/WAVE files, read piece by piece so that a day of audio needs no more memory than a second.

Python's own ``wave`` supports neither floating point nor (before 3.12) the extensible header that
multichannel recorders write; ``scipy.io.wavfile`` reads whole files. Layout of the format:
Microsoft, "Multiple Channel Audio Data and WAVE Files" (2001).
"""

from __future__ import annotations

import logging
import os
import shlex
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Self

import numpy as np
from numpy.typing import NDArray

from edge.errors import RecordingError
from edge.files import write_atomically

log = logging.getLogger(__name__)

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
# Format codes of ADPCM (Microsoft, IMA), A-law, mu-law, GSM, G.726 and MP3, as telephones and
# dashboard cameras write them.
COMPRESSED_CODES = {
    *(0x02, 0x06, 0x07, 0x11, 0x31, 0x42, 0x45, 0x50, 0x55),
    *(0x64, 0xFF, 0x28F, 0x2000, 0xF1AC),
}
MAX_CHANNELS = 64
MAX_FORMAT = 64  # bytes read of a format chunk; the longest known one has 40
MAX_HEADER_CHUNKS = 100  # a real file has a handful; a limit for damaged ones
SIZE_MODULUS = 2**32  # chunk sizes have 32 bits: in longer files many writers let them wrap around
PLACEHOLDER_SIZE = 0x7FFFF000  # sizes from here on are placeholders, as written to a pipe


class EncodingError(RecordingError):
    """A WAVE file in an encoding that this module does not decode: ADPCM, mu-law, MP3."""


class WavReader:
    """An open WAVE file: 8, 16, 24, 32 bit integers or 32, 64 bit floats, up to 64 channels.

    >>> with WavReader(Path("engine.wav")) as wav:  # doctest: +SKIP
    ...     for samples in wav.pieces(4096):  # (n, channels) float32 in [-1, 1)
    ...         ...
    """

    def __init__(self, path: Path) -> None:
        """Open and read the header; RecordingError if this is not a WAVE file we can read."""
        self.path = path
        self._final_warning = ""  # a warning, logged when all of the sound has been read
        self._file: BinaryIO = path.open("rb")
        try:
            self._read_header()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def _read_header(self) -> None:
        riff = self._file.read(12)
        if not riff:
            raise self._error("is empty: nothing was recorded")
        if len(riff) < 12 or riff[:4] != b"RIFF" or riff[8:] != b"WAVE":
            raise self._error(
                "is not a WAVE file, whatever its name says: record or copy it again, "
                "or give it the right suffix"
            )
        described = False
        for _ in range(MAX_HEADER_CHUNKS):
            header = self._file.read(8)
            if len(header) < 8:
                raise self._error("ends before any audio: the recording was cut off")
            name, size = struct.unpack("<4sI", header)
            if name == b"fmt ":
                self._read_format(self._file.read(min(size, MAX_FORMAT)))
                self._file.seek(max(0, size - MAX_FORMAT) + size % 2, os.SEEK_CUR)
                described = True
            elif name == b"data":
                if not described:
                    raise self._error("has audio before its format: the header is damaged")
                self._locate_data(size)
                return
            else:
                self._file.seek(size + size % 2, os.SEEK_CUR)
        raise self._error("has no audio among its first chunks: the header is damaged")

    def _read_format(self, fmt: bytes) -> None:
        if len(fmt) < 16:
            raise self._error("has a format chunk of too few bytes: the header is damaged")
        code, self.channels, self.sr, _, frame, bits = struct.unpack("<HHIIHH", fmt[:16])
        if code == EXTENSIBLE and len(fmt) >= 26:
            code = struct.unpack("<H", fmt[24:26])[0]
        if not 1 <= self.channels <= MAX_CHANNELS:
            raise self._error(
                f"claims {self.channels} channels: 1 to {MAX_CHANNELS} can be read; "
                "the header is damaged, record or copy it again"
            )
        if self.sr == 0:
            raise self._error(
                "claims a sampling rate of 0 Hz: the header is damaged, record or copy it again"
            )
        if (code, bits) not in {
            (PCM, 8),
            (PCM, 16),
            (PCM, 24),
            (PCM, 32),
            (FLOAT, 32),
            (FLOAT, 64),
        }:
            kind = EncodingError if code in COMPRESSED_CODES else RecordingError
            raise kind(
                f"{self.path} holds samples of format {code} with {bits} bits: "
                "save it as 16-bit PCM"
            )
        self._code, self._bytes = code, bits // 8
        # The frame size is redundant, and some writers get it wrong. It only tells whether 24 bits
        # are stored in 4 bytes, as the upper three of them.
        if bits == 24 and frame == 4 * self.channels:
            self._bytes = 4

    def _locate_data(self, claimed: int) -> None:
        start = self._file.tell()
        present = self.path.stat().st_size - start
        frame = self.channels * self._bytes
        # Recorders that stream or lose power leave 0 or the largest number as the size: then use
        # the size of the file.
        if claimed in (0, 0xFFFFFFFF):
            claimed = present
        elif claimed < present:
            claimed = self._unwrapped(claimed, present, start)
        # Some round the placeholder down to whole frames.
        elif present + frame < claimed <= PLACEHOLDER_SIZE - frame:
            byte_rate = self.sr * frame
            self._final_warning = (
                f"{self.path} is damaged at {present / byte_rate:.1f} s: the rest of its "
                f"{claimed / byte_rate:.1f} s is missing, copy it again"
            )
        self.n_frames = min(claimed, present) // frame
        if self.n_frames == 0:
            raise self._error("holds no samples: nothing was recorded")
        self._file.seek(start)

    def _unwrapped(self, claimed: int, present: int, start: int) -> int:
        """Bytes of sound in a data chunk at ``start`` that claims fewer than are ``present``.

        Its size may have wrapped around. It has, if unwrapping it leaves less than a second of
        bytes, or only chunks, after the sound. Otherwise the header is trusted, and a warning at
        the end names the bytes left out.
        """
        whole = claimed + (present - claimed) // SIZE_MODULUS * SIZE_MODULUS
        byte_rate = self.sr * self.channels * self._bytes
        if present - whole < byte_rate or self._only_chunks(start + whole + whole % 2):
            return whole
        self._final_warning = (
            f"{self.path} goes on for {present - claimed} bytes after {claimed / byte_rate:.1f} s, "
            "where its header says it ends: they are left out; if they are sound, recover it with: "
            f"ffmpeg -ignore_length 1 -i {shlex.quote(str(self.path.absolute()))} whole.flac"
        )
        return claimed

    def _only_chunks(self, at: int) -> bool:
        """Whether everything from byte ``at`` on is chunks with printable ASCII names."""
        end = self.path.stat().st_size
        for _ in range(MAX_HEADER_CHUNKS):
            if end - at < 8:
                return True
            self._file.seek(at)
            name, size = struct.unpack("<4sI", self._file.read(8))
            at += 8 + size
            if at > end or not all(0x20 <= letter < 0x7F for letter in name):
                return False
            at += size % 2
        return False

    def _error(self, what: str) -> RecordingError:
        return RecordingError(f"{self.path} {what}")

    def skip(self, n_frames: int) -> None:
        """Skip the next ``n_frames`` frames without reading them."""
        n = min(n_frames, self.n_frames)
        self._file.seek(n * self.channels * self._bytes, os.SEEK_CUR)
        self.n_frames -= n

    def pieces(self, n: int) -> Iterator[NDArray[np.float32]]:
        """The rest of the file, ``n`` frames at a time: (<= n, channels) float32 in [-1, 1)."""
        frame = self.channels * self._bytes
        while self.n_frames > 0:
            raw = self._file.read(min(n, self.n_frames) * frame)
            raw = raw[: len(raw) // frame * frame]
            if not raw:
                return
            self.n_frames -= len(raw) // frame
            yield self._decode(raw).reshape(-1, self.channels)
        if self._final_warning:
            log.warning("%s", self._final_warning)

    def _decode(self, raw: bytes) -> NDArray[np.float32]:
        if self._code == FLOAT:
            # Values beyond float32 become infinite, signalling NaNs quiet: the gate refuses both.
            with np.errstate(over="ignore", invalid="ignore"):
                return np.frombuffer(raw, f"<f{self._bytes}").astype(np.float32)
        if self._bytes == 1:  # the one unsigned format
            return (np.frombuffer(raw, np.uint8).astype(np.float32) - 128) / np.float32(128)
        if self._bytes == 3:  # widen to 32 bits, the new low byte 0
            wide = np.zeros((len(raw) // 3, 4), dtype=np.uint8)
            wide[:, 1:] = np.frombuffer(raw, np.uint8).reshape(-1, 3)
            return wide.view("<i4").ravel().astype(np.float32) / np.float32(2**31)
        scale = np.float32(2 ** (8 * self._bytes - 1))
        return np.frombuffer(raw, f"<i{self._bytes}").astype(np.float32) / scale


def to_int16(y: NDArray[np.float32] | NDArray[np.float64]) -> NDArray[np.int16]:
    """Quantise ``y`` (n,) in [-1, 1) to 16 bits; sound that was read from 16 bits is unchanged.

    Values beyond full scale are clipped.
    """
    # Clipped before scaling, too, which would overflow for the largest floats.
    steps = np.round(np.clip(y, -1, 1) * np.asarray(32768, dtype=y.dtype))
    return np.minimum(steps, 32767).astype(np.int16)


def write_wav(path: Path, y: NDArray[np.float32] | NDArray[np.float64], sr: int) -> None:
    """Write :func:`encode_wav` of ``y`` to ``path``, atomically."""
    write_atomically(path, encode_wav(y, sr))


def encode_wav(y: NDArray[np.float32] | NDArray[np.float64], sr: int) -> bytes:
    """Mono ``y`` (n,) in [-1, 1) as the bytes of a 16-bit PCM file; values beyond are clipped."""
    samples = to_int16(y).astype("<i2").tobytes()
    header = b"RIFF" + struct.pack("<I", 36 + len(samples)) + b"WAVEfmt "
    header += struct.pack("<IHHIIHH", 16, PCM, 1, sr, 2 * sr, 2, 16)
    return header + b"data" + struct.pack("<I", len(samples)) + samples
