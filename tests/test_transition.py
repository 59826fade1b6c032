"""Where a curve over N crosses one half, and by how much one curve is later than another."""

import math

import pytest
import torch

from helpers.measure.transition import crossing, crossing_shift
from helpers.report import paper

SIZES = (2, 4, 8, 16)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def hits(*rates, n=400, seed=0):
    """For each rate, whether n noises count, at random."""
    return [torch.rand(n, generator=seeded(seed + k)) < rate for k, rate in enumerate(rates)]


def test_crossing_interpolates_in_log2():
    assert crossing((2, 4, 8), (0.0, 0.0, 1.0)) == pytest.approx(2.5)
    assert crossing((2, 4, 8), (0.0, 1.0, 0.2)) == pytest.approx(1.5)
    assert math.isnan(crossing((2, 4, 8), (0.6, 0.7, 0.9)))


def test_wider_networks_generalize_later_in_the_paper():
    """GL = 1/2 at log2 N = 11.4, 12.4 and 13.3 for the three widths."""
    found = [crossing(paper.SIZES, values) for values in paper.GL.values()]
    assert found == pytest.approx([11.43, 12.41, 13.30], abs=0.01)


def test_the_shift_of_sharp_curves_is_exact_and_signed():
    early, late = hits(0, 1, 1, 1), hits(0, 0, 0, 1)
    score = crossing_shift(SIZES, early, late, seeded())
    assert (score.value, score.low, score.high, score.n) == (2, 2, 2, 400)
    assert crossing_shift(SIZES, late, early, seeded()).value == -2
    assert crossing_shift(SIZES, late, late, seeded()).value == 0


def test_the_interval_holds_the_shift_of_the_rates():
    first, second = hits(0.1, 0.4, 0.8, 1), hits(0.1, 0.3, 0.5, 1, seed=9)
    truth = crossing(SIZES, (0.1, 0.3, 0.5, 1)) - crossing(SIZES, (0.1, 0.4, 0.8, 1))
    score = crossing_shift(SIZES, first, second, seeded())
    assert score.low < truth < score.high and score.low < score.value < score.high
    few = crossing_shift(SIZES, [h[:50] for h in first], [h[:50] for h in second], seeded())
    assert few.high - few.low > 2 * (score.high - score.low)


def test_the_two_curves_are_resampled_together():
    """Curves over the same noises vary together, so that their shift varies less than either crossing."""
    first = hits(0.1, 0.4, 0.8, 1)
    assert crossing_shift(SIZES, first, [h.clone() for h in first], seeded()).high == 0


def test_a_curve_that_never_crosses_shows_no_shift():
    assert crossing_shift(SIZES, hits(0, 0, 0, 0), hits(0, 0, 1, 1), seeded()).value == 0


def test_it_is_seeded():
    first, second = hits(0.1, 0.4, 0.8, 1), hits(0.1, 0.3, 0.5, 1, seed=9)
    assert crossing_shift(SIZES, first, second, seeded(1)) == crossing_shift(SIZES, first, second, seeded(1))


@pytest.mark.parametrize("sizes, first, second", [
    (SIZES, hits(0, 1, 1), hits(0, 1, 1)),
    (SIZES, hits(0, 0, 1, 1), hits(0, 0, 1, 1, n=30)),
])
def test_curves_that_do_not_fit_are_refused(sizes, first, second):
    with pytest.raises(ValueError, match="need as many sets of noises"):
        crossing_shift(sizes, first, second, seeded())


def test_a_value_for_each_size():
    with pytest.raises(ValueError):
        crossing((2, 4, 8), (0.0, 1.0))
