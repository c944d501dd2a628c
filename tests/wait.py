"""Waiting for what happens in another thread or process, as long as a busy machine needs."""

import time


def wait_for(holds, seconds=20.0):
    """Wait until ``holds()`` is true; fail after ``seconds``."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
