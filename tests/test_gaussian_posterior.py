"""The posterior of a Gaussian prior, against what defines it."""

import pytest
import torch

from helpers.closed_form import GaussianDenoiser, gaussian_posterior
from helpers.operators import Pool, box
from helpers.samplers import sample

SHAPE, NOISE = (1, 4, 4), 0.3


def prior(seed: int = 0) -> GaussianDenoiser:
    generator = torch.Generator().manual_seed(seed)
    root = torch.randn(16, 16, generator=generator, dtype=torch.double) / 4
    return GaussianDenoiser(torch.randn(SHAPE, generator=generator), root @ root.T)


@pytest.mark.parametrize("operator", [box(SHAPE, 2), Pool(SHAPE, 2)], ids=["box", "pool"])
def test_mean_and_covariance_are_those_of_regression_on_simulated_pairs(operator):
    gaussian, generator = prior(), torch.Generator().manual_seed(1)
    eps = torch.randn(400_000, 16, generator=generator, dtype=torch.double)
    x = (gaussian.mean.flatten() + (eps * gaussian.lam.sqrt()) @ gaussian.basis.T).view(-1, *SHAPE)
    y = operator.measure(x, NOISE, generator)
    design = torch.cat([y.flatten(1), torch.ones(len(y), 1, dtype=torch.double)], 1)
    fit = torch.linalg.lstsq(design, x.flatten(1)).solution
    residual = x.flatten(1) - design @ fit
    found = gaussian_posterior(gaussian, operator, y[:5], NOISE)
    torch.testing.assert_close(found.mean.flatten(1), design[:5] @ fit, atol=0.02, rtol=0)
    torch.testing.assert_close(found.covariance, residual.T @ residual / len(y), atol=0.01, rtol=0)


def test_flow_is_the_exact_solution_of_the_posteriors_ode():
    operator, z = box(SHAPE, 2), torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(2)).double()
    gaussian = prior()
    y = operator.measure(z, NOISE, torch.Generator().manual_seed(3))
    posterior = gaussian_posterior(gaussian, operator, y, NOISE)
    for k in range(3):
        alone = GaussianDenoiser(posterior.mean[k], posterior.covariance)
        solved = sample(alone, z[k:k + 1], solver="heun", steps=300)
        torch.testing.assert_close(posterior.flow(z)[k:k + 1], solved, atol=2e-3, rtol=0)


def test_with_much_noise_the_posterior_is_the_prior_and_with_little_it_is_the_measurement():
    gaussian, operator = prior(), box(SHAPE, 2)
    y = torch.ones(1, 12)
    vague, sure = gaussian_posterior(gaussian, operator, y, 1e4), gaussian_posterior(gaussian, operator, y, 1e-4)
    torch.testing.assert_close(vague.mean[0], gaussian.mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(operator(sure.mean), y.double(), atol=1e-3, rtol=0)
    assert operator(sure.covariance.view(-1, *SHAPE)).abs().max() < 1e-4


def test_measurement_noise_must_be_positive():
    with pytest.raises(ValueError, match="must be positive, got 0"):
        gaussian_posterior(prior(), box(SHAPE, 2), torch.ones(1, 12), 0.0)


def test_a_measurement_must_be_finite():
    with pytest.raises(ValueError, match="^a measurement must be finite, got NaN or infinity$"):
        gaussian_posterior(prior(), box(SHAPE, 2), torch.full((1, 12), torch.nan), 0.1)


def test_errors_of_samples_are_their_bias_and_their_spread_on_the_pixels_asked_for():
    operator, gaussian = box(SHAPE, 2), prior()
    posterior = gaussian_posterior(gaussian, operator, torch.ones(1, 12), NOISE)
    hidden = ~operator.observed.flatten()
    eps = torch.randn(20_000, 16, generator=torch.Generator().manual_seed(1), dtype=torch.double)
    x = posterior.mean + (eps @ torch.linalg.cholesky(posterior.covariance).T).view(-1, *SHAPE)
    expected = (posterior.covariance.diagonal()[hidden].mean() / len(x)).sqrt().item()
    bias, spread = posterior.sampling_errors(x, hidden)
    assert bias == pytest.approx(expected, rel=0.8) and spread == pytest.approx(1, abs=0.03)
    moved = posterior.mean + 2 * (x - posterior.mean) + 0.3 * hidden.view(SHAPE)
    assert posterior.sampling_errors(moved, hidden) == pytest.approx((0.3, 4), abs=0.1)
    assert posterior.sampling_errors(moved, ~hidden)[0] < 0.05
    with pytest.raises(ValueError, match=r"two samples or more of \(1, 4, 4\), got \(1, 1, 4, 4\)"):
        posterior.sampling_errors(x[:1], hidden)
