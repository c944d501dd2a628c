"""All settings that shape the picture, in one frozen dataclass that is stored with the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edge.errors import ConfigError
from edge.rates import RATES

# A model file may come from anywhere, and its settings must not take all memory.
MAX_CELLS = 20_000_000  # numbers in the STFT, or in the CQT's filters; by default 3.7 million
MAX_PX = 4096  # side of a picture


@dataclass(frozen=True)
class FrontEndConfig:
    """Settings of the whole front end; the defaults are those the original network was trained on.

    A network is only valid for pictures made in the same way as its training pictures, so these
    settings are stored in the model file and nowhere else.
    """

    sr: int = 22_050  # sampling rate of the audio, Hz
    n_samples: int = 44_100  # length of one window, samples (2 s)
    n_fft: int = 2048  # STFT frame length, samples
    hop_length: int = 512  # STFT and CQT hop, samples; a multiple of 2 ** (octaves - 1)
    hpss_kernel: int = 31  # median filter length, frames and bins; odd
    hpss_power: float = 2.0  # exponent of the Wiener-like masks
    hpss_margin: float = 1.0  # factor by which percussive must exceed harmonic, >= 1
    fmin: float = 440.0 * 2.0 ** (-45 / 12)  # lowest CQT bin, Hz: C1, 32.703
    n_bins: int = 84  # CQT bins; a multiple of bins_per_octave
    bins_per_octave: int = 12  # CQT bins per octave
    sparsity: float = 0.01  # share of a CQT filter's spectral magnitude set to zero
    top_db: float = 80.0  # dynamic range kept below the maximum, dB
    figure_px: int = 122  # side of the training figure, px
    network_px: int = 224  # side of the network's input, px

    def __post_init__(self) -> None:
        """Refuse settings no front end can be built from."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            whole = isinstance(field.default, int)
            if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
                kind = "a whole number" if whole else "a number"
                raise ConfigError(f"front end setting {field.name} = {value!r} must be {kind}")
            if not 0 < value < 1e6:
                raise ConfigError(f"front end setting {field.name} = {value!r} is out of range")
        for holds, problem in self._conditions():
            if not holds:
                raise ConfigError(f"front end settings contradict each other: {problem}")

    def _conditions(self) -> Iterator[tuple[bool, str]]:
        """Conditions between settings, each with the message if it fails; checked in order."""
        low, high = RATES
        yield low <= self.sr <= high, f"sr = {self.sr} Hz must lie between {low} and {high} Hz"
        yield self.hpss_kernel % 2 == 1, f"hpss_kernel = {self.hpss_kernel} must be odd"
        yield (
            self.hpss_kernel <= self.n_frames,
            f"hpss_kernel = {self.hpss_kernel} must not exceed the {self.n_frames} frames",
        )
        yield self.sparsity < 1, f"sparsity = {self.sparsity:g} would leave nothing of a kernel"
        smallest, largest = sorted((self.figure_px, self.network_px))
        yield smallest >= 2, f"a picture of {smallest} px cannot be drawn: 2 are needed"
        yield largest <= MAX_PX, f"a picture of {largest} px is too large: {MAX_PX} at most"
        yield self.hpss_margin >= 1, f"hpss_margin = {self.hpss_margin} must be at least 1"
        yield (
            self.n_bins % self.bins_per_octave == 0,
            f"n_bins = {self.n_bins} must be a multiple of bins_per_octave",
        )
        yield (
            self.hop_length % 2 ** (self.n_octaves - 1) == 0,
            f"hop_length = {self.hop_length} must halve evenly {self.n_octaves - 1} times",
        )
        yield (
            self.n_fft % 2 == 0 and self.n_fft >= self.hop_length,
            f"n_fft = {self.n_fft} must be even and no shorter than hop_length",
        )
        yield self.n_samples > self.n_fft, f"n_samples = {self.n_samples} must exceed n_fft"
        yield (
            self.fmax * 2 ** (1 / self.bins_per_octave) < self.sr / 2,
            f"the highest bin, {self.fmax:.0f} Hz, is too near to half of sr = {self.sr}",
        )
        longest = self.sr / self.fmin / (2 ** (1 / self.bins_per_octave) - 1)
        yield (
            longest <= self.n_samples,
            f"n_samples = {self.n_samples} is shorter than the filter of the lowest bin, "
            f"{longest:.0f}",
        )
        cells = max(self.n_frames * (1 + self.n_fft // 2), self.n_bins * self.n_samples)
        yield cells <= MAX_CELLS, f"arrays of {cells} numbers are too large: {MAX_CELLS} at most"

    @property
    def n_octaves(self) -> int:
        """Octaves the CQT spans."""
        return self.n_bins // self.bins_per_octave

    @property
    def fmax(self) -> float:
        """Centre frequency of the highest CQT bin, Hz."""
        return self.fmin * 2.0 ** ((self.n_bins - 1) / self.bins_per_octave)

    @property
    def n_frames(self) -> int:
        """Columns of the spectrogram: frames are centred, so there is one at both ends."""
        return 1 + self.n_samples // self.hop_length

    def to_dict(self) -> dict[str, int | float]:
        """Every setting by name, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> FrontEndConfig:
        """Build from :meth:`to_dict`'s result; ConfigError names unknown and missing settings."""
        known = {field.name for field in dataclasses.fields(cls)}
        if wrong := sorted(set(settings) ^ known):
            raise ConfigError(f"front end settings unknown or missing: {', '.join(wrong)}")
        return cls(**settings)
