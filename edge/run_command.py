"""``edge run``: builds the service from its settings and runs it."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import math
import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from edge.blackbox import BlackBox
from edge.capture import Recording
from edge.classifier import Classifier
from edge.config import DEFAULT_PATH, Config, lamp_of
from edge.errors import ConfigError, ModelError
from edge.frontend import FrontEnd, FrontEndConfig
from edge.golden import TOLERANCE, golden_answer
from edge.health import StatusFile
from edge.indicator import Indicator, Signal, pattern_table
from edge.installed import (
    installed_config,
    load_config,
    load_model,
    records_folder,
    require_fitting,
)
from edge.journal import set_up_logging
from edge.microphone import Microphone
from edge.model import ModelFile
from edge.pipeline import Pipeline
from edge.replay import Replay
from edge.service import LiveSource, Service

log = logging.getLogger(__name__)

FAULT_SECONDS = 10.0  # how long the lamp tells of a failed start before systemd tries again

EXAMPLES = f"""\
examples:
  edge run                               with /etc/knockknock/edge.toml, or the defaults
  edge run --config my.toml --check-config
  edge run --source drive.flac --speed max
                                         a recording through the whole service

the lamp:
{pattern_table()}

SIGHUP reads the settings again; SIGTERM ends within two seconds. Records of alerts go to systemd's
state directory (/var/lib/knockknock), or to ./knockknock."""


def add_run_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add ``run`` to the command line."""
    parser = commands.add_parser(
        "run",
        help="listen and light the lamp",
        description="Listen to the microphone, light the lamp when the engine knocks.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--config", type=Path, metavar="FILE", help=f"settings ({DEFAULT_PATH})")
    parser.add_argument(
        "--check-config", action="store_true", help="check settings and listen.model, then exit"
    )
    parser.add_argument("--source", type=Path, metavar="FILE", help="play this instead")
    parser.add_argument(
        "--speed", type=_speed, default=1.0, metavar="N", help="of --source: factor (1), or max"
    )
    parser.add_argument("--state", type=Path, metavar="DIR", help="where records and status go")
    parser.add_argument("--verbose", action="store_true", help="log every window's verdict, too")
    parser.set_defaults(run=_run)


def _speed(text: str) -> float:
    """0 stands for as fast as possible."""
    if text == "max":
        return 0.0
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0.01 <= value <= 1000:
        raise argparse.ArgumentTypeError(f"{text} must lie between 0.01 and 1000, or be max")
    return value


def _run(arguments: argparse.Namespace) -> int:
    if arguments.source and not arguments.source.is_file():
        there = "is no file" if arguments.source.exists() else "does not exist"
        what = "is a folder" if arguments.source.is_dir() else there
        raise ConfigError(f"--source {arguments.source} {what}: name a recording")
    if arguments.speed != 1 and not arguments.source:
        raise ConfigError("--speed goes with --source: a microphone has the speed it has")
    if arguments.check_config:
        config = load_config(arguments.config)
        require_fitting(config, load_model(config).manifest)
        path = arguments.config or installed_config()
        none = f"there is no {DEFAULT_PATH}: the defaults hold"
        print(f"{path}: settings are right" if path else none)
        return 0
    set_up_logging(verbose=arguments.verbose)
    faulthandler.enable()  # systemd aborts what hangs: where it hung belongs into the journal
    # Until the service answers to them itself: a reload must not end it, and an end must put out
    # the lamp.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)
    try:
        # From here on this file: one that is deleted later must not mean the defaults.
        arguments.config = arguments.config or installed_config()
        config = load_config(arguments.config)
    except ConfigError:
        lamp = lamp_of(arguments.config or DEFAULT_PATH)
        _tell_of_fault(Indicator(lamp) if lamp else None, wait=True)
        raise
    indicator = microphone = None
    try:
        indicator = Indicator(config.indicator)
        if not arguments.source:
            microphone = Microphone(config.audio, FrontEndConfig().sr)
            microphone.start()  # while the model is loaded: after a restart every second counts
        service = _build(config, arguments, indicator, microphone)
        service.run()
    except BaseException as error:
        signal.signal(signal.SIGTERM, _leave)  # no service is there any more to be asked
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if microphone is not None:
            microphone.close()
        _tell_of_fault(indicator, wait=isinstance(error, Exception))
        raise
    indicator.close()
    if arguments.source:
        _summary(service, arguments.source)
    return 0


def _leave(*_: object) -> NoReturn:
    sys.exit(0)


def _tell_of_fault(indicator: Indicator | None, *, wait: bool) -> None:
    """Dark would mean "not running"; let the lamp say that something is wrong with it.

    Without a lamp, too, systemd's next try waits: a loop would wear out the card.
    """
    try:
        if indicator is not None:
            indicator.show(Signal.FAULT)
        if wait and "NOTIFY_SOCKET" in os.environ:
            time.sleep(FAULT_SECONDS)
    finally:
        if indicator is not None:
            indicator.close()


def _build(
    config: Config,
    arguments: argparse.Namespace,
    indicator: Indicator,
    microphone: Microphone | None,
) -> Service:
    model = load_model(config)
    require_fitting(config, model.manifest)
    classifier = Classifier(model, runtime=config.listen.runtime, threads=config.listen.threads)
    front_end = FrontEnd(model.manifest.front_end)
    pipeline = Pipeline(front_end, classifier, model.manifest.threshold)
    sr = front_end.config.sr
    if microphone is not None and microphone.sr != sr:  # a model of another rate
        microphone.close()
        microphone = Microphone(config.audio, sr)
    source: LiveSource = microphone or Replay(
        Recording(arguments.source, channel=config.audio.channel, sr=sr), arguments.speed
    )
    log.info("model %s in %s", model.path, classifier.runtime)
    return Service(
        config,
        source,
        pipeline,
        indicator=indicator,
        blackbox=BlackBox(records_folder(config, arguments.state), config.blackbox, sr),
        status=StatusFile(_status(config, arguments.state)),
        skip_when_behind=arguments.speed != 0,
        prove=lambda: _computes_rightly(model, front_end, classifier),
        reload=lambda: require_fitting(load_config(arguments.config), model.manifest),
    )


def _computes_rightly(model: ModelFile, front_end: FrontEnd, classifier: Classifier) -> None:
    """Refuse a runtime that gives another answer than the export had; it would look well for ever.

    The question warms up the network, too, so the first window is not late.
    """
    answer = golden_answer(front_end, classifier)
    if answer is None:
        log.warning("%s holds no golden answer: nobody knows if it computes rightly", model.path)
    elif answer[1] > TOLERANCE:
        raise ModelError(
            f"{model.path.name} in {classifier.runtime}: golden answer off by {answer[1]:.3f}: "
            "this runtime computes wrongly: set listen.runtime"
        )


def _status(config: Config, state: Path | None) -> Path | None:
    if state:
        try:
            state.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(f"--state {state}: {error.strerror}") from error
        return state / "status.json"
    if config.health.status_file:
        return Path(config.health.status_file)
    named = os.environ.get("RUNTIME_DIRECTORY")
    return Path(named.split(":")[0]) / "status.json" if named else None


def _summary(service: Service, path: Path) -> None:
    c = service.counters
    if not c.windows_due:
        seconds = service.pipeline.front_end.config.n_samples / service.pipeline.front_end.config.sr
        print(f"{path}: nowhere {seconds:g} s in one piece: nothing was judged", file=sys.stderr)
    print(
        f"{c.windows_due} windows due, {c.windows_judged} judged, {c.windows_unknown} unknown, "
        f"{c.windows_skipped} skipped, {c.alerts} alerts",
        file=sys.stderr,
    )
