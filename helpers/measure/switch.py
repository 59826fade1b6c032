"""Where, on the way down the noise levels, something is decided.

A question that every noise answers with yes or no is asked at falling noise levels: has this image's posterior collapsed, is
the picture already the one that it will be? The share of yes rises from 0 to 1, and where it passes one half, read in log
sigma with straight lines in between, is the noise level of the decision. Used in chapter 8.
"""

from collections.abc import Sequence
from math import isnan, log2

import torch
from torch import Tensor

from helpers.measure.bootstrap import DRAWS, Score, percentile_interval, resampled_counts
from helpers.measure.transition import crossing


def switch_level(sigmas: Sequence[float], hits: Tensor, seed: int = 0, draws: int = DRAWS) -> Score:
    """The sigma at which the share of hits first rises through one half, with a bootstrap over noises.

    sigmas   noise levels, falling; hits (len(sigmas), n), yes or no

    A share that never does counts as decided at the last level, one that has from the start at the first: it cannot be
    known better. ValueError unless there are hits for each level, and the levels fall.
    """
    levels, draw = _curves(sigmas, hits, seed, draws)
    return _score(levels[0], torch.tensor(draw), hits.shape[1])


def switch_octaves(sigmas: Sequence[float], above: Tensor, below: Tensor, seed: int = 0, draws: int = DRAWS) -> Score:
    """log2 of the level at which `above` is decided over that at which `below` is; both (len(sigmas), n).

    As in `switch_level`. If the two have as many noises, these are taken for the same and resampled together.
    """
    other = seed if above.shape == below.shape else seed + 1
    (first, a), (second, b) = _curves(sigmas, above, seed, draws), _curves(sigmas, below, other, draws)
    ratio = (torch.tensor(a) / torch.tensor(b)).log2()
    return _score(log2(first[0] / second[0]), ratio, min(above.shape[1], below.shape[1]))


def _score(value: float, draws: Tensor, n: int) -> Score:
    low, high = percentile_interval(draws)
    return Score(value, min(low, value), max(high, value), n)


def _curves(sigmas: Sequence[float], hits: Tensor, seed: int, draws: int) -> tuple[list[float], list[float]]:
    """The level of all noises (in a list of one), and of each draw."""
    if hits.ndim != 2 or len(hits) != len(sigmas) or not all(a > b for a, b in zip(sigmas, sigmas[1:])):
        raise ValueError(f"hits are needed at each of {len(sigmas)} falling noise levels, got {tuple(hits.shape)}")
    values, inverse = hits.double(), [1 / sigma for sigma in sigmas]
    counts = resampled_counts(hits.shape[1], draws, seed)
    curves = [values.mean(1).tolist(), *(counts @ values.T / hits.shape[1]).tolist()]               # (1 + draws, levels)
    found = [_level(inverse, curve) for curve in curves]
    return found[:1], found[1:]


def _level(inverse: Sequence[float], curve: Sequence[float]) -> float:
    if curve[0] >= 0.5:
        return 1 / inverse[0]
    at = crossing(inverse, curve)
    return 1 / inverse[-1] if isnan(at) else 2.0**-at
