"""The process that holds the microphone: ``python -m edge.capture_process DEVICE CHANNEL RATES``.

With ``--list`` alone it lists the inputs as JSON and exits. Errors go to standard error; the exit
code gives their kind and is that of the command line (edge.errors).

When a sound card vanishes, PortAudio's read neither returns nor fails, and nothing inside the
process helps. So the microphone lives in a process of its own that can be killed at any moment.
It writes packets to its standard output: a header, then 16-bit samples of one channel. The header
holds the time of arrival by a clock that all processes share, because the reader may be late.
Nothing else may write there: whatever a sound library prints is redirected to standard error. The
callback only copies and queues. Samples that do not fit into the queue are counted, and the next
packet reports how many were lost.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import select
import signal
import struct
import sys
import time
from dataclasses import dataclass
from typing import IO, Any

from edge.child import die_with_parent
from edge.errors import AudioDeviceError, EdgeError, MissingPackageError
from edge.packages import pip_install
from edge.quiet import quiet_stderr

MAGIC = 0x4B4E4F43
# magic, rate in Hz, samples that follow, samples lost before them, input overflows so far, and
# arrival time of the last sample (CLOCK_MONOTONIC, s)
HEADER = struct.Struct("<IIIIId")
OPENED_PREFIX = "opened:"  # on standard error, followed by the name of the opened device
# Largest count in a header: 27 hours at 44.1 kHz, if the reader was suspended.
MAX_COUNT = 2**32 - 1
CALLBACK_SECONDS = 0.05
QUEUE_SECONDS = 2.0
SAMPLE_BYTES = 2  # in a packet
# What PortAudio is asked for, with its bytes. 16 bits come second: from a card that has 24 or 32
# bits only, such as an I2S microphone, they would be dithered, and its peaks would wrap round to
# the other sign (PortAudio issue 112). To 32 bits it only shifts. But a card may have a rate with
# 16 bits only, and PortAudio chooses the card's format before the rate.
SAMPLE_FORMATS = (("paInt32", 4), ("paInt16", 2))
TRIED_RATES = (8000, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000)


@dataclass(frozen=True)
class Input:
    """An input that PortAudio offers."""

    index: int  # valid until PortAudio is started again
    name: str
    channels: int
    usb_id: str  # vendor:product in hexadecimal, or ""


def usb_id_of(name: str, cards: str = "/proc/asound") -> str:
    """USB id of the ALSA card in a PortAudio name like ``USB PnP: Audio (hw:1,0)``, or ""."""
    _, found, rest = name.rpartition("(hw:")
    number = rest.split(",", 1)[0]
    if not found or not number.isdigit():
        return ""
    try:
        with open(f"{cards}/card{number}/usbid", encoding="ascii") as file:  # noqa: PTH123 - read once, in a process that must start fast
            return file.read().strip()
    except OSError:
        return ""  # not a USB card


def choose(inputs: list[Input], wanted: str, default: int | None) -> Input:
    """The input that ``wanted`` selects: part of a name in any case, or a USB id.

    "" selects the default input, or the first where the system names no default.
    AudioDeviceError if none or several match; the message lists the candidates.
    """
    if not wanted:
        for device in inputs:
            if device.index == default:
                return device
        matches = inputs[:1]
    else:
        words = _unnumbered(wanted)
        found = [d for d in inputs if words in _unnumbered(d.name) or words == d.usb_id.lower()]
        # A name may be part of another, longer one: an exact match takes precedence.
        exact = [d for d in found if _unnumbered(d.name) == words]
        # Two identical cards differ only in their card number.
        matches = [d for d in exact if d.name == wanted] or exact or found if words else []
    if len(matches) == 1:
        return matches[0]
    if not inputs:
        raise AudioDeviceError("there is no microphone: plug one in")
    names = "; ".join(d.name for d in (matches or inputs))
    if not matches:
        raise AudioDeviceError(f"no microphone matches {wanted!r}; there are: {names}")
    raise AudioDeviceError(f"microphone {wanted!r} is ambiguous; it could be: {names}")


def _unnumbered(name: str) -> str:
    """``name`` without its card number, ``(hw:1,0)``, which may change from boot to boot."""
    return name.partition("(hw:")[0].strip().lower()


def start_portaudio() -> tuple[Any, Any]:
    """PyAudio's module and an instance; ALSA's messages on standard error are suppressed.

    The instance is never terminated: the process simply exits, because PortAudio's own clean-up may
    hang for ever on a card that has gone.
    """
    try:
        import pyaudio  # noqa: PLC0415 - imported nowhere else
    except ImportError as error:
        raise MissingPackageError(
            "the microphone needs the package pyaudio, which is compiled: sudo apt install "
            f"portaudio19-dev gcc python3-dev, then {pip_install('pyaudio')}"
        ) from error
    with quiet_stderr():
        return pyaudio, pyaudio.PyAudio()


def inputs_of(instance: Any) -> tuple[list[Input], int | None]:
    """All inputs and the index of the default one, None if there is no default."""
    found = []
    for index in range(instance.get_device_count()):
        info = instance.get_device_info_by_index(index)
        if info["maxInputChannels"] > 0:
            name = str(info["name"])
            found.append(Input(index, name, int(info["maxInputChannels"]), usb_id_of(name)))
    try:
        default = int(instance.get_default_input_device_info()["index"])
    except OSError:
        default = None
    return found, default


def open_stream(
    module: Any, instance: Any, device: Input, rates: list[int], capture: Capture
) -> tuple[Any, int]:
    """Open ``device`` at the first of ``rates`` it accepts; returns the stream and that rate.

    AudioDeviceError if it accepts none.
    """
    refused = {}
    for rate, (form, width) in itertools.product(rates, SAMPLE_FORMATS):
        capture.sample_bytes = width
        try:
            with quiet_stderr():
                stream = instance.open(
                    rate=rate,
                    channels=capture.channels,
                    format=getattr(module, form),
                    input=True,
                    input_device_index=device.index,
                    frames_per_buffer=round(rate * CALLBACK_SECONDS),
                    stream_callback=capture,
                    start=False,
                )
        except (OSError, ValueError) as error:
            refused[rate] = f"{rate} Hz ({error})"
            continue
        return stream, rate
    raise AudioDeviceError(
        f"microphone {device.name!r} opens at none of audio.rates: {', '.join(refused.values())}"
    )


class Capture:
    """PortAudio's callback, and the bounded queue it fills.

    An item of the queue: interleaved samples as bytes, frames lost before them, overflows so far,
    and the time of arrival (CLOCK_MONOTONIC, s).
    """

    def __init__(self, module: Any, channel: int) -> None:
        """``channel``, from 0, is the last that is opened: no more are needed."""
        self._continue = module.paContinue
        self._overflow = module.paInputOverflow
        self._channel, self.channels = channel, channel + 1
        self.sample_bytes = SAMPLE_FORMATS[0][1]  # of a sample that PortAudio delivers
        # The bound is QUEUE_SECONDS for callbacks of the usual length; others may occur.
        self.packets: queue.Queue[tuple[bytes, int, int, float]] = queue.Queue(
            round(QUEUE_SECONDS / CALLBACK_SECONDS)
        )
        self._lost = 0
        self._overflows = 0

    def __call__(self, data: bytes, frames: int, _: Any, status: int) -> tuple[None, int]:
        """Called by PortAudio in its own thread."""
        if status & self._overflow:
            self._overflows = min(self._overflows + 1, MAX_COUNT)
            # PortAudio does not say how many were lost: at least one.
            self._lost = min(self._lost + 1, MAX_COUNT)
        try:
            self.packets.put_nowait((data, self._lost, self._overflows, time.monotonic()))
            self._lost = 0
        except queue.Full:
            self._lost = min(self._lost + frames, MAX_COUNT)
        return None, self._continue

    def mono(self, data: bytes) -> bytes:
        """The upper 16 bits of the wanted channel of interleaved samples."""
        words = memoryview(data).cast("h")  # little-endian: the upper one is a sample's last
        n = self.sample_bytes // SAMPLE_BYTES
        return bytes(words[n * self._channel + n - 1 :: n * self.channels])


def _list_inputs(module: Any, instance: Any) -> list[dict[str, Any]]:
    """All inputs with the rates they accept, found by opening each at all of TRIED_RATES."""
    inputs, default = inputs_of(instance)
    return [
        {
            "name": device.name,
            "usb_id": device.usb_id,
            "channels": device.channels,
            "default": device.index == default,
            "rates": [rate for rate in TRIED_RATES if _opens(module, instance, device, rate)],
        }
        for device in inputs
    ]


def _opens(module: Any, instance: Any, device: Input, rate: int) -> bool:
    try:
        stream, _ = open_stream(module, instance, device, [rate], Capture(module, 0))
    except AudioDeviceError:
        return False
    stream.close()
    return True


def claim_stdout() -> IO[bytes]:
    """Standard output for packets alone; anything else printed now goes to standard error.

    One printf by PortAudio, JACK or ALSA between two packets would corrupt the stream for good.
    """
    ours = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return ours


def nobody_reads(out: IO[bytes]) -> bool:
    """Whether ``out`` is a pipe whose reader has ended."""
    poll = select.poll()
    poll.register(out, 0)
    return any(events & select.POLLERR for _, events in poll.poll(0))


def main(out: IO[bytes]) -> int:
    """Open the microphone and write packets to ``out`` until killed or nobody reads any more.

    Returns the exit code.
    """
    die_with_parent()  # if the service is killed, the microphone must not stay in use
    if nobody_reads(out):  # it was killed before that
        return 0
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the service handles Ctrl-C
    try:
        module, instance = start_portaudio()
        if sys.argv[1] == "--list":
            out.write(json.dumps(_list_inputs(module, instance)).encode())
            out.flush()
            return 0
        wanted, channel, rates = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
        _run(module, instance, wanted, channel, rates, out=out)
    except (EdgeError, OSError) as error:
        if isinstance(error, BrokenPipeError):
            return 0
        print(" ".join(str(error).split()), file=sys.stderr, flush=True)
        return error.exit_code if isinstance(error, EdgeError) else AudioDeviceError.exit_code
    return 0


def _run(
    module: Any, instance: Any, wanted: str, channel: int, rates: list[int], *, out: IO[bytes]
) -> None:
    inputs, default = inputs_of(instance)
    device = choose(inputs, wanted, default)
    if channel >= device.channels:
        raise AudioDeviceError(
            f"microphone {device.name!r} has {device.channels} channels: "
            f"there is no channel {channel} (the first is 0)"
        )
    capture = Capture(module, channel)
    stream, rate = open_stream(module, instance, device, rates, capture)
    print(f"{OPENED_PREFIX}{device.name}", file=sys.stderr, flush=True)
    stream.start_stream()
    while True:
        try:
            data, lost, overflows, at_s = capture.packets.get(timeout=0.5)
        except queue.Empty:
            if not stream.is_active():
                raise AudioDeviceError(f"microphone {device.name!r} has stopped") from None
            continue
        mono = capture.mono(data)
        count = len(mono) // SAMPLE_BYTES
        out.write(HEADER.pack(MAGIC, rate, count, lost, overflows, at_s) + mono)
        out.flush()


if __name__ == "__main__":
    # os._exit skips the interpreter's clean-up, which would include PortAudio's: see
    # start_portaudio.
    output = claim_stdout()
    code = main(output)
    sys.stderr.flush()
    os._exit(code)
