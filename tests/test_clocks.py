"""Clocks of training: against curves whose crossing is known, and against published onsets."""

from math import inf, isnan, log

import pytest
import torch

from helpers.measure.clocks import clock, clocks, exponent, exponents, least, onset, resampled, rise, score

TIMES = [10, 20, 40, 80, 160, 320]

# Onsets of memorization in steps, of the DiT "mini" on groups of G bits: `outputs/parity_onset_table.csv` of
# github.com/Animadversio/DiffusionAttnConsistency, its column for copies above a tenth, with the slopes that they give.
PUBLISHED = {
    2: ([1024, 2048, 4096, 4096, 8192], [78e3, 175e3, 340e3, 357e3, 734e3], 1.07),
    3: ([1024, 2048, 4096, 4096], [104e3, 208e3, 473e3, 534e3], 1.14),
    4: ([1024, 2048, 4096, 4096], [107e3, 293e3, 572e3, 678e3], 1.27),
    9: ([1024, 2048, 4096, 4096], [100e3, 203e3, 411e3, 438e3], 1.05),
    36: ([1024, 2048, 4096, 4096], [91e3, 190e3, 482e3, 482e3], 1.20)}


@pytest.mark.parametrize("group", PUBLISHED)
def test_the_published_onsets_have_the_published_slopes(group):
    sizes, found, slope = PUBLISHED[group]
    assert exponent(sizes, found) == pytest.approx(slope, abs=0.02)


def test_an_onset_is_the_first_of_some_looks_above_the_level():
    jumpy = [0, 0.6, 0, 0.6, 0.7, 0.8]
    assert onset(TIMES, jumpy, 0.5) == 20 and onset(TIMES, jumpy, 0.5, run=2) == 80
    assert onset(TIMES, jumpy, 0.5, run=4) == inf and onset(TIMES, jumpy, 0.8) == inf


def test_a_clock_lies_between_the_looks_in_log_time():
    assert clock(TIMES, [0, 0, 0.25, 0.75, 1, 1], 0.5) == pytest.approx(40 * 2**0.5)
    assert clock(TIMES, [0, 0.6, 0.2, 1, 1, 1], 0.5, run=2) == pytest.approx(40 * 2 ** (0.3 / 0.8))
    assert clock(TIMES, [1] * 6, 0.5) == 10 and clock(TIMES, [0.5] * 6, 0.5) == inf


def test_the_least_of_a_parabola_in_log_time_is_its_vertex():
    curves = torch.tensor([[(log(t) - log(at)) ** 2 + 1 for t in TIMES] for at in (30.0, 70.0, 200.0)])
    torch.testing.assert_close(least(TIMES, curves), torch.tensor([30.0, 70.0, 200.0], dtype=torch.float64), rtol=1e-4,
                               atol=0)
    ends = torch.tensor([[1.0, 2, 3, 4, 5, 6], [6.0, 5, 4, 3, 2, 1]])
    assert least(TIMES, ends).tolist() == [10, 320]


def test_a_power_law_has_its_exponent_and_what_never_happened_counts_for_nothing():
    sizes = [16, 64, 256, 1024]
    assert exponent(sizes, [3 * n**0.8 for n in sizes]) == pytest.approx(0.8)
    assert exponent(sizes, [16.0, 64.0, 256.0, inf]) == pytest.approx(1) and isnan(exponent(sizes, [5.0, inf, inf, inf]))
    draws = exponents({16: torch.tensor([1.0, 2.0]), 64: torch.tensor([4.0, inf]), 256: torch.tensor([inf, 7.0])}, 8.0)
    torch.testing.assert_close(draws, torch.tensor([1.0, 1.0], dtype=torch.float64))     # without 256; 8 stands for inf
    draws = exponents({16: torch.tensor([inf, 2.0]), 64: torch.tensor([4.0, 4.0])}, 16.0)
    torch.testing.assert_close(draws, torch.tensor([-1.0, 0.5], dtype=torch.float64))


def test_the_interval_of_a_clock_covers_it_as_often_as_it_says():
    """Yes or no with a chance that rises along the run: the true clock is 40 sqrt(2)."""
    chance, inside = torch.tensor([0, 0, 0.25, 0.75, 1, 1])[:, None], 0
    for trial in range(200):
        hits = torch.rand(6, 100, generator=torch.Generator().manual_seed(trial)) < chance
        found = score(clocks(TIMES, resampled(hits, 200), 0.5), 100)
        inside += found.low <= 40 * 2**0.5 <= found.high
    assert 0.88 <= inside / 200 <= 0.99


def test_a_rise_is_counted_from_the_least_value_on():
    found = rise(torch.tensor([[4.0, 2.0, 1.0, 1.5, 3.0], [1.0, 2.0, 2.0, 2.0, 2.0]]))
    assert found.tolist() == [[1, 1, 1, 1.5, 3], [1, 2, 2, 2, 2]]


@pytest.mark.parametrize("times, values", [([1, 2], [0.0]), ([2, 1], [0, 1]), ([0, 1], [0, 1])])
def test_curves_that_do_not_fit_are_refused(times, values):
    with pytest.raises(ValueError, match="positive, rising times and a value for each"):
        onset(times, values, 0.5)
