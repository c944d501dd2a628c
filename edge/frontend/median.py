"""Running median of a whole array at once, by sorting networks over shared neighbourhoods.

A sorting network compares and swaps at fixed positions, so one numpy ``minimum``/``maximum`` pair
does one step for all windows together. It is fast because work is shared: ``g`` neighbouring
windows of ``k`` values have a core of ``k + 1 - g`` values in common. The core is sorted once and
its ``g`` middle values are kept; each window's median is the median of these and of the window's
own ``g - 1`` other values. (The sharing is from Adams, "Fast median filters using separable sorting
networks", 2021.)

The result is exact to the bit, and the method is several times as fast as a running median that
moves along value by value.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Values filtered at a time; some sixty arrays of a quarter of this size exist at once. The fastest
# by measurement: larger blocks do not fit the L2 cache, smaller ones suffer from call overhead.
BLOCK_VALUES = 45_000

Run = list[NDArray[np.float32]]  # values in ascending order, each an array over all positions


def running_median(S: NDArray[np.float32], kernel_size: int) -> NDArray[np.float32]:
    """Median over ``kernel_size`` (odd) neighbours along axis 0 of ``S``; same shape, float32.

    Row ``i`` of the result is the median of rows ``i - h .. i + h``, ``h = kernel_size // 2``;
    beyond the edges the array is reflected (``d c b a | a b c d | d c b a``), as in
    ``scipy.ndimage.median_filter(S, size=(kernel_size, 1), mode="reflect")``. ``S`` has no NaN.
    """
    if kernel_size == 1:
        return S.copy()
    medians = np.empty_like(S)
    width = max(1, BLOCK_VALUES // S.shape[0])
    for i in range(0, S.shape[1], width):
        medians[:, i : i + width] = _block_median(S[:, i : i + width], kernel_size)
    return medians


def _block_median(S: NDArray[np.float32], kernel_size: int) -> NDArray[np.float32]:
    """:func:`running_median` for a few columns, so that the sorted runs fit in the CPU cache."""
    group = 4 if (kernel_size + 1) % 4 == 0 and kernel_size > 3 else 2
    n_groups = -(-S.shape[0] // group)
    half = kernel_size // 2
    # The last group may reach past the end; its surplus results are cut off below.
    padded = np.pad(S, ((half, half + n_groups * group - S.shape[0]), (0, 0)), mode="symmetric")
    middle = _core_middle(padded, kernel_size, group, n_groups)
    medians = np.empty((n_groups, group, S.shape[1]), dtype=np.float32)
    for s in range(group):
        # Window s of a group: its own values lie before and after the core.
        own = [*range(s, group - 1), *range(kernel_size, kernel_size + s)]
        others = _sort([padded[p::group][:n_groups] for p in own])
        medians[:, s] = _select(middle, others, rank=group)
    return medians.reshape(-1, S.shape[1])[: S.shape[0]]


def _core_middle(padded: NDArray[np.float32], k: int, group: int, n_groups: int) -> Run:
    """The ``group`` middle values of the core of each group of windows.

    The core of group ``m`` is row ``group * m + group - 1`` and the next ``k - group`` rows, a
    whole number of blocks of ``group`` rows. Sorted runs of 1, 2, 4 ... blocks are built by merging
    neighbours, for all starting blocks at once.
    """
    n_blocks = (k + 1) // group - 1
    first = group - 1
    n_starts = n_groups + n_blocks - 1

    blocks = [padded[first + j :: group][:n_starts] for j in range(group)]
    cache = {1: _sort(blocks)}
    if n_blocks == 1:
        return cache[1]
    left = 1 << ((n_blocks - 1).bit_length() - 1)
    low = [v[:n_groups] for v in _run(cache, left, n_starts)]
    high = [v[left : left + n_groups] for v in _run(cache, n_blocks - left, n_starts)]
    return _middle(low, high, group)


def _run(cache: dict[int, Run], length: int, n_starts: int) -> Run:
    """Sorted runs of ``length`` blocks from each starting block; ``cache`` keeps all lengths.

    Not an inner function with a cache: that would be a reference cycle, whose arrays would stay
    alive until the garbage collector finds it, and that runs rarely.
    """
    if length not in cache:
        left = 1 << ((length - 1).bit_length() - 1)  # largest power of two below length
        n = n_starts - length + 1
        low, high = _run(cache, left, n_starts), _run(cache, length - left, n_starts)
        cache[length] = _merge([v[:n] for v in low], [v[left : left + n] for v in high])
    return cache[length]


def _sort(values: Run) -> Run:
    """Sort ``values``, which may be in any order, by merging halves."""
    if len(values) < 2:
        return values
    half = len(values) // 2
    return _merge(_sort(values[:half]), _sort(values[half:]))


def _merge(a: Run, b: Run) -> Run:
    """Batcher's odd-even merge (1968) of two ascending runs of any lengths."""
    if not a or not b:
        return a or b
    if len(a) == len(b) == 1:
        return [np.minimum(a[0], b[0]), np.maximum(a[0], b[0])]
    even, odd = _merge(a[::2], b[::2]), _merge(a[1::2], b[1::2])
    merged = [even[0]]
    for low, high in zip(odd, even[1:], strict=False):
        merged += [np.minimum(low, high), np.maximum(low, high)]
    # If a value is left over, of even or of odd, it is the largest of all.
    return merged + even[1 + len(odd) :] + odd[len(even) - 1 :]


