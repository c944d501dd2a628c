"""``python -m tests.hil.recorded_lamp run ...``: edge with a GPIO whose pin is watched.

Every change of GPIO 17 is written to the file named by ``LAMP_RECORD`` as ``monotonic level``.
With ``LAMP_BUSY`` set, somebody else holds the pin until that file is gone.
"""

import os
import sys
import threading
import time
from pathlib import Path

from gpiozero import LED, Device
from gpiozero.pins.mock import MockFactory

from edge.cli import main

PIN = 17
STEP_S = 0.01


def watch(factory, path):
    """Write the pin's changes down, for ever."""
    last = None
    with Path(path).open("w", buffering=1) as file:
        while True:
            level = bool(factory.pin(PIN).state)
            if level != last:
                file.write(f"{time.monotonic():.3f} {int(level)}\n")
                last = level
            time.sleep(STEP_S)


def hold(path):
    """Be the somebody else."""
    owner = LED(PIN)
    while Path(path).exists():
        time.sleep(0.05)
    owner.close()


if __name__ == "__main__":
    Device.pin_factory = MockFactory()
    if busy := os.environ.get("LAMP_BUSY"):
        threading.Thread(target=hold, args=[busy], daemon=True).start()
        time.sleep(0.2)
    if record := os.environ.get("LAMP_RECORD"):
        threading.Thread(target=watch, args=[Device.pin_factory, record], daemon=True).start()
    sys.exit(main(sys.argv[1:]))
