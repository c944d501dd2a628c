import errno
import itertools
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest

from edge.decoders import pieces
from edge.errors import MissingPackageError, RecordingError
from edge.frontend.resample import resample
from edge.piece import Part
from edge.recording import Recording
from edge.window import mean_flaws
from tests.audio import noise, tone, wav_file
from tests.encoded import encode
from tests.test_decoders import film

SR = 22_050


@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000, 96_000, 192_000])
def test_any_rate_becomes_the_models(tmp_path, rate):
    y = Recording(wav_file(tmp_path / "a.wav", tone(1, rate), rate)).read()
    assert abs(y.size - SR) <= 1  # seen: not one off
    middle = slice(2000, 20_000)  # away from the ends, where the filter sees nothing before
    # 16 bits: 2e-5; resampler: -80 dB of 0.5 is 5e-5.
    assert np.abs(y[: tone(1, SR).size] - tone(1, SR)[: y.size])[middle].max() < 1e-4


@pytest.mark.parametrize("sr", [SR, 44_100])
def test_a_part_is_the_part(tmp_path, sr):
    path = wav_file(tmp_path / "a.wav", tone(3, sr), sr)
    part = Recording(path, start_s=1.0, end_s=2.5)
    blocks = list(part.blocks())
    assert blocks[0].start_s == 1.0
    assert sum(b.y.size for b in blocks) == pytest.approx(1.5 * SR, abs=1)
    whole = Recording(path).read()[SR : SR + part.read().size]
    inner = slice(500, -500)
    assert np.abs(part.read()[inner] - whole[inner]).max() < 1e-4


@pytest.mark.parametrize("rate", [8000, 16_000, SR, 44_056, 44_100, 48_000, 96_000, 191_990])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_a_window_is_the_same_by_hop_and_by_start(tmp_path, rate, suffix):
    """To the bit: what lies beyond both ends of the part is known to the resampler, too."""
    path = wav_file(tmp_path / "a.wav", noise(6, rate).astype("f8"), rate)
    if suffix == "flac":
        soundfile = pytest.importorskip("soundfile")
        path = tmp_path / "a.flac"
        soundfile.write(path, noise(6, rate), rate)
    whole = Recording(path, sr=SR).read()
    for start_s, end_s in ((0, 2), (0.02, 2.02), (1, 3), (3.3, 5.3), (1.0001, 1.001), (3.9, None)):
        blocks = list(Recording(path, start_s=start_s, end_s=end_s, sr=SR).blocks())
        y = np.concatenate([block.y for block in blocks])
        last = None if end_s is None else round(end_s * SR)
        np.testing.assert_array_equal(y, whole[round(start_s * SR) : last])
        assert blocks[0].start_s == pytest.approx(start_s, abs=0.5 / SR)


@pytest.mark.parametrize("form", ["mp3", "ogg", "mkv"])
def test_nor_does_it_differ_where_ffmpeg_decodes(tmp_path, form):
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / f"a.{form}"
    if form == "mkv":
        film(path)
    else:
        soundfile.write(path, noise(8, 44_100), 44_100)
    whole = Recording(path, sr=SR).read()
    for start_s in (0, 1, 4.5):
        y = Recording(path, start_s=start_s, end_s=start_s + 2, sr=SR).read()
        np.testing.assert_array_equal(y, whole[round(start_s * SR) : round((start_s + 2) * SR)])


def test_of_what_lies_around_a_part_nothing_is_heard(tmp_path):
    """The resampler needs some milliseconds of it, but neither its sound nor its flaws are kept."""
    y = noise(6, 44_100).astype("f8")
    y[: 2 * 44_100] = y[4 * 44_100 :] = 0  # still
    path = wav_file(tmp_path / "a.wav", y, 44_100)
    blocks = list(Recording(path, start_s=2, end_s=4, sr=SR).blocks())
    assert sum(block.y.size for block in blocks) == 2 * SR
    assert mean_flaws(blocks).stuck < 0.05  # a block at each end, of 46 ms
    with pytest.raises(RecordingError, match="ends before --start"):
        Recording(path, start_s=6, end_s=7, sr=SR).read()
    with pytest.raises(RecordingError, match=r"no sample lies between that and 3\.00001 s"):
        Recording(path, start_s=3, end_s=3.00001, sr=SR).read()


