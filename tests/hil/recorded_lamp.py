"""``python -m tests.hil.recorded_lamp run ...``: edge with a mock GPIO that is recorded.

Each time GPIO 17 is set, changed or not, adds a line ``monotonic level`` to the file named by
``LAMP_RECORD``, which tests/hil/lamp_record.py reads. If ``LAMP_BUSY`` names a file, another user
holds the pin until that file is removed.
"""

import os
import sys
import threading
import time
from pathlib import Path

from gpiozero import LED, Device
from gpiozero.pins.mock import MockFactory, MockPin

from edge.__main__ import main

PIN = 17


def watched(path):
    """A class of pins that record in the file ``path`` how they are set."""
    file = Path(path).open("a", buffering=1)  # noqa: SIM115 - open while the program runs

    class WatchedPin(MockPin):  # type: ignore[misc] # gpiozero has no types
        def _set_state(self, value):
            super()._set_state(value)
            file.write(f"{time.monotonic():.3f} {int(self.state)}\n")

    return WatchedPin


def hold(path):
    """Be the other user of the pin, as long as the file ``path`` exists."""
    owner = LED(PIN)
    while Path(path).exists():
        time.sleep(0.05)
    owner.close()


if __name__ == "__main__":
    Device.pin_factory = MockFactory(pin_class=watched(os.environ["LAMP_RECORD"]))
    if busy := os.environ.get("LAMP_BUSY"):
        threading.Thread(target=hold, args=[busy], daemon=True).start()
        time.sleep(0.2)
    sys.exit(main())