def _middle(a: Run, b: Run, count: int) -> Run:
    """The ``count`` (2 or 4) middle values of two ascending runs, ascending.

    Let ``r`` be half the number of values. The first step of Batcher's bitonic merge pairs
    ``a[j]`` with ``b[r - 1 - j]``. The smaller ones of the pairs are the ``r`` smallest values of
    all, a sequence that rises, then falls; the larger ones are the rest, and fall, then rise.
    """
    r = (len(a) + len(b)) // 2
    small: Run = []
    large: Run = []
    for j in range(min(0, r - len(b)), max(r, len(a))):
        pair = [run[i] for run, i in ((a, j), (b, r - 1 - j)) if 0 <= i < len(run)]
        if len(pair) == 2:
            small.append(np.minimum(*pair))
            large.append(np.maximum(*pair))
        else:
            (small if 0 <= j < r else large).extend(pair)
    below = _extremes(small, count // 2, np.maximum)
    above = _extremes(large, count // 2, np.minimum)
    return _sort(below) + _sort(above)


def _extremes(bitonic: Run, count: int, pick: np.ufunc) -> Run:
    """The ``count`` largest (``pick`` = maximum) or smallest values of a bitonic sequence.

    Comparing the two halves element by element keeps the better values, which are bitonic again. A
    length that is not a power of two counts as padded at its end.
    """
    while len(bitonic) > count:
        half = 1 << ((len(bitonic) - 1).bit_length() - 1)
        bitonic = [
            pick(v, bitonic[i + half]) if i + half < len(bitonic) else v
            for i, v in enumerate(bitonic[:half])
        ]
    return bitonic


def _select(a: Run, b: Run, *, rank: int) -> NDArray[np.float32]:
    """The ``rank``-th smallest (from 1) of two ascending runs, without merging them.

    If ``j`` of the ``rank`` smallest come from ``a``, the largest of them is the larger of
    ``a[j - 1]`` and ``b[rank - j - 1]``, counted from 0. Every other ``j`` gives a value at
    least as large, so the result is the minimum over all ``j``.
    """
    best: NDArray[np.float32] | None = None
    for j in range(max(0, rank - len(b)), min(rank, len(a)) + 1):
        if j == 0:
            largest = b[rank - 1]
        elif j == rank:
            largest = a[rank - 1]
        else:
            largest = np.maximum(a[j - 1], b[rank - j - 1])
        best = largest if best is None else np.minimum(best, largest)
    assert best is not None  # rank lies within the two runs  # noqa: S101
    return best
