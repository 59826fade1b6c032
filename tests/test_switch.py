"""Where a share rises through one half: against levels that are known."""

import pytest
import torch

from helpers.measure.switch import switch_level, switch_octaves

SIGMAS = [16.0, 8.0, 4.0, 2.0, 1.0, 0.5]


def decided_at(levels):
    """A noise decides at its own level: hits (S, n)."""
    return torch.tensor([[sigma <= level for level in levels] for sigma in SIGMAS])


def test_the_level_is_where_half_have_decided():
    half = decided_at([5.0] * 10 + [1.5] * 10)                        # at 4 exactly one half
    found = switch_level(SIGMAS, half)
    assert found.value == pytest.approx(4.0) and found.low <= 4.0 <= found.high and found.n == 20
    # .25 at 4, .75 at 2: one half lies midway in log sigma
    assert switch_level(SIGMAS, decided_at([5.0] + [3.0] * 2 + [1.1])).value == pytest.approx(8**0.5)


def test_the_interval_holds_the_true_level_in_most_repetitions():
    g = torch.Generator().manual_seed(0)
    hits = 0
    for k in range(40):
        levels = (2.5 * torch.randn(60, generator=g).exp()).tolist()
        found = switch_level(SIGMAS, decided_at(levels), seed=k, draws=300)
        hits += found.low <= 2.5 * 1.1 and found.high >= 2.5 / 1.1
    assert hits >= 34


def test_octaves_between_two_decisions():
    above, below = decided_at([9.0] * 20), decided_at([2.2] * 20)
    found = switch_octaves(SIGMAS, above, below)                       # from 8 and 2, each half a step earlier
    assert found.value == pytest.approx(2.0) and found.low == pytest.approx(2.0) and found.n == 20
    assert switch_octaves(SIGMAS, above[:, :8], below).n == 8


@pytest.mark.parametrize("share, level", [(0.0, 0.5), (1.0, 16.0)])
def test_what_is_decided_outside_the_range_counts_at_its_end(share, level):
    found = switch_level(SIGMAS, torch.full((6, 9), share), draws=10)
    assert found.value == found.low == found.high == level


@pytest.mark.parametrize("sigmas, hits, words", [
    (SIGMAS[::-1], torch.ones(6, 3), "falling"), (SIGMAS, torch.ones(5, 3), "each of 6"),
    (SIGMAS, torch.ones(6), "each of 6")])
def test_a_wrong_request_is_one_clear_line(sigmas, hits, words):
    with pytest.raises(ValueError, match=words):
        switch_level(sigmas, hits, draws=10)
