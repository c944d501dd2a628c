"""``python -m tests.hil.recorded_lamp run ...``: edge with a GPIO whose pin is watched.

Every time GPIO 17 is set, changed or not, is a line ``monotonic level`` in the file named by
``LAMP_RECORD``: tests/hil/lamp_record.py reads it. With ``LAMP_BUSY`` set, somebody else holds the
pin until that file is gone.
"""

import os
import sys
import threading
import time
from pathlib import Path

from gpiozero import LED, Device
from gpiozero.pins.mock import MockFactory, MockPin

from edge.cli import main

PIN = 17


def watched(path):
    """A kind of pin that writes down in ``path`` how it is set."""
    file = Path(path).open("a", buffering=1)  # noqa: SIM115 - as long as the program runs

    class WatchedPin(MockPin):  # type: ignore[misc] # gpiozero has no types
        def _set_state(self, value):
            super()._set_state(value)
            file.write(f"{time.monotonic():.3f} {int(self.state)}\n")

    return WatchedPin


def hold(path):
    """Be the somebody else."""
    owner = LED(PIN)
    while Path(path).exists():
        time.sleep(0.05)
    owner.close()


if __name__ == "__main__":
    Device.pin_factory = MockFactory(pin_class=watched(os.environ["LAMP_RECORD"]))
    if busy := os.environ.get("LAMP_BUSY"):
        threading.Thread(target=hold, args=[busy], daemon=True).start()
        time.sleep(0.2)
    sys.exit(main(sys.argv[1:]))
