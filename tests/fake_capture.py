"""A capture process that needs no sound card: ``python -m tests.fake_capture SCRIPT``.

The samples are a counter: sample n, with lost ones counted, is n modulo 30 000, so lost or repeated
samples can be detected. SCRIPT is a list of words: a number of packets to send at once, ``wait:S``
(seconds), ``lose:N`` (samples), ``overflow:N`` (the count so far), ``die``, ``hang`` (for ever),
``nonsense``, ``say:WORDS`` (on standard error), ``paced:N`` (packets, in real time).
"""

import signal
import struct
import sys
import time

RATE = 22_050
PACKET = 1102


def main():
    """Follow the script."""
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    at, lost, overflows = 0, 0, 0

    def send(count, every_s):
        nonlocal at, lost
        due = time.monotonic()
        for _ in range(count):
            samples = [(at + i) % 30_000 for i in range(PACKET)]
            # Stamped when due: a busy machine sends late, but the sound did not arrive late.
            header = struct.pack("<IIIIId", 0x4B4E4F43, RATE, PACKET, lost, overflows, due)
            sys.stdout.buffer.write(header + struct.pack(f"<{PACKET}h", *samples))
            sys.stdout.buffer.flush()
            at, lost = at + PACKET, 0
            due += every_s  # from the due time, so that a busy machine catches up
            time.sleep(max(0, due - time.monotonic()))

    for word in sys.argv[1].split():
        verb, _, value = word.partition(":")
        if verb.isdigit():
            send(int(verb), 0)
        elif verb == "paced":
            send(int(value), PACKET / RATE)
        elif verb == "wait":
            time.sleep(float(value))
        elif verb == "lose":
            lost, at = int(value), at + int(value)
        elif verb == "overflow":
            overflows = int(value)
        elif verb == "say":
            print(value, file=sys.stderr, flush=True)
        elif verb == "nonsense":
            sys.stdout.buffer.write(b"?" * 1000)
            sys.stdout.buffer.flush()
        elif verb == "die":
            sys.exit(5)
        elif verb == "hang":
            time.sleep(1000)


if __name__ == "__main__":
    main()
