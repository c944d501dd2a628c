"""The service behind ``edge run``: takes sound; drives the lamp, writes records and the status.

One thread takes sound, judges windows and decides. The microphone, the lamp and the black box each
have a thread of their own, so that none can block the others. Every time is monotonic.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable
from typing import Any

from edge import health
from edge.blackbox import Alert, BlackBox
from edge.config import Config, needs_restart
from edge.detector import Detector
from edge.errors import EdgeError
from edge.gate import Fault
from edge.hang_up import HangUp
from edge.indicator import Indicator, Signal
from edge.pipeline import Pipeline, Verdict
from edge.rate_monitor import rate_error_message
from edge.sound_memory import SoundMemory
from edge.source import LiveSource
from edge.status import (
    Board,
    Counters,
    Losses,
    State,
    facts_of_alert,
    problems_of,
    signal_of,
    verdict_of,
)
from edge.window import Block, Window, Windower

log = logging.getLogger(__name__)

READ_S = 0.25  # longest wait for sound, so that signals and the status are handled in time
BEHIND_S = 5.0  # for so long after windows were skipped, analysis counts as being behind
START_S = 60.0  # by how much each notification extends the start timeout; TimeoutStartSec=


class Service:
    """The whole listener; :meth:`run` returns when asked to stop or when the source has ended."""

    def __init__(
        self,
        config: Config,
        source: LiveSource,
        pipeline: Pipeline,
        *,
        indicator: Indicator,
        blackbox: BlackBox,
        status: health.StatusFile,
        skip_when_behind: bool = True,
        prove: Callable[[], None] | None = None,
        reload: Callable[[], Config] | None = None,
    ) -> None:
        """``skip_when_behind`` is off for a recording at full speed, whose sound is never stale.

        ``prove`` raises if the network computes wrong results. It runs once the first sound has
        arrived: it then delays no window, which takes two seconds of sound, and does not compete
        for the processor with the opening of the microphone. ``reload`` re-reads the settings.
        """
        self.counters = Counters()
        self._detector = Detector(config.detector)
        self._config = self._started_with = config
        self._source, self.pipeline = source, pipeline
        self._model_threshold = pipeline.threshold
        self._indicator, self._blackbox, self._status = indicator, blackbox, status
        self._skip, self._prove, self._reload = skip_when_behind, prove, reload
        self._notify = health.Notifier()
        self._stop = self._hup = self._ready = self._played = False
        self._was_lost = False  # the sound was lost, and no window has been processed since
        self._behind_until = self._next_status = 0.0
        self._last: Verdict | None = None
        self._broken = False  # the network's latest answer was not a probability
        self._last_end = (0.0, 0.0)  # end of the last window: source's clock, monotonic clock
        self._board, self._losses = Board(), Losses()
        self._losing = self._config_problem = ""
        self._memory = SoundMemory(config.blackbox.seconds, pipeline.front_end.config.sr)
        self._apply(config)

    def _apply(self, new: Config, old: Config | None = None) -> None:
        """Apply the settings that can change while the service runs (config.TAKEN_OVER).

        Parts whose settings equal those in ``old`` keep their state: an alert, a part of a window.
        """
        front_end = self.pipeline.front_end.config
        self._config = new
        self.pipeline.set_limits(new.listen.threshold or self._model_threshold, new.gate)
        if old and old.detector != new.detector:
            if self._detector.alert:
                log.info("alert ended: the detector's settings have changed")
            self._detector = Detector(new.detector)
        if not old or old.listen.hop_s != new.listen.hop_s:
            hop = round(new.listen.hop_s * front_end.sr)
            self._windower = Windower(front_end.n_samples, hop, front_end.sr)

    @property
    def stopped(self) -> bool:
        """Whether it was asked to stop before its source had ended."""
        return self._stop and not self._played

    @property
    def heard_to_s(self) -> float:
        """The end of the last window, on the source's clock."""
        return self._last_end[0]

    @property
    def records_written(self) -> int:
        """Number of alerts of which a record was written."""
        return self._blackbox.written

    def stop(self, *_: Any) -> None:
        """Ask :meth:`run` to return; safe in a signal handler."""
        self._stop = True

    def _hang_up(self, *_: Any) -> None:
        self._hup = True

    def run(self, hang_up: HangUp = HangUp.RELOAD) -> None:
        """Listen until stopped. The indicator is not closed: that is up to the caller."""
        answers = {HangUp.RELOAD: self._hang_up, HangUp.STOP: self.stop}
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        signal.signal(signal.SIGHUP, answers.get(hang_up, signal.SIG_IGN))
        state = str(Signal.FAULT)
        try:
            while not self._stop:
                blocks = self._source.read(READ_S)
                if blocks is None:
                    self._played = True
                    break
                if blocks and self._prove is not None:
                    self._prove()
                    self._prove = None
                self._listen(blocks)
                if self._hup:
                    self._reread()
                self._housekeeping()
            self._notify(STOPPING="1", STATUS="stopping")
            state = "stopped"
        finally:
            if state != "stopped":
                self._notify(STATUS=f"{state}, systemd will restart it")
            self._source.close()
            self._blackbox.close()
            self._status.write({**self.describe(), "state": state})

    def _listen(self, blocks: list[Block]) -> None:
        due: list[Window] = []
        for block in blocks:
            self._memory.add(block)
            due += self._windower.push(block)
        self.counters.windows_due += len(due)
        if self._skip and len(due) > 1:
            # Being up to date matters more than old sound: judge only the newest window.
            self.counters.windows_skipped += len(due) - 1
            self._behind_until = time.monotonic() + BEHIND_S
            due = due[-1:]
        for window in due:
            self._judge(window)
        # Gaps left no window to judge: the verdict is "unknown", handled like that of any window.
        if not due and (missed := self._windower.missed()):
            self.counters.windows_due += 1
            self._take(Verdict(*missed, "unknown", None, Fault.GAP, None))

    def _judge(self, window: Window) -> None:
        # At a wrong rate sound is spliced or out of tune, and the network's answer is worthless.
        fault = Fault.WRONG_RATE if self._source.rate_error else None
        self._take(self.pipeline.judge_window(window).unless(fault))

    def _take(self, verdict: Verdict) -> None:
        self._last, self._last_end = verdict, (verdict.end_s, time.monotonic())
        self._was_lost = False
        log.debug("window to %.1f s: %s", verdict.end_s, verdict.in_words())
        self.counters.count(verdict)
        detection = self._detector.update(verdict.knocks, verdict.end_s)
        if detection.started:
            self._alert(verdict)
        elif detection.ended:
            log.info("alert ended at %.1f s", verdict.end_s)
        self._indicator.window_done()
        self._show()
        whole = verdict.reason != Fault.GAP
        if verdict.reason == Fault.BAD_ANSWER or verdict.p_knocking is not None:
            self._broken = verdict.p_knocking is None  # the network sees nothing the gate refuses
        if self._broken:
            return  # not a working analysis: let the watchdog restart us, which may cure it
        # Repeated until systemd has taken it: without READY=1 there would be no watchdog.
        if whole and not self._ready and self._notify(READY="1", STATUS="listening"):
            self._ready = True
            log.info("ready: first window judged, %s", verdict.verdict)
        # Only here: a window was processed. A gap counts, too, since no restart would cure it.
        self._notify(WATCHDOG="1")

    def _alert(self, verdict: Verdict) -> None:
        self.counters.alerts += 1
        facts = facts_of_alert(verdict, self.pipeline.threshold, self.counters.alerts)
        log.warning(
            "KNOCKING: alert %d at %.1f s, p = %.3f",
            self.counters.alerts,
            verdict.end_s,
            verdict.p_knocking,
        )
        self._blackbox.keep(Alert(self._memory.read(), verdict.picture, facts, verdict.end_s))

    def _reread(self) -> None:
        self._hup = False
        if self._reload is None:
            return
        try:
            new = self._reload()
            self._apply(new, self._config)
            self._config_problem = ""
            later = ", ".join(needs_restart(self._started_with, new))
            log.info("settings reloaded%s", f"; only after a restart: {later}" if later else "")
        except (EdgeError, OSError) as error:
            self._config_problem = str(error)
            log.error("settings not reloaded, the old ones stay in force: %s", error)

    def _housekeeping(self) -> None:
        now = time.monotonic()
        self._losing = self._losses.count(self._source.gaps, now)
        self._blackbox.watch()
        self._indicator.watch()
        if self._source.problem:
            # No sound: an alert must end all the same. Extrapolate the source's clock.
            end_s, at = self._last_end
            if self._detector.pass_time(end_s + now - at).ended:
                log.info("alert ended: no more windows to judge")
            self._windower.sound_stops()
            if not self._source.opening:
                # The last verdict no longer holds, and the next window may take a while to come.
                self._last, self._was_lost = None, True
                self._indicator.expect_window()
        self._show()
        if now < self._next_status:
            return
        self._next_status = now + 1.0
        # Every second, because the kernel drops an under-voltage alarm within two seconds.
        self._board.look(health.board(), now)
        status = self.describe()
        self._status.write(status)
        told = {"STATUS": f"{status['state']}, {self.counters.windows_judged} windows judged"}
        # The start may wait long for a microphone, but must time out on a hang or bad answers.
        if not self._ready and (self._source.problem or not self._broken):
            told["EXTEND_TIMEOUT_USEC"] = str(round(START_S * 1e6))
        self._notify(**told)

    def _show(self) -> None:
        self._indicator.show(signal_of(self.state()))

    def state(self) -> State:
        """The state at this moment."""
        source, stale = self._source, self._indicator.stale
        board = self._board.problems(self._config.health.hot_c, time.monotonic())
        return State(
            source_problem=source.problem,
            opening=not self._ready and not stale and source.opening,
            back=self._was_lost and not source.problem,
            stale=stale,
            alert=self._detector.alert,
            last=self._last,
            faults=(self._blackbox.problem, self._indicator.failure, self._config_problem),
            remarks=(self._indicator.missing,),
            degraded=(*self._lagging(), *board),
        )

    def _lagging(self) -> list[str]:
        """Messages about lost sound and skipped windows; "" for each that does not apply."""
        behind = time.monotonic() < self._behind_until
        return [
            self._losing,
            rate_error_message(self._source.rate_error),
            "analysis is behind: windows are skipped" if behind else "",
        ]

    def describe(self) -> dict[str, Any]:
        """The content of the status file."""
        state = self.state()
        return {
            "state": str(signal_of(state)),
            "alert": state.alert,
            "problems": problems_of(state),
            **verdict_of(state),
            **vars(self.counters),
            "records_written": self.records_written,
            "records_skipped": self._blackbox.skipped,
            "gaps": self._source.gaps,
            "restarts": self._source.restarts,
            "overflows": self._source.overflows,
            **self._board.told(),
            "monotonic_s": round(time.monotonic(), 3),
            "boot_id": health.boot_id(),
        }
