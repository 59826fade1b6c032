"""Where a curve over the training set size N turns: from copying to drawing what is new.

GL rises from 0 to 1 as N grows. Where it passes one half, read in log2 N with straight lines in between, is one number for
the whole transition, and the difference of two such numbers is what a change of the model is worth in training images.
Used in chapter 2.
"""

from collections.abc import Sequence
from math import log2, nan

import torch
from torch import Tensor

from helpers.measure.scores import Score


def crossing(sizes: Sequence[int], values: Sequence[float], level: float = 0.5) -> float:
    """log2 N at which a curve first rises through `level`, linear in between; nan if it never does.

    ValueError unless there is one value for each size.
    """
    if len(sizes) != len(values):
        raise ValueError(f"a curve has one value for each size, got {len(sizes)} sizes and {len(values)} values")
    points = list(zip(sizes, values))
    for (n0, v0), (n1, v1) in zip(points, points[1:]):
        if v0 < level <= v1:
            return log2(n0) + (level - v0) / (v1 - v0) * (log2(n1) - log2(n0))
    return nan


def crossing_shift(sizes: Sequence[int], first: Sequence[Tensor], second: Sequence[Tensor], generator: torch.Generator,
                   draws: int = 1000) -> Score:
    """How much later the second curve crosses one half than the first, in log2 N: the median of a bootstrap over noises.

    first, second   for each size (n,): for each noise whether it counts; the curve is their mean

    A draw resamples the n noises, the same for both curves at all sizes, as they share their noises. If a curve never
    crosses, the draw says nothing of a shift and counts as 0. ValueError unless all have n noises, one set for each size.
    """
    curves = [torch.stack(list(hits)).double() for hits in (first, second)]                         # (sizes, n)
    if curves[0].shape != curves[1].shape or curves[0].ndim != 2 or len(curves[0]) != len(sizes):
        raise ValueError(f"two curves over {len(sizes)} sizes need as many sets of noises, (sizes, n) each, got "
                         f"{tuple(curves[0].shape)} and {tuple(curves[1].shape)}")
    n = curves[0].shape[1]
    index = torch.randint(n, (draws, n), generator=generator)
    means = [torch.stack([hits[index].mean(1) for hits in curve], 1) for curve in curves]           # (draws, sizes)
    at = [torch.tensor([crossing(sizes, c) for c in m.tolist()], dtype=torch.double) for m in means]
    shift = (at[1] - at[0]).nan_to_num(0.0)                                                         # (draws,)
    low, median, high = shift.quantile(shift.new_tensor([0.025, 0.5, 0.975])).tolist()
    return Score(median, low, high, n)
