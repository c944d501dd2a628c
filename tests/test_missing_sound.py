"""What of a recording is missing is said; what is whole is not called damaged."""

import itertools
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge.errors import RecordingError
from edge.missing_sound import (
    MAX_OGG_PAGE,
    W64,
    FramePlacer,
    declared_end_s,
    is_chained,
    share_present,
    warn_if_unterminated,
)
from edge.recording import Recording
from tests.audio import noise
from tests.encoded import encode
from tests.test_decoders import film

SR = 22_050
FRAME_S = 0.0232  # 1024 samples, as of AAC


@pytest.mark.parametrize("suffix", ["mkv", "mp3", "aiff", "rf64", "au", "w64"])
def test_a_recording_that_was_cut_off_is_said_to_be(tmp_path, caplog, suffix):
    """The card was full, or the recorder lost power; the decoders take what is there for all."""
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / f"a.{suffix}"
    if suffix == "mkv":
        film(path)
    elif suffix == "rf64":
        path = tmp_path / "a.wav"
        soundfile.write(path, noise(8), SR, format="RF64")
    else:
        soundfile.write(path, noise(8), SR)
    whole = Recording(path).read().size
    assert whole == pytest.approx(8 * SR, rel=0.01)  # MP3 pads its ends
    assert caplog.messages == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    y = Recording(path).read()
    assert 0.3 * whole < y.size < 0.8 * whole
    (said,) = caplog.messages
    at_s = y.size / SR
    assert said.startswith(f"{path} is damaged at {at_s:.1f} s: the rest of its 8.")
    caplog.clear()
    Recording(path, end_s=1).read()  # nothing that was asked for is missing
    assert caplog.messages == []


@pytest.mark.parametrize("suffix", ["caf", "avi"])
def test_it_is_said_of_files_that_hold_more_than_sound(tmp_path, caplog, suffix):
    av = pytest.importorskip("av")
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=SR, layout="mono")
        for at in range(0, 8 * SR, 1024):
            y = (noise(8)[np.newaxis, at : at + 1024] * 32767).astype("i2")
            sound = av.AudioFrame.from_ndarray(y, format="s16", layout="mono")
            sound.sample_rate, sound.pts = SR, at
            container.mux(stream.encode(sound))
    assert Recording(path, sr=SR).read().size == 8 * SR
    assert caplog.messages == []
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    at_s = Recording(path, sr=SR).read().size / SR
    (said,) = caplog.messages
    assert said.startswith(f"{path} is damaged at {at_s:.1f} s: the rest of its ")
    # By the bytes of all that is in it.
    assert float(said.split(" of its ")[1].split()[0]) == pytest.approx(8, abs=0.3)


def test_a_hole_in_a_film_is_said(tmp_path, caplog):
    path = film(tmp_path / "a.mkv", hole=(3, 2))
    Recording(path).read()
    (said,) = caplog.messages
    assert said == f"{path}: 2.0 s of sound are missing in 1 place, the first at 3.0 s"


def mp3(path, seconds, *, xing, tail=0):
    """Noise, quiet at first so that its bit rate varies; ``tail`` bytes of no sound behind it."""
    av = pytest.importorskip("av")
    rate = 44_100
    y = noise(seconds, rate) * np.linspace(0, 1, round(seconds * rate), dtype=np.float32) ** 4
    with av.open(str(path), "w", options={"write_xing": str(int(xing))}) as container:
        stream = container.add_stream("mp3", rate=rate, layout="mono")
        stream.codec_context.options = {"q": "4"}
        for at in range(0, y.size, 1152):
            sound = av.AudioFrame.from_ndarray(y[None, at : at + 1152], "fltp", "mono")
            sound.rate, sound.pts = rate, at
            container.mux(stream.encode(sound))
        container.mux(stream.encode(None))
    path.write_bytes(path.read_bytes() + bytes(tail))
    return path


@pytest.mark.parametrize(("xing", "tail"), [(True, 0), (False, 0), (False, 300_000)])
def test_an_mp3_that_does_not_say_how_long_it_is_is_not_cut_off(tmp_path, caplog, xing, tail):
    """FFmpeg guesses then, from the bit rate of its beginning and the size of the file."""
    path = mp3(tmp_path / "a.mp3", 10, xing=xing, tail=tail)
    assert Recording(path).read().size == pytest.approx(10 * SR, rel=0.01)
    assert [said for said in caplog.messages if "missing" in said] == []


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_a_picture_that_outlasts_the_sound_is_no_damage(tmp_path, caplog, suffix):
    path = film(tmp_path / f"a.{suffix}", picture_s=12)
    assert Recording(path).read().size == pytest.approx(8 * SR, rel=0.01)
    assert caplog.messages == []


