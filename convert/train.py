"""Training the network on real recordings with knocks laid over them.

One run: split the recordings by source, make the examples once (processes, cached on disk), train
on small pictures first and on full-size ones last, keep a running average of the weights, and keep
the epoch that does best on sources it was not trained on. Everything lies in the run's own folder,
so a run that was killed goes on where it was.
"""

from __future__ import annotations

import copy
import dataclasses
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 - torch's own custom
from tqdm import tqdm

from convert.checkpoint import load_body, load_checkpoint, save_checkpoint
from convert.dataset import LABELS, Clip, describe, find_clips, load, split_sources, windows
from convert.errors import DatasetError
from convert.examples import ExampleMaker, Recipe, fill_pools, make_examples
from convert.metrics import auc
from convert.network import KnockNet, normalise
from edge.frontend import FrontEnd
from edge.frontend.picture import Renderer, colour_indices
from edge.wav import write_atomically

SMALL_PX = 112  # pictures of the first epochs: a quarter of the work
CHECK_EXAMPLES = 600  # made over held-out recordings, for choosing the best epoch


@dataclass(frozen=True)
class TrainConfig:
    """One run; the defaults made the shipped model."""

    examples: int = 12_000  # made before training
    small_epochs: int = 6  # on pictures of SMALL_PX
    full_epochs: int = 2  # on pictures of full size
    batch_size: int = 32
    learning_rate: float = 2e-3  # peak of the one-cycle schedule
    weight_decay: float = 0.05
    label_smoothing: float = 0.05
    averaging: float = 0.99  # decay of the running average of weights, a step
    frozen_epochs: int = 1  # with init or pretrained: epochs before the body is trained too
    hold_out: float = 0.25  # share of sources not trained on
    seed: int = 1
    workers: int = 2  # processes that make examples


@dataclass(frozen=True)
class Examples:
    """Colour indices (N, 84, 87) uint8 and labels (N,) int64, places in LABELS."""

    indices: NDArray[np.uint8]
    labels: NDArray[np.int64]


class Pictures:
    """Turns batches of colour indices into normalised pictures of one size."""

    def __init__(self, side: int, device: torch.device) -> None:
        config = FrontEnd().config
        rows, columns, margin, colours = Renderer(config).as_matrices()
        factor = config.network_px // side
        # Shrinking by averaging is linear, like enlarging: it joins the same matrices.
        self._rows = torch.from_numpy(rows).view(side, factor, -1).mean(1).to(device)
        self._columns = torch.from_numpy(columns).view(side, factor, -1).mean(1).to(device)
        blocks = torch.from_numpy(margin).view(side, factor, side, factor)
        self._margin = blocks.mean((1, 3)).to(device)
        self._colours = torch.from_numpy(colours).to(device)

    def __call__(self, indices: Tensor) -> Tensor:
        """(B, 84, 87) uint8 -> (B, 3, side, side) float32, ImageNet-normalised."""
        colours = self._colours[indices.long()].permute(0, 3, 1, 2)  # (B, 3, 84, 87)
        picture = self._rows @ colours @ self._columns.T + self._margin
        return normalise(picture.round()).contiguous(memory_format=torch.channels_last)


def train(folders: list[Path], out: Path, work: Path, config: TrainConfig, **start: Any) -> None:
    """Train on the recordings in ``folders`` and write the best network to ``out``.

    ``start`` may hold ``init`` (a checkpoint to fine-tune), ``pretrained`` (torchvision's body)
    and ``never_train_on`` (names of sources). ``work`` is the run's folder; started again with the
    same settings the run goes on from its last finished epoch.
    """
    clips = find_clips(folders)
    never = frozenset(start.get("never_train_on") or ())
    training, held_out = split_sources(
        clips, share=config.hold_out, seed=config.seed, always_held_out=never
    )
    if not any(not clip.knocks for clip in training):
        raise DatasetError("no recording of a healthy engine is left to train on")
    work.mkdir(parents=True, exist_ok=True)
    _same_run(work, config, training, held_out, start)
    print(f"training on {describe(training)}\nheld out    {describe(held_out) or 'nothing'}")
    recipe = Recipe(real_knocks=0.3 if any(clip.knocks for clip in training) else 0.0)
    examples = _examples(work / "train", training, recipe, config.examples, config)
    check = _examples(work / "check", held_out or training, Recipe(), CHECK_EXAMPLES, config)
    real = _real_windows(work / "real", held_out)
    network = _network(start)
    frozen_start = bool(start.get("init") or start.get("pretrained"))
    run = _Run(
        network, examples, check=check, real=real, work=work, config=config, frozen=frozen_start
    )
    run.go()
    best = torch.load(work / "best.pt", weights_only=True)
    network.load_state_dict(best["model"])
    meta = {
        "config": dataclasses.asdict(config),
        "trained_on": sorted({clip.source for clip in training}),
        "held_out": sorted({clip.source for clip in held_out}),
        "history": json.loads((work / "history.json").read_text()),
    }
    save_checkpoint(out, network, labels=LABELS, meta=meta)
    print(f"wrote {out} (epoch {best['epoch'] + 1}, the best on sources not trained on)")


