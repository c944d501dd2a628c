"""Recordings that need a decoder, whole or damaged."""

import itertools
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from edge.av_decoder import _frames
from edge.errors import EdgeError, MissingPackageError, RecordingError
from edge.packages import pip_install
from edge.recording import Recording
from tests.audio import noise, tone

SR = 22_050
INSTALL_AV = re.escape(pip_install("av"))


@pytest.mark.parametrize("suffix", ["flac", "ogg", "mp3"])
def test_other_formats(tmp_path, suffix):
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(2, 44_100).astype("f4"), 44_100)
    y = Recording(path, start_s=0.5, end_s=1.5).read()
    assert y.size == pytest.approx(SR, abs=1)
    assert np.sqrt(np.square(y).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)  # lossy: 2 %


@pytest.mark.parametrize("suffix", ["mov", "mp4", "mkv"])
def test_video(tmp_path, suffix):
    """The original's case: seconds 4 to 6 of a film."""
    path = film(tmp_path / f"a.{suffix}")
    source = Recording(path, start_s=4, end_s=6)
    blocks = list(source.blocks())
    y = np.concatenate([b.y for b in blocks])
    assert blocks[0].start_s == 4
    assert y.size == pytest.approx(2 * SR, abs=1)
    # The film's tone rises a hundred hertz every second: which seconds these are can be heard.
    spectrum = np.abs(np.fft.rfft(y * np.hanning(y.size)))
    peaks = {round(f, -2) for f in np.flatnonzero(spectrum > spectrum.max() / 3) / 2}
    assert peaks == {900, 1000}


def film(path, hole=(8, 0), picture_s=8):
    """Eight seconds of tones, pictures; after ``hole[0]`` s no sound for ``hole[1]`` s."""
    av = pytest.importorskip("av")
    rate = 44_100
    t = np.arange(8 * rate) / rate
    frequency = 500 + 100 * np.floor(t)
    y = (0.5 * np.sin(2 * np.pi * np.cumsum(frequency) / rate)).astype("f4")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=rate, layout="mono")
        picture = container.add_stream("mpeg4", rate=5, width=32, height=32, pix_fmt="yuv420p")
        for _ in range(5 * picture_s):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), "u1"), format="rgb24")
            container.mux(picture.encode(frame))
        for at in range(0, y.size, 1024):
            sound = av.AudioFrame.from_ndarray(
                y[None, at : at + 1024], format="fltp", layout="mono"
            )
            sound.sample_rate, sound.pts = rate, at + hole[1] * rate * (at >= hole[0] * rate)
            container.mux(stream.encode(sound))
        container.mux(picture.encode(None))
        container.mux(stream.encode(None))
    return path


def test_sound_that_is_missing_in_a_film_is_a_gap_and_moves_nothing(tmp_path):
    path = film(tmp_path / "a.mkv", hole=(4, 3))  # 4 s, 3 s without sound, 4 s
    blocks = list(Recording(path).blocks())
    gaps = [i for i, block in enumerate(blocks) if block.gap]
    assert len(gaps) == 1
    assert blocks[gaps[0]].start_s == pytest.approx(7, abs=0.03)  # AAC comes in 23 ms
    before = sum(block.y.size for block in blocks[: gaps[0]])
    assert before == pytest.approx(4 * SR, abs=0.03 * SR)
    last = blocks[-1]
    assert last.start_s + last.y.size / SR == pytest.approx(11, abs=0.05)
    # Asked for seconds 7.5 to 9.5, it gives those: the tone of seconds 4 to 6 of what sounds.
    part = Recording(path, start_s=7.5, end_s=9.5)
    assert next(part.blocks()).start_s == pytest.approx(7.5, abs=1e-3)
    y = part.read()
    assert y.size == pytest.approx(2 * SR, abs=2)  # its two ends, each rounded to a sample
    spectrum = np.abs(np.fft.rfft(y * np.hanning(y.size)))
    assert round(spectrum.argmax() / 2, -2) == 1000
    assert next(Recording(path, start_s=5).blocks()).start_s == pytest.approx(7, abs=0.03)


def test_sound_that_begins_after_the_picture(tmp_path):
    path = film(tmp_path / "a.mkv", hole=(0, 2))
    first = next(Recording(path).blocks())
    assert first.start_s == pytest.approx(2, abs=0.03)
    assert not first.gap  # nothing was heard before it


