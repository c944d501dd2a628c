import math

import numpy as np
import pytest

from edge.frontend import FrontEnd
from edge.pipeline import Pipeline
from edge.recording import Recording
from edge.window import Block
from tests.audio import noise, wav_file

SR = 22_050


class Told:
    """A classifier that says what it was told to, and counts."""

    def __init__(self, p):
        self.p = p
        self.pictures = []

    def predict(self, picture):
        self.pictures.append(picture)
        return self.p


class Played:
    """A source that plays an array in blocks."""

    sr = SR

    def __init__(self, y, size=4096, gap_at=None):
        self.y, self.size, self.gap_at = y, size, gap_at

    def blocks(self):
        for at in range(0, self.y.size, self.size):
            yield Block(self.y[at : at + self.size], at / SR, gap=at == self.gap_at)


@pytest.fixture(scope="module")
def front_end():
    return FrontEnd()


def verdicts(front_end, y, p=0.9, hop_s=1.0, **source):
    classifier = Told(p)
    heard = list(
        Pipeline(front_end, classifier, 0.5).verdicts(Played(y, **source).blocks(), hop_s=hop_s)
    )
    return heard, classifier


@pytest.mark.parametrize(
    ("p", "name"), [(0.9, "knocking"), (0.5, "knocking"), (0.499, "normal"), (0.0, "normal")]
)
def test_the_threshold_decides(front_end, p, name):
    (verdict,), classifier = verdicts(front_end, noise(2), p)
    assert (verdict.verdict, verdict.p_knocking, verdict.reason) == (name, p, "")
    np.testing.assert_array_equal(classifier.pictures[0], front_end.picture(noise(2)))


@pytest.mark.parametrize("p", [math.nan, math.inf, -0.1, 1.1])
def test_a_broken_answer_is_unknown(front_end, p):
    (verdict,), _ = verdicts(front_end, noise(2), p)
    assert (verdict.verdict, verdict.p_knocking, verdict.reason) == ("unknown", None, "bad_answer")


@pytest.mark.parametrize(
    ("seconds", "hop_s", "starts"),
    [
        (2.0, 1.0, [0]),
        (5.0, 1.0, [0, 1, 2, 3]),
        (5.05, 1.0, [0, 1, 2, 3]),  # 0.05 s uncovered: not worth a window
        (5.5, 1.0, [0, 1, 2, 3, 3.5]),
        (6.0, 5.0, [0, 4]),
        (3.0, 0.5, [0, 0.5, 1]),
        (1.98, 1.0, [0]),  # one hop of the transform short: filled up
    ],
)
def test_the_whole_recording_is_covered(front_end, seconds, hop_s, starts):
    heard, _ = verdicts(front_end, noise(seconds), hop_s=hop_s)
    assert [round(v.start_s, 2) for v in heard] == starts
    assert [v.extra for v in heard] == [
        seconds < 2 or not math.isclose(start % hop_s, 0) for start in starts
    ]
    assert heard[-1].end_s == pytest.approx(seconds, abs=0.1)  # MIN_TAIL_S may be left


@pytest.mark.parametrize("seconds", [0.001, 0.3, 1.9])
def test_too_short_is_unknown_and_not_judged(front_end, seconds):
    (verdict,), classifier = verdicts(front_end, noise(seconds))
    assert (verdict.verdict, verdict.reason, classifier.pictures) == ("unknown", "too_short", [])
    assert verdict.end_s == pytest.approx(seconds, abs=1e-3)


def test_only_the_bad_part_is_unknown(front_end):
    y = noise(8)
    y[3 * SR : 5 * SR] = 0
    heard, classifier = verdicts(front_end, y, p=0.1, hop_s=2.0)
    assert [v.verdict for v in heard] == ["normal", "unknown", "unknown", "normal"]
    assert [v.reason for v in heard] == ["", "flat_line", "flat_line", ""]
    assert len(classifier.pictures) == 2


def test_overdriven_before_the_resampler_is_unknown_and_what_follows_is_judged(front_end, tmp_path):
    hard = 0.4 * np.clip(100 * noise(6, 44_100), -1, 1)
    y = np.concatenate([hard, noise(6, 44_100, seed=1)]).astype("f8")
    recording = Recording(wav_file(tmp_path / "a.wav", y, 44_100))
    found = Pipeline(front_end, Told(0.1), 0.5).verdicts(recording.blocks(), hop_s=2.0)
    assert [v.reason for v in found] == ["clipping"] * 3 + [""] * 3


def test_what_lies_before_a_gap_is_covered_to_its_end(front_end):
    gap_at = 15 * 4096  # 2.79 s
    found, _ = verdicts(front_end, noise(6), gap_at=gap_at)
    ends = [v.end_s for v in found]
    assert ends[1] == pytest.approx(gap_at / SR)
    assert ends[-1] == pytest.approx(6)


def test_pieces_too_short_to_judge_are_said_to_be(front_end):
    found, classifier = verdicts(front_end, noise(3), gap_at=8 * 4096)  # 1.49 and 1.51 s
    assert [(v.verdict, v.reason) for v in found] == [("unknown", "too_short")] * 2
    assert found[1].start_s == pytest.approx(8 * 4096 / SR)
    assert classifier.pictures == []


def test_no_verdict_spans_a_gap(front_end):
    heard, _ = verdicts(front_end, noise(5), size=SR, gap_at=3 * SR)
    assert [(round(v.start_s), round(v.end_s)) for v in heard] == [(0, 2), (1, 3), (3, 5)]


def test_a_microphones_first_block_comes_after_a_gap_that_nothing_was_before(front_end):
    pipeline = Pipeline(front_end, Told(0.1), 0.5)
    (verdict,) = pipeline.verdicts([Block(noise(2), 7.0, gap=True)], hop_s=1.0)
    assert (verdict.start_s, verdict.verdict) == (7.0, "normal")
    assert list(pipeline.verdicts([], hop_s=1.0)) == []


def test_overdriven_and_a_little_short_is_unknown(tmp_path):
    y = 0.4 * np.clip(100 * noise(1.985, 44_100), -1, 1)
    recording = Recording(wav_file(tmp_path / "a.wav", y.astype("f8"), 44_100))
    (found,) = Pipeline(FrontEnd(), Told(0.1), 0.5).verdicts(recording.blocks(), hop_s=1.0)
    assert (found.verdict, found.reason) == ("unknown", "clipping")


def test_what_is_filled_up_ends_where_the_sound_ends(front_end):
    (verdict,), _ = verdicts(front_end, noise(1.98))
    assert verdict.end_s == pytest.approx(1.98, abs=1e-6)