def test_channels_are_told_apart(tmp_path):
    path = wav_file(tmp_path / "a.wav", tone(1, SR), SR, channels=8)
    assert np.abs(Recording(path).read()).max() > 0.4
    assert np.abs(Recording(path, channel=7).read()).max() == 0
    with pytest.raises(RecordingError, match="8 channels: there is no channel 8"):
        Recording(path, channel=8).read()


def test_pieces_make_no_difference(tmp_path, monkeypatch):
    path = wav_file(tmp_path / "a.wav", tone(2, 44_100), 44_100)
    whole = Recording(path).read()
    monkeypatch.setattr("edge.piece.PIECE_SECONDS", 0.0176)
    np.testing.assert_array_equal(Recording(path).read(), whole)
    with_one_call = resample((tone(2, 44_100) * 32767).round().astype("f4") / 32768, 44_100, SR)
    assert np.abs(with_one_call - whole).max() < 1e-6  # same filter, other division of the signal


@pytest.mark.parametrize("rate", [8000, 16_000, SR, 44_100])
def test_blocks_are_as_short_as_a_microphones(tmp_path, rate):
    path = wav_file(tmp_path / "a.wav", tone(2, rate), rate)
    blocks = list(Recording(path).blocks())
    # A resampler gives 1024 samples or some more at a time, 46 ms.
    assert max(block.y.size for block in blocks) < 0.12 * SR


@pytest.mark.parametrize("codec", ["tta", "wavpack"])
def test_so_they_are_where_ffmpeg_decodes_a_second_at_once(tmp_path, codec):
    """Else two windows are due at once, and a listener skips one of them."""
    encode(tmp_path / "a.mkv", noise(4), SR, "matroska", codec)
    blocks = list(Recording(tmp_path / "a.mkv").blocks())
    assert max(block.y.size for block in blocks) < 0.12 * SR
    assert not any(block.gap for block in blocks)
    whole = np.concatenate([block.y for block in blocks])
    np.testing.assert_allclose(whole, noise(4), atol=1 / 255)  # half a step of 8 bits


@pytest.mark.parametrize("rate", [SR, 44_100])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_flat_tops_are_told_as_recorded(tmp_path, rate, suffix):
    y = np.clip(tone(2, rate), -0.25, 0.25)  # of a sine of 0.5: two thirds of the time
    path = wav_file(tmp_path / "a.wav", y, rate)
    if suffix == "flac":
        soundfile = pytest.importorskip("soundfile")
        path = tmp_path / "a.flac"
        soundfile.write(path, y, rate)
    blocks = list(Recording(path).blocks())
    assert np.mean([block.flaws.clipped for block in blocks]) == pytest.approx(0.67, abs=0.03)


