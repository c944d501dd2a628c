import os
import struct
import tracemalloc
import wave
from stat import S_ISDIR

import numpy as np
import pytest

from edge.errors import RecordingError
from edge.files import write_atomically
from edge.wav import WavReader, to_int16, write_wav
from tests.audio import tone, wav_file

SR = 44_100
# One step of the format, and the step lost because +1 cannot be written.
STEP = {"u8": 2 / 127, "s16": 2 / 32767, "s24": 2 / 8388607, "s32": 1e-7, "f32": 1e-7, "f64": 1e-7}


@pytest.mark.parametrize("form", STEP)
@pytest.mark.parametrize(("channels", "extensible"), [(1, False), (2, False), (8, True)])
def test_every_sample_format_gives_the_same_sound(tmp_path, form, channels, extensible):
    y = tone(0.1, SR)
    path = wav_file(tmp_path / "a.wav", y, SR, form=form, channels=channels, extensible=extensible)
    with WavReader(path) as wav:
        pieces = list(wav.pieces(1000))
        assert (wav.sr, wav.channels) == (SR, channels)
    samples = np.concatenate(pieces)
    assert samples.dtype == np.float32
    assert samples.shape == (y.size, channels)
    assert np.abs(samples[:, 0] - y).max() <= STEP[form]
    assert np.abs(samples[:, 1:]).max(initial=0) <= STEP[form]


@pytest.mark.parametrize("channels", [1, 2])
def test_24_bits_in_four_bytes_each(tmp_path, channels):
    path = wav_file(tmp_path / "a.wav", tone(0.1, SR), SR, form="s32", channels=channels)
    content = bytearray(path.read_bytes())
    assert struct.unpack_from("<HH", content, 32) == (4 * channels, 32)
    struct.pack_into("<H", content, 34, 24)
    path.write_bytes(content)
    with WavReader(path) as wav:
        y = np.concatenate(list(wav.pieces(999)))
    assert np.abs(y[:, 0] - tone(0.1, SR)).max() <= STEP["s32"]


@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_a_wrong_size_of_frames_is_not_believed(tmp_path, wrong):
    path = wav_file(tmp_path / "a.wav", tone(0.1, SR), SR, channels=2)
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, 32, wrong)
    path.write_bytes(content)
    with WavReader(path) as wav:
        y = np.concatenate(list(wav.pieces(999)))
    assert np.abs(y[:, 0] - tone(0.1, SR)).max() <= STEP["s16"]


def test_skip_lands_on_the_right_sample(tmp_path):
    y = tone(0.1, SR)
    with WavReader(wav_file(tmp_path / "a.wav", y, SR, channels=2)) as wav:
        wav.skip(1234)
        rest = np.concatenate(list(wav.pieces(500)))[:, 0]
    assert np.abs(rest - y[1234:]).max() <= STEP["s16"]


@pytest.mark.parametrize("claimed", [0, 0xFFFFFFFF])
def test_a_recorder_that_lost_power_leaves_a_size_of_nothing(tmp_path, claimed):
    y = tone(0.1, SR)
    with WavReader(wav_file(tmp_path / "a.wav", y, SR, claimed=claimed)) as wav:
        assert sum(len(piece) for piece in wav.pieces(1000)) == y.size


@pytest.mark.parametrize("length", [18, 40, 63, 64, 65, 200])
def test_a_format_with_more_in_it_than_is_known(tmp_path, length):
    y = tone(0.1, SR)
    path = wav_file(tmp_path / "a.wav", y, SR)
    content = path.read_bytes()
    at = content.index(b"fmt ")
    fmt = content[at + 8 : at + 24] + bytes(length - 16 + length % 2)
    path.write_bytes(content[: at + 4] + struct.pack("<I", length) + fmt + content[at + 8 + 16 :])
    with WavReader(path) as wav:
        assert np.abs(np.concatenate(list(wav.pieces(999)))[:, 0] - y).max() <= STEP["s16"]


def test_what_follows_the_sound_is_no_sound(tmp_path):
    y = tone(0.1, SR)
    path = wav_file(tmp_path / "a.wav", y, SR)
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 4000) + bytes(4000))
    with WavReader(path) as wav:
        assert sum(len(piece) for piece in wav.pieces(1000)) == y.size


def test_what_a_cut_off_file_lacks_is_said_when_its_end_is_reached(tmp_path, caplog):
    y = tone(2, SR)
    path = wav_file(tmp_path / "a.wav", y, SR, channels=2, claimed=12 * 4 * SR)
    with WavReader(path) as wav:
        pieces = wav.pieces(SR)
        next(pieces)
        assert not caplog.messages  # to a part before the end it does not matter
        assert len(list(pieces)) == 1
    (said,) = caplog.messages
    assert said == f"{path} is damaged at 2.0 s: the rest of its 12.0 s is missing, copy it again"


