"""What lies between an engine and its recording: noise, room, microphone, recorder.

Used to make one recording sound as if made elsewhere with other equipment, so that a network learns
the knock and not the microphone. All functions work on whole clips, float64.
"""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray

Sound = NDArray[np.float64]


def coloured_noise(rng: np.random.Generator, n: int, sr: int, *, slope_db: float) -> Sound:
    """Gaussian noise whose spectrum falls by ``-slope_db`` an octave above 30 Hz; (n,), rms 1.

    -3 dB is pink, -6 dB brown; 0 white.
    """
    spectrum = scipy.fft.rfft(rng.normal(size=n))
    octave = np.log2(np.maximum(scipy.fft.rfftfreq(n, 1 / sr), 30.0) / 30)
    noise = scipy.fft.irfft(spectrum * 10 ** (slope_db * octave / 20), n=n)
    return np.asarray(noise / noise.std())


def wind(rng: np.random.Generator, n: int, sr: int) -> Sound:
    """Wind noise of a microphone, in gusts: (n,), rms 1.

    A microphone picks up the pressure of the turbulence that the wind carries past it. Its power
    spectrum falls as f^(-5/3), as that of turbulence does (Kolmogorov), as f^-2 where a screen
    smooths it, and much faster above some hundred hertz, where eddies are smaller
    than the microphone (van den Berg, "Wind-induced noise in a screened microphone", JASA 119,
    2006). Below some hertz it is flat here: no eddies are larger than the gusts. Pressure is
    proportional to the square of the wind speed, which fluctuates with a standard deviation of a
    fifth to a half of its mean within about a second: an Ornstein-Uhlenbeck process, as in Dryden's
    model of gusts.
    """
    f = scipy.fft.rfftfreq(n, 1 / sr)
    largest, smallest = rng.uniform(3, 15), rng.uniform(100, 250)  # frequencies of eddies, Hz
    power = np.maximum(f, largest) ** -rng.uniform(5 / 3, 2) / (1 + (f / smallest) ** 4)
    noise = scipy.fft.irfft(scipy.fft.rfft(rng.normal(size=n)) * np.sqrt(power), n=n)
    speed = 1 + rng.uniform(0.2, 0.5) * _ornstein_uhlenbeck(
        rng, n, round(sr * rng.uniform(0.7, 1.5))
    )
    y = noise * np.maximum(speed, 0) ** 2
    return np.asarray((y - y.mean()) / y.std())  # a constant pressure is no sound


