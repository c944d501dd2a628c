"""Warnings about many recordings."""

import logging

from convert.few_warnings import few_warnings

DAMAGED, COARSE = "%s is damaged", "%s has only %.0f kbit/s"


def test_of_many_alike_a_few_are_named_and_all_are_counted(capsys):
    log = logging.getLogger("edge.av_decoder")
    with few_warnings():
        for i in range(10):
            log.warning(DAMAGED, f"{i}.mp3")
        log.warning(COARSE, "b.mp3", 24)
    assert capsys.readouterr().err.splitlines() == [
        "0.mp3 is damaged",
        "1.mp3 is damaged",
        "2.mp3 is damaged",
        "b.mp3 has only 24 kbit/s",
        "7 more like this: 0.mp3 is damaged",
    ]


def test_names_cannot_control_the_terminal(capsys):
    log = logging.getLogger("edge.av_decoder")
    with few_warnings():
        for i in range(4):
            log.warning(DAMAGED, f"{i}\x1b[2J\n.mp3")
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == r"0\x1b[2J\n.mp3 is damaged"
    assert lines[-1] == r"1 more like this: 0\x1b[2J\n.mp3 is damaged"


def test_a_recording_that_is_read_twice_is_named_once(capsys):
    log = logging.getLogger("edge.av_decoder")
    with few_warnings():
        for _ in range(5):
            log.warning(DAMAGED, "a.mp3")
    assert capsys.readouterr().err == "a.mp3 is damaged\n"


def test_afterwards_warnings_go_where_they_went_before(caplog, capsys):
    log = logging.getLogger("edge.av_decoder")
    try:
        with few_warnings():
            raise ValueError
    except ValueError:
        pass
    log.warning(DAMAGED, "a.mp3")
    assert caplog.messages == ["a.mp3 is damaged"]
    assert capsys.readouterr().err == ""