def _network(start: dict[str, Any]) -> KnockNet:
    if start.get("init"):
        return load_checkpoint(start["init"]).network
    network = KnockNet()
    if start.get("pretrained"):
        load_body(start["pretrained"], network)
    return network


def _same_run(
    work: Path,
    config: TrainConfig,
    training: list[Clip],
    held_out: list[Clip],
    start: dict[str, Any],
) -> None:
    """A run's folder belongs to one run: refuse to mix two."""
    description = json.dumps(
        {
            "config": dataclasses.asdict(config),
            "training": [clip.path.name for clip in training],
            "held_out": [clip.path.name for clip in held_out],
            # Sorted, as a set has another order in every process.
            "start": {
                name: sorted(value) if isinstance(value, (set, frozenset)) else str(value)
                for name, value in sorted(start.items())
            },
        },
        indent=1,
    )
    path = work / "run.json"
    if path.is_file() and path.read_text() != description:
        raise DatasetError(
            f"{work} holds another run, with other settings or recordings: "
            "give another --work folder or remove it"
        )
    write_atomically(path, description.encode())


def _examples(
    path: Path, clips: list[Clip], recipe: Recipe, count: int, config: TrainConfig
) -> Examples:
    """Made once, kept as ``path``.npz."""
    cache = path.with_suffix(".npz")
    if not cache.is_file():
        maker = ExampleMaker(fill_pools(clips), recipe, config.seed)
        made = make_examples(maker, range(count), config.workers)
        bar = tqdm(
            made, total=count, desc=f"{path.name} examples", unit="", leave=False, disable=None
        )
        pairs = list(bar)
        _save(cache, [index for index, _ in pairs], [label for _, label in pairs])
    with np.load(cache) as stored:
        return Examples(stored["indices"], stored["labels"])


def _real_windows(path: Path, clips: list[Clip]) -> Examples:
    """Every second of the held-out recordings as it is."""
    cache = path.with_suffix(".npz")
    if not cache.is_file():
        front_end = FrontEnd()
        indices, labels = [], []
        for clip in tqdm(clips, desc="held-out recordings", unit="", leave=False, disable=None):
            for y in windows(load(clip), 1.0):
                indices.append(colour_indices(front_end.spectrogram(y)))
                labels.append(0 if clip.knocks else 1)
        _save(cache, indices, labels)
    with np.load(cache) as stored:
        return Examples(stored["indices"], stored["labels"])


def _save(path: Path, indices: list[NDArray[np.uint8]], labels: list[int]) -> None:
    buffer = io.BytesIO()
    stack = np.array(indices, dtype=np.uint8).reshape(-1, 84, 87)
    np.savez_compressed(buffer, indices=stack, labels=np.array(labels, dtype=np.int64))
    write_atomically(path, buffer.getvalue())


