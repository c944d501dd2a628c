"""Grading a network on labelled recordings, with the same pipeline as on the device."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from convert.checkpoint import load_checkpoint, note_assumed_labels
from convert.dataset import LABELS, Clip, find_clips
from convert.errors import CheckpointError, DatasetError
from convert.figures import Judged, Report
from convert.output import is_for_tflite
from convert.parity import torch_probabilities
from convert.progress import bar
from convert.skipped import say_unreadable
from convert.split import TrainedOn, groups_trained_on
from convert.tuning import need_both
from edge.classifier import Classifier
from edge.config import ListenConfig
from edge.errors import ConfigError, RecordingError
from edge.frontend import FrontEnd
from edge.model import ModelFile
from edge.pipeline import PictureClassifier, Pipeline
from edge.recording import Recording
from edge.temperature import apply_temperature


class TorchClassifier:
    """A checkpoint behind the interface of :class:`edge.pipeline.PictureClassifier`."""

    def __init__(
        self, path: Path, *, labels: tuple[str, ...] | None = None, threshold: float | None = None
    ) -> None:
        """``labels`` and ``threshold`` as for ``load_checkpoint``."""
        self.checkpoint = load_checkpoint(path, labels=labels, threshold=threshold)
        self._knocking_index = (self.checkpoint.labels or LABELS).index("knocking")

    def predict(self, picture: NDArray[np.uint8]) -> float:
        """Probability of knocking for a picture (224, 224, 3) uint8."""
        p = torch_probabilities(self.checkpoint.network, picture[np.newaxis])[0]
        return float(apply_temperature(p, self.checkpoint.temperature)[self._knocking_index])


def evaluate(
    model: Path,
    folders: Sequence[Path],
    *,
    hop_s: float = ListenConfig().hop_s,
    threshold: float | None = None,
    hold_out_only: bool = False,
    labels: tuple[str, ...] | None = None,
    seed: int = 1,
    to_tune: bool = False,
) -> Report:
    """Judge every recording in ``folders`` with ``model`` (.tflite, .pth or .safetensors).

    ``hold_out_only`` leaves out the sources that a checkpoint says it was trained on; ``labels``
    gives the order of a checkpoint's outputs where its file does not. With ``to_tune``, recordings
    on which no threshold could be chosen are refused before any is judged. ModelError,
    CheckpointError or DatasetError if the model or the recordings cannot be used; ConfigError if
    an option does not go with the model.
    """
    clips = find_clips(folders)
    if to_tune:
        need_both(
            knocks=any(clip.knocks for clip in clips),
            healthy=any(clip.is_healthy for clip in clips),
        )
    classifier: PictureClassifier
    if is_for_tflite(model):
        if hold_out_only:
            raise ConfigError("--hold-out-only needs a .pth, which lists what it was trained on")
        if labels:
            raise ConfigError("--labels is for a .pth: a .tflite has its labels in its manifest")
        file = ModelFile.read(model)
        _warn_unrecorded(model)
        classifier, own = Classifier(file), file.manifest.threshold
        temperature = file.manifest.temperature
        front_end = FrontEnd(file.manifest.front_end)
    else:
        classifier = TorchClassifier(model, labels=labels, threshold=threshold)
        checkpoint = classifier.checkpoint
        note_assumed_labels(checkpoint, model)
        own, front_end, temperature = checkpoint.threshold, FrontEnd(), checkpoint.temperature
        clips = _clips_to_grade(clips, checkpoint.trained_on, model, only=hold_out_only)
        _say_chosen_by(checkpoint.chosen_by, clips)
    if not clips:
        raise DatasetError("no recording is left to grade: all sources were used for training")
    limit = own if threshold is None else threshold
    pipeline = Pipeline(front_end, classifier, limit)
    judged, unreadable = _judge(clips, pipeline, hop_s)
    config = front_end.config
    return Report(str(model), limit, judged, seed, hop_s, temperature, unreadable, config)


def _clips_to_grade(
    clips: list[Clip], trained_on: TrainedOn, model: Path, *, only: bool
) -> list[Clip]:
    """``clips``, with a warning about training data; with ``only``, just clips of other sources.

    CheckpointError with ``only`` if the checkpoint does not list all its training data.
    """
    known = groups_trained_on(clips, trained_on)
    new = [clip for clip in clips if clip.group not in known]
    if not only:
        if known:
            print(
                f"{len(clips) - len(new)} of {len(clips)} recordings are of sources or cars "
                "that this network was trained on: figures on them are too optimistic; "
                "see --hold-out-only",
                file=sys.stderr,
            )
        elif not trained_on.complete:
            _warn_unrecorded(model)
        return clips
    if not trained_on.complete:
        raise CheckpointError(
            f"{model} does not list everything it was trained on, which --hold-out-only needs"
        )
    return new


def _say_chosen_by(chosen_by: Sequence[str], clips: Sequence[Clip]) -> None:
    """Warn about sources that were held out of training but used to choose the best epoch."""
    if graded := sorted({clip.source for clip in clips} & set(chosen_by)):
        print(
            f"figures on {len(graded)} of these sources ({', '.join(graded[:3])}"
            f"{' ...' if len(graded) > 3 else ''}) are slightly optimistic: they were used to "
            "choose the best epoch",
            file=sys.stderr,
        )


def _warn_unrecorded(model: Path) -> None:
    print(
        f"{model} does not say what it was trained on: figures on its training recordings are "
        "too optimistic",
        file=sys.stderr,
    )


def _judge(
    clips: Sequence[Clip], pipeline: Pipeline, hop_s: float
) -> tuple[list[Judged], tuple[str, ...]]:
    """``(judged, unreadable)``: judged recordings, and the errors of those that were skipped."""
    judged, unreadable = [], []
    for clip in bar(clips, "judging", unit=""):
        source = Recording(clip.path, sr=pipeline.front_end.config.sr)
        try:
            # Do not keep whole verdicts: each holds a picture, and a drive has thousands.
            windows = [
                (v.start_s, v.p_knocking, v.extra, v.reason)
                for v in pipeline.verdicts(source.blocks(), hop_s=hop_s)
            ]
        except RecordingError as error:
            unreadable.append(str(error))
            continue
        p_all = np.array([np.nan if p is None else p for _, p, *_ in windows], dtype=np.float32)
        starts, extra = (np.array([window[i] for window in windows]) for i in (0, 2))
        reasons = tuple(why for *_, why in windows if why)
        judged.append(Judged(clip, p_all, starts, extra, reasons))
    say_unreadable(unreadable)
    if not judged:
        raise DatasetError("none of the recordings could be read")
    return judged, tuple(unreadable)
