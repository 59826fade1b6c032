"""Objectives, against Gaussian data, whose optimal denoiser is known in closed form."""

import math

import pytest
import torch

from helpers.closed_form import GaussianDenoiser
from helpers.objectives import EDM, denoising_error, make_objective

SHAPE, VARIANCE = (1, 4, 4), 0.3


def gaussian():
    """N(0.1, VARIANCE I) on 4x4 images."""
    return GaussianDenoiser(torch.full(SHAPE, 0.1), VARIANCE * torch.eye(16))


def as_network(denoiser, sigma_data):
    """The network F whose preconditioned output is exactly `denoiser`: equation 7 of Karras et al. 2022, solved for F."""
    def network(scaled, c_noise, label=None):
        sigma = (4 * c_noise).exp()
        s, total = sigma.view(-1, 1, 1, 1), (sigma**2 + sigma_data**2).view(-1, 1, 1, 1)
        x = scaled * total.sqrt()
        return (denoiser(x, sigma) - sigma_data**2 / total * x) * total.sqrt() / (s * sigma_data)
    return network


def test_preconditioning_returns_the_denoiser():
    objective, denoiser, x = EDM(), gaussian(), torch.randn(4, *SHAPE)
    for sigma in (torch.tensor([0.01, 0.3, 2.0, 40.0]), 0.7):
        ours = objective.denoise(as_network(denoiser, 0.5), x, sigma)
        torch.testing.assert_close(ours, denoiser(x, sigma), rtol=1e-4, atol=1e-5)


def test_loss_of_the_optimal_denoiser_is_its_posterior_variance():
    """E|D* - x0|^2 / d = v sigma^2 / (v + sigma^2) for N(m, v I): the loss is its weighted mean over noise levels."""
    objective, generator = EDM(stratified=True), torch.Generator().manual_seed(0)
    x0 = 0.1 + math.sqrt(VARIANCE) * torch.randn(20_000, *SHAPE, generator=generator)
    loss = objective.loss(as_network(gaussian(), 0.5), x0, None, generator)
    sigma = objective.noise_levels(200_000, generator)
    weight = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
    expected = (weight * VARIANCE * sigma**2 / (VARIANCE + sigma**2)).mean()
    torch.testing.assert_close(loss, expected, rtol=0.01, atol=0)
    worse = objective.loss(as_network(lambda x, s: 0.98 * gaussian()(x, s), 0.5), x0, None, generator)
    assert worse > loss


@pytest.mark.parametrize("stratified", [False, True])
def test_noise_levels_are_log_normal(stratified):
    log = EDM(p_mean=-0.4, p_std=1.1, stratified=stratified).noise_levels(50_000, torch.Generator().manual_seed(1)).log()
    assert log.mean().item() == pytest.approx(-0.4, abs=0.02) and log.std().item() == pytest.approx(1.1, abs=0.02)


def test_denoising_error_has_known_values():
    x0 = torch.randn(100, *SHAPE)
    errors = denoising_error(lambda x, sigma: x, x0, [0.1, 2.0], batch=33)
    torch.testing.assert_close(errors, torch.tensor([0.01, 4.0]), rtol=0.2, atol=0)      # the identity leaves the noise
    assert torch.equal(errors, denoising_error(lambda x, sigma: x, x0, [0.1, 2.0], batch=33))
    assert denoising_error(lambda x, sigma: torch.zeros_like(x), x0, [1.0])[0] == pytest.approx((x0**2).mean().item(), 1e-4)


def test_errors_name_what_is_known():
    with pytest.raises(ValueError, match="edm"):
        make_objective("ddpn")
    with pytest.raises(ValueError, match="does not fit 4 images"):
        EDM().denoise(lambda x, c, label: x, torch.randn(4, *SHAPE), torch.ones(3))
