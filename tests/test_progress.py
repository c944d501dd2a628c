"""Signs of life of long jobs, in a log (standard error is no terminal here)."""

import time

import pytest

from convert import progress
from convert.progress import Stage, bar


def test_a_short_job_leaves_nothing_in_a_log(capsys):
    assert list(bar(range(5), "short")) == list(range(5))
    assert capsys.readouterr().err.strip() == ""


def test_a_long_one_speaks_up_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr(progress, "LOG_SECONDS", 0.1)
    began = time.monotonic()
    for _ in bar(range(20), "long"):
        time.sleep(0.02)
    took = time.monotonic() - began
    said = capsys.readouterr().err
    assert "long:" in said
    assert 1 <= said.count("/20") <= took / 0.1 + 2  # and one at the end


def test_a_stage_says_when_it_begins_and_what_came_of_it(capsys):
    with Stage("[1/2] first", "a while") as stage:
        stage.result = "22 MB"
    with pytest.raises(ValueError, match="no"), Stage("[2/2] second"):
        raise ValueError("no")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "[1/2] first ... a while"
    assert "22 MB" in lines[1]
    assert "failed" in lines[3]
