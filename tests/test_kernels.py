"""kernels.py: each kernel solves the moment equations of its SDE, and t() inverts sigma()."""

import pytest
import torch

from helpers.kernels import KERNELS, kernel


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


def derivative(function, t):
    t = t.clone().requires_grad_()
    return torch.autograd.grad(function(t).sum(), t, allow_unused=True)[0]


@pytest.mark.parametrize("name", KERNELS)
def test_moments_solve_the_sde(name):
    k, (f, g2) = kernel(name), SDES[name]
    t = torch.linspace(0.01, 1, 50, dtype=torch.float64) * k.t_max
    mean, var = k.s(t), (k.s(t) * k.sigma(t)) ** 2
    mean_rate = derivative(lambda u: k.s(u) + 0 * u, t)
    var_rate = derivative(lambda u: (k.s(u) * k.sigma(u)) ** 2, t)
    torch.testing.assert_close(mean_rate, f(t) * mean)
    torch.testing.assert_close(var_rate, 2 * f(t) * var + g2(t), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", KERNELS)
def test_starts_at_the_clean_image(name):
    k = kernel(name)
    t = torch.tensor(1e-12 * k.t_max, dtype=torch.float64)
    torch.testing.assert_close(k.s(t), torch.ones_like(t))
    assert 0 < k.sigma(t) < 2e-4


@pytest.mark.parametrize("name", KERNELS)
def test_time_inverts_sigma(name):
    k = kernel(name)
    t = torch.logspace(-9, 0, 200, dtype=torch.float64) * k.t_max
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


def test_unknown_kernel_lists_the_known():
    with pytest.raises(ValueError, match="unknown kernel 'ddpm'; known: vp, sub-vp, ve, edm, flow"):
        kernel("ddpm")
