"""Rank order: do the pairs of systems that agree more there also agree more here?

Two matrices of agreement over the same k systems, somebody else's and ours, are compared by Spearman's rank correlation
rho of their m = k (k - 1) / 2 pairs. Pairs that share a system are not independent, so that tables of rho do not apply:

    interval   whole noises are resampled: how sure the order of *our* pairs is
    limit      the systems of one matrix change names in all k! ways; rho exceeds the limit in 1 of 20 (Mantel 1967)

Pairs are in the order of the upper triangle, (0, 1), (0, 2), ..., which is that of `comparison.within`. Used in chapter 1.
"""

from itertools import permutations

import torch
from scipy.stats import spearmanr
from torch import Tensor

from helpers.measure.bootstrap import Score, percentile_interval, resampled_counts


def rank_correlation(first: Tensor, second: Tensor) -> float:
    """Spearman's rho of two sets of numbers (m,), in [-1, 1]; equal numbers share a rank. 0 if all of one set are equal."""
    if first.amin() == first.amax() or second.amin() == second.amax():
        return 0.0
    return float(spearmanr(first.cpu().numpy(), second.cpu().numpy()).statistic)


def _pairs(matrix: Tensor) -> Tensor:
    """The upper triangle: (k, k) -> (m,)."""
    i, j = torch.triu_indices(*matrix.shape, offset=1)
    return matrix[i, j]


def _check(theirs: Tensor, ours: Tensor) -> None:
    k = len(theirs)
    if theirs.shape != (k, k) or k < 3 or not torch.equal(theirs, theirs.T) or len(ours) != k * (k - 1) // 2:
        raise ValueError(f"need a symmetric matrix (k, k) of k >= 3 systems and k (k - 1) / 2 pairs, got "
                         f"{tuple(theirs.shape)} and {len(ours)} pairs")


def rank_agreement(theirs: Tensor, hits: Tensor, generator: torch.Generator, draws: int = 1000) -> Score:
    """rho of their agreement and ours, with a bootstrap over our n noises; Score.n counts pairs.

    theirs   (k, k), symmetric
    hits     (m, n), for each pair and noise whether the two agree (`Comparison.same`); its mean over noises is RP

    ValueError for other shapes.
    """
    _check(theirs, hits)
    return rank_with(_pairs(theirs), hits, generator, draws)


def rank_with(reference: Tensor, hits: Tensor, generator: torch.Generator, draws: int = 1000) -> Score:
    """rho of numbers (m,) that are known and the means of hits (m, n), with a bootstrap over the n noises; n counts pairs.

    ValueError unless there are m of both.
    """
    if reference.shape != hits.shape[:1] or hits.ndim != 2:
        raise ValueError(f"numbers (m,) and hits (m, n) are needed, got {tuple(reference.shape)} and {tuple(hits.shape)}")
    reference, hits, n = reference.double(), hits.double(), hits.shape[1]
    rates = (resampled_counts(n, draws, generator).to(hits) @ hits.T) / n                           # (draws, m)
    drawn = torch.tensor([rank_correlation(reference, rate) for rate in rates], dtype=torch.double)
    value = rank_correlation(reference, hits.mean(1))
    low, high = percentile_interval(drawn)
    return Score(value, min(low, value), max(high, value), len(hits))


def permutation_limit(theirs: Tensor, ours: Tensor, level: float = 0.95) -> float:
    """The rho that names of systems by chance stay below with probability `level`: quantile over all k! permutations.

    theirs (k, k), symmetric; ours (m,), the RP of each pair. k! calls: k is 8 at most, else ValueError.
    """
    _check(theirs, ours)
    if len(theirs) > 8:
        raise ValueError(f"all permutations of {len(theirs)} systems are too many: 8 systems at most")
    renamed = (theirs[list(p)][:, list(p)] for p in permutations(range(len(theirs))))
    return torch.tensor([rank_correlation(_pairs(m), ours) for m in renamed], dtype=torch.double).quantile(level).item()