def test_time_stamps_that_drift_from_the_samples_are_no_holes(tmp_path, caplog):
    placer = FramePlacer()

    def place(time_s):
        placer.place(time_s, FRAME_S)
        placer.position_s += FRAME_S

    for n in range(100_000):  # half an hour and more, 0.05 % slower
        place(n * FRAME_S * 1.0005)
    placer.holes.warn(tmp_path)
    assert caplog.messages == []
    place(4000.0)
    place(4001.0)
    placer.holes.warn(tmp_path)
    (said,) = caplog.messages
    assert " in 2 places" in said


@pytest.mark.parametrize("jitter_s", [0.001, 0.01])
def test_jitter_of_time_stamps_is_no_hole_and_breaks_no_window(jitter_s):
    placer, rng = FramePlacer(), np.random.default_rng(1)
    for n in range(20_000):
        placer.place(n * FRAME_S + rng.uniform(-jitter_s, jitter_s), FRAME_S)
        placer.position_s += FRAME_S
        assert not placer.discontinuous


@pytest.mark.parametrize(
    ("form", "codec"), [("webm", "libopus"), ("matroska", "aac"), ("mpegts", "aac")]
)
def test_short_losses_are_gaps_and_are_said(tmp_path, caplog, form, codec):
    """Of a packet each: nothing that is judged may be spliced."""
    path = tmp_path / "a"
    y = noise(20, 48_000)
    missing_s = encode(path, y, 48_000, form, codec, lost=lambda n: n % 100 == 50)
    blocks = list(Recording(path).blocks())
    gaps = sum(block.gap for block in blocks)
    (said,) = caplog.messages
    assert f"{path}: {missing_s:.1f} s of sound are missing in {gaps} places" in said
    assert gaps > 8
    heard_s = sum(block.y.size for block in blocks) / SR
    assert heard_s == pytest.approx(20 - missing_s, abs=0.1)  # the encoder adds up to two packets
    for before, after in itertools.pairwise(blocks):
        goes_on = after.start_s - before.start_s - before.y.size / SR < 0.002
        assert goes_on != after.gap


@pytest.mark.parametrize(
    ("form", "codec"),
    [
        *(("webm", "libopus"), ("matroska", "aac"), ("mpegts", "aac"), ("ipod", "aac")),
        *(("mp3", "libmp3lame"), ("matroska", "libmp3lame"), ("avi", "libmp3lame")),
        *(("ogg", "libopus"), ("adts", "aac"), ("mpegts", "mp2")),
    ],
)
def test_where_nothing_is_lost_there_is_no_gap(tmp_path, caplog, form, codec):
    encode(tmp_path / "a", noise(20, 48_000), 48_000, form, codec)
    assert not any(block.gap for block in Recording(tmp_path / "a").blocks())
    assert caplog.messages == []


def test_a_size_that_was_never_filled_in_is_no_loss(tmp_path, caplog):
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "a.aiff"
    soundfile.write(path, noise(4), SR)
    content = bytearray(path.read_bytes())
    content[4:8] = (0x7FFFFFF0).to_bytes(4, "big")
    path.write_bytes(content)
    Recording(path).read()
    assert caplog.messages == []


@pytest.mark.parametrize("suffix", ["au", "caf", "w64"])
def test_a_length_that_is_not_known_yet_is_no_loss(tmp_path, caplog, suffix):
    """As a recorder leaves it whose power is cut."""
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(4), SR)
    content = bytearray(path.read_bytes())
    at, size = {"au": (8, 4), "caf": (content.find(b"data") + 4, 8), "w64": (16, 8)}[suffix]
    content[at : at + size] = b"\xff" * size
    path.write_bytes(content)
    assert Recording(path, sr=SR).read().size == 4 * SR
    assert caplog.messages == []


@pytest.mark.parametrize("suffix", ["caf", "w64"])
def test_a_damaged_size_leads_beyond_no_disk(tmp_path, suffix):
    """A system refuses to look there; all of the sound has been heard by then."""
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, noise(4), SR)
    content = bytearray(path.read_bytes())
    at = content.index(b"data" if suffix == "caf" else b"data\xf3\xac\xd3\x11")
    odd, size = {"caf": (b"free", 4), "w64": (b"levl".ljust(16, b"x"), 16)}[suffix]
    far = (2**62).to_bytes(8, "big" if suffix == "caf" else "little")
    content[at:at] = odd + far
    path.write_bytes(content)
    assert len(odd) == size
    assert share_present(path) == 1.0


