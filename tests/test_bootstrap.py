"""Intervals against published tables, scipy, simulation, and the resampling loop written out."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch.testing import assert_close

from helpers.measure.bootstrap import Score, crossed_counts, percentile_interval, resampled_counts, wilson


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


# Proportions


@pytest.mark.parametrize("hits, n, low, high", [
    (10, 100, 0.0552, 0.1744),
    (81, 263, 0.2553, 0.3662),   # Newcombe (1998), Table I, method 3
    (15, 148, 0.0624, 0.1605),
    (0, 20, 0.0, 0.1611),
    (1, 29, 0.0061, 0.1718),
])
def test_wilson_matches_published_values(hits, n, low, high):
    score = wilson(hits / n, n)
    assert score.low == pytest.approx(low, abs=6e-5) and score.high == pytest.approx(high, abs=6e-5)


@pytest.mark.parametrize("n", [1, 2, 7, 100, 512, 10_000])
def test_wilson_is_scipy_s_for_whole_counts(n):
    for hits in {0, 1, n // 3, n // 2, n - 1, n}:
        expected = scipy.stats.binomtest(hits, n).proportion_ci(method="wilson")
        found = wilson(hits / n, n)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_wilson_of_a_share_that_counts_no_whole_successes_lies_between_its_neighbors():
    low, middle, high = (wilson(hits / 256, 256) for hits in (12, 12.375, 13))         # the mean of eight nulls
    assert low.low < middle.low < high.low and low.high < middle.high < high.high
    assert abs(middle.value - middle.low) == pytest.approx(
        1.959963984540054 * (middle.low * (1 - middle.low) / 256) ** 0.5)              # what defines the interval


def test_wilson_at_the_ends_is_not_empty_and_holds_the_value():
    assert wilson(0.0, 50).low == 0 < wilson(0.0, 50).high
    assert wilson(1.0, 50).low < 1 == wilson(1.0, 50).high
    for n in range(1, 400):                                # to the last bit, whatever the rounding
        assert wilson(0.0, n).low == 0 and wilson(1.0, n).high == 1


@pytest.mark.parametrize("fraction, n", [(0.5, 0), (1.2, 10), (float("nan"), 10)])
def test_wilson_refuses_what_is_no_proportion(fraction, n):
    with pytest.raises(ValueError, match="proportion"):
        wilson(fraction, n)


@pytest.mark.parametrize("p", [0.02, 0.3, 0.9])
def test_wilson_covers_the_truth_19_times_in_20(p):
    hits = torch.distributions.Binomial(200, torch.tensor(p))
    torch.manual_seed(0)
    scores = [wilson(h.item() / 200, 200) for h in hits.sample((4000,))]
    assert sum(s.low <= p <= s.high for s in scores) / 4000 == pytest.approx(0.95, abs=0.03)


def test_score_prints_value_and_interval():
    assert str(Score(0.741, 0.708, 0.772, 100)) == "0.74 [0.71, 0.77]"


# Resampling


def test_counts_are_those_of_units_drawn_one_draw_after_another():
    generator = gen(3)
    expected = torch.stack([torch.randint(9, (9,), generator=generator).bincount(minlength=9) for _ in range(40)])
    assert torch.equal(resampled_counts(9, 40, gen(3)), expected.double())
    assert torch.equal(resampled_counts(9, 40, 3), expected.double())          # a seed stands for a generator


def test_crossed_units_are_drawn_in_turn():
    generator = gen(3)
    drawn = [(torch.randint(4, (4,), generator=generator).bincount(minlength=4),
              torch.randint(7, (7,), generator=generator).bincount(minlength=7)) for _ in range(20)]
    for found, expected in zip(crossed_counts((4, 7), 20, 3), zip(*drawn), strict=True):
        assert torch.equal(found, torch.stack(expected).double())


def test_every_draw_holds_as_many_units_as_there_are_and_each_comes_up_like_a_binomial_count():
    counts = resampled_counts(50, 4000, 0)
    assert (counts.sum(1) == 50).all()
    assert counts.mean(0).numpy() == pytest.approx(1, abs=0.08)                # sd of a mean: 1 / sqrt(4000) = 0.016
    assert counts.var().item() == pytest.approx(49 / 50, rel=0.02)


def test_the_bootstrap_of_a_mean_is_scipy_s():
    values = torch.rand(60, generator=gen(1)).double()
    low, high = percentile_interval(resampled_counts(60, 8000, 0) @ values / 60)
    expected = scipy.stats.bootstrap((values.numpy(),), np.mean, n_resamples=8000, method="percentile", rng=0)
    assert (low, high) == pytest.approx(tuple(expected.confidence_interval), abs=0.004)


def test_the_interval_leaves_out_2_5_percent_on_each_side_and_draws_that_say_nothing():
    values = torch.arange(1001).double().flip(0)
    assert percentile_interval(values) == (25, 975)
    assert percentile_interval(torch.cat([values, torch.tensor([torch.nan, torch.inf, -torch.inf])])) == (25, 975)
    assert_close(torch.tensor(percentile_interval(values.float())), torch.tensor([25.0, 975.0]))


@pytest.mark.parametrize("call, message", [
    (lambda: resampled_counts(0, 10, 0), "a unit and a draw"),
    (lambda: resampled_counts(10, 0, 0), "a unit and a draw"),
    (lambda: crossed_counts((3, 0), 10, 0), "a unit and a draw"),
    (lambda: percentile_interval(torch.tensor([torch.nan])), "no draw"),
])
def test_errors_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