def test_a_film_without_sound(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "silent.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=5, width=32, height=32, pix_fmt="yuv420p")
        frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), "u1"), format="rgb24")
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(RecordingError, match="no audio track"):
        Recording(path).read()


def test_odd_names(tmp_path, monkeypatch):
    soundfile = pytest.importorskip("soundfile")
    flac = tmp_path / os.fsdecode(b"n\xff.flac")
    soundfile.write(os.fsencode(flac), tone(1, SR), SR)
    assert Recording(flac).read().size == SR
    film(tmp_path / "12.mp4")
    address = (tmp_path / "12.mp4").rename(tmp_path / "12:30:05.mp4")
    monkeypatch.chdir(tmp_path)
    assert Recording(Path(address.name)).read().size > 0


def test_a_missing_decoder_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    path = tmp_path / "a.mov"
    path.write_bytes(b"anything")
    with pytest.raises(MissingPackageError, match=rf"the package av: {INSTALL_AV}"):
        Recording(path).read()


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [
        *(("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("RF64", "PCM_16"), ("AIFF", "PCM_16")),
        *(("W64", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16")),
    ],
)
def test_what_is_in_a_file_counts_and_not_its_name(tmp_path, kind, subtype):
    """Recorders write RF64 into files called .wav."""
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "a.wav"
    # Eight seconds: FFmpeg is some milliseconds off where all of a Vorbis file is in one page.
    soundfile.write(path, tone(8, SR), SR, format=kind, subtype=subtype)
    y = Recording(path).read()
    assert y.size == pytest.approx(8 * SR, abs=2)  # seen: not one off, of Vorbis neither
    assert np.sqrt(np.square(y).mean()) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


def telephones(path, form):
    """Two seconds of a tone as ``form``, written to ``path``, which may be called anything."""
    av = pytest.importorskip("av")
    if form == "amr":  # nothing here writes it: of 20 ms each, filled with anything
        frames = np.random.default_rng(0).integers(0, 256, (100, 32), dtype="u1")
        frames[:, 0] = 0x3C  # 12.2 kbit/s, whole
        path.write_bytes(b"#!AMR\n" + frames.tobytes())
        return path
    rate, codec = 48_000, {"mp3": "libmp3lame", "webm": "libopus"}.get(form, "aac")
    untagged = {"id3v2_version": "0", "write_xing": "0"} if form == "mp3" else {}
    with av.open(str(path), "w", format=form, options=untagged) as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        y = tone(2, rate).astype("f4")[np.newaxis]
        frame = av.AudioFrame.from_ndarray(y, format="fltp", layout="mono")
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    return path


@pytest.mark.parametrize("suffix", ["wav", "flac", "aif"])
@pytest.mark.parametrize("form", ["ipod", "3gp", "mp3", "adts", "webm", "matroska", "amr"])
def test_what_telephones_record_is_read_by_any_name(tmp_path, monkeypatch, form, suffix):
    path = telephones(tmp_path / f"a.{suffix}", form)
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "soundfile", None)  # which reads some, MP3 not well
        assert Recording(path).read().size == pytest.approx(2 * SR, abs=0.1 * SR)
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=rf"the package av: {INSTALL_AV}"):
        Recording(path).read()


@pytest.mark.parametrize(
    "start", [b"\xff", b"\xff" * 99, b"\xff\xdf", b"\xfe\xff", b"ftyp", b"\0#!AMR"]
)
def test_what_only_resembles_them_is_refused_as_before(tmp_path, start):
    path = tmp_path / "a.wav"
    path.write_bytes(start)
    with pytest.raises(RecordingError, match="not a WAVE file"):
        Recording(path).read()


def test_of_a_damaged_recording_what_is_there_is_heard_and_the_rest_is_said(tmp_path, caplog):
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(10), SR)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 9 // 10])
    y = Recording(path).read()
    assert 8.5 * SR < y.size < 9.2 * SR
    assert np.abs(y - noise(10)[: y.size]).max() < 1e-4
    (said,) = caplog.messages
    assert f"{path} is damaged at {y.size / SR:.1f} s" in said


def test_a_riff_file_that_is_no_wave_goes_to_the_video_decoder(tmp_path):
    path = tmp_path / "dashcam.avi"
    path.write_bytes(b"RIFF" + bytes(4) + b"AVI LIST" + bytes(100))
    with pytest.raises(EdgeError) as caught:
        Recording(path).read()
    assert "WAVE" not in str(caught.value)


