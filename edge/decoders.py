"""Which decoder reads a recording: this package's own, soundfile or PyAV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from edge import av_decoder, soundfile_decoder
from edge.errors import MissingPackageError, RecordingError
from edge.missing_sound import begins_midway
from edge.packages import pip_install
from edge.piece import Part, Piece, piece_frames
from edge.wav import EncodingError, WavReader

# Not MP3: after a seek (for --start) libsndfile's decoder lacks the bit reservoir of earlier
# frames, so the first 20 ms are wrong.
# Nor Ogg: it reads only the first link of a chained file, and after damage it joins what follows.
# Nor CAF: it refuses a file that was cut off, or whose length was never filled in.
SOUNDFILE_SUFFIXES = {".flac", ".aif", ".aiff", ".au"}
SOUNDFILE_MAGICS = (b"fLaC", b"FORM", b"RF64", b".snd")
# The last three: CAF, Wave64, and Matroska and WebM.
AV_MAGICS = (b"#!AMR", b"OggS", b"caff", b"riff\x2e\x91", b"\x1aE\xdf\xa3")


def pieces(path: Path, part: Part) -> Iterator[Piece]:
    """Decode ``part`` of the recording ``path``; RecordingError if none of it can be decoded."""
    with path.open("rb") as file:
        magic = file.read(12)
    if not magic:
        raise RecordingError(f"{path} is empty: nothing was recorded")
    if magic[:4] == b"RIFF" and magic[8:] == b"WAVE":
        return _from_wav(path, part)
    if _needs_av(magic):
        return av_decoder.pieces(path, part)
    suffix = path.suffix.lower()
    wave = suffix in {".wav", ".wave"}
    # Some recorders write RF64 into files named .wav; other such files are misnamed.
    if suffix in SOUNDFILE_SUFFIXES or (wave and magic.startswith(SOUNDFILE_MAGICS)):
        if begins_midway(path):
            return av_decoder.pieces(path, part)
        return soundfile_decoder.pieces(path, part)
    if wave and not magic.startswith(b"ID3"):
        return _from_wav(path, part)  # raises an error that says what is wrong
    return av_decoder.pieces(path, part)


def _from_wav(path: Path, part: Part) -> Iterator[Piece]:
    try:
        wav = WavReader(path)
    except EncodingError as error:
        try:
            yield from av_decoder.pieces(path, part)
        except MissingPackageError as missing:
            raise MissingPackageError(f"{error}, or install av: {pip_install('av')}") from missing
        return
    with wav:
        start, remaining = part.frames(wav.sr)
        wav.skip(start)
        for piece in wav.pieces(piece_frames(wav.sr)):
            cut = piece if remaining is None else piece[:remaining]
            if cut.size == 0:
                return
            yield Piece(cut, wav.sr)
            remaining = None if remaining is None else remaining - len(cut)


def _needs_av(magic: bytes) -> bool:
    """Whether a file that begins with ``magic`` needs PyAV, whatever its name.

    That is MP4, MP3, AAC, AMR, Ogg, CAF, Matroska: what telephones record. MP3 and AAC without a
    container begin with eleven set bits (their frame sync), but never with 32, as an erased block
    of a memory card does.
    """
    frame_sync = magic[:2] >= b"\xff\xe0" and magic[:4] != b"\xff" * 4
    return frame_sync or magic[4:8] == b"ftyp" or magic.startswith(AV_MAGICS)
