"""All parts put together, as ``edge run`` and ``edge doctor`` need them."""

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
from edge.golden import WRONG, golden_answer
from edge.health import StatusFile
from edge.indicator import Indicator
from edge.installed import KEEP_THEM, load_config, lost_at_a_cut, records_folder, status_file
from edge.microphone import Microphone
from edge.model import Manifest, ModelFile, default_model
from edge.pipeline import Pipeline
from edge.recording import Recording
from edge.replay import Replay
from edge.service import Service
from edge.source import LiveSource

log = logging.getLogger(__name__)


def load_model(config: Config) -> ModelFile:
    """The one that the settings name, else the shipped one."""
    return ModelFile.read(Path(config.listen.model) if config.listen.model else default_model())


def load_network(config: Config) -> tuple[ModelFile, Classifier]:
    """The model that the settings name, loaded in their runtime; EdgeError if it cannot be."""
    model = load_model(config)
    require_fitting(config, model.manifest)
    listen = config.listen
    threads = listen.threads or free_cores()
    return model, Classifier(model, runtime=listen.runtime, threads=threads)


def free_cores() -> int:
    """For the network: not the one that takes the sound in. More than three hardly help."""
    return max(1, min(3, len(os.sched_getaffinity(0)) - 1))


def require_fitting(config: Config, manifest: Manifest) -> Config:
    """``config``, if a network as ``manifest`` says can do what it asks for; ConfigError if not."""
    if config.listen.threshold > manifest.highest_p:
        raise ConfigError(
            f"listen.threshold = {config.listen.threshold:g} is never reached: the answers of "
            f"{manifest.name} end at {manifest.highest_p:.3f}"
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
    """The service, of the microphone or of the recording ``source``, played at ``speed``.

    ``capture`` is opening the microphone already; None: it will be opened. ``settings``: the file
    that ``config`` is of and that a reload reads again; None: the installed one, if there is one.
    ``speed``: 1 as it was recorded, infinity as fast as possible. ``state``: where records and
    status go, if not where systemd says.
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
    heard = source.resolve() if source else config.audio.device
    about = {"source": str(heard or "default microphone"), "model": str(model.path)}
    folder = records_folder(config, state)
    lost = lost_at_a_cut(folder)
    if lost and "STATE_DIRECTORY" in os.environ:  # else it is no service, and nobody cuts power
        log.warning("%s; %s", lost, KEEP_THEM)
    return Service(
        config,
        live,
        pipeline,
        indicator=indicator,
        blackbox=BlackBox(folder, config.blackbox, sr, about=about),
        status=StatusFile(status_file(config, state)),
        skip_when_behind=speed < math.inf,
        prove=lambda: _computes_rightly(model, front_end, classifier),
        reload=lambda: require_fitting(load_config(settings), model.manifest),
    )


def _computes_rightly(model: ModelFile, front_end: FrontEnd, classifier: Classifier) -> None:
    """Refuse a runtime that gives another answer than the export had; it would look well for ever.

    The question warms up the network, too, so the first window is not late.
    """
    answer = golden_answer(front_end, classifier)
    if answer is None:
        log.warning("%s holds no golden answer: nobody knows if it computes rightly", model.path)
    elif not answer.holds:
        raise ModelError(f"{model.path.name} in {classifier.runtime}: {answer}: {WRONG}")