def test_sound_between_two_holes_is_joined_to_neither(tmp_path):
    """Each piece of it, one packet of 23 ms, is shorter than what a resampler takes at a time."""
    av = pytest.importorskip("av")
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        y = noise(4, 44_100)[np.newaxis]
        frame = av.AudioFrame.from_ndarray(y, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44_100, 0  # packets without times would close up
        for number, packet in enumerate([*stream.encode(frame), *stream.encode(None)]):
            if not 60 < number < 100 or number % 6 == 0:  # holes of 116 ms, the last of 70
                container.mux(packet)
    blocks = list(Recording(path).blocks())
    gaps = [i for i, block in enumerate(blocks) if block.gap]
    # Packet n begins at (n - 1) * 1024: the encoder's first one is before the sound.
    holes_end_s = [(number - 1) * 1024 / 44_100 for number in (*range(66, 97, 6), 100)]
    # Matroska's times are whole milliseconds.
    assert [blocks[i].start_s for i in gaps] == pytest.approx(holes_end_s, abs=1e-3)
    for here, there in itertools.pairwise(gaps):
        assert sum(block.y.size for block in blocks[here:there]) == 512  # all of it, and no more
    for before, after in itertools.pairwise(blocks):
        goes_on = after.start_s - before.start_s - before.y.size / SR < 0.001
        assert goes_on != after.gap


@pytest.mark.parametrize("form", ["m4a", "mp3", "mkv"])
def test_damage_in_the_middle_leaves_a_gap_and_what_follows(tmp_path, form, caplog):
    """As a player does: what cannot be decoded is skipped."""
    av = pytest.importorskip("av")
    path = tmp_path / f"a.{form}"
    codec = "libmp3lame" if form == "mp3" else "aac"
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=SR, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise(8)[np.newaxis], format="fltp", layout="mono")
        frame.sample_rate = SR
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = b"\xff" * 2000
    path.write_bytes(content)
    blocks = list(Recording(path).blocks())
    assert 7 * SR < sum(block.y.size for block in blocks) < 8.3 * SR
    if form != "mp3":  # which has no times but those of the frames that are found
        # The last packet, of 46 ms, and another that the encoder puts before the sound: seen 7.99
        # and 8.03. Closed up, MP4 would begin it 0.28 s earlier, Matroska 0.98 s.
        assert blocks[-1].start_s == pytest.approx(8, abs=0.1)
    assert any(block.gap for block in blocks)
    assert any("is damaged" in said for said in caplog.messages)


@pytest.mark.parametrize(
    ("decodable", "refused"),
    [((True, False), False), ((True, False, True, False, False), True)],
)
def test_what_is_mostly_damage_is_no_recording(tmp_path, decodable, refused):
    av = pytest.importorskip("av")

    class Packet:
        def __init__(self, good):
            self.good = good

        def decode(self):
            if not self.good:
                raise av.error.InvalidDataError(-1, "damaged")
            return ["frame"]

    class Container:
        def demux(self, _):
            return [Packet(good) for good in decodable]

    frames = _frames(tmp_path / "a.m4a", Container(), None, av.error.InvalidDataError)
    found = [next(frames) for _ in decodable]
    assert found == ["frame" if good else None for good in decodable]
    ends = RecordingError if refused else StopIteration
    with pytest.raises(
        ends, match=r"damaged or not decodable .* copy it again" if refused else None
    ):
        next(frames)


def test_a_wav_of_another_coding_goes_to_the_decoder(tmp_path, monkeypatch):
    soundfile = pytest.importorskip("soundfile")
    pytest.importorskip("av")
    path = tmp_path / "dashcam.wav"
    soundfile.write(path, tone(2, SR), SR, subtype="ULAW")
    y = Recording(path).read()
    assert y.size == 2 * SR
    assert np.abs(y - tone(2, SR)).max() < 0.02  # mu-law has some 4 bits at every level
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingPackageError, match=rf"16-bit PCM, or install av: {INSTALL_AV}"):
        Recording(path).read()


def test_what_is_no_film_either_is_damaged_and_not_without_sound(tmp_path):
    pytest.importorskip("av")
    (tmp_path / "notes.txt").write_text("three blinks, then dark\n" * 100)
    with pytest.raises(RecordingError, match="damaged or not decodable"):
        Recording(tmp_path / "notes.txt").read()


def test_a_pipe_exists_but_is_no_file(tmp_path):
    os.mkfifo(tmp_path / "a.wav")
    with pytest.raises(RecordingError, match=r"a\.wav is not a file"):
        Recording(tmp_path / "a.wav").read()
