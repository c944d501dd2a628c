"""From a spectrogram in dB to a picture of the kind the network was trained on.

The training pictures were matplotlib figures: ``librosa.display.specshow`` in a figure of 256/150
inch, saved at 72 dpi, so 122 x 122 px, with the default margins left white. Without antialiasing,
``pcolormesh`` gives each pixel the colour of the cell that contains its centre, so the whole figure
is a selection of rows and columns and a colour lookup. The network's input is this figure enlarged
to 224 x 224 by corner-aligned bilinear interpolation, as in fastai 1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.frontend.colours import magma
from edge.frontend.config import FrontEndConfig

# matplotlib's default axes, as fractions of the figure: left, right, bottom, top.
AXES_BOX = (0.125, 0.9, 0.11, 0.88)


def cells_of_pixels(
    n_cells: int, *, figure_px: int, exact_px: float, start: float, end: float
) -> NDArray[np.intp]:
    """Index of the cell that contains each pixel's centre; shape (figure_px,), -1 in the margins.

    The axes extend from ``start`` to ``end``, fractions of ``exact_px``, the figure's side before
    it was truncated to whole pixels. The centre of pixel ``i`` is at ``i + 1/2``.
    """
    centres = np.arange(figure_px) + 0.5
    cells = np.floor((centres - start * exact_px) / ((end - start) * exact_px) * n_cells)
    return np.where((cells >= 0) & (cells < n_cells), cells, -1).astype(np.intp)


def bilinear_weights(n_in: int, n_out: int) -> NDArray[np.float32]:
    """Corner-aligned linear interpolation as a matrix: shape (n_out, n_in), rows add up to 1."""
    position = np.arange(n_out) * (n_in - 1) / (n_out - 1)
    below = np.minimum(position.astype(np.intp), n_in - 2)
    weights = np.zeros((n_out, n_in), dtype=np.float32)
    weights[np.arange(n_out), below] = 1 - (position - below)
    weights[np.arange(n_out), below + 1] = position - below
    return weights


def colour_indices(S_db: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Index of each value in the colour table: 0 for the minimum of ``S_db``, 255 for its maximum.

    ``floor(256 (S - min) / (max - min))``, where the maximum itself gives 255. A constant array
    gives 0 throughout.
    """
    low, high = S_db.min(), S_db.max()
    if high == low:
        return np.zeros(S_db.shape, dtype=np.uint8)
    scaled = (S_db - low) / (high - low)
    return np.minimum(scaled * np.float32(256), 255).astype(np.uint8)


class Renderer:
    """Draws spectrograms of one shape; the maps from pixels to cells are computed once."""

    def __init__(self, config: FrontEndConfig) -> None:
        left, right, bottom, top = AXES_BOX
        px = config.figure_px
        # 256/150 inch at 72 dpi is 122.88 px, of which matplotlib keeps 122. The ratio is part of
        # the layout, so it is kept for figures of other sizes.
        exact = px * 122.88 / 122
        self._columns = cells_of_pixels(
            config.n_frames, figure_px=px, exact_px=exact, start=left, end=right
        )
        # Pixel rows count from the top, spectrogram rows from the bottom.
        self._rows = cells_of_pixels(
            config.n_bins, figure_px=px, exact_px=exact, start=bottom, end=top
        )[::-1]
        # Enlarging is linear, and so is selecting cells: one matrix per axis does both.
        enlarge = bilinear_weights(px, config.network_px)
        self._row_weights = enlarge @ _selection_matrix(self._rows, config.n_bins)
        self._column_weights = (enlarge @ _selection_matrix(self._columns, config.n_frames)).T
        covered = np.outer(self._row_weights.sum(1), self._column_weights.sum(0))
        self._margin = np.float32(255) * (1 - covered)[:, None, :]

    def figure(self, S_db: NDArray[np.float32]) -> NDArray[np.uint8]:
        """The training figure of ``S_db`` (n_bins, n_frames) dB: (figure_px, figure_px, 3) uint8.

        Row 0 is the top; the lowest frequency is at the bottom; margins are white.
        """
        colours = magma()[colour_indices(S_db)]
        figure = colours[self._rows[:, None], self._columns[None, :]]
        figure[self._rows < 0] = 255
        figure[:, self._columns < 0] = 255
        return figure

    def network_picture(self, indices: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The network's input from :func:`colour_indices`: (network_px, network_px, 3) uint8 RGB.

        Equal to enlarging :meth:`figure` by corner-aligned bilinear interpolation and rounding
        half up, without drawing the figure first.
        """
        n_bins, n_frames = indices.shape
        colours = magma().astype(np.float32)[indices]  # (n_bins, n_frames, 3)
        by_row = colours.transpose(0, 2, 1).reshape(n_bins, 3 * n_frames)
        tall = (self._row_weights @ by_row).reshape(-1, n_frames)  # (network_px * 3, n_frames)
        wide = (tall @ self._column_weights).reshape(len(self._row_weights), 3, -1)
        picture = (wide + (self._margin + np.float32(0.5))).astype(np.uint8)
        return np.ascontiguousarray(picture.transpose(0, 2, 1))

    def as_matrices(
        self,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """The matrices of :meth:`network_picture`, for computing batches elsewhere.

        ``rows (px, n_bins)``, ``columns (px, n_frames)``, ``margin (px, px)`` and ``colours
        (256, 3)``: each channel of the picture is ``rows @ colours[indices] @ columns.T + margin``.
        """
        columns = np.ascontiguousarray(self._column_weights.T)
        return self._row_weights, columns, self._margin[:, 0], magma().astype(np.float32)


def _selection_matrix(cells: NDArray[np.intp], n_cells: int) -> NDArray[np.float32]:
    """A matrix (pixels, n_cells) that selects each pixel's cell; a zero row where there is none."""
    return (cells[:, None] == np.arange(n_cells)).astype(np.float32)
