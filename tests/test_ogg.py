"""Recordings in Ogg, which can be cut off, damaged, or several in one file."""

import sys

import numpy as np
import pytest

from edge.missing_sound import SCAN_BYTES, is_chained
from edge.recording import Recording
from tests.audio import noise, tone
from tests.encoded import encode

SR = 22_050


def test_a_video_in_ogg_goes_to_the_decoder_of_videos(tmp_path, monkeypatch):
    soundfile = pytest.importorskip("soundfile")
    pytest.importorskip("av")
    path = tmp_path / "a.ogv"
    soundfile.write(path, tone(2, SR), SR, format="OGG")
    monkeypatch.setitem(sys.modules, "soundfile", None)  # knows no video
    # FFmpeg does not cut off what fills Vorbis's last block, of at most 2048 samples.
    assert 0 <= Recording(path, sr=SR).read().size - 2 * SR < 2048


def test_behind_damage_nothing_is_heard_twice(tmp_path, caplog):
    """Each second of it is a tone of its own, which may be missing but not come again."""
    soundfile = pytest.importorskip("soundfile")
    if "OPUS" not in soundfile.available_subtypes("OGG"):
        pytest.skip("this libsndfile knows no Opus")
    path, rate = tmp_path / "a.opus", 48_000
    t = np.arange(rate) / rate
    y = np.concatenate([0.3 * np.sin(2 * np.pi * (200 + 100 * k) * t) for k in range(20)])
    with soundfile.SoundFile(path, "w", rate, 1, "OPUS", format="OGG") as file:
        for piece in np.split(y, 20):  # at once it is more than libsndfile's stack takes
            file.write(piece)
    content = bytearray(path.read_bytes())
    middle, size = len(content) // 2, len(content) // 8
    content[middle : middle + size] = bytes(size)
    path.write_bytes(content)
    heard = Recording(path, sr=rate).read()
    half = rate // 2
    tones = [
        round((np.abs(np.fft.rfft(heard[at : at + half])).argmax() * 2 - 200) / 100)
        for at in range(0, heard.size - half + 1, half)
    ]
    assert tones == sorted(tones)
    assert tones[0] == 0 and tones[-1] == 19
    missing_s = 20 - heard.size / rate
    assert missing_s > 1
    assert f"{missing_s:.1f} s of sound are missing" in caplog.text


def test_what_an_ogg_file_lost_in_its_middle_is_said(tmp_path, caplog):
    """No decoder calls damaged pages an error; the times of those behind tell."""
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(20), SR)
    Recording(path, sr=SR).read()
    assert caplog.messages == []
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 9000] = bytes(9000)
    path.write_bytes(content)
    missing_s = 20 - Recording(path, sr=SR).read().size / SR
    assert missing_s > 1
    (said,) = caplog.messages
    assert f"{path}: {missing_s:.1f} s of sound are missing in 1 place" in said
    caplog.clear()
    Recording(path, end_s=2, sr=SR).read()
    assert caplog.messages == []


@pytest.mark.parametrize("kind", ["VORBIS", "OPUS"])
def test_an_end_that_is_missing_is_said(tmp_path, caplog, kind):
    soundfile = pytest.importorskip("soundfile")
    if kind not in soundfile.available_subtypes("OGG"):
        pytest.skip("this libsndfile knows no Opus")
    path, rate = tmp_path / "a.ogg", 48_000
    soundfile.write(path, noise(9, rate), rate, format="OGG", subtype=kind)
    content = path.read_bytes()
    path.write_bytes(content + b"TAG" + bytes(125))  # behind the last page
    Recording(path, sr=SR).read()
    assert caplog.messages == []
    for size in (len(content) // 2, content.rfind(b"OggS"), len(content) - 1):
        path.write_bytes(content[:size])
        y = Recording(path, sr=SR).read()
        (said,) = caplog.messages
        assert said.startswith(f"{path} may be cut off at {y.size / SR:.1f} s")
        caplog.clear()
    Recording(path, end_s=1, sr=SR).read()
    assert caplog.messages == []


def test_all_recordings_in_one_file_are_heard(tmp_path, caplog):
    """A chain, as players and ``cat`` make it; no window lies over a splice."""
    soundfile = pytest.importorskip("soundfile")
    links = []
    for hz, seconds in ((440, 8), (880, 6), (660, 7)):
        soundfile.write(tmp_path / "a.ogg", tone(seconds, SR, hz), SR)
        links.append((tmp_path / "a.ogg").read_bytes())
    path = tmp_path / "a.ogg"
    path.write_bytes(b"".join(links))
    blocks = list(Recording(path, sr=SR).blocks())
    splices = [block.start_s for block in blocks if block.gap]
    # Where a link ends FFmpeg leaves what fills its last block, of 2048 samples at most.
    assert splices == pytest.approx([8, 14], abs=2 * 2048 / SR)
    assert blocks[-1].start_s + blocks[-1].y.size / SR == pytest.approx(21, abs=2 * 2048 / SR)
    assert caplog.messages == []
    y = Recording(path, start_s=9, end_s=11, sr=SR).read()
    assert np.abs(np.fft.rfft(y * np.hanning(y.size))).argmax() / 2 == pytest.approx(880, abs=1)
    y = Recording(path, start_s=15, end_s=17, sr=SR).read()
    assert np.abs(np.fft.rfft(y * np.hanning(y.size))).argmax() / 2 == pytest.approx(660, abs=1)


def test_a_hole_in_a_later_recording_of_one_file_is_said(tmp_path, caplog):
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(20), SR)
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content + content[:middle] + bytes(9000) + content[middle + 9000 :])
    Recording(path, sr=SR).read()
    (said,) = caplog.messages
    assert "of sound are missing in 1 place, the first at 29." in said


