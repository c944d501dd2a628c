"""The service behind ``edge run``: takes sound; drives the lamp, writes records and the status.

One thread takes sound, judges windows and decides. The microphone, the lamp and the black box each
have a thread of their own, so that none can block the others. Every time is monotonic.
"""

from __future__ import annotations

import logging
import math
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
from edge.indicator import Indicator, Signal
from edge.pipeline import Pipeline, Verdict
from edge.rate_monitor import rate_error_message
from edge.sighup import SighupAction
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

READ_TIMEOUT_S = 0.25  # longest wait for sound, so that signals and the status are handled in time
BEHIND_S = 5.0  # for so long after windows were skipped, analysis counts as being behind
EXTEND_START_S = 60.0  # longest time between two notifications at start; TimeoutStartSec=


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
        self_test: Callable[[], None] | None = None,
        reload: Callable[[], Config] | None = None,
    ) -> None:
        """``skip_when_behind`` is off for a recording at full speed, whose sound is never stale.

        ``self_test`` raises if the network computes wrong results. It runs once the first sound has
        arrived: it then delays no window, which takes two seconds of sound, and does not compete
        for the processor with the opening of the microphone. ``reload`` re-reads the settings.
        """
        self.counters = Counters()
        self._detector = Detector(config.detector)
        self._config = self._started_with = config
        self._source, self.pipeline = source, pipeline
        self._model_threshold = pipeline.threshold
        self._indicator, self._blackbox, self._status = indicator, blackbox, status
        self._skip_when_behind, self._self_test, self._reload = skip_when_behind, self_test, reload
        self._notify = health.Notifier()
        self._stop = self._reload_requested = self._ready = self._source_ended = False
        self._sound_lost = False  # the sound was lost, and no window has been processed since
        self._behind_until = self._next_status = 0.0
        self._last_verdict: Verdict | None = None
        self._network_failed = False  # the network's latest answer was not a probability
        self._last_end = (0.0, 0.0)  # end of the last window: source's clock, monotonic clock
        self._board, self._losses = Board(), Losses()
        self._loss_problem = self._config_problem = ""
        self._memory = SoundMemory(config.blackbox.seconds, pipeline.front_end.config.sr)
        self._apply(config)

    def _apply(self, new: Config, old: Config | None = None) -> None:
        """Apply the settings that can change while the service runs (config.RELOADABLE_SECTIONS).

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
        return self._stop and not self._source_ended

    @property
    def judged_to_s(self) -> float:
        """The end of the last window, on the source's clock."""
        return self._last_end[0]

    @property
    def records_written(self) -> int:
        """Number of alerts of which a record was written."""
        return self._blackbox.written

    def stop(self, *_: Any) -> None:
        """Ask :meth:`run` to return; safe in a signal handler."""
        self._stop = True

    def _request_reload(self, *_: Any) -> None:
        self._reload_requested = True

    def run(self, on_sighup: SighupAction = SighupAction.RELOAD) -> None:
        """Listen until stopped. The indicator is not closed: that is up to the caller."""
        handlers = {SighupAction.RELOAD: self._request_reload, SighupAction.STOP: self.stop}
        signal.signal(signal.SIGTERM, self.stop)
        signal.signal(signal.SIGINT, self.stop)
        signal.signal(signal.SIGHUP, handlers.get(on_sighup, signal.SIG_IGN))
        state = str(Signal.FAULT)
        try:
            while not self._stop:
                blocks = self._source.read(READ_TIMEOUT_S)
                if blocks is None:
                    self._source_ended = True
                    break
                if blocks and self._self_test is not None:
                    self._self_test()
                    self._self_test = None
                    if self._stop:  # a slow board has no time left for another window
                        break
                self._listen(blocks)
                if self._reload_requested:
                    self._reload_settings()
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
        behind = self._skip_when_behind and len(due) > 1
        if behind:
            # Being up to date matters more than old sound: judge only the newest window.
            self.counters.windows_skipped += len(due) - 1
            due = due[-1:]
        # At first the sound has waited for the program, not for analysis.
        if behind := behind and self._ready:
            self._behind_until = math.inf
            self._show()  # now: judging the next window may take as long again
        for window in due:
            self._judge(window)
        if behind:
            self._behind_until = time.monotonic() + BEHIND_S
        # Gaps left no window to judge: the verdict is "unknown", handled like that of any window.
        if not due and (missed := self._windower.missed_window()):
            self.counters.windows_due += 1
            self._handle_verdict(Verdict(*missed, "unknown", None, Fault.GAP, None))

    def _judge(self, window: Window) -> None:
        # At a wrong rate sound is spliced or out of tune, and the network's answer is worthless.
        fault = Fault.WRONG_RATE if self._source.rate_error else None
        self._handle_verdict(self.pipeline.judge_window(window).with_fault(fault))

    def _handle_verdict(self, verdict: Verdict) -> None:
        self._last_verdict, self._last_end = verdict, (verdict.end_s, time.monotonic())
        self._sound_lost = False
        log.debug("window to %.1f s: %s", verdict.end_s, verdict.in_words())
        self.counters.count(verdict)
        change = self._detector.update(verdict.knocks, verdict.end_s)
        if change.started:
            self._alert(verdict)
        elif change.ended:
            log.info("alert ended at %.1f s", verdict.end_s)
        self._indicator.window_done()
        self._show()
        has_sound = verdict.reason != Fault.GAP
        if verdict.reason == Fault.BAD_ANSWER or verdict.p_knocking is not None:
            self._network_failed = verdict.p_knocking is None  # not asked where the gate refuses
        if self._network_failed or self._indicator.hangs:
            return  # no working analysis, or nobody sees it: the watchdog's restart may cure it
        # Repeated until systemd has taken it: without READY=1 there would be no watchdog.
        if has_sound and not self._ready and self._notify(READY="1", STATUS="listening"):
            self._ready = True
            log.info("ready: first window judged, %s", verdict.verdict)
        # For a window or a gap, not while the microphone is lost: one restart may cure the cause.
        self._notify(WATCHDOG="1")

    def _alert(self, verdict: Verdict) -> None:
        self.counters.alerts += 1
        number, threshold = self.counters.alerts, self.pipeline.threshold
        p, end_s = verdict.p_knocking, verdict.end_s
        log.warning("KNOCKING: alert %d at %.1f s, p = %.3f", number, end_s, p)
        facts = facts_of_alert(verdict, self._source.name, threshold, number)
        self._blackbox.keep(Alert(self._memory.read(), verdict.picture, facts, end_s))

    def _reload_settings(self) -> None:
        self._reload_requested = False
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
        self._loss_problem = self._losses.count(self._source.gaps, now)
        self._blackbox.watch()
        self._indicator.watch()
        if self._source.problem:
            # No sound: an alert must end all the same. Extrapolate the source's clock.
            end_s, at_s = self._last_end
            if self._detector.pass_time(end_s + now - at_s).ended:
                log.info("alert ended: no more windows to judge")
            self._windower.sound_stops()
            if not self._source.opening:
                # The last verdict no longer holds, and the next window may take a while to come.
                self._last_verdict, self._sound_lost = None, True
                self._indicator.expect_window()
        self._show()
        if now < self._next_status:
            return
        self._next_status = now + 1.0
        # Every second, because the kernel drops an under-voltage alarm within two seconds.
        self._board.update(health.board(), now)
        status = self.describe()
        self._status.write(status)
        fields = {"STATUS": f"{status['state']}, {self.counters.windows_judged} windows judged"}
        # The start may wait long for a microphone, but must time out on hangs or bad answers.
        fails = self._network_failed or self._indicator.hangs
        if not self._ready and (self._source.problem or not fails):
            fields["EXTEND_TIMEOUT_USEC"] = str(round(EXTEND_START_S * 1e6))
        self._notify(**fields)

    def _show(self) -> None:
        self._indicator.show(signal_of(self.state()))

    def state(self) -> State:
        """The state at this moment."""
        source, stale = self._source, self._indicator.stale
        board = self._board.problems(self._config.health.hot_c, time.monotonic())
        return State(
            source_problem=source.problem,
            opening=not self._ready and not stale and source.opening,
            recovering=self._sound_lost and not source.problem,
            stale=stale,
            alert=self._detector.alert,
            last=self._last_verdict,
            faults=(self._blackbox.problem, self._indicator.failure, self._config_problem),
            remarks=(self._indicator.missing,),
            degraded=(*self._sound_problems(), *board),
        )

    def _sound_problems(self) -> list[str]:
        """Messages about lost sound and skipped windows; "" for each that does not apply."""
        behind = time.monotonic() < self._behind_until
        return [
            self._loss_problem,
            rate_error_message(self._source.rate_error),
            "analysis is behind: windows are skipped" if behind else "",
        ]

    def describe(self) -> dict[str, Any]:
        """The content of the status file."""
        state = self.state()
        return {
            "state": str(signal_of(state)),
            "source": self._source.name,
            "alert": state.alert,
            "problems": problems_of(state),
            **verdict_of(state),
            **vars(self.counters),
            "records_written": self.records_written,
            "records_skipped": self._blackbox.skipped,
            "gaps": self._source.gaps,
            "restarts": self._source.restarts,
            "overflows": self._source.overflows,
            **self._board.as_status(),
            "monotonic_s": round(time.monotonic(), 3),
            "boot_id": health.boot_id(),
        }
