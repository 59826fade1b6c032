"""What is scored of a reconstruction: known answers on the part that the measurement hides."""

import pytest
import torch

from helpers.closed_form import GaussianDenoiser
from helpers.measure.inverse_problem import InverseProblem
from helpers.measure.residuals import residual_share
from helpers.operators import Pool, box

SHAPE, N, NOISE = (1, 8, 8), 64, 0.05
OPERATORS = pytest.mark.parametrize("operator", [box(SHAPE, 4), Pool(SHAPE, 2)], ids=lambda operator: operator.name)


def images(seed=0, n=N):
    """In [-0.25, 0.25], so that nothing is clipped."""
    return (torch.rand(n, *SHAPE, generator=torch.Generator().manual_seed(seed)) - 0.5) / 2


def problem(operator):
    return InverseProblem.of(operator, images(), NOISE)


@OPERATORS
def test_the_truth_misses_the_measurement_by_its_noise(operator):
    given = problem(operator)
    assert given.misfit(given.truth) == pytest.approx(NOISE, rel=0.05)
    assert given.misfit(given.truth + 0.3) == pytest.approx((0.3**2 + NOISE**2) ** 0.5, rel=0.05)


@OPERATORS
def test_psnr_looks_at_the_hidden_part_alone(operator):
    """An error of 0.2 in every hidden dimension is 20 dB, whatever stands in the observed part."""
    given = problem(operator)
    detail = operator.hidden(images(1))
    detail *= 0.2 * (torch.tensor(16.0 if operator.name == "box" else 48.0) / detail.square().sum((1, 2, 3), True)).sqrt()
    assert given.psnr(given.truth + detail) == pytest.approx(20, abs=0.15)
    flat = 0.1 * operator.pseudo_inverse(torch.ones_like(given.y))                   # the measurement sees all of it
    assert given.psnr(given.truth + detail + flat) == pytest.approx(given.psnr(given.truth + detail), abs=1e-3)


def test_psnr_of_a_box_is_that_of_its_pixels_up_to_the_estimate_of_their_number():
    given, x = problem(box(SHAPE, 4)), images(1)
    inside = (slice(None), slice(None), slice(2, 6), slice(2, 6))
    error = (x - given.truth)[inside].square().mean((1, 2, 3))
    assert given.psnr(x) == pytest.approx((10 * (4 / error).log10()).mean().item(), abs=0.1)


def test_only_the_hidden_pixels_of_a_mask_are_left():
    given, x = problem(box(SHAPE, 4)), images(1)
    seen = given.hidden_only(x)
    observed = given.operator.observed.expand(x.shape)
    assert (seen[observed] == -1).all() and torch.equal(seen[~observed], x[~observed])
    with pytest.raises(TypeError, match="'sr2' observes no pixels by themselves: only a Mask"):
        problem(Pool(SHAPE, 2)).hidden_only(x)


@OPERATORS
def test_what_two_models_share_is_counted_in_the_hidden_part(operator):
    """s + n1 and s + n2 of one energy: one half; the same in what is seen changes nothing; the mean over pairs."""
    given, base = problem(operator), torch.zeros(N, *SHAPE)
    s, first, second = (operator.hidden(images(seed)) for seed in (1, 2, 3))
    flat = 0.2 * operator.pseudo_inverse(torch.ones_like(given.y))
    drawn = {"a": s + first, "b": s + second, "c": s + first + flat, "d": s + second + flat}
    share = given.shared(drawn, [("a", "b")], base)
    assert share.value == pytest.approx(0.5, abs=0.06) and share.low < share.value < share.high and share.n == N
    assert given.shared(drawn, [("c", "d")], base).value == pytest.approx(share.value, abs=1e-5)
    both = given.shared(drawn, [("a", "b"), ("a", "a")], base)
    assert both.value == pytest.approx((share.value + 1) / 2)
    h = [operator.hidden(drawn[name]) for name in "ab"]
    assert share == residual_share(*h, base, torch.Generator().manual_seed(0), draws=500)


@OPERATORS
def test_the_first_photographs_keep_their_measurements_and_a_copy_shows_nothing_else(operator):
    given = problem(operator)
    few = given.first(5)
    assert torch.equal(few.y, given.y[:5]) and torch.equal(few.truth, given.truth[:5]) and few.noise == NOISE
    assert torch.equal(given.copy(), operator.pseudo_inverse(given.y))
    assert operator.hidden(given.copy()).abs().max() < 1e-6
    assert few.posterior(GaussianDenoiser.fit(images())).mean.shape == (5, *SHAPE)


def test_there_must_be_an_image_for_each_photograph():
    given = problem(box(SHAPE, 4))
    for score in (given.psnr, given.misfit, given.hidden_only):
        with pytest.raises(ValueError, match=r"^reconstructions must be \(64, 1, 8, 8\), one a photo.* \(5, 1, 8, 8\)\Z"):
            score(images(n=5))
