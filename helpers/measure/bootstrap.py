"""How sure we are: an estimate with its 95 % interval, from a formula for proportions and by resampling for the rest.

The bootstrap (Efron 1979): draw as many units as there are, with replacement; compute the statistic from what was drawn;
do so many times. The middle 95 % of what comes out is the interval. A draw is written as how often each unit came up, so
that a mean over the drawn units is a product with these counts,

    mean over a draw = sum_i c_i v_i / n,     sum_i c_i = n,

and all draws of a statistic are one matrix product. What is a unit is the choice that matters: noises, and where several
pairs of models share the noises, pairs as well (`crossed_counts`). Used in every chapter.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

DRAWS = 2000                            # of a bootstrap: the ends then move from seed to seed by 6 % of a standard error
Z95 = 1.959963984540054                 # the 97.5 % point of the standard normal law


@dataclass(frozen=True)
class Score:
    """An estimate with its 95 % interval [low, high], from n independent draws."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def wilson(fraction: float, n: int) -> Score:
    """Wilson's (1927) interval: all p with |fraction - p| <= z sqrt(p (1 - p) / n); never empty, always in [0, 1].

    A formula of our own, equal to scipy's where fraction * n is whole: the mean of several nulls counts no whole successes.
    ValueError unless n >= 1 and fraction is in [0, 1].
    """
    if n < 1 or not 0 <= fraction <= 1:
        raise ValueError(f"a proportion needs n >= 1 and a fraction in [0, 1], got n = {n}, fraction = {fraction}")
    square = Z95**2
    center = (fraction + square / (2 * n)) / (1 + square / n)
    half = Z95 / (1 + square / n) * (fraction * (1 - fraction) / n + square / (4 * n**2)) ** 0.5
    return Score(fraction, min(max(center - half, 0.0), fraction), max(min(center + half, 1.0), fraction), n)


def resampled_counts(count: int, draws: int, source: torch.Generator | int) -> Tensor:
    """How often each of `count` units comes up when `count` are drawn with replacement: (draws, count) float64.

    source   a generator, or the seed of one. ValueError unless count >= 1 and draws >= 1.
    """
    return crossed_counts((count,), draws, source)[0]


def crossed_counts(sizes: Sequence[int], draws: int, source: torch.Generator | int) -> list[Tensor]:
    """`resampled_counts` of several kinds of units that are drawn independently: a (draws, size) for each size.

    Draw by draw, one kind after another; so the first draws stay the same if more are asked for.
    """
    if draws < 1 or min(sizes) < 1:
        raise ValueError(f"a bootstrap needs a unit and a draw, got {list(sizes)} units, {draws} draws")
    generator = torch.Generator().manual_seed(source) if isinstance(source, int) else source
    if len(sizes) == 1:                                     # the same numbers as in the loop, at once
        drawn = [torch.randint(sizes[0], (draws, sizes[0]), generator=generator)]
    else:
        rows = [[torch.randint(size, (size,), generator=generator) for size in sizes] for _ in range(draws)]
        drawn = [torch.stack(kind) for kind in zip(*rows, strict=True)]                             # (draws, size)
    return [torch.zeros(index.shape, dtype=torch.double).scatter_add_(1, index, torch.ones_like(index).double())
            for index in drawn]


def percentile_interval(values: Tensor) -> tuple[float, float]:
    """The 2.5 and 97.5 % quantiles of a statistic over draws (draws,). Draws where it is not finite say nothing.

    A share of nothing, 0 / 0, is one such. ValueError if no draw is left.
    """
    found = values[values.isfinite()]
    if not len(found):
        raise ValueError("no draw of the bootstrap gave a finite number")
    low, high = found.quantile(found.new_tensor([0.025, 0.975])).tolist()
    return low, high
