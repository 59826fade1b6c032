"""Shares of variance: how much of what pictures differ in goes with the noise, with the words, and with the model.

Every noise i is drawn under every caption j by every model k, and each picture is a vector y_ijk (a descriptor). With

    y_ijk = m + a_i + b_j + c_k + (ab)_ij + (ac)_ik + (bc)_jk + e_ijk

and each term of mean zero and a variance of its own, the mean squares of a balanced analysis of variance say what the
variances are, without bias, however few levels a factor has (Searle, Casella & McCulloch 1992, ch. 4):

    v(abc) = MS_abc,   v(ab) = (MS_ab - MS_abc) / n_c,   v(a) = (MS_a - MS_ab - MS_ac + MS_abc) / (n_b n_c).

Squares are summed over the entries of the vector. An estimate may be a little below zero where a term is nil. Used in
chapter 9.
"""

from itertools import combinations

import torch
from torch import Tensor

from helpers.measure.bootstrap import Z95, Score

FACTORS = (0, 1, 2)
SUBSETS = tuple(subset for size in (1, 2, 3) for subset in combinations(FACTORS, size))


def variance_components(y: Tensor) -> dict[tuple[int, ...], float]:
    """{(0,): v(a), (1,): v(b), (2,): v(c), (0, 1): v(ab), ..., (0, 1, 2): v(e)} of y (n_a, n_b, n_c, d).

    ValueError unless each factor has two levels or more.
    """
    if y.ndim != 4 or min(y.shape[:3]) < 2:
        raise ValueError(f"three factors of two levels or more are needed, y (n_a, n_b, n_c, d): got {tuple(y.shape)}")
    y, sizes = y.double(), y.shape[:3]
    square = {subset: _mean_square(y, subset) for subset in SUBSETS}
    found = {}
    for subset in SUBSETS:
        outside = [f for f in FACTORS if f not in subset]
        total = sum((-1) ** len(extra) * square[tuple(sorted((*subset, *extra)))]
                    for size in range(len(outside) + 1) for extra in combinations(outside, size))
        found[subset] = total / torch.tensor([sizes[f] for f in outside]).prod().item()
    return found


def _mean_square(y: Tensor, subset: tuple[int, ...]) -> float:
    """The mean square of a term: its effects' squares, times the cells that each goes into, over its degrees of freedom."""
    effect = torch.zeros(())
    for size in range(len(subset) + 1):                   # inclusion and exclusion: means over all factors but some of these
        for kept in combinations(subset, size):
            over = [f for f in FACTORS if f not in kept]
            effect = effect + (-1) ** (len(subset) - size) * (y.mean(over, keepdim=True) if over else y)
    cells = y[..., 0].numel() / effect[..., 0].numel()
    freedom = torch.tensor([y.shape[f] - 1 for f in subset]).prod().item()
    return (effect.square().sum() * cells / freedom).item()


def variance_shares(y: Tensor, groups: dict[str, list[tuple[int, ...]]]) -> dict[str, Score]:
    """What share of all seven variances each group of terms has, with a jackknife over the first factor's levels.

    y        (n_a, n_b, n_c, d), the first factor the noises: whoever resampled them would meet a noise twice
    groups   name: terms, as `variance_components` names them

    The interval is 1.96 standard errors of the jackknife, and says nothing of other captions or models.
    """
    def shares(y: Tensor) -> Tensor:
        found = variance_components(y)
        return torch.tensor([sum(found[term] for term in terms) for terms in groups.values()]) / sum(found.values())

    n, values = len(y), shares(y)
    left_out = torch.stack([shares(torch.cat([y[:i], y[i + 1:]])) for i in range(n)])
    errors = ((n - 1) / n * (left_out - left_out.mean(0)).square().sum(0)).sqrt()
    return {name: Score(v, v - Z95 * e, v + Z95 * e, n)
            for name, v, e in zip(groups, values.tolist(), errors.tolist())}
