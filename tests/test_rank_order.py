"""Rank correlations by hand, against scipy's own test where pairs are independent, and with nothing to find."""

from itertools import permutations

import pytest
import torch

from helpers.measure.comparison import within
from helpers.measure.rank_order import permutation_limit, rank_agreement, rank_correlation, rank_with


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def symmetric(k, seed=0):
    m = torch.rand(k, k, generator=gen(seed), dtype=torch.double)
    return m + m.T


def hits_with(rates, n, seed=1):
    return torch.rand(len(rates), n, generator=gen(seed)) < rates[:, None]


def test_rank_correlation_is_spearmans_formula():
    """1 - 6 sum d^2 / (m (m^2 - 1)) without ties; ranks 1 2 3 4 5 against 2 1 4 3 5: d^2 sum to 4."""
    x, y = torch.tensor([1.0, 2.0, 30.0, 31.0, 500.0]), torch.tensor([0.2, 0.1, 0.4, 0.3, 0.9])
    assert rank_correlation(x, y) == pytest.approx(1 - 6 * 4 / (5 * 24))
    assert rank_correlation(x, -x) == pytest.approx(-1)


def test_what_does_not_vary_has_no_order():
    assert rank_correlation(torch.ones(6), torch.rand(6, generator=gen())) == 0


def test_the_same_order_is_found_and_its_interval_narrows_with_noises():
    theirs = symmetric(5)
    rates = torch.tensor([theirs[p] for p in within(range(5))]).float() / 2
    few, many = (rank_agreement(theirs, hits_with(rates, n), gen()) for n in (40, 4000))
    assert many.value > 0.95 and many.low <= many.value <= many.high and many.n == 10
    assert many.high - many.low < few.high - few.low


def test_the_value_is_the_correlation_of_the_rates():
    theirs, hits = symmetric(4), hits_with(torch.rand(6, generator=gen(3)), 50)
    expected = rank_correlation(torch.tensor([theirs[p] for p in within(range(4))]), hits.double().mean(1))
    assert rank_agreement(theirs, hits, gen()).value == pytest.approx(expected)


def test_the_limit_is_exceeded_by_one_renaming_in_twenty():
    theirs, ours = symmetric(5, seed=4), torch.rand(10, generator=gen(5), dtype=torch.double)
    limit = permutation_limit(theirs, ours)
    rhos = [rank_correlation(torch.tensor([theirs[p[i], p[j]] for i, j in within(range(5))]), ours)
            for p in permutations(range(5))]
    assert sum(rho > limit for rho in rhos) / 120 == pytest.approx(0.05, abs=0.01)


def test_renaming_knows_that_pairs_share_systems():
    """One system that agrees with nobody makes half of the pairs low: likelier by chance than independent pairs say."""
    odd = torch.ones(4, 4, dtype=torch.double) - 0.5 * torch.eye(4)[0] - 0.5 * torch.eye(4)[:, :1]
    ours = torch.tensor([odd[p] for p in within(range(4))])
    assert permutation_limit(odd, ours) == pytest.approx(1)            # one renaming in four gives the same matrix


@pytest.mark.parametrize("call, message", [
    (lambda: rank_agreement(torch.rand(3, 4), torch.ones(3, 5), gen()), "symmetric"),
    (lambda: rank_agreement(symmetric(4), torch.ones(5, 5), gen()), "5 pairs"),
    (lambda: rank_with(torch.arange(3), torch.ones(4, 5), gen()), r"got \(3,\) and \(4, 5\)"),
    (lambda: permutation_limit(symmetric(9), torch.ones(36)), "8 systems at most"),
])
def test_errors_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message):
        call()
