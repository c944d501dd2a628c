"""A stand-in for PyAudio without a sound card, whose inputs deliver a counter.

Sample n of channel c is (n + 1000 c) modulo 30 000 in its upper 16 bits, so that a wrong channel
and lost or repeated samples can be detected. Counting begins when the stream is started; as in
PortAudio, it runs in a thread of its own.
"""

import os
import struct
import sys
import threading
import types

INT32, INT16, GO_ON, OVERFLOW = 2, 8, 0, 2  # PortAudio's own numbers


class FakePyAudio:
    """``devices``: dicts of name, channels and rates that open; ``default``: an index or None.

    A device opens at its ``rates_of_16_bits``, if it has any, with 16-bit samples alone.

    A stream stops by itself after ``packets`` callbacks. ``chatter``: what the native libraries
    print to standard output while devices are counted, and before each callback.
    """

    def __init__(self, devices, default=None, packets=10**9, chatter=""):
        self._devices, self._default, self._packets = devices, default, packets
        self._chatter = chatter.encode()
        self.opened = []  # keyword arguments of each open()
        self.streams = []

    def get_device_count(self):
        os.write(1, self._chatter)
        return len(self._devices)

    def get_device_info_by_index(self, index):
        device = self._devices[index]
        return {"index": index, "name": device["name"], "maxInputChannels": device["channels"]}

    def get_default_input_device_info(self):
        if self._default is None:
            raise OSError("No Default Input Device Available")
        return self.get_device_info_by_index(self._default)

    def open(self, **how):
        self.opened.append(how)
        device = self._devices[how["input_device_index"]]
        assert how["format"] in (INT32, INT16)
        rates = device["rates"]
        if how["format"] == INT16:
            rates = [*rates, *device.get("rates_of_16_bits", [])]
        if how["rate"] not in rates:
            raise OSError(-9997, "Invalid sample rate")
        if not 0 < how["channels"] <= device["channels"]:
            raise ValueError("invalid number of channels")
        assert how["input"]
        self.streams.append(FakeStream(how, self._packets, self._chatter))
        return self.streams[-1]


class FakeStream:
    """Calls back every few milliseconds, which is faster than real time."""

    def __init__(self, how, packets, chatter):
        self._how, self._packets, self._chatter = how, packets, chatter
        self._thread = threading.Thread(target=self._deliver, daemon=True)
        self.closed = False
        if how["start"]:
            self.start_stream()

    def start_stream(self):
        self._thread.start()

    def is_active(self):
        return self._thread.is_alive()

    def close(self):
        self.closed = True

    def _deliver(self):
        frames, channels = self._how["frames_per_buffer"], self._how["channels"]
        for packet in range(self._packets):
            at = packet * frames
            samples = [(at + n + 1000 * c) % 30_000 for n in range(frames) for c in range(channels)]
            form, shift = ("i", 16) if self._how["format"] == INT32 else ("h", 0)
            data = struct.pack(f"<{len(samples)}{form}", *(s << shift for s in samples))
            os.write(1, self._chatter)
            _, what = self._how["stream_callback"](data, frames, None, 0)
            assert what == GO_ON
            threading.Event().wait(0.002)


def as_module(instance):
    """A module like ``pyaudio``, whose PyAudio() always returns ``instance``."""
    module = types.ModuleType("pyaudio")
    vars(module).update(
        paInt32=INT32,
        paInt16=INT16,
        paContinue=GO_ON,
        paInputOverflow=OVERFLOW,
        PyAudio=lambda: instance,
    )
    return module


def install(**how):
    """Make ``import pyaudio`` find the stand-in, for the rest of this process."""
    sys.modules["pyaudio"] = as_module(FakePyAudio(**how))
