"""The pictures for training, rendered from spectrograms batch by batch."""

from __future__ import annotations

import torch
from torch import Tensor

from convert.network import normalise
from edge.frontend import FrontEndConfig
from edge.frontend.picture import Renderer

FULL_PX = FrontEndConfig().network_px
SMALL_PX = FULL_PX // 2  # side in the first epochs: a quarter of the work


class Pictures:
    """Turns batches of colour indices into normalised pictures of one size."""

    def __init__(self, side: int, device: torch.device) -> None:
        config = FrontEndConfig()
        rows, columns, margin, colours = Renderer(config).as_matrices()
        factor = config.network_px // side
        # Downscaling by averaging is linear, as is the upscaling: both go into the same matrices.
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
