"""What FFmpeg makes of files: its own words are none for users, its guesses none to judge."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from edge import av_decoder
from edge.av_decoder import HEADERLESS, _warn_if_coarse
from edge.errors import RecordingError
from edge.gate import Fault, Gate
from edge.recording import Recording
from tests.audio import noise
from tests.encoded import encode
from tests.test_decoders import telephones

SR = 22_050


def test_a_title_in_another_coding_is_no_reason_to_refuse(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    path = tmp_path / "a.mp3"
    soundfile.write(path, noise(2), SR)
    whole = Recording(path, sr=SR).read()
    with path.open("ab") as file:  # a tag at the end, which has no other coding than Latin-1
        file.write(b"TAG" + "Motorgeräusch".encode("latin-1").ljust(124, b"\0") + b"\xff")
    np.testing.assert_array_equal(Recording(path, sr=SR).read(), whole)


def test_a_pyav_that_takes_titles_as_they_are(tmp_path, monkeypatch):
    """Version 19 has no argument that says how to read them."""
    av = pytest.importorskip("av")
    transport(tmp_path / "a.ts", 3)
    older = av.open

    def newer(file):
        return older(file)

    monkeypatch.setattr(av, "__version__", "19.0.0")
    monkeypatch.setattr(av, "open", newer)
    assert Recording(tmp_path / "a.ts", sr=SR).read().size >= 3 * SR


BY_NAME = {
    **{"302": "daud", "722": "g722", "al": "alaw", "dtk": "adp", "sb": "s8", "sw": "s16le"},
    **{"tco": "g723_1", "ub": "u8", "ul": "mulaw", "uw": "u16le", "aptxhd": "aptx_hd"},
    **{name: name for name in ("afc", "aptx", "bit", "dfpwm", "g728", "g729", "gsm", "sln")},
}


@pytest.mark.parametrize("suffix", ["au", *BY_NAME])
def test_what_only_its_name_calls_sound_is_refused(tmp_path, suffix):
    """Anything called so would be judged, at a rate that is a guess."""
    pytest.importorskip("soundfile" if suffix == "au" else "av")
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"once upon a time there was an engine" * 3000)
    with pytest.raises(RecordingError, match=r"rate and encoding: convert it to WAV"):
        Recording(path, sr=SR).read()


def test_all_that_have_no_header_are_tried():
    assert set(BY_NAME.values()) == HEADERLESS


def transport(path, seconds):
    """So many seconds of noise as a camera's transport stream."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        y = noise(seconds, 44_100)[np.newaxis]
        frame = av.AudioFrame.from_ndarray(y, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = 44_100, 0
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path.read_bytes()


def test_where_reading_fails_what_was_heard_is_there_and_the_rest_is_said(tmp_path, caplog):
    """Zeros, as of a card's blocks that were never written, end FFmpeg's patience."""
    path = tmp_path / "a.ts"
    content = transport(path, 10)
    path.write_bytes(content[: len(content) // 2] + bytes(len(content)))
    y = Recording(path, sr=SR).read()
    assert 4 * SR < y.size < 6 * SR
    assert f"{path} cannot be decoded from {y.size / SR:.1f} s on: the rest" in caplog.messages[-1]


@pytest.mark.parametrize("error", ["BlockingIOError", "UndefinedError", "DecoderNotFoundError"])
def test_a_decoders_own_words_are_not_the_users(tmp_path, monkeypatch, error):
    av = pytest.importorskip("av")

    def fail(*_args, **_options):
        raise getattr(av.error, error)(11, "Resource temporarily unavailable")

    monkeypatch.setattr(av, "open", fail)
    (tmp_path / "a.mov").write_bytes(bytes(99))
    with pytest.raises(RecordingError) as caught:
        Recording(tmp_path / "a.mov", sr=SR).read()
    assert "temporarily" not in str(caught.value)
    assert "record or copy it again, or convert it to WAV" in str(caught.value)


def test_a_codec_that_this_ffmpeg_lacks_is_one_line(tmp_path):
    path = tmp_path / "a.caf"
    encode(path, noise(2), SR, "caf", "pcm_s16le")
    content = path.read_bytes()
    assert content.count(b"lpcm") == 1
    path.write_bytes(content.replace(b"lpcm", b"ec-3"))
    with pytest.raises(RecordingError, match="is damaged or not decodable as audio"):
        Recording(path, sr=SR).read()


@pytest.mark.parametrize(
    ("coding", "warned"),
    [
        (("ipod", "aac", 48), True),
        (("ipod", "aac", 64), False),
        (("mp3", "libmp3lame", 48), True),
        (("mp3", "libmp3lame", 64), False),
        (("ogg", "libopus", 24), True),
        (("ogg", "libopus", 64), False),
        (("ogg", "flac", 0), False),
        (("matroska", "pcm_u8", 0), False),
    ],
)
def test_a_warning_tells_where_coding_may_hide_what_the_gate_refuses(
    tmp_path, caplog, coding, warned
):
    """Hiss that the gate refuses as it was passes it wherever the warning comes."""
    form, codec, kbit_s = coding
    path, rate = tmp_path / "a", 44_100 if codec != "libopus" else 48_000
    hiss = 0.1 * np.random.default_rng(0).standard_normal(8 * rate).astype("f4")
    encode(path, hiss, rate, form, codec, bit_rate=1000 * kbit_s)
    heard = Recording(path, sr=SR).read()
    assert heard.size > 7.9 * SR
    said = [line for line in caplog.messages if "noise or overdriven sound may pass" in line]
    assert len(said) == warned
    if codec != "libopus":  # which hides only overdriven sound
        windows = (heard[at : at + 2 * SR] for at in range(0, 6 * SR, SR))
        assert any(Gate(sr=SR).check(y) != Fault.HISS for y in windows) == warned


def test_amr_is_warned_of_at_any_rate(tmp_path, caplog):
    Recording(telephones(tmp_path / "a.amr", "amr"), sr=SR).read()
    assert "a.amr has only 12 kbit/s a channel" in caplog.text


@pytest.mark.parametrize("seconds", [2.0, 2.03, 0.1])
def test_no_end_is_taken_off_apples_lossless_sound(tmp_path, seconds):
    soundfile = pytest.importorskip("soundfile")
    if "ALAC_16" not in soundfile.available_subtypes("CAF"):
        pytest.skip("this libsndfile knows no ALAC")
    y = noise(seconds, 44_100)
    soundfile.write(tmp_path / "a.caf", y, 44_100, format="CAF", subtype="ALAC_16")
    heard = Recording(tmp_path / "a.caf", sr=44_100).read()
    assert heard.size == y.size
    np.testing.assert_allclose(heard, y, atol=1 / 32768)


@pytest.mark.parametrize(
    ("sound", "bit_rate", "told"),
    [
        (("aac", 1, 44_100), 48_000, "48"),
        (("aac", 1, 44_100), 64_000, None),
        (("aac", 2, 44_100), 96_000, "48"),  # for each channel
        (("aac", 2, 44_100), 128_000, None),
        (("aac", 1, 16_000), 32_000, None),  # enough for a low rate
        (("mp3float", 1, 48_000), 60_000, "60"),
        (("amrwb", 1, 16_000), 23_850, "24"),
        (("opus", 1, 48_000), 36_000, "36"),
        (("opus", 1, 48_000), 40_000, None),
        (("ac3", 1, 48_000), 47_000, "47"),
        (("eac3", 1, 48_000), 47_000, "47"),
        (("eac3", 1, 48_000), 49_000, None),
        (("wmav1", 1, 44_100), 128_000, "128"),
        (("flac", 1, 44_100), 8_000, None),
    ],
)
def test_bits_are_counted_for_each_sample_of_each_channel(caplog, sound, bit_rate, told):
    codec, channels, rate = sound
    layout = SimpleNamespace(channels=("c",) * channels)
    context = SimpleNamespace(name=codec, sample_rate=rate, layout=layout)
    _warn_if_coarse(Path("a"), SimpleNamespace(bit_rate=bit_rate, codec_context=context))
    assert ["has only" in line for line in caplog.messages] == [True] * (told is not None)
    assert told is None or f"a has only {told} kbit/s a channel" in caplog.text


@pytest.mark.parametrize(
    ("coded", "told"),
    [
        (("webm", "libopus", 16_000), True),  # as written live, without its length, by a browser
        (("webm", "libopus", 96_000), False),
        (("matroska", "aac", 24_000), True),
        (("matroska", "aac", 128_000), False),
        (("asf", "wmav2", 32_000), True),
        (("asf", "wmav2", 96_000), False),
        (("ac3", "ac3", 32_000), True),
    ],
)
def test_bits_are_counted_where_no_track_says_how_many(tmp_path, caplog, coded, told):
    form, codec, bit_rate = coded
    path = tmp_path / f"a.{form.replace('matroska', 'mkv')}"
    live = {"live": "1"} if form == "webm" else {}
    encode(path, noise(12, 48_000), 48_000, form, codec, bit_rate=bit_rate, options=live)
    Recording(path, sr=SR).read()
    assert any("kbit/s a channel" in line for line in caplog.messages) == told


@pytest.mark.parametrize(("bit_rate", "told"), [(16_000, True), (96_000, False)])
def test_bits_are_those_of_the_sound_not_of_the_pictures(tmp_path, caplog, bit_rate, told):
    av = pytest.importorskip("av")
    path = tmp_path / "a.mkv"
    encode(path, noise(12, 48_000), 48_000, "matroska", "libopus", bit_rate=bit_rate)
    film = tmp_path / "film.mkv"
    with av.open(str(path)) as sound, av.open(str(film), "w", format="matroska") as both:
        pictures = both.add_stream("mpeg4", rate=25)
        pictures.width = pictures.height = 64
        heard = both.add_stream_from_template(sound.streams.audio[0])
        for number in range(300):
            seen = np.random.default_rng(number).integers(0, 256, (64, 64, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(seen, format="rgb24")
            both.mux(pictures.encode(frame))
        both.mux(pictures.encode(None))
        for packet in (packet for packet in sound.demux() if packet.size):
            packet.stream = heard
            both.mux(packet)
    Recording(film, sr=SR).read()
    assert any("kbit/s a channel" in line for line in caplog.messages) == told


def test_a_recording_whose_clock_does_not_begin_at_0_begins_at_0(tmp_path, caplog):
    """A camera's goes on from one recording to the next."""
    av = pytest.importorskip("av")
    path = tmp_path / "a.ts"
    with av.open(str(path), "w", format="mpegts") as container:
        stream = container.add_stream("aac", rate=44_100, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            noise(3, 44_100)[np.newaxis], format="fltp", layout="mono"
        )
        frame.sample_rate, frame.pts = 44_100, 100 * 44_100
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert next(Recording(path, sr=SR).blocks()).start_s == pytest.approx(0, abs=0.05)
    part = Recording(path, sr=SR, start_s=1.0, end_s=2.0).read()
    assert part.size == pytest.approx(SR, abs=2)
    assert caplog.messages == []


def test_holes_before_the_place_where_reading_fails_are_said_too(tmp_path, caplog, monkeypatch):
    av = pytest.importorskip("av")
    transport(tmp_path / "a.ts", 10)
    frames = av_decoder._frames

    def damaged(*arguments):
        for number, frame in enumerate(frames(*arguments)):  # of 23 ms
            if number == 300:
                raise av.error.InvalidDataError(-1, "damaged")
            if not 100 <= number < 200:
                yield frame

    monkeypatch.setattr(av_decoder, "_frames", damaged)
    Recording(tmp_path / "a.ts", sr=SR).read()
    assert len(caplog.messages) == 2
    assert "2.3 s" in caplog.messages[0]
    assert "cannot be decoded from 7.0 s on: the rest" in caplog.messages[1]
