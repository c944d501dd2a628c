"""The waiting that other tests rely on."""

import threading

import pytest

from tests.wait import wait_for, wait_for_threads


def test_what_does_not_come_true_is_a_failure():
    with pytest.raises(AssertionError):
        wait_for(lambda: False, 0.05)
    answers = iter([False, False, True])
    wait_for(lambda: next(answers))


def test_a_thread_that_goes_on_is_a_failure_and_one_that_ends_is_none():
    before, end = threading.enumerate(), threading.Event()
    thread = threading.Thread(target=end.wait, args=(20,), daemon=True)
    thread.start()
    with pytest.raises(AssertionError, match="goes on after the test"):
        wait_for_threads(before, 0.05)
    wait_for_threads([*before, thread], 0.05)
    later = threading.Timer(0.2, end.set)
    later.start()
    wait_for_threads(before)
    assert not thread.is_alive()
