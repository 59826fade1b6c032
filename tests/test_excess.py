"""Excess error where the Bayes error is known: Gaussian data and denoisers that are wrong by a known amount."""

import pytest
import torch

from helpers.closed_form import GaussianDenoiser
from helpers.measure.excess import bayes_bound, error_products, excess

SHAPE, VARIANCE = (1, 6, 6), 0.2
BEST = GaussianDenoiser(torch.zeros(SHAPE), VARIANCE * torch.eye(36))


def faulty(direction, size=0.1):
    pattern = torch.zeros(36)
    pattern[direction::3] = size
    return lambda x, sigma, label=None: BEST(x, sigma) + pattern.view(SHAPE)


def test_independent_faults_leave_the_bayes_error_as_the_bound():
    x0 = VARIANCE**0.5 * torch.randn(6000, *SHAPE, generator=torch.Generator().manual_seed(1))
    models, sigmas = {k: faulty(k) for k in range(3)}, [0.3, 1.0]
    products = error_products(models, x0, sigmas)
    assert torch.equal(products, products.mT) and products.shape == (2, 3, 3)
    bayes = torch.tensor([VARIANCE * s**2 / (VARIANCE + s**2) for s in sigmas], dtype=torch.double)
    torch.testing.assert_close(bayes_bound(products), bayes, rtol=0.02, atol=0)
    torch.testing.assert_close(excess(products, bayes)[:, 0], 0.01 / 3 / bayes, rtol=0.05, atol=0.02)
    alone = ((models[0](x0 + 0.3 * torch.randn(x0.shape, generator=torch.Generator().manual_seed(0)), 0.3) - x0) ** 2).mean()
    assert products[0, 0, 0].item() == pytest.approx(alone.item(), rel=1e-5)


def test_one_denoiser_or_no_image_is_an_error():
    with pytest.raises(ValueError, match="takes two"):
        bayes_bound(torch.ones(1, 1, 1))
    with pytest.raises(ValueError, match="at least one"):
        error_products({"a": BEST}, torch.zeros(0, *SHAPE), [1.0])
