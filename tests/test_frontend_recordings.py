"""The front end against librosa and matplotlib over one window of every real recording."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from edge.frontend import FrontEnd
from edge.recording import Recording


def window_of(path: Path) -> NDArray[np.float32]:
    y = Recording(path).read()
    start = max(0, (y.size - 44_100) // 2)
    return np.resize(y[start:], 44_100) if y.size < 44_100 else y[start : start + 44_100]


def test_every_recording_gives_librosa_s_picture(recordings):
    from tests import reference

    front_end = FrontEnd()
    identical = []
    for recording in recordings:
        y = window_of(recording.path)
        expected = reference.spectrogram(y)
        S_db = front_end.spectrogram(y)
        difference = np.abs(S_db - expected)
        # What README says; quieter cells hold rounding errors of the louder ones.
        assert difference.mean() <= 0.001, recording.path
        assert difference[expected > -60].max(initial=0) <= 0.005, recording.path
        ours = front_end.figure(S_db).astype(int)
        theirs = reference.figure(expected).astype(int)
        same = (ours == theirs).all(axis=2).mean()
        # A value on the border of two colours may fall to either side; colours there are alike.
        assert same >= 0.99, (recording.path, same)
        assert np.abs(ours - theirs).max() <= 8, recording.path
        identical.append(same)
    assert len(identical) > 100  # the folder was not all but empty
    # Seen of every fourth recording: 0.9997 in the mean, 0.9949 in the worst.
    assert np.mean(identical) >= 0.996


def test_the_author_s_own_clip(recordings_dir):
    folder = recordings_dir / "reference"
    if not folder.is_dir():
        pytest.skip(f"no reference clip in {folder}")
    y = window_of(folder / "knocking_0005.wav")
    published = Recording(folder / "knocking_0005_percussive.wav").read()
    ours = FrontEnd().percussive(y)
    n = min(ours.size, published.size)
    correlation = np.corrcoef(ours[:n], published[:n])[0, 1]
    assert correlation >= 0.999