@pytest.mark.parametrize("claimed", [0, 4 * SR + 4, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF])
def test_a_size_that_claims_nothing_is_not_missed(tmp_path, caplog, claimed):
    """Of one frame less, or of a writer that did not know how long it would be."""
    path = wav_file(tmp_path / "a.wav", tone(1, SR), SR, channels=2, claimed=claimed)
    with WavReader(path) as wav:
        assert sum(len(piece) for piece in wav.pieces(1000)) == SR
    assert not caplog.messages


@pytest.mark.parametrize("channels", [1, 2])
def test_what_sox_writes_to_a_pipe_is_not_missed(tmp_path, caplog, channels):
    """Whole frames of 0x7ffff000 bytes, of which 24 bits make less."""
    path = tmp_path / "a.wav"
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(3)
        file.setframerate(SR)
        file.writeframes(bytes(3 * channels * SR))
    content = bytearray(path.read_bytes())
    frame = 3 * channels
    content[40:44] = struct.pack("<I", 0x7FFFF000 // frame * frame)
    path.write_bytes(content)
    with WavReader(path) as wav:
        assert sum(len(piece) for piece in wav.pieces(1000)) == SR
    assert not caplog.messages


@pytest.mark.parametrize("wraps", [1, 3])
@pytest.mark.parametrize("behind", [b"", b"LIST" + struct.pack("<I", 400_000) + bytes(400_000)])
def test_beyond_four_gigabytes_the_size_is_counted_on(tmp_path, caplog, wraps, behind):
    """The 32 bits of a chunk's size begin again at 0; the file is sparse."""
    y = tone(0.1, SR)
    path = wav_file(tmp_path / "a.wav", y, SR)
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.seek(len(content) + wraps * 2**32 - 2 * y.size)
        file.write(content[-2 * y.size :] + behind)
    with WavReader(path) as wav:
        assert wav.n_frames == wraps * 2**31 + y.size
        wav.skip(wraps * 2**31)
        last = np.concatenate(list(wav.pieces(1000)))[:, 0]
    assert np.abs(last - y).max() <= STEP["s16"]
    assert not caplog.messages


@pytest.mark.parametrize("more", [2 * SR, 2**32 + 2 * SR, 2**32 - 2 * SR])
def test_much_after_the_end_by_the_header_is_left_out_and_said(tmp_path, caplog, more):
    y = tone(0.5, SR)
    path = wav_file(tmp_path / "a b.wav", y, SR)
    os.truncate(path, path.stat().st_size + more)
    with WavReader(path) as wav:
        assert wav.n_frames == y.size
        pieces = wav.pieces(y.size)
        next(pieces)
        assert not caplog.messages  # to a part before the end it does not matter
        assert not list(pieces)
    (said,) = caplog.messages
    assert f"{path} goes on for {more} bytes after 0.5 s" in said
    assert f"ffmpeg -ignore_length 1 -i '{path}' " in said


def test_what_looks_like_an_address_is_advised_as_a_file(tmp_path, caplog, monkeypatch):
    """ffmpeg takes ``12:30.wav`` for the protocol 12."""
    monkeypatch.chdir(tmp_path)
    whole = wav_file(tmp_path / "12:30.wav", tone(0.5, SR), SR)
    os.truncate(whole, whole.stat().st_size + 2 * SR)
    with WavReader(whole.relative_to(tmp_path)) as wav:
        list(wav.pieces(wav.n_frames))
    assert f"-i {tmp_path}/12:30.wav " in caplog.text


@pytest.mark.parametrize(
    "behind",
    [
        bytes(2 * SR - 2),  # what fills a recorder's last block
        b"id3 " + struct.pack("<I", 200_001) + bytes(200_002) + b"LIST\x04\0\0\0INFO",
    ],
)
def test_chunks_and_a_little_after_the_end_need_no_word(tmp_path, caplog, behind):
    y = tone(0.5, SR)
    path = wav_file(tmp_path / "a.wav", y, SR)
    path.write_bytes(path.read_bytes() + behind)
    with WavReader(path) as wav:
        assert sum(len(piece) for piece in wav.pieces(1000)) == y.size
    assert not caplog.messages


def test_a_signalling_nan_is_read_without_a_word(tmp_path):
    """As NaN, which the gate refuses; Python's warning, an error here, would reach the user."""
    path = wav_file(tmp_path / "a.wav", tone(0.1, SR), SR, form="f64")
    path.write_bytes(path.read_bytes()[:-8] + bytes.fromhex("010000000000f07f"))
    with WavReader(path) as wav:
        (piece,) = wav.pieces(SR)
    assert np.isnan(piece[-1, 0])


@pytest.mark.parametrize(("code", "bits"), [(2, 4), (6, 8), (7, 8), (85, 0), (1, 12), (3, 16)])
def test_a_kind_of_samples_that_is_not_known_is_named(tmp_path, code, bits):
    path = wav_file(tmp_path / "a.wav", tone(0.1, SR), SR)
    content = bytearray(path.read_bytes())
    struct.pack_into("<H", content, 20, code)
    struct.pack_into("<H", content, 34, bits)
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=f"format {code} with {bits} bits"):
        WavReader(path)


