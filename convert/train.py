"""Training the network on real recordings with synthetic knocks mixed into them.

A run splits the recordings by source, makes the examples once (in worker processes, cached on
disk), trains on small pictures first, then on full-size ones, averages the weights over the steps,
and of several full-size epochs keeps the best on held-out sources (or, if no healthy engine is
among them, on new examples of the others). Examples and state stay in its folder.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from convert.checkpoint import (
    Checkpoint,
    load_body,
    load_checkpoint,
    note_assumed_labels,
    save_checkpoint,
)
from convert.dataset import LABELS, Clip, describe, find_clips
from convert.device import GRADING_BATCH, report_out_of_memory
from convert.errors import DatasetError
from convert.example_cache import GRADING_MODULES, TRAINING_MODULES, digest_of_code
from convert.fingerprint import fingerprint
from convert.fit import Fit, need_batch
from convert.network import KnockNet
from convert.recipe import REAL_KNOCKS, Recipe
from convert.run_data import (
    MAX_WINDOWS,
    NO_ENGINE,
    NONE_TO_JUDGE_BY,
    digest,
    examples_of,
    identity,
    real_windows,
)
from convert.split import TrainedOn, fold_sources, groups_trained_on, split_sources
from convert.train_config import TrainConfig
from edge.files import remove_leftovers_of, write_atomically

# Synthetic examples over held-out recordings, by which the best epoch is chosen.
CHECK_EXAMPLES, CHECK_SEED = 600, 1_000_000
GUESSING = 0.6  # an AUC below this means that next to nothing was learnt
MANY = 10  # recordings; fewer may well each be of a different car


def train(
    folders: Sequence[Path],
    out: Path,
    work: Path,
    config: TrainConfig,
    *,
    init: Path | None = None,
    labels: tuple[str, ...] | None = None,
    pretrained: Path | None = None,
    never_train_on: frozenset[str] = frozenset(),
    threshold: float | None = None,
) -> None:
    """Train on the recordings in ``folders`` and write the best network to ``out``.

    Training starts from ``init`` (a checkpoint to fine-tune; ``labels`` is the class order of its
    outputs if the file does not state it), from ``pretrained`` (torchvision's body) or from random
    weights. ``never_train_on`` names sources that are always held out. ``threshold``, between 0 and
    1, is stored in the checkpoint; None: that of ``init``, or 0.5. ``work`` is the run's folder: a
    run started again with the same settings resumes after its last finished epoch. DatasetError or
    CheckpointError if the recordings or the network to start from cannot be used.
    """
    parts = _parts(folders, config, init, labels, never_train_on)
    torch.manual_seed(config.seed)
    network = parts.start.knocking_first() if parts.start else _fresh(pretrained)
    before = {k: v.clone() for k, v in network.state_dict().items()} if config.keep else {}
    need_batch(config.examples, config.batch_size)
    work.mkdir(parents=True, exist_ok=True)
    origin = _origin(init or pretrained, parts.start.labels if parts.start else None)
    _same_run(work, config, parts.training, parts.held_out, origin)
    remove_leftovers_of(out)
    run = _fit(network, parts, work, config, frozen=init is not None or pretrained is not None)
    run.go(grade_start=init is not None)
    with report_out_of_memory(GRADING_BATCH):
        epoch, weights = run.best_epoch()
    network.load_state_dict(weights)
    if config.keep:
        _keep(config.keep, before, network)
    reached = run.grade_kept(network.state_dict()) if config.keep else run.best
    save_checkpoint(out, network, labels=LABELS, meta=_meta(config, parts, run, threshold))
    _warn(reached, run.start)
    print(f"wrote {out} (epoch {epoch + 1}, {_why(config, parts)})")


def _warn(reached: float, start: Mapping[str, float]) -> None:
    """Say so if a ``check_auc`` of ``reached`` is poor, or no better than that of the start."""
    if reached < GUESSING:
        print(
            f"the network has learnt next to nothing: an AUC of {reached:.2f}, where 0.5 is "
            "guessing; use more --examples or epochs"
        )
    if reached <= (before := start.get("check_auc", -1.0)) and reached < 1:
        print(
            f"training has not raised check_auc ({reached:.4f}, before {before:.4f}): grade both "
            "by convert evaluate on sources new to both, or try --keep or a lower --learning-rate"
        )


def _why(config: TrainConfig, parts: _Parts) -> str:
    """Why this epoch was kept."""
    if config.candidates == 1:
        return "the only full-size one" if config.full_epochs else "the only one"
    new = parts.judging is parts.held_out
    return f"the best on {'held-out sources' if new else 'new examples of the same sources'}"


class _Parts(NamedTuple):
    """The recordings of a run, and the network it starts from."""

    training: list[Clip]
    held_out: list[Clip]
    start: Checkpoint | None
    trained_on: TrainedOn  # after the run: what ``start`` was trained on, and ``training``
    known: set[str]  # held-out sources that ``start`` was trained on

    @property
    def judging(self) -> list[Clip]:
        """Recordings for choosing the best epoch: the held-out ones if an engine is among them.

        With none (only streets, say), the check would be on synthetic engines alone and would not
        show how the network does on real ones.
        """
        return self.held_out if any(clip.is_healthy for clip in self.held_out) else self.training


def _parts(
    folders: Sequence[Path],
    config: TrainConfig,
    init: Path | None,
    labels: tuple[str, ...] | None,
    never_train_on: frozenset[str],
) -> _Parts:
    clips = find_clips(folders)
    share = config.hold_out
    if config.fold != (0, 0):
        part, parts = config.fold
        if any(clip.split for clip in clips):
            raise DatasetError("--fold and the column split of labels.csv exclude each other")
        never_train_on, share = never_train_on | fold_sources(clips, parts)[part - 1], 0.0
    training, held_out = split_sources(
        clips, share=share, seed=config.seed, always_held_out=never_train_on
    )
    if not any(clip.is_healthy for clip in training):
        raise DatasetError(NO_ENGINE)
    # Load it first: a misspelt name must fail before hours of making examples.
    start = load_checkpoint(init, labels=labels) if init else None
    if init and start:
        note_assumed_labels(start, init)
    trained_on, known = _start_trained_on(start, clips, held_out)
    _hint_at_sources(clips)
    # Fingerprint the recordings now, while they are still the files that will be learnt from.
    return _Parts(training, held_out, start, trained_on.extended_with(training), known)


def _fit(network: KnockNet, parts: _Parts, work: Path, config: TrainConfig, *, frozen: bool) -> Fit:
    """Make the examples of the run and set up its training."""
    training, held_out = parts.training, parts.held_out
    print(f"training on {describe(training)}\nheld out    {describe(held_out) or 'nothing'}")
    knocks = any(clip.knocks for clip in training)
    if not knocks:
        print("no recording of a knock to train on: the network will learn only synthetic knocks")
    recipe = Recipe(real_knocks=REAL_KNOCKS if knocks else 0.0, simple=config.simple)
    examples = examples_of(
        work / "train", training, recipe, config.examples, config.seed, no_engine=NO_ENGINE
    )
    judging = parts.judging
    # A different seed, or the first check examples would contain knocks that were trained on.
    check = examples_of(
        work / "check",
        judging,
        Recipe(simple=config.simple),
        min(CHECK_EXAMPLES, config.examples),
        config.seed + CHECK_SEED,
        quiet=judging is training,
        no_engine=NONE_TO_JUDGE_BY if judging is held_out else "",
    )
    chosen = digest(digest_of_code(GRADING_MODULES), MAX_WINDOWS, *map(identity, held_out))
    # Unreadable held-out recordings were already named if the check examples were made of them.
    real = real_windows(work / f"real-{chosen}.npz", held_out, quiet=judging is held_out)
    with report_out_of_memory(config.batch_size, "--batch-size"):
        return Fit(
            network, examples, check=check, real=real, work=work, config=config, frozen=frozen
        )


def _meta(
    config: TrainConfig, parts: _Parts, run: Fit, threshold: float | None
) -> dict[str, object]:
    """The metadata of the checkpoint."""
    start = parts.start
    inherited = {"threshold": start.threshold, "temperature": start.temperature} if start else {}
    if threshold is not None:
        inherited["threshold"] = threshold
    judges = parts.held_out if config.candidates > 1 and parts.judging is parts.held_out else []
    chosen_by = {clip.source for clip in judges} - parts.known
    if start is not None:
        chosen_by |= set(start.chosen_by)
    return {
        "config": dataclasses.asdict(config),
        **parts.trained_on.to_meta(),
        **inherited,
        "held_out": sorted({clip.source for clip in parts.held_out} - parts.known),
        "chosen_by": sorted(chosen_by),
        "start": run.start,
        "history": run.history,
    }


def _start_trained_on(
    start: Checkpoint | None, clips: list[Clip], held_out: list[Clip]
) -> tuple[TrainedOn, set[str]]:
    """What the initial network was trained on, and which held-out sources that includes.

    It cannot be graded on those: they, or other sources of the same car, were in its training set.
    """
    if start is None:
        return TrainedOn(complete=True), set()
    if not start.trained_on.complete:
        print(
            "the file of --init does not list everything it was trained on: "
            "figures on held-out sources may be too optimistic"
        )
    groups = groups_trained_on(clips, start.trained_on)
    known = sorted({clip.source for clip in held_out if clip.group in groups})
    if known:
        print(
            f"the network of --init was trained on {len(known)} of the held-out sources "
            f"({', '.join(known[:3])}{' ...' if len(known) > 3 else ''}): "
            "figures on them are too optimistic"
        )
    return start.trained_on, set(known)


def _hint_at_sources(clips: Sequence[Clip]) -> None:
    """Warn if slices of one recording may count as sources: they would leak across the split."""
    if len(clips) >= MANY and len({clip.group for clip in clips}) > 0.9 * len(clips):
        print(
            f"nearly every one of the {len(clips)} recordings counts as a source of its own: if "
            "several are of one car, use folders (normal/golf/) or a column source or car"
        )


def _fresh(pretrained: Path | None) -> KnockNet:
    network = KnockNet()
    if pretrained is not None:
        load_body(pretrained, network)
    return network


@torch.no_grad()
def _keep(share: float, before: Mapping[str, Tensor], network: KnockNet) -> None:
    """Interpolate the weights of ``network`` towards ``before``, which gets the weight ``share``.

    Half-way between the initial and the fine-tuned network, most of the new is learnt and less of
    the old is forgotten (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).
    """
    for name, value in network.state_dict().items():
        if value.is_floating_point():
            value.lerp_(before[name].to(value.device), share)


def _origin(start: Path | None, labels: Sequence[str] | None) -> list[str]:
    """Identify the initial network by content, not by path, and by the class order assumed."""
    return [] if start is None else [fingerprint(start), *(labels or ())]


def _same_run(
    work: Path,
    config: TrainConfig,
    training: list[Clip],
    held_out: list[Clip],
    origin: list[str],
) -> None:
    """DatasetError if ``work`` already belongs to a different run: two must not be mixed."""
    description = json.dumps(
        {
            "config": dataclasses.asdict(config) | {"keep": None},  # applied when all is done
            "training": [identity(clip) for clip in training],
            "held_out": [identity(clip) for clip in held_out],
            "start": origin,
            "made_by": digest_of_code(GRADING_MODULES),
            "graded_on": MAX_WINDOWS,
            "trained_by": digest_of_code(TRAINING_MODULES),
        },
        indent=1,
    ).encode()
    path = work / "run.json"
    begun = any((work / name).is_file() for name in ("state.pt", "best.pt"))
    if begun and path.is_file() and path.read_bytes() != description:
        raise DatasetError(
            f"{work} holds another run, with other settings, recordings or another version of this "
            "program: give another --work folder, or remove state.pt and best.pt in it (examples "
            "of the same recordings, split, --seed, --simple and code are not made again)"
        )
    write_atomically(path, description)
