"""Random matrix theory: against draws of Gaussian data, within 3 %, and against the limits that need no theory."""

import pytest
import torch

from helpers.closed_form import GaussianDenoiser
from helpers.closed_form.random_matrix import (
    denoiser_split,
    effective_noise,
    expected_gain,
    expected_map,
    map_split,
)

D = 144                                                         # 12 x 12 pixels
LAM = 40 * torch.arange(1, D + 1, dtype=torch.float64) ** -1.3  # a natural spectrum: few large, many small
DRAWS = 24


def draws(n, count=DRAWS):
    """Linear denoisers of `count` sets of n Gaussian images each, whose covariance is diag(LAM)."""
    g = torch.Generator().manual_seed(n)
    for _ in range(count):
        x0 = torch.randn(n, D, generator=g, dtype=torch.float64) * LAM.sqrt()
        yield GaussianDenoiser.fit(x0.view(n, 1, 12, 12))


def split(answers):
    """E (x_1 - x_2)^2 by pixel, two of the draws: twice the variance over them, (draws, queries, D) -> (D,)."""
    return 2 * torch.stack(answers).flatten(2).var(0).mean(0)


def bands(values):
    """Sums over ten modes each: one mode of few draws is too noisy for 3 %."""
    return torch.stack([values[:10].sum(), values[10:50].sum(), values[50:].sum(), values.sum()])


@pytest.mark.parametrize("n", [100, 400])
@pytest.mark.parametrize("sigma", [0.3, 1.0, 4.0])
def test_denoisers_of_disjoint_sets_differ_as_predicted(n, sigma):
    g = torch.Generator().manual_seed(1)
    x0 = torch.randn(400, D, generator=g, dtype=torch.float64) * LAM.sqrt()
    x = (x0 + sigma * torch.randn(400, D, generator=g, dtype=torch.float64)).view(400, 1, 12, 12)
    found = bands(split([one(x, sigma) for one in draws(n, 60)]))
    torch.testing.assert_close(found[-1], denoiser_split(LAM, n, sigma).sum(), rtol=0.03, atol=0)
    torch.testing.assert_close(found, bands(denoiser_split(LAM, n, sigma)), rtol=0.1, atol=0)


@pytest.mark.parametrize("n", [100, 400])
def test_samples_of_disjoint_sets_differ_as_predicted(n):
    z = torch.randn(400, 1, 12, 12, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    found = bands(split([one.flow(z, sigma_max=400.0) for one in draws(n, 60)]))
    torch.testing.assert_close(found[-1], map_split(LAM, n).sum(), rtol=0.03, atol=0)
    torch.testing.assert_close(found, bands(map_split(LAM, n)), rtol=0.1, atol=0)


@pytest.mark.parametrize("n", [100, 400])
def test_the_mean_filter_and_the_mean_map_are_those_at_a_higher_noise(n):
    """E of S^ (S^ + sigma^2)^-1 and of S^^(1/2), in the true eigenbasis, twelve modes at a time, to 3 %."""
    gains, roots = [], []
    for one in draws(n):
        gains.append((one.basis * (one.lam / (one.lam + 0.25))) @ one.basis.T)
        roots.append((one.basis * one.lam.sqrt()) @ one.basis.T)
    for found, expected in ((gains, expected_gain(LAM, n, 0.5)), (roots, expected_map(LAM, n))):
        mean = torch.stack(found).mean(0).diagonal()
        torch.testing.assert_close(mean.view(12, 12).mean(1)[:5], expected.view(12, 12).mean(1)[:5], rtol=0.03, atol=0)
    assert (expected_gain(LAM, n, 0.5) < LAM / (LAM + 0.25)).all()


def test_kappa_solves_its_equation_from_few_images_to_many():
    for n in (3, 50, 144, 2000):
        v = torch.tensor([1e-8, 1e-3, 1.0, 100.0], dtype=torch.float64)
        kappa = effective_noise(LAM, n, v)
        rest = kappa / n * (LAM / (LAM + kappa[:, None])).sum(1)
        torch.testing.assert_close(kappa - rest, v, rtol=1e-9, atol=1e-11)
        assert (kappa >= v).all()


def test_kappa_of_one_eigenvalue_is_the_root_of_a_quadratic():
    """lam = 1 in all D modes: kappa^2 + kappa (1 - c - v) - v = 0 with c = D / n, Marchenko & Pastur 1967."""
    c, v = D / 60, 0.3
    expected = (c + v - 1 + ((1 - c - v) ** 2 + 4 * v) ** 0.5) / 2
    kappa = effective_noise(torch.ones(D, dtype=torch.float64), 60, torch.tensor(v, dtype=torch.float64))
    assert kappa.item() == pytest.approx(expected, rel=1e-12)


def test_with_many_images_two_models_differ_like_1_over_n_and_the_map_is_the_root():
    ratio = map_split(LAM, 10**6).sum() / map_split(LAM, 10**7).sum()
    assert ratio.item() == pytest.approx(10, rel=1e-3)
    torch.testing.assert_close(expected_map(LAM, 10**8), LAM.sqrt(), rtol=1e-3, atol=0)


@pytest.mark.parametrize("lam, n, v, words", [
    (-LAM, 10, 1.0, "not negative"), (0 * LAM, 10, 1.0, "positive one"), (LAM[None], 10, 1.0, r"must be \(D,\)"),
    (LAM, 0, 1.0, "1 or more"), (LAM, 10.5, 1.0, "whole"), (LAM, 10, 0.0, "must be positive")])
def test_a_wrong_request_is_one_clear_line(lam, n, v, words):
    with pytest.raises(ValueError, match=words):
        effective_noise(lam, n, torch.tensor(v))
