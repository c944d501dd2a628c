"""The black box: sound, picture and facts of every alert, safe against a power cut at any byte.

A record is a folder. It is written under a name that starts with a dot, every file flushed to the
disk, and then renamed, which is atomic. What a power cut left half-written is removed at the next
start.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import os
import queue
import re
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.config import BlackBoxConfig
from edge.files import remove_leftovers, sync_folder, write_atomically
from edge.png import write_png
from edge.wav import write_wav

log = logging.getLogger(__name__)

RECORD_NAME = re.compile(r"[0-9]{6,12}")  # name of a record's folder
PIN_FILE = "pinned"  # a record with a file of this name is never deleted
SOUND, PICTURE, FACTS = "sound.wav", "picture.png", "alert.json"
CHECK_INTERVAL_S = 10.0  # how often the folder is checked between two alerts
# A worn card may pause for seconds in the middle of a write, and the longest record is 6 MB. If a
# write takes longer than this it hangs, and may never end.
STALL_S = 30.0
RESERVE_BYTES = 20_000_000  # always left free on the disk
WITHOUT_RECORDS = "%s; alerts go on without records"


@dataclass(frozen=True)
class Alert:
    """What is to be kept of one alert."""

    sound: NDArray[np.float32]  # (n,) in [-1, 1), the seconds before the alert
    picture: NDArray[np.uint8] | None  # (224, 224, 3), of the window that started it
    facts: dict[str, Any]
    end_s: float  # end of that window, on the source's clock


class BlackBox:
    """Writes records in a thread of its own, so that a slow card cannot block the listening."""

    def __init__(
        self,
        directory: Path,
        config: BlackBoxConfig,
        sr: int,
        *,
        about: Mapping[str, Any] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Keep records in ``directory``, which the thread creates, and clears of leftovers.

        If it is deleted later, it is created again. ``about`` is added to the facts of every
        record: which model judged. ``clock`` is for tests.
        """
        self.directory = directory
        self.written = 0
        # Alerts without a record: too soon after another, the disk too slow, or a write failed.
        self.skipped = 0
        self._config = config
        self._sr = sr
        self._about = dict(about or {})
        self._clock = clock
        self._failure = ""  # why the last disk operation failed
        self._busy_since: float | None = None  # when the current disk operation began; None if idle
        self._stall_logged = False
        self._last_s = -float("inf")
        self._write_tested = False  # whether writing worked when it was last tried
        self._test_size = 0  # bytes of the file to test it with
        self._undeletable: set[str] = set()  # leftovers that cannot be removed; each was logged
        self._queue: queue.Queue[Alert | None] = queue.Queue(maxsize=2)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    @property
    def problem(self) -> str:
        """Why records cannot be kept; "" while they can."""
        return self._stall() or self._failure

    def watch(self) -> None:
        """Log once if the disk hangs, which the writer itself then cannot. Call it regularly."""
        if (stall := self._stall()) and not self._stall_logged:
            self._stall_logged = True
            log.error(WITHOUT_RECORDS, stall)

    def _stall(self) -> str:
        busy_since = self._busy_since
        if busy_since is None or self._clock() - busy_since <= STALL_S:
            return ""
        return f"black box {self.directory}: the disk has not responded for {STALL_S:g} s"

    def keep(self, alert: Alert) -> bool:
        """Queue ``alert``; False if it comes too soon after the last or the queue is full."""
        if alert.end_s - self._last_s < self._config.min_interval_s:
            self.skipped += 1
            return False
        # Set before queueing, because the writer resets it if the write fails.
        before, self._last_s = self._last_s, alert.end_s
        try:
            self._queue.put_nowait(alert)
        except queue.Full:
            self._last_s = before
            self.skipped += 1
            return False
        return True

    def close(self, timeout_s: float = 1.5) -> None:
        """Write queued records for at most ``timeout_s``; those not written count as skipped."""
        until = time.monotonic() + timeout_s
        sentinels = 0
        with contextlib.suppress(queue.Full):
            self._queue.put(None, timeout=timeout_s / 2)
            sentinels = 1
            self._thread.join(until - time.monotonic())
        lost = self._queue.unfinished_tasks - sentinels if self._thread.is_alive() else 0
        if lost:
            self.skipped += lost
            log.error("black box: the disk is too slow, records lost at the end: %d", lost)

    def _run(self) -> None:
        self._attempt(self._prepare)
        while True:
            try:
                alert = self._queue.get(timeout=CHECK_INTERVAL_S)
            except queue.Empty:
                # A disk may fill up, go read-only or recover between two alerts.
                self._attempt(self._prepare)
                continue
            if alert is None:
                return
            if not self._attempt(partial(self._write, alert)):
                self.skipped += 1
                self._last_s = -float("inf")  # nothing was kept, so keep the next one however soon
            self._queue.task_done()

    def _attempt(self, work: Callable[[], None]) -> bool:
        self._busy_since, self._stall_logged = self._clock(), False
        try:
            work()
        except Exception as error:  # if this thread ended, later records would be lost silently
            reason = error.strerror if isinstance(error, OSError) else ""
            if isinstance(error, (FileExistsError, NotADirectoryError)):
                reason = "a file is in the way of this folder: move it away"
            problem = f"black box {self.directory}: {reason or error}"
            if problem != self._failure:
                log.error(WITHOUT_RECORDS, problem)
            self._failure = problem
            return False
        finally:
            self._busy_since = None
        self._failure = ""
        return True

    def _make_folder(self) -> None:
        if not self.directory.is_dir():
            self.directory.mkdir(parents=True, exist_ok=True)
            sync_folder(self.directory.parent)  # or a power cut may take it, with all records

    def _prepare(self) -> None:
        self._make_folder()
        for leftover in filter(_is_half_written, self.directory.glob(".*.part")):
            if self._remove(leftover):
                log.warning("black box: removed half-written %s", leftover.name)
        # Find out now, not at the first alert, whether records can be written and there is room.
        if not self._write_tested or not os.access(self.directory, os.W_OK):
            self._test_writing()
        self._to_drop(self._max_bytes(round(self._config.seconds * self._sr)))

    def _test_writing(self) -> None:
        """Write a test file. Only if in doubt, because writing wears out a card.

        After a record failed it is as long as that one, as a damaged card may take short files; but
        no longer than what is free, as records can be deleted to make room.
        """
        self._write_tested = False
        remove_leftovers(self.directory, ".writable")
        spare = max(0, shutil.disk_usage(self.directory).free - RESERVE_BYTES)
        if size := min(self._test_size, spare):
            write_atomically(self.directory / ".writable", bytes(size))
        write_atomically(self.directory / ".writable", b"")
        self._write_tested = True

    def _write(self, alert: Alert) -> None:
        self._make_folder()
        name = f"{self._next_number():06d}"  # while the oldest still count
        needed = self._max_bytes(alert.sound.size)
        to_drop = self._to_drop(needed)
        # Where the disk has room for all, a record that cannot be written costs no older one.
        drop_first = shutil.disk_usage(self.directory).free < needed + RESERVE_BYTES
        self._write_tested, self._test_size = False, needed
        if drop_first:
            self._drop(to_drop)
        part = self.directory / f".{name}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            write_wav(part / SOUND, alert.sound, self._sr)
            if alert.picture is not None:
                write_png(part / PICTURE, alert.picture)
            facts = {"record": name, **self._about, **alert.facts}
            write_atomically(part / FACTS, json.dumps(facts).encode())
            part.rename(self.directory / name)
            sync_folder(self.directory)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        self._write_tested = True
        self.written += 1
        log.info("black box: kept record %s", self.directory / name)
        if not drop_first:
            self._drop(to_drop)

    def _drop(self, records: list[Path]) -> None:
        for oldest in records:
            # Renamed first, so that a power cut meanwhile cannot leave half a record.
            self._remove(oldest.rename(self.directory / f".{oldest.name}.part"))

    def _remove(self, folder: Path) -> bool:
        """Remove ``folder``; False if that fails, which is logged once and is no error."""
        try:
            shutil.rmtree(folder)
        except OSError as error:
            if folder.name not in self._undeletable:
                log.warning("black box: %s cannot be removed: %s", folder, error.strerror)
            self._undeletable.add(folder.name)
            return False
        return True

    @staticmethod
    def _max_bytes(n_samples: int) -> int:
        """Upper limit of a record's size: 16-bit sound, an uncompressed picture, the facts."""
        return n_samples * 2 + 300_000

    def _records(self) -> list[Path]:
        """All records, oldest first. There may be other things, such as a folder "202403"."""
        found = [p for p in self.directory.iterdir() if RECORD_NAME.fullmatch(p.name)]
        return sorted(filter(_is_complete, found), key=lambda p: int(p.name))

    def _next_number(self) -> int:
        """One above the highest number in use, even by a folder that is not a record."""
        names = [p.name for p in self.directory.iterdir() if RECORD_NAME.fullmatch(p.name)]
        names += [name[1 : -len(".part")] for name in self._undeletable]
        return max(map(int, names), default=0) + 1

    def _to_drop(self, needed: int) -> list[Path]:
        """The oldest unpinned records to delete so that one more, ``needed`` bytes long, fits.

        Limits: max_records, max_mb and the free space. OSError if it would not fit even then.
        """
        records = self._records()
        sizes = {r: _size(r) for r in records}
        # A record of another owner, perhaps copied back by root, cannot be deleted.
        ours = [r for r in records if os.access(r, os.W_OK | os.X_OK)]
        droppable = deque(r for r in ours if not (r / PIN_FILE).exists())
        free = shutil.disk_usage(self.directory).free
        dropped = []
        while (
            len(sizes) >= self._config.max_records
            or sum(sizes.values()) + needed > self._config.max_mb * 1e6
            or free < needed + RESERVE_BYTES
        ):
            if not droppable:
                raise OSError(
                    errno.ENOSPC, "no room for a record, and no record that may be deleted"
                )
            dropped.append(droppable.popleft())
            free += sizes.pop(dropped[-1])
        return dropped


def _is_complete(folder: Path) -> bool:
    """Whether ``folder`` is a complete record; False, not an error, if unreadable or damaged."""
    try:
        return (folder / FACTS).is_file()
    except OSError:
        return False


def _size(record: Path) -> int:
    """Size of ``record`` in bytes; 0 if it cannot be read, or is being deleted meanwhile."""
    with contextlib.suppress(OSError):
        return sum(file.lstat().st_size for file in record.iterdir())
    return 0


def _is_half_written(folder: Path) -> bool:
    """Whether ``folder`` is named like a record that was being written or deleted."""
    return bool(RECORD_NAME.fullmatch(folder.name[1 : -len(".part")]))
