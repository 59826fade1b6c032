"""mixture.py: the denoiser of a mixture of Gaussians against brute force, one Gaussian, many points, and its own draws."""

import pytest
import torch
from torch.distributions import MultivariateNormal
from torch.testing import assert_close

from helpers.closed_form import EmpiricalDenoiser, GaussianDenoiser
from helpers.closed_form.mixture import MixtureDenoiser
from helpers.samplers import sample


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def parts(k=3, shape=(1, 1, 2), seed=0):
    """Weights, means and covariances that have nothing in common."""
    g, d = gen(seed), torch.Size(shape).numel()
    root = torch.randn(k, d, d, generator=g, dtype=torch.float64)
    return (torch.rand(k, generator=g, dtype=torch.float64) + 0.2,
            torch.randn(k, *shape, generator=g, dtype=torch.float64), root @ root.mT + 0.05 * torch.eye(d))


@pytest.mark.parametrize("sigma", [0.05, 0.3, 1.0, 5.0])
def test_it_is_the_posterior_mean_by_brute_force(sigma):
    """On a grid over the plane: sum of x0 p(x0) p(x | x0) over sum of p(x0) p(x | x0)."""
    weights, means, covariances = parts()
    axis = torch.linspace(-12, 12, 1601, dtype=torch.float64)
    x0 = torch.cartesian_prod(axis, axis)
    log_p = torch.stack([MultivariateNormal(m.flatten(), c).log_prob(x0) for m, c in zip(means, covariances)])
    log_p = (log_p + (weights / weights.sum()).log()[:, None]).logsumexp(0)
    x = torch.tensor([[0.3, -0.8], [2.0, 1.0], [-1.5, 0.2]], dtype=torch.float64)
    posterior = (log_p - (x[:, None] - x0).square().sum(2) / (2 * sigma**2)).softmax(1)
    found = MixtureDenoiser(weights, means, covariances)(x.view(-1, 1, 1, 2), sigma)
    assert_close(found.view(-1, 2), posterior @ x0, atol=1e-8, rtol=1e-6)


def test_one_component_is_the_wiener_filter_and_its_flow():
    _, means, covariances = parts(1, (1, 2, 2))
    one, wiener = MixtureDenoiser(torch.ones(1), means, covariances), GaussianDenoiser(means[0], covariances[0])
    z = torch.randn(5, 1, 2, 2, generator=gen(), dtype=torch.float64)
    assert_close(one(3 * z, torch.tensor([0.1, 0.5, 1, 2, 9.0])), wiener(3 * z, torch.tensor([0.1, 0.5, 1, 2, 9.0])))
    assert_close(sample(one, z, steps=400), wiener.flow(z, sigma_max=80.0), atol=1e-3, rtol=1e-3)


def test_many_narrow_components_are_the_training_images():
    y = torch.randn(40, 1, 1, 3, generator=gen()).clamp(-0.99, 0.99)
    narrow = MixtureDenoiser(torch.ones(40), y, 1e-8 * torch.eye(3).expand(40, 3, 3))
    x = y[:9] + 0.4 * torch.randn(9, 1, 1, 3, generator=gen(1))
    assert_close(narrow(x, 0.4), EmpiricalDenoiser(y)(x, 0.4), atol=1e-5, rtol=1e-5)


def test_its_draws_have_its_moments_and_no_denoiser_does_better():
    mixture = MixtureDenoiser(*parts())
    x0, (mean, covariance) = mixture.draw(200_000, gen()), mixture.moments()
    assert x0.shape == (200_000, 1, 1, 2) and x0.dtype == torch.float32
    assert_close(x0.double().mean(0), mean, atol=0.02, rtol=0)
    assert_close(x0.flatten(1).T.double().cov(), covariance, atol=0.05, rtol=0.02)
    x = x0 + 0.7 * torch.randn(x0.shape, generator=gen(1))
    error, linear = ((D(x, 0.7) - x0).square().mean() for D in (mixture, GaussianDenoiser(mean, covariance)))
    off = (mixture(x, 0.7) * 1.02 - x0).square().mean()
    assert error < off and error < 0.98 * linear


def test_what_is_no_mixture_is_refused():
    weights, means, covariances = parts()
    MixtureDenoiser(weights, means, covariances)
    skewed = covariances + torch.tensor([[0, 0.1], [0, 0]])
    for bad, words in (((-weights, means, covariances), "positive and finite"),
                       ((weights[:2], means, covariances), "need means"),
                       ((weights, means, -covariances), "positive definite"), ((weights, means / 0, covariances), "means"),
                       ((weights, means, skewed), "symmetric")):
        with pytest.raises(ValueError, match=words):
            MixtureDenoiser(*bad)
    with pytest.raises(ValueError, match="x must be"):
        MixtureDenoiser(weights, means, covariances)(torch.zeros(2, 1, 1, 3), 1.0)
