"""When something happens in training: two clocks, read off curves that are known at some numbers of steps.

A curve (a share of copies, a ratio of errors) is followed along the run. Its *clock* is the time at which it rises through a
level and stays above it for some looks, read in log time with straight lines in between. How a clock t depends on the
number N of training images is its *exponent*, the slope of log t over log N. Intervals come from a bootstrap over what the
curve is a mean of: the noises of samples, or parts of the images. Used in chapter 6.
"""

from collections.abc import Mapping, Sequence
from math import exp, inf, log, nan

import torch
from torch import Tensor

from helpers.measure.bootstrap import DRAWS, Score, percentile_interval, resampled_counts


def onset(times: Sequence[float], values: Sequence[float], level: float, run: int = 1) -> float:
    """The first of `run` consecutive looks above the level, as Wang, Finn & Liu 2026 define it (theirs: 5); inf if never.

    ValueError unless there is one value for each time, and times rise.
    """
    above = _above(times, values, level, run)
    return inf if above is None else times[above]


def clock(times: Sequence[float], values: Sequence[float], level: float, run: int = 1) -> float:
    """`onset`, between the looks: where the line from the look before it, in log time, meets the level.

    The first time if the curve begins above the level: it cannot be known better. inf if it never rises through it.
    """
    k = _above(times, values, level, run)
    if not k:
        return inf if k is None else times[0]
    (t0, t1), (v0, v1) = times[k - 1:k + 1], values[k - 1:k + 1]
    return t0 * (t1 / t0) ** ((level - v0) / (v1 - v0))


def _above(times: Sequence[float], values: Sequence[float], level: float, run: int) -> int | None:
    """Which look is the first of `run` above the level; None if none is."""
    if len(times) != len(values) or not all(a < b for a, b in zip(times, times[1:])) or not times[0] > 0:
        raise ValueError(f"a clock needs positive, rising times and a value for each, got {len(times)} and {len(values)}")
    high = [value > level for value in values]
    return next((k for k in range(len(high) - run + 1) if all(high[k:k + run])), None)


def resampled(values: Tensor, draws: int = DRAWS, seed: int = 0) -> Tensor:
    """The curve of values (looks, n), their mean over n, and that of each draw of the bootstrap: (1 + draws, looks)."""
    counts = resampled_counts(values.shape[1], draws, seed)
    return torch.cat([values.double().mean(1)[None], counts @ values.double().T / values.shape[1]])


def clocks(times: Sequence[float], curves: Tensor, level: float) -> Tensor:
    """The clock of each curve (draws, looks): (draws,) float64."""
    return torch.tensor([clock(times, curve, level) for curve in curves.tolist()], dtype=torch.float64)


def rise(curves: Tensor) -> Tensor:
    """Each curve (draws, looks) over its least value from there on, and 1 before: how far it has come up again."""
    at = curves.argmin(1, keepdim=True)
    after = torch.arange(curves.shape[1]) >= at
    return torch.where(after, curves / curves.gather(1, at), 1.0)


def least(times: Sequence[float], curves: Tensor) -> Tensor:
    """The time at which each curve (draws, looks) is least, (draws,) float64: the vertex of the parabola, in log time,
    through the least value and its neighbors; the first or last time if that is the least."""
    return torch.tensor([_vertex(times, curve) for curve in curves.tolist()], dtype=torch.float64)


def _vertex(times: Sequence[float], curve: Sequence[float]) -> float:
    k = min(range(len(curve)), key=lambda k: curve[k])
    if k in (0, len(curve) - 1):
        return times[k]
    x = [log(t / times[k]) for t in times[k - 1:k + 2]]
    below, above = curve[k - 1] - curve[k], curve[k + 1] - curve[k]
    slope, bend = (below * x[2]**2 - above * x[0]**2), (above * x[0] - below * x[2])
    return times[k] * exp(-slope / (2 * bend) if bend else 0.0)


def score(draws: Tensor, n: int) -> Score:
    """The first of some numbers (1 + draws,) with the interval of the others, from n units."""
    value, (low, high) = draws[0].item(), percentile_interval(draws[1:])
    return Score(value, min(low, value), max(high, value), n)


def exponent(sizes: Sequence[int], found: Sequence[float]) -> float:
    """The slope of log t over log N by least squares, over the sizes whose clock is finite; nan if fewer than two are."""
    points = [(log(n), log(t)) for n, t in zip(sizes, found, strict=True) if 0 < t < inf]
    if len({x for x, _ in points}) < 2:
        return nan
    x, y = (torch.tensor(part, dtype=torch.float64) for part in zip(*points))
    x = x - x.mean()
    return ((x * y).sum() / x.square().sum()).item()


def exponents(found: Mapping[int, Tensor], last: float) -> Tensor:
    """The exponent of each draw, from the clocks of each size {N: (1 + draws,)}: (1 + draws,), all finite.

    Of the sizes whose clock has struck, by the first of its numbers; of all if fewer than two have. In a draw where one of
    these has not struck it counts as `last`, the end of the run: the exponent is then too small rather than too large.
    """
    struck = [n for n in found if found[n][0] < inf]
    sizes = struck if len(struck) > 1 else list(found)
    columns = torch.stack([found[n] for n in sizes], 1).clamp_max(last).tolist()
    return torch.tensor([exponent(sizes, column) for column in columns], dtype=torch.float64)