def _ornstein_uhlenbeck(rng: np.random.Generator, n: int, correlation_time: int) -> Sound:
    """An Ornstein-Uhlenbeck process, (n,), with unit variance.

    ``correlation_time`` is in samples; the process is drawn 20 times in that time and
    interpolated linearly.
    """
    step = max(1, correlation_time // 20)
    decay = np.exp(-step / correlation_time)
    values = rng.normal(size=n // step + 2)
    for i in range(1, values.size):
        values[i] = decay * values[i - 1] + np.sqrt(1 - decay**2) * values[i]
    return np.interp(np.arange(n), step * np.arange(values.size), values)


def band_limit(y: Sound, sr: int, low: float, high: float) -> Sound:
    """``y`` between ``low`` and ``high`` Hz; second-order edges (-12 dB an octave), zero phase."""
    f = scipy.fft.rfftfreq(y.size, 1 / sr)
    gain = 1 / np.sqrt(1 + (low / np.maximum(f, 1e-3)) ** 4) / np.sqrt(1 + (f / high) ** 4)
    return np.asarray(scipy.fft.irfft(scipy.fft.rfft(y) * gain, n=y.size))


def random_response(rng: np.random.Generator, y: Sound, sr: int) -> Sound:
    """``y`` with the random frequency response of a microphone and a bonnet.

    A tilt around 1 kHz, normal with a standard deviation of 1.5 dB an octave, and up to four
    resonances or notches, normal with 6 dB, a third of an octave to two octaves wide.
    """
    f = scipy.fft.rfftfreq(y.size, 1 / sr)
    octave = np.log2(np.maximum(f, 20) / 1000)
    gain_db = rng.normal(0, 1.5) * np.clip(octave, -4, 4)
    for _ in range(int(rng.integers(0, 5))):
        centre, width = rng.uniform(-4, 3), rng.uniform(0.15, 1.0)
        gain_db = gain_db + rng.normal(0, 6) * np.exp(-0.5 * ((octave - centre) / width) ** 2)
    return np.asarray(scipy.fft.irfft(scipy.fft.rfft(y) * 10 ** (gain_db / 20), n=y.size))


def reverberate(
    rng: np.random.Generator,
    y: Sound,
    sr: int,
    *,
    t60: tuple[float, float] = (0.02, 0.3),
    gain: tuple[float, float] = (0, 1),
) -> Sound:
    """``y`` with the reverberation of an engine bay or a garage: exponentially decaying noise.

    ``t60`` and ``gain`` are ranges to draw from, uniformly: the time in s to fall by 60 dB, and the
    square root of the tail's energy relative to the direct sound. The tail ends after 0.3 s.
    """
    n = int(sr * 0.3)
    tail = rng.normal(size=n) * 10 ** (-3 * np.arange(n) / (sr * rng.uniform(*t60)))
    tail *= rng.uniform(*gain) / np.sqrt(np.sum(tail**2))
    tail[0] = 1
    size = scipy.fft.next_fast_len(y.size + n, real=True)
    wet = scipy.fft.irfft(scipy.fft.rfft(y, size) * scipy.fft.rfft(tail, size), size)
    return np.asarray(wet[: y.size])


def shaped_like(y: Sound, model: Sound, sr: int, share: float) -> Sound:
    """``y`` with ``share`` (0 to 1) of the spectral shape of ``model``, in thirds of an octave.

    A sound from inside an engine takes the same path to the microphone as the rest of the engine's.
    Both are (n,). The mean of the logarithmic gain from 250 to 4500 Hz is 0.
    """
    f = scipy.fft.rfftfreq(y.size, 1 / sr)
    octave = np.log2(np.maximum(f, 40) / 40)
    band = np.minimum((octave * 3).astype(int), 26)
    log_gain = np.log(np.abs(scipy.fft.rfft(model, n=y.size)) + 1e-9)
    counts = np.bincount(band, minlength=27)
    means = np.bincount(band, weights=log_gain, minlength=27) / np.maximum(counts, 1)
    shape = np.interp(octave, (np.arange(27) + 0.5) / 3, means)
    shape -= shape[(f > 250) & (f < 4500)].mean()
    return np.asarray(scipy.fft.irfft(scipy.fft.rfft(y) * np.exp(share * shape), n=y.size))


def beat_period_s(y: Sound, sr: int) -> float | None:
    """Period of the strongest beat of ``y`` between 50 and 400 ms, or None if it has none.

    Found in the autocorrelation of the log level (10 ms frames, 250 to 4500 Hz), less its moving
    average over 0.5 s; a beat is a peak above 0.15 of the value at lag 0.
    """
    frame = sr // 100
    banded = band_limit(y, sr, 250, 4500)[: y.size // frame * frame]
    level = np.log(np.square(banded).reshape(-1, frame).mean(axis=1) + 1e-10)
    level = level - np.convolve(np.pad(level, 25, "edge"), np.full(51, 1 / 51), "valid")
    autocorrelation = np.correlate(level, level, "full")[level.size - 1 :]
    middle = autocorrelation[5:41]
    peaks = (middle >= autocorrelation[4:40]) & (
        middle >= autocorrelation[6:42]
    )  # not the slope from lag 0
    lag = 5 + int(np.where(peaks, middle, -np.inf).argmax())
    return lag / 100 if peaks.any() and autocorrelation[lag] > 0.15 * autocorrelation[0] else None


def gain_control(rng: np.random.Generator, y: Sound, sr: int) -> Sound:
    """A telephone's automatic gain control: pulls the level over some 100 ms towards its mean."""
    power = _running_power(y, int(sr * rng.uniform(0.03, 0.3)))
    return y * (power.mean() / power) ** (rng.uniform(0.1, 0.35))


def sharpen(rng: np.random.Generator, y: Sound, sr: int) -> Sound:
    """The opposite of gain control: what is loud for some 10 ms becomes louder still.

    The engine's own beat then stands out more than it did, by up to 30 times in amplitude, as in an
    engine that clatters more than the one recorded and is as healthy.
    """
    power = _running_power(y, int(sr * np.exp(rng.uniform(np.log(0.008), np.log(0.03)))))
    usual = np.exp(np.mean(np.log(power)))
    return y * np.minimum((power / usual) ** rng.uniform(0.1, 0.6), 30)


def _running_power(y: Sound, n: int) -> Sound:
    """Mean square of the ``n`` samples around each; (len(y),), above 0."""
    sums = np.concatenate([[0.0], np.cumsum(np.pad(y**2, (n // 2, n - n // 2)))])
    return (sums[n:] - sums[:-n])[: y.size] / n + 1e-9


def record(rng: np.random.Generator, y: Sound, sr: int) -> Sound:
    """``y`` as it might have been recorded: a random chain of effects.

    Frequency response, reverberation, coloured noise from rumble to hiss, wind, gain control, band
    limits of cheap microphones and codecs, saturation. Peak of the result: 0.05 to 1.
    """
    y = y / (np.abs(y).max() + 1e-12)
    if rng.random() < 0.7:
        y = random_response(rng, y, sr)
    if rng.random() < 0.4:
        y = reverberate(rng, y, sr)
    if rng.random() < 0.5:
        noise = coloured_noise(rng, y.size, sr, slope_db=rng.uniform(-8, 0))
        y = y + noise * y.std() * 10 ** (rng.uniform(-45, -8) / 20)
    if rng.random() < 0.15:
        y = y + wind(rng, y.size, sr) * y.std() * 10 ** (rng.uniform(-25, 6) / 20)
    if rng.random() < 0.2:
        y = gain_control(rng, y, sr)
    if rng.random() < 0.5:
        y = band_limit(
            y, sr, np.exp(rng.uniform(np.log(15), np.log(250))), rng.uniform(3000, 16000)
        )
    y = y / (np.abs(y).max() + 1e-12)
    if rng.random() < 0.2:
        drive = rng.uniform(1, 6)
        y = np.tanh(drive * y) if rng.random() < 0.5 else np.clip(drive * y, -1, 1)
        y = y / (np.abs(y).max() + 1e-12)
    return y * rng.uniform(0.05, 1)