@pytest.mark.parametrize("form", ["mp3", "ogg"])
@pytest.mark.parametrize("rates", [(48_000, 16_000), (44_100, 48_000)])
def test_a_rate_that_changes_midway_changes_no_pitch(tmp_path, form, rates):
    soundfile = pytest.importorskip("soundfile")
    parts = []
    for rate in rates:
        path, y = tmp_path / f"{rate}.{form}", tone(3, rate).astype("f4")
        if form == "ogg":  # FLAC in it, which soundfile does not write
            encode(path, y, rate, form, "flac")
        else:
            soundfile.write(path, y, rate)
        parts.append(path.read_bytes())
    path = tmp_path / "a"
    path.write_bytes(b"".join(parts))
    blocks = list(Recording(path).blocks())
    assert [block.gap for block in blocks].count(True) == 1  # no window lies over the splice
    y = np.concatenate([block.y for block in blocks])
    assert y.size / SR == pytest.approx(6, abs=0.3)  # an encoder's padding
    for half in (y[: 2 * SR], y[-2 * SR :]):
        spectrum = np.abs(np.fft.rfft(half * np.hanning(half.size)))
        assert spectrum.argmax() / 2 == pytest.approx(440, abs=1)


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mov", "a.txt"])
@pytest.mark.parametrize("content", [b"", b"once upon a time there was an engine" * 30])
def test_what_is_no_audio_gets_one_line(tmp_path, name, content):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(RecordingError) as caught:
        Recording(path).read()
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_rate_takes_no_memory(tmp_path):
    """A piece of it would last 0.05 s, which were 200 million samples."""
    path = wav_file(tmp_path / "a.wav", noise(60).astype("f8"), SR)
    content = bytearray(path.read_bytes())
    content[24:28] = (0xFFFFFFF0).to_bytes(4, "little")
    path.write_bytes(content)
    tracemalloc.start()
    with pytest.raises(RecordingError, match="sampling rate of 4294967280 Hz"):
        Recording(path).read()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1e6  # the 19 200 frames read at a time; all of them are 8 MB


def test_a_missing_file_a_late_start_and_an_odd_rate(tmp_path):
    with pytest.raises(RecordingError, match="does not exist"):
        Recording(tmp_path / "none.wav").read()
    path = wav_file(tmp_path / "a.wav", tone(1, SR), SR)
    with pytest.raises(RecordingError, match="ends before --start"):
        Recording(path, start_s=5).read()
    for rate in (4000, 9):  # in 0.05 s of the latter there is no sample
        path = wav_file(tmp_path / "b.wav", tone(1, 4000), rate)
        with pytest.raises(RecordingError, match=f"rate of {rate} Hz"):
            Recording(path).read()


@pytest.mark.parametrize("at", [0, 2])
def test_what_the_system_refuses_names_the_file(tmp_path, monkeypatch, at):
    """A memory card that fails, at the beginning or while it is read."""

    def failing(path, part):
        yield from itertools.islice(pieces(path, part), at)
        raise OSError(errno.EIO, "Input/output error")

    path = wav_file(tmp_path / "a.wav", tone(1, SR), SR)
    monkeypatch.setattr("edge.recording.pieces", failing)
    with pytest.raises(RecordingError) as caught:
        Recording(path).read()
    assert str(caught.value) == f"{path} cannot be read: Input/output error"


def test_wav_needs_no_decoder(tmp_path):
    path = wav_file(tmp_path / "a.wav", tone(1, SR), SR)
    code = (
        "import sys; sys.modules['av'] = sys.modules['soundfile'] = None\n"
        "from pathlib import Path; from edge.recording import Recording\n"
        "print(Recording(Path(sys.argv[1])).read().size)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == SR


@pytest.mark.parametrize("rate", [44_056, 44_100, 16_000])
def test_flaws_of_pieces_that_yield_nothing_yet_count_with_the_next_block(
    tmp_path, rate, monkeypatch
):
    """A resampler gives some pieces nothing and the next one twice as much."""
    monkeypatch.setattr("edge.piece.PIECE_SECONDS", 0.01)
    y = noise(4, rate).astype("f8")
    y[: y.size // 2] = 0
    blocks = list(Recording(wav_file(tmp_path / "a.wav", y, rate)).blocks())
    assert all(block.y.size for block in blocks[:-1])
    assert mean_flaws(blocks).stuck == pytest.approx(0.5, abs=0.02)


def test_a_decoder_without_its_library_is_named_with_the_remedy(tmp_path, monkeypatch):
    (tmp_path / "soundfile.py").write_text("raise OSError('sndfile library not found')")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "soundfile", raising=False)
    (tmp_path / "a.flac").write_bytes(b"fLaC" + bytes(100))
    with pytest.raises(MissingPackageError, match="libsndfile1"):
        Recording(tmp_path / "a.flac").read()


def test_a_part_ends_at_the_nearest_sample():
    assert Part(0.28, 0.29, 100).samples() == (28, 29)  # 0.29 * 100 is a little less than 29
