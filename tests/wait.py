"""Waiting for what happens elsewhere, as long as a busy machine needs, and a clock that stands."""

import threading
import time


def wait_for(holds, seconds=20.0):
    """Wait until ``holds()`` is true; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def wait_for_threads(before, seconds=5.0):
    """Wait until every thread that is not in ``before`` has ended; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    for thread in threading.enumerate():
        # A subclass belongs to a library, such as the monitor of tqdm, which goes on for good.
        if thread not in before and type(thread) is threading.Thread:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), f"{thread} goes on after the test"


class Clock:
    """Stands in for ``time.monotonic``: stands still unless ``now``, in seconds, is changed."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now