class _Run:
    """The epochs of one run and everything that must survive being killed between two of them."""

    def __init__(
        self,
        network: KnockNet,
        examples: Examples,
        *,
        check: Examples,
        real: Examples,
        work: Path,
        config: TrainConfig,
        frozen: bool,
    ) -> None:
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        torch.manual_seed(config.seed)
        self.network = network.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = copy.deepcopy(self.network).eval()
        self.examples, self.check, self.real = examples, check, real
        self.work, self.config, self.frozen_start = work, config, frozen
        self.n_batches = len(examples.labels) // config.batch_size
        if self.n_batches == 0:
            raise DatasetError(
                f"{len(examples.labels)} examples do not fill one batch of {config.batch_size}"
            )
        self.epochs = config.small_epochs + config.full_epochs
        self.optimiser = torch.optim.AdamW(
            network.parameters(), config.learning_rate, weight_decay=config.weight_decay
        )
        self.schedule = torch.optim.lr_scheduler.OneCycleLR(
            self.optimiser, config.learning_rate, total_steps=self.epochs * self.n_batches + 1
        )
        self.history: list[dict[str, float]] = []
        self.best = -1.0

    def go(self) -> None:
        """All epochs that are not done yet."""
        for epoch in range(self._resume(), self.epochs):
            began = time.monotonic()
            side = SMALL_PX if epoch < self.config.small_epochs else 2 * SMALL_PX
            loss = self._epoch(epoch, Pictures(side, self.device))
            figures = {"loss": loss, "side": side, **self._figures(side)}
            figures["seconds"] = round(time.monotonic() - began, 1)
            self.history.append(figures)
            shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
            print(f"epoch {epoch + 1}/{self.epochs}: {shown}", flush=True)
            # A network that only ever saw small pictures is not the one to be shipped.
            full = side > SMALL_PX or self.config.full_epochs == 0
            if full and figures["check_auc"] >= self.best:
                self.best = figures["check_auc"]
                self._write("best.pt", {"model": self.average.state_dict(), "epoch": epoch})
            self._write("state.pt", self._state(epoch))
            write_atomically(self.work / "history.json", json.dumps(self.history).encode())

    def _epoch(self, epoch: int, pictures: Pictures) -> float:
        config, total = self.config, 0.0
        rng = np.random.default_rng([config.seed, epoch])
        self.network.train()
        frozen = self.frozen_start and epoch < config.frozen_epochs
        self.network.body.requires_grad_(not frozen)
        bar = tqdm(
            self._batches(rng),
            total=self.n_batches,
            desc=f"epoch {epoch + 1}",
            leave=False,
            disable=None,
        )
        for indices, labels in bar:
            with torch.autocast(self.device.type, torch.bfloat16):
                logits = self.network(pictures(indices))
            loss = F.cross_entropy(logits.float(), labels, label_smoothing=config.label_smoothing)
            self.optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimiser.step()
            self.schedule.step()
            self._follow()
            total += float(loss.detach())
        return total / self.n_batches

    def _batches(self, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
        """Shuffled batches, turned in time and with a stripe masked out (SpecAugment, Park 2019).

        An engine has no beginning: turning the picture round in time is another picture of it.
        """
        order = rng.permutation(len(self.examples.labels))
        size = self.config.batch_size
        for i in range(self.n_batches):
            chosen = np.sort(order[i * size : (i + 1) * size])
            batch = self.examples.indices[chosen].copy()
            for picture in batch:
                picture[:] = np.roll(picture, int(rng.integers(picture.shape[1])), axis=1)
                if rng.random() < 0.5:
                    low, height = rng.integers(picture.shape[0] - 12), rng.integers(3, 13)
                    picture[low : low + height] = picture.mean()
            labels = torch.from_numpy(self.examples.labels[chosen])
            yield torch.from_numpy(batch).to(self.device), labels.to(self.device)

    @torch.no_grad()
    def _follow(self) -> None:
        """Move the running average; early on it follows faster, having nothing to remember yet."""
        step = self.schedule.last_epoch
        keep = min(self.config.averaging, (1 + step) / (10 + step))
        averaged, current = self.average.state_dict(), self.network.state_dict()
        for name, value in averaged.items():
            if value.is_floating_point():
                value.lerp_(current[name], 1 - keep)
            else:
                value.copy_(current[name])

    def _figures(self, side: int) -> dict[str, float]:
        pictures = Pictures(side, self.device)
        made = self._p_knocking(self.check, pictures)
        figures = {"check_auc": auc(made[self.check.labels == 0], made[self.check.labels == 1])}
        real = self._p_knocking(self.real, pictures)
        knocks = self.real.labels == 0
        if knocks.any() and not knocks.all():
            figures["real_auc"] = auc(real[knocks], real[~knocks])
        if not knocks.all():
            figures["real_false"] = float((real[~knocks] > 0.5).mean())
        return figures

    @torch.no_grad()
    def _p_knocking(self, examples: Examples, pictures: Pictures) -> NDArray[np.float32]:
        answers = [np.empty(0, dtype=np.float32)]
        for i in range(0, len(examples.indices), 64):
            part = torch.from_numpy(examples.indices[i : i + 64])
            with torch.autocast(self.device.type, torch.bfloat16):
                logits = self.average(pictures(part.to(self.device)))
            answers.append(logits.float().softmax(1)[:, 0].cpu().numpy())
        return np.concatenate(answers)

    def _state(self, epoch: int) -> dict[str, Any]:
        return {
            "epoch": epoch,
            "best": self.best,
            "history": self.history,
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
        }

    def _resume(self) -> int:
        path = self.work / "state.pt"
        if not path.is_file():
            return 0
        state = torch.load(path, map_location=self.device, weights_only=True)
        for name in ("network", "average", "optimiser", "schedule"):
            getattr(self, name).load_state_dict(state[name])
        self.best, self.history = state["best"], state["history"]
        print(f"going on after epoch {state['epoch'] + 1}")
        return int(state["epoch"]) + 1

    def _write(self, name: str, content: dict[str, Any]) -> None:
        buffer = io.BytesIO()
        torch.save(content, buffer)
        write_atomically(self.work / name, buffer.getvalue())