def test_a_format_that_claims_gigabytes_is_not_read_whole(tmp_path):
    path = wav_file(tmp_path / "a.wav", tone(0.1, SR), SR)
    content = bytearray(path.read_bytes())
    at = content.index(b"fmt ") + 4
    content[at : at + 4] = (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(RecordingError, match="cut off"):
        WavReader(path)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_cut_off_data_is_read_as_far_as_it_goes(tmp_path):
    path = wav_file(tmp_path / "a.wav", tone(0.1, SR), SR, channels=2)
    path.write_bytes(path.read_bytes()[:-1001])
    with WavReader(path) as wav:
        assert sum(len(piece) for piece in wav.pieces(1000)) == 4410 - 251  # 1001 B = 250.25 frames


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"", "empty"),
        (b"once upon a time there was an engine", "not a WAVE file.*: record or copy it again"),
        (b"RIFF\x04\0\0\0WAVE", "cut off"),
        (b"RIFF\x04\0\0\0WAVE" + b"data\x08\0\0\0" + bytes(8), "before its format"),
        (b"RIFF\x04\0\0\0WAVE" + b"junk\0\0\0\0" * 200, "first chunks"),
        (b"RIFF\x04\0\0\0WAVE" + b"fmt \x04\0\0\0" + bytes(4), "too few"),
        (b"RIFF\x04\0\0\0WAVE" + b"fmt \x10\0\0\0" + bytes(16), "0 channels"),
        (
            b"RIFF\x04\0\0\0WAVE" + b"fmt \x10\0\0\0" + struct.pack("<HH12x", 1, 65),
            "65 channels: 1 to 64 can be read; the header is damaged, record or copy it again",
        ),
        (
            b"RIFF\x04\0\0\0WAVE" + b"fmt \x10\0\0\0" + struct.pack("<HH12x", 1, 1),
            "sampling rate of 0 Hz: the header is damaged, record or copy it again",
        ),
    ],
)
def test_what_is_no_wave_file_is_named(tmp_path, content, word):
    path = tmp_path / "bad.wav"
    path.write_bytes(content)
    with pytest.raises(RecordingError, match=word) as caught:
        WavReader(path)
    assert str(path) in str(caught.value)


def test_written_files_read_back(tmp_path):
    y = tone(0.1, SR)
    write_wav(tmp_path / "a.wav", y, SR)
    with WavReader(tmp_path / "a.wav") as wav:
        back = np.concatenate(list(wav.pieces(999)))[:, 0]
    assert np.abs(back - y).max() <= STEP["s16"]


def test_beyond_full_scale_is_clipped_not_wrapped(tmp_path):
    write_wav(tmp_path / "a.wav", np.array([2.0, -2.0]), SR)
    with WavReader(tmp_path / "a.wav") as wav:
        back = next(wav.pieces(10))[:, 0]
    assert back[0] > 0.99
    assert back[1] == -1


def test_a_link_stays_and_leads_to_the_new_content(tmp_path):
    (tmp_path / "real").mkdir()
    target, link = tmp_path / "real" / "f", tmp_path / "link"
    target.write_bytes(b"old")
    link.symlink_to(target)
    write_atomically(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_atomically(tmp_path / "pipe", b"for whoever reads")
    assert os.read(reader, 100) == b"for whoever reads"
    os.close(reader)
    assert (tmp_path / "pipe").is_fifo()


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "f"
    write_atomically(path, b"old")
    with pytest.raises(TypeError):
        write_atomically(path, 3)  # type: ignore[arg-type]
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_what_is_beyond_full_scale_is_clipped_however_far(kind):
    y = np.array([1, 1.5, 3e38, -1, -7, -3e38, 0.5], dtype=kind)
    assert to_int16(y).tolist() == [32767, 32767, 32767, -32768, -32768, -32768, 16384]


@pytest.mark.parametrize("durable", [True, False])
def test_only_what_must_outlive_a_power_cut_is_waited_for(tmp_path, monkeypatch, durable):
    synced: list[bool] = []
    monkeypatch.setattr(
        "edge.files.os.fsync", lambda handle: synced.append(S_ISDIR(os.fstat(handle).st_mode))
    )
    write_atomically(tmp_path / "a", b"new", durable=durable)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert synced == ([False, True] if durable else [])  # the file, then its name


def test_what_is_there_is_replaced_and_not_written_over(tmp_path):
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with path.open("rb") as reading:
        write_atomically(path, b"new")
        assert reading.read() == b"old"
    assert path.read_bytes() == b"new"


def test_all_of_it_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    sizes, sync = [], os.fsync

    def note(handle):
        if not S_ISDIR(os.fstat(handle).st_mode):
            assert not (tmp_path / "a").exists()
            sizes.append(os.fstat(handle).st_size)
        sync(handle)

    monkeypatch.setattr(os, "fsync", note)
    write_atomically(tmp_path / "a", b"few")
    assert sizes == [3]
