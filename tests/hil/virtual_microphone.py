"""A microphone that is a pipe: PulseAudio's pipe source behind an ALSA device of a chosen name."""

import contextlib
import os
import shutil
import subprocess
import threading
import time
from pathlib import Path

import numpy as np

RATE = 44_100
CHUNK_S = 0.02
NEEDED = ("pulseaudio", "pactl")


def missing():
    """What this machine lacks for it, separated by commas, or ""."""
    lacking = [name for name in NEEDED if shutil.which(name) is None]
    if not list(Path("/usr/lib").glob("*/alsa-lib/libasound_module_pcm_pulse.so")):
        lacking.append("libasound2-plugins")
    return ", ".join(lacking)


class VirtualMicrophone:
    """Plays an array in a loop, in real time; its parts can be broken and mended."""

    def __init__(self, folder: Path, names=("knockmic",)):
        self.folder = folder
        self.fifo = folder / "fifo"
        self.environment = {
            **os.environ,
            "HOME": str(folder),
            "XDG_RUNTIME_DIR": str(folder),
            "PULSE_RUNTIME_PATH": str(folder / "pulse"),
            "PULSE_SERVER": f"unix:{folder}/socket",
            "ALSA_CONFIG_PATH": str(folder / "asound.conf"),
            "PULSE_LATENCY_MSEC": "30",
            "GPIOZERO_PIN_FACTORY": "mock",
        }
        self.name_devices(names)
        self.samples = np.zeros(RATE, dtype=np.int16)
        self.sent = 0
        self._server: subprocess.Popen[bytes] | None = None
        self._writer: threading.Thread | None = None
        self._writing = threading.Event()
        self._ended = threading.Event()

    def name_devices(self, names):
        """Define the ALSA devices ``names``, all of the one source."""
        entries = "".join(
            f'pcm.{name} {{ type pulse device "pmic" hint {{ show on description "{name}" }} }}\n'
            for name in names
        )
        (self.folder / "asound.conf").write_text(f"</usr/share/alsa/alsa.conf>\n{entries}")

    def one_rate(self, rate):
        """Make the card accept only ``rate``, for programs started after this."""
        self.preload("picky_card.c", ONE_RATE=str(rate))

    def one_format(self, number):
        """Make the card accept only ALSA's sample format ``number``, as above."""
        self.preload("picky_card.c", ONE_FORMAT=str(number))

    def preload(self, source: str, **environment: str):
        """Build ``source``, beside this file, for programs started after this to preload.

        They get ``environment``, too.
        """
        library = (self.folder / source).with_suffix(".so")
        code = Path(__file__).with_name(source)
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, code, "-ldl"], check=True)
        self.environment |= {"LD_PRELOAD": str(library), **environment}

    def start_server(self):
        """Start the sound server with its pipe."""
        (self.folder / "socket").unlink(missing_ok=True)
        self.fifo.unlink(missing_ok=True)  # a server that was killed leaves it behind
        command = ["pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--disallow-exit"]
        command += ["--use-pid-file=no", "-L"]
        command += [
            f"module-pipe-source source_name=pmic file={self.fifo} format=s16le rate={RATE} "
            "channels=1",
            "-L",
            f"module-native-protocol-unix auth-anonymous=1 socket={self.folder}/socket",
        ]
        with (self.folder / "pulse.log").open("ab") as log:
            self._server = subprocess.Popen(
                command, env=self.environment, stdout=subprocess.DEVNULL, stderr=log
            )
        deadline = time.monotonic() + 10
        while not (self.folder / "socket").exists() or not self.fifo.exists():
            assert self._server.poll() is None, (self.folder / "pulse.log").read_text()
            assert time.monotonic() < deadline, "the sound server does not start"
            time.sleep(0.05)

    def kill_server(self):
        """Kill the sound server, as a crash would."""
        assert self._server is not None
        self._server.kill()
        self._server.wait()

    def put_in(self):
        """Plug the card in again, after ``pactl unload-module module-pipe-source``."""
        arguments = f"source_name=pmic file={self.fifo} format=s16le rate={RATE} channels=1"
        self.pactl("load-module", "module-pipe-source", *arguments.split())

    def pactl(self, *words):
        """Send a command to the sound server."""
        subprocess.run(["pactl", *words], env=self.environment, check=True, timeout=10)

    def play(self, samples):
        """Play ``samples`` (int16) in a loop from now on."""
        self.samples, self.sent = samples, 0
        self._writing.set()
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, daemon=True)
            self._writer.start()

    def pause(self):
        """Send no more samples, as if the cable were out."""
        self._writing.clear()

    def _write(self):
        pipe, inode = self._open()
        due = time.monotonic()
        size = round(RATE * CHUNK_S)
        while not self._ended.is_set():
            if not self._writing.wait(0.1):
                due = time.monotonic()
                continue
            with contextlib.suppress(FileNotFoundError):
                if self.fifo.stat().st_ino != inode:  # a new card has a new pipe
                    os.close(pipe)
                    pipe, inode = self._open()
            at = self.sent % self.samples.size
            chunk = np.take(self.samples, range(at, at + size), mode="wrap").astype("<i2")
            try:
                os.write(pipe, chunk.tobytes())
                self.sent += size
            except BlockingIOError:
                pass  # nobody reads: those 20 ms are lost, as from a real card
            due += CHUNK_S
            time.sleep(max(0.0, due - time.monotonic()))
        os.close(pipe)

    def _open(self):
        pipe = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK)
        return pipe, os.fstat(pipe).st_ino

    def close(self):
        """Stop playing and stop the sound server."""
        self._ended.set()
        if self._writer is not None:
            self._writer.join()
        if self._server is not None and self._server.poll() is None:
            self.kill_server()
