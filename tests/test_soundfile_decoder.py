"""FLAC that is damaged, or holds more than its header says, and its kin."""

import logging

import numpy as np
import pytest

from edge.errors import RecordingError
from edge.recording import Recording
from tests.audio import noise
from tests.encoded import encode

SR = 22_050
soundfile = pytest.importorskip("soundfile")


@pytest.fixture
def flac(tmp_path):
    """20 s as FLAC, the samples as written."""
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(20), SR)
    return path, soundfile.read(path, dtype="float32")[0]


def heard(path, **part):
    """Its blocks, each where it says it is."""
    blocks = list(Recording(path, sr=SR, **part).blocks())
    return [(round(block.start_s * SR), block.y, block.gap) for block in blocks]


@pytest.mark.parametrize("damage", ["flipped", "erased", "cut out"])
def test_behind_damage_everything_is_heard_in_its_place(flac, caplog, damage):
    path, y = flac
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    if damage == "flipped":
        content[middle] ^= 0xFF
    elif damage == "erased":
        content[middle : middle + 40_000] = bytes(40_000)
    else:
        del content[middle : middle + 40_000]
    path.write_bytes(content)
    found = heard(path)
    assert [gap for *_, gap in found].count(True) == 1
    for at, block, _ in found:
        np.testing.assert_array_equal(block, y[at : at + block.size])
    # No more than the frames of 0.19 s that are hit, what is read at a time and the search.
    missing_s = 20 - sum(block.size for _, block, _ in found) / SR
    assert 0 < missing_s < (0.5 if damage == "flipped" else 40_000 / len(content) * 20 * 2)
    assert f"{path}: {missing_s:.1f} s of sound are missing in 1 place" in caplog.text
    assert len(caplog.messages) == 1


def test_many_places_are_one_message_and_none_is_joined_to_the_next(flac, caplog):
    path, y = flac
    content = bytearray(path.read_bytes())
    for part in range(2, 18):
        content[part * len(content) // 20] ^= 0xFF
    path.write_bytes(content)
    found = heard(path)
    assert [gap for *_, gap in found].count(True) == 16
    for at, block, _ in found:
        np.testing.assert_array_equal(block, y[at : at + block.size])
    assert " in 16 places, the first at 1." in caplog.messages[0]
    assert len(caplog.messages) == 1


def test_a_part_behind_the_damage_is_the_same_part(flac):
    path, y = flac
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    ((at, block, gap), *_) = heard(path, start_s=15.0, end_s=15.02)
    assert (at, gap) == (15 * SR, False)
    np.testing.assert_array_equal(block, y[at : at + block.size])


def test_damage_at_the_beginning_is_no_reason_to_hear_nothing(flac, caplog):
    path, y = flac
    content = bytearray(path.read_bytes())
    first = content.find(b"\xff\xf8")  # of the first frame
    content[first + 50 : first + 60] = bytes(10)
    path.write_bytes(content)
    (at, block, gap), *_ = heard(path)
    assert 0 < at < SR
    assert not gap  # nothing lies before it
    np.testing.assert_array_equal(block, y[at : at + block.size])
    assert "the first at 0.0 s" in caplog.text


def test_nothing_but_damage_is_an_error(flac):
    path, _ = flac
    content = path.read_bytes()
    first = content.find(b"\xff\xf8")
    path.write_bytes(content[:first] + bytes(len(content) - first))
    with pytest.raises(RecordingError, match=r"cannot be decoded .* copy it again"):
        heard(path)


def test_another_file_behind_it_is_said(flac, caplog):
    path, y = flac
    content = path.read_bytes()
    path.write_bytes(content + content)
    assert sum(block.size for _, block, _ in heard(path)) == y.size
    (said,) = caplog.messages
    assert f"{path} goes on after 20.0 s with another FLAC file" in said
    caplog.clear()
    caplog.set_level(logging.WARNING)
    heard(path, end_s=10)
    assert caplog.messages == []


@pytest.mark.parametrize("first", [1, 7])
def test_a_flac_cut_without_coding_it_anew_is_heard_whole(tmp_path, caplog, first):
    """As by ``ffmpeg -c copy``: its frames keep the numbers that they had in the whole."""
    y = (np.round(noise(3, 44_100) * 32767) / 32768).astype(np.float32)
    encode(tmp_path / "a.flac", y, 44_100, "flac", "flac", lost=lambda number: number < first)
    y_heard = Recording(tmp_path / "a.flac", sr=44_100).read()
    assert 0 < y.size - y_heard.size <= first * 4608  # FFmpeg's frames
    np.testing.assert_allclose(y_heard, y[y.size - y_heard.size :], atol=2 / 32768)
    assert caplog.messages == []
    part = Recording(tmp_path / "a.flac", sr=44_100, start_s=1.0, end_s=2.0).read()
    assert part.size == pytest.approx(44_100, abs=2)


def test_frames_joined_without_a_header_between_them_are_said(tmp_path, caplog):
    """As by ffmpeg's concat with ``-c copy``: the header's length is that of the first."""
    av = pytest.importorskip("av")
    soundfile.write(tmp_path / "a.flac", noise(4), SR)
    with (
        av.open(str(tmp_path / "a.flac")) as one,
        av.open(str(tmp_path / "both.flac"), "w", format="flac") as both,
    ):
        stream = both.add_stream_from_template(one.streams.audio[0])
        packets = [packet for packet in one.demux() if packet.size]
        for turn in range(2):
            for packet in packets:
                if turn:
                    packet.pts += round(4 / float(packet.time_base))
                    packet.dts = packet.pts
                packet.stream = stream
                both.mux(packet)
    heard(tmp_path / "a.flac")
    assert caplog.messages == []
    heard(tmp_path / "both.flac")
    assert "both.flac goes on after 4.0 s with another FLAC file" in caplog.text