def test_chunks_behind_the_sound_of_a_w64_are_none_of_it(tmp_path, caplog):
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "a.w64"
    soundfile.write(path, noise(4), SR)
    content = bytearray(path.read_bytes())
    content += bytes.fromhex("6d61726bf3acd3118cd100c04f8edb8a")  # "mark"
    content += (24 + 2_000_000).to_bytes(8, "little") + bytes(2_000_000)
    content[16:24] = len(content).to_bytes(8, "little")
    path.write_bytes(content)
    assert Recording(path, sr=SR).read().size == 4 * SR
    path.write_bytes(content[: len(content) // 2])  # in the chunk behind
    assert Recording(path, sr=SR).read().size == 4 * SR
    assert caplog.messages == []


def test_a_flac_that_was_cut_off_between_two_frames_is_said_to_be(tmp_path, caplog):
    """Where libsndfile sees no error."""
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "a.flac"
    soundfile.write(path, noise(20), SR)
    content = path.read_bytes()
    path.write_bytes(content[: content.rfind(b"\xff\xf8", 0, len(content) * 95 // 100)])
    y = Recording(path, sr=SR).read()
    (said,) = caplog.messages
    at_s = y.size / SR
    assert said.startswith(f"{path} is damaged at {at_s:.1f} s: the rest of its 20.0 s is missing")


def test_where_a_cut_off_recording_ends_is_said_wherever_one_begins(tmp_path, caplog):
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "a.aiff"
    soundfile.write(path, noise(20), SR)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RecordingError, match="ends before --start"):
        Recording(path, start_s=15).read()
    (said,) = caplog.messages
    assert said.startswith(f"{path} is damaged at 10.0 s: the rest of its 20.0 s")


def told(named, *, seconds=None, tag=None, origin_s=0, whole_s=60, picture=False):
    """When a file of FFmpeg's format ``named`` says that its sound ends."""
    container = SimpleNamespace(
        format=SimpleNamespace(name=named),
        start_time=origin_s * 1_000_000,
        duration=whole_s * 1_000_000,
        streams=SimpleNamespace(video=(1,) if picture else ()),
    )
    stream = SimpleNamespace(
        duration=seconds and seconds * 1000,
        start_time=origin_s * 1000,
        time_base=Fraction(1, 1000),
        metadata={"DURATION": tag} if tag else {},
    )
    return declared_end_s(Path(__file__), container, stream, 1_000_000)


def test_a_length_counts_where_the_track_says_it_and_no_guess_does():
    assert told("mov,mp4,m4a,3gp,3g2,mj2", seconds=20, picture=True) == 20
    assert told("mov,mp4,m4a,3gp,3g2,mj2", seconds=20, origin_s=5) == 20
    assert told("matroska,webm", tag="00:01:10.500", origin_s=5) == 65.5  # an end, not a length
    assert told("matroska,webm", seconds=60, tag="00:00:18.000", picture=True) == 18
    assert told("matroska,webm", whole_s=70, origin_s=5) == 65
    assert told("matroska,webm", whole_s=70, picture=True) == 0
    for guessed in ("amr", "aac", "asf", "avi", "mp3", "nut"):  # this file is no MP3 that says it
        assert told(guessed, seconds=62) == 0


def test_a_picture_in_front_of_an_mp3_does_not_hide_its_length(tmp_path, caplog):
    path = mp3(tmp_path / "a.mp3", 10, xing=True)
    whole = path.read_bytes()
    tag = b"ID3\4\0\0" + bytes([0, 0, 3000 >> 7, 3000 & 127]) + bytes(3000)
    path.write_bytes(tag + whole)
    Recording(path).read()
    assert caplog.messages == []
    path.write_bytes(tag + whole[: len(whole) // 2])
    Recording(path).read()
    assert "of its 10." in caplog.text


def test_chunks_of_wave64_begin_at_multiples_of_eight(tmp_path):
    def chunk(name, content):
        return name.ljust(16, b"-") + (24 + len(content)).to_bytes(8, "little") + content

    odd = chunk(b"fact", bytes(5)) + bytes(3)
    whole = W64.ljust(40, b"-") + odd + chunk(b"data", bytes(1000))
    (tmp_path / "a.w64").write_bytes(whole[:-500])
    assert share_present(tmp_path / "a.w64") == pytest.approx(1 - 500 / len(whole))


def test_a_tag_behind_the_longest_page_hides_no_end(tmp_path, caplog):
    page = b"OggS\0\4" + bytes(20) + b"\xff" * 256 + bytes(255 * 255)
    assert len(page) == MAX_OGG_PAGE
    (tmp_path / "a.ogg").write_bytes(page + page + b"TAG".ljust(400))
    warn_if_unterminated(tmp_path / "a.ogg", 1.0)
    assert caplog.messages == []


def test_a_chain_is_seen_wherever_its_second_link_begins(tmp_path, monkeypatch):
    monkeypatch.setattr("edge.missing_sound.SCAN_BYTES", 100)
    for at in range(90, 110):
        first = (b"OggS\0\2" + b"x" * 30 + b"OggS\0\0").ljust(at, b"x")
        (tmp_path / "a.ogg").write_bytes(first + b"OggS\0\2" + bytes(50))
        assert is_chained(tmp_path / "a.ogg")
