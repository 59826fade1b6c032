"""Variance components: exact sums of squares by hand, unbiased on simulated terms, and shares that add up to one."""

from itertools import product

import pytest
import torch

from helpers.measure.variance import SUBSETS, variance_components, variance_shares


def simulated(sizes, scales, d=1, seed=0):
    """y with each of the seven terms drawn with its own standard deviation."""
    generator, y = torch.Generator().manual_seed(seed), torch.zeros(*sizes, d, dtype=torch.double)
    for subset, scale in zip(SUBSETS, scales):
        shape = [sizes[f] if f in subset else 1 for f in range(3)]
        y = y + scale * torch.randn(*shape, d, generator=generator, dtype=torch.double)
    return y


def test_the_components_are_those_of_the_textbook():
    """Mean squares written out with loops, for one entry."""
    y = simulated((4, 3, 2), (1, 2, 1, 0.5, 0.5, 0.5, 0.3))[..., 0]
    a, b, c = y.shape
    m, cells = y.mean(), list(product(range(a), range(b), range(c)))
    ms_abc = sum((y[i, j, k] - y[i, j].mean() - y[i, :, k].mean() - y[:, j, k].mean() + y[i].mean() + y[:, j].mean()
                  + y[:, :, k].mean() - m) ** 2 for i, j, k in cells) / ((a - 1) * (b - 1) * (c - 1))
    ms_ab = sum((y[i, j].mean() - y[i].mean() - y[:, j].mean() + m) ** 2 for i, j, _ in cells) / ((a - 1) * (b - 1))
    ms_ac = sum((y[i, :, k].mean() - y[i].mean() - y[:, :, k].mean() + m) ** 2 for i, _, k in cells) / ((a - 1) * (c - 1))
    ms_a = sum((y[i].mean() - m) ** 2 for i, _, _ in cells) / (a - 1)
    found = variance_components(y[..., None])
    assert found[0, 1, 2] == pytest.approx(ms_abc.item()) and found[0, 1] == pytest.approx(((ms_ab - ms_abc) / c).item())
    assert found[0,] == pytest.approx(((ms_a - ms_ab - ms_ac + ms_abc) / (b * c)).item())


def test_components_are_unbiased():
    """Their mean over many entries is the variance that each term was drawn with, also for a factor of two levels."""
    scales = (1.0, 0.5, 0.2, 0.7, 0.0, 0.3, 0.6)
    found = variance_components(simulated((30, 20, 2), scales, d=400, seed=1))
    for subset, scale in zip(SUBSETS, scales):
        assert found[subset] / 400 == pytest.approx(scale**2, abs=0.04), subset


def test_shares_of_all_terms_are_one_and_the_interval_holds_the_truth():
    groups = {"noise": [(0,)], "words": [(1,)], "rest": [s for s in SUBSETS if s not in ((0,), (1,))]}
    found = variance_shares(simulated((40, 6, 3), (1, 1, 0, 1, 0, 0, 1), d=50, seed=2), groups)
    assert sum(score.value for score in found.values()) == pytest.approx(1)
    assert found["noise"].low < 0.25 < found["noise"].high and found["noise"].n == 40
    assert found["noise"].high - found["noise"].low < 0.2


def test_a_factor_of_one_level_is_an_error():
    with pytest.raises(ValueError, match="two levels or more"):
        variance_components(torch.zeros(3, 1, 2, 4))