def test_a_recording_of_another_kind_behind_the_first_is_said(tmp_path, caplog):
    """FFmpeg may hear it, or not: but not in silence."""
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "b.ogg", np.zeros((5 * SR, 2)) + noise(5)[:, np.newaxis], SR)
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(8), SR)
    path.write_bytes(path.read_bytes() + (tmp_path / "b.ogg").read_bytes())
    y = Recording(path, sr=SR).read()
    whole = y.size == pytest.approx(13 * SR, rel=0.01)
    assert whole or "cannot be decoded from 8.0 s on: the rest is left out" in caplog.text


def pages(content):
    """Of an Ogg file."""
    starts = [at for at in range(len(content)) if content.startswith(b"OggS", at)]
    return [content[a:b] for a, b in zip(starts, [*starts[1:], len(content)], strict=True)]


def test_what_is_missing_just_before_the_last_page_is_said(tmp_path, caplog):
    """There FFmpeg goes on as if nothing was; the last page still says how long it was."""
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "a.ogg"
    soundfile.write(path, noise(20), SR)
    every = pages(path.read_bytes())
    path.write_bytes(b"".join(every[: len(every) // 2] + every[-1:]))
    assert Recording(path, sr=SR).read().size < 15 * SR
    assert any("of its 20.0 s is missing" in said for said in caplog.messages)


@pytest.mark.parametrize(("kind", "seconds"), [("VORBIS", 8.0), ("OPUS", 0.6), ("OPUS", 8.0)])
def test_recordings_in_one_file_are_neither_joined_nor_damaged(tmp_path, caplog, kind, seconds):
    """FFmpeg guesses how long all are, and joins their times but for what fills a block."""
    soundfile = pytest.importorskip("soundfile")
    if kind not in soundfile.available_subtypes("OGG"):
        pytest.skip("this libsndfile knows no Opus")
    rate = 48_000 if kind == "OPUS" else SR
    path, links = tmp_path / "a.ogg", []
    for _ in range(5):  # each with a number of its own
        with soundfile.SoundFile(path, "w", rate, 1, kind, format="OGG") as file:
            for piece in np.array_split(noise(seconds, rate), 10):
                file.write(piece)
        links.append(path.read_bytes())
    path.write_bytes(b"".join(links))
    blocks = list(Recording(path, sr=SR).blocks())
    splices = [block.start_s for block in blocks if block.gap]
    assert splices == pytest.approx(seconds * np.arange(1, 5), abs=4 * 2048 / SR)
    assert sum(block.y.size for block in blocks) == pytest.approx(5 * seconds * SR, abs=5 * 2048)
    assert caplog.messages == []


def test_a_recording_is_several_only_where_one_begins_behind_the_sound_of_another(tmp_path):
    path = tmp_path / "a.ogg"
    begins, sound = b"OggS\0\2" + bytes(50), b"OggS\0\0" + bytes(300)
    for content, several in (
        (begins + sound, False),
        (begins + begins + sound, False),  # a picture has a page of its own
        (begins + sound + begins + sound, True),
        (begins + sound + bytes(SCAN_BYTES - 359) + begins, True),  # over two pieces
        (b"", False),
    ):
        path.write_bytes(content)
        assert is_chained(path) == several


def test_a_piece_of_a_longer_one_has_its_own_length(tmp_path, caplog):
    """As ffmpeg cuts with ``-f segment``: the times of each piece go on from the one before."""
    cut = {"segment_time": "2", "segment_format": "ogg"}
    encode(tmp_path / "%d.ogg", noise(6, 48_000), 48_000, "segment", "libopus", options=cut)
    y = Recording(tmp_path / "1.ogg", sr=48_000).read()
    assert y.size == pytest.approx(2 * 48_000, abs=0.1 * 48_000)
    assert not any("damaged" in line for line in caplog.messages)
