"""Builds the service from its settings for ``edge run``, and the network for ``edge doctor``."""

from __future__ import annotations

import logging
import math
import os
import subprocess
from pathlib import Path

from edge.blackbox import BlackBox
from edge.classifier import Classifier
from edge.config import Config
from edge.errors import ConfigError, ModelError
from edge.frontend import FrontEnd
from edge.golden import MISMATCH, golden_answer
from edge.health import StatusFile
from edge.indicator import Indicator
from edge.installed import (
    OVERLAY_REMEDY,
    load_config,
    records_folder,
    status_file,
    volatile_warning,
)
from edge.microphone import Microphone
from edge.model import Manifest, ModelFile, default_model
from edge.pipeline import Pipeline
from edge.recording import Recording
from edge.replay import Replay
from edge.service import Service
from edge.source import LiveSource

log = logging.getLogger(__name__)


def load_model(config: Config) -> ModelFile:
    """The model that the settings name, else edge.model.default_model()."""
    if not config.listen.model:
        return ModelFile.read(default_model())
    try:
        return ModelFile.read(Path(config.listen.model))
    except ModelError as error:
        raise ModelError(f"listen.model: {error}") from error


def load_network(config: Config) -> tuple[ModelFile, Classifier]:
    """The model that the settings name, loaded in their runtime; EdgeError if that fails."""
    model = load_model(config)
    require_reachable_threshold(config, model.manifest)
    listen = config.listen
    threads = listen.threads or default_threads()
    return model, Classifier(model, runtime=listen.runtime, threads=threads)


def default_threads() -> int:
    """Number of threads for the network: one core is left for capture; more than 3 hardly help."""
    return max(1, min(3, len(os.sched_getaffinity(0)) - 1))


def require_reachable_threshold(config: Config, manifest: Manifest) -> Config:
    """``config``; ConfigError if its threshold is above the network's highest possible answer."""
    if config.listen.threshold > manifest.highest_p:
        raise ConfigError(
            f"listen.threshold = {config.listen.threshold:g} is never reached: the highest answer "
            f"of {manifest.name} is {manifest.highest_p:.3f}, set a lower threshold"
        )
    return config


def build(
    config: Config,
    indicator: Indicator,
    capture: subprocess.Popen[bytes] | None,
    *,
    settings: Path | None,
    source: Path | None,
    speed: float,
    state: Path | None,
) -> Service:
    """The service, on the microphone or on the recording ``source``.

    ``capture``: the process that is already opening the microphone; None: the service starts one.
    ``settings``: the file that ``config`` was read from and that a reload reads; None: the
    installed one, if any. ``speed``: at which ``source`` is played; 1 is real time, infinity as
    fast as possible. ``state``: the folder for records and status; None: as the settings or
    systemd say.
    """
    model, classifier = load_network(config)
    front_end = FrontEnd(model.manifest.front_end)
    pipeline = Pipeline(front_end, classifier, model.manifest.threshold)
    sr = front_end.config.sr
    live: LiveSource
    if source is None:
        live = Microphone(config.audio, sr, process=capture)
    else:
        live = Replay(Recording(source, channel=config.audio.channel, sr=sr), speed)
    log.info("model %s in %s", model.path, classifier.runtime)
    status = StatusFile(status_file(config, state))  # first, as it refuses a wrong --state
    folder = records_folder(config, state)
    warning = volatile_warning(folder)
    if warning and "STATE_DIRECTORY" in os.environ:  # only the service is ended by power cuts
        log.warning("%s; %s", warning, OVERLAY_REMEDY)
    return Service(
        config,
        live,
        pipeline,
        indicator=indicator,
        blackbox=BlackBox(folder, config.blackbox, sr, about={"model": str(model.path)}),
        status=status,
        skip_when_behind=speed < math.inf,
        self_test=lambda: _self_test(model, front_end, classifier),
        reload=lambda: require_reachable_threshold(load_config(settings), model.manifest),
    )


def _self_test(model: ModelFile, front_end: FrontEnd, classifier: Classifier) -> None:
    """ModelError if the runtime's golden answer differs from the export's.

    Such a runtime would judge wrongly without any other symptom. The check also warms up the
    network, so that the first window is not late.
    """
    answer = golden_answer(front_end, classifier)
    if answer is None:
        log.warning("%s has no golden answer: its results cannot be checked", model.path)
    elif not answer.within_tolerance:
        raise ModelError(f"{model.path.name} in {classifier.runtime}: {answer}: {MISMATCH}")
