"""kernels.py: each kernel solves the moment equations of its SDE, or of its chain, and t() inverts sigma()."""

import math

import numpy as np
import pytest
import torch

from helpers.kernels import KERNELS, DDPMKernel, kernel


def beta(t):
    return 0.1 + 19.9 * t


def big_b(t):
    return 0.1 * t + 19.9 * t**2 / 2


# (f, g^2) of dx = f x dt + g dw, from Song et al. 2021 and the definition of the straight path.
SDES = {
    "vp": (lambda t: -beta(t) / 2, lambda t: beta(t)),
    "sub-vp": (lambda t: -beta(t) / 2, lambda t: beta(t) * (1 - torch.exp(-2 * big_b(t)))),
    "ve": (lambda t: 0 * t, lambda t: torch.ones_like(t)),
    "edm": (lambda t: 0 * t, lambda t: 2 * t),
    "flow": (lambda t: -1 / (1 - t), lambda t: 2 * t / (1 - t)),
}


BETAS = np.linspace(1e-4, 0.02, 1000)              # Ho et al. 2020, Sec. 4; beta_t is BETAS[t - 1]
WHOLE = torch.arange(1, 1001, dtype=torch.float64)


def derivative(function, t):
    t = t.clone().requires_grad_()
    return torch.autograd.grad(function(t).sum(), t, allow_unused=True)[0]


@pytest.mark.parametrize("name", SDES)
def test_moments_solve_the_sde(name):
    k, (f, g2) = kernel(name), SDES[name]
    t = torch.linspace(0.01, 1, 50, dtype=torch.float64) * k.t_max
    mean, var = k.s(t), (k.s(t) * k.sigma(t)) ** 2
    mean_rate = derivative(lambda u: k.s(u) + 0 * u, t)
    var_rate = derivative(lambda u: (k.s(u) * k.sigma(u)) ** 2, t)
    torch.testing.assert_close(mean_rate, f(t) * mean)
    torch.testing.assert_close(var_rate, 2 * f(t) * var + g2(t), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", SDES)
def test_starts_at_the_clean_image(name):
    k = kernel(name)
    t = torch.tensor(1e-12 * k.t_max, dtype=torch.float64)
    torch.testing.assert_close(k.s(t), torch.ones_like(t))
    assert 0 < k.sigma(t) < 2e-4


@pytest.mark.parametrize("name", KERNELS)
def test_time_inverts_sigma(name):
    k = kernel(name)
    t = torch.logspace(0 if name == "ddpm" else -9 + math.log10(k.t_max), math.log10(k.t_max), 200, dtype=torch.float64)
    torch.testing.assert_close(k.t(k.sigma(t)), t, rtol=1e-12, atol=0)
    sigma = torch.logspace(-3, 3, 200, dtype=torch.float64)
    torch.testing.assert_close(k.sigma(k.t(sigma)), sigma, rtol=1e-11, atol=0)
    assert (k.sigma(t).diff() > 0).all()


def test_known_values():
    assert kernel("vp").sigma_max == pytest.approx(152.17, abs=0.01)
    assert kernel("sub-vp").sigma_max == pytest.approx(152.17, abs=0.01)
    assert [kernel(n).sigma_max for n in ("ve", "edm", "flow")] == pytest.approx([100, 80, 80])
    t = torch.linspace(0.1, 1, 10, dtype=torch.float64)
    vp, sub = kernel("vp"), kernel("sub-vp")
    torch.testing.assert_close(vp.s(t), 1 / (1 + vp.sigma(t) ** 2).sqrt())
    assert (sub.s(t) * sub.sigma(t) < vp.s(t) * vp.sigma(t)).all()


@pytest.mark.parametrize("name", KERNELS)
def test_types_and_shapes(name):
    k = kernel(name)
    assert k.sigma(0.5).dtype == k.s(0.5).dtype == k.t(0.5).dtype == torch.float64
    t = torch.full((2, 3), 0.5)
    for out in (k.s(t), k.sigma(t), k.t(t)):
        assert out.dtype == torch.float32 and out.shape == (2, 3)


def test_the_chain_is_the_product_of_its_betas():
    """s_t^2 = prod (1 - beta_i) and s_t^2 sigma_t^2 = 1 - s_t^2, by numpy."""
    k, alphas_bar = kernel("ddpm"), np.cumprod(1 - BETAS)
    torch.testing.assert_close(k.s(WHOLE), torch.from_numpy(np.sqrt(alphas_bar)), rtol=1e-12, atol=0)
    torch.testing.assert_close(k.sigma(WHOLE), torch.from_numpy(np.sqrt((1 - alphas_bar) / alphas_bar)), rtol=1e-11, atol=0)
    assert k.sigma(1.0).item() == pytest.approx(math.sqrt(1e-4 / (1 - 1e-4)), rel=1e-11)
    assert k.sigma_max == pytest.approx(157.40, abs=0.01)


def test_the_chain_adds_noise_one_step_at_a_time():
    """q(x_t | x_{t-1}) = N(sqrt(1 - beta_t) x_{t-1}, beta_t I): the moments' recursion, from mean 1 and variance 0."""
    k, betas = kernel("ddpm"), torch.from_numpy(BETAS)
    mean, var = k.s(WHOLE), (k.s(WHOLE) * k.sigma(WHOLE)) ** 2
    before_mean, before_var = torch.cat([torch.ones(1).double(), mean[:-1]]), torch.cat([torch.zeros(1).double(), var[:-1]])
    torch.testing.assert_close(mean, (1 - betas).sqrt() * before_mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(var, (1 - betas) * before_var + betas, rtol=1e-10, atol=0)


def test_between_two_whole_times_the_logarithm_of_sigma_is_linear():
    k, t = kernel("ddpm"), WHOLE[:-1]
    for part in (0.25, 0.5):
        expected = k.sigma(t) ** (1 - part) * k.sigma(t + 1) ** part
        torch.testing.assert_close(k.sigma(t + part), expected, rtol=1e-12, atol=0)
        torch.testing.assert_close(k.t(expected), t + part, rtol=1e-12, atol=0)
    torch.testing.assert_close(k.t(k.sigma(WHOLE).float()), WHOLE.float(), rtol=1e-6, atol=0)


def test_vp_is_the_limit_of_the_chain():
    """At t/1000, VP's sigma is within 5 % of the chain's, and within 1 % from t = 50 to 500; a finer chain is nearer."""
    def off(n, name="vp"):
        chain, t = DDPMKernel(t_max=float(n), beta_first=0.1 / n, beta_last=20 / n), torch.linspace(0, 1, 21).double()[1:]
        return (kernel(name).sigma(t) / chain.sigma(n * t) - 1).abs().max().item()

    apart = (kernel("vp").sigma(WHOLE / 1000) / kernel("ddpm").sigma(WHOLE) - 1).abs()
    assert apart.max() < 0.05 and apart[49:500].max() < 0.01
    assert off(2000) / off(1000) == pytest.approx(0.5, abs=0.01) and off(8000) / off(4000) == pytest.approx(0.5, abs=0.01)
    assert off(8000, "sub-vp") > 0.5


def test_unknown_kernel_lists_the_known():
    with pytest.raises(ValueError, match="unknown kernel 'cosine'; known: vp, sub-vp, ve, edm, flow, ddpm"):
        kernel("cosine")
