"""samplers.py: orders of convergence, equality with independent implementations, and the contract of sample()."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch

from helpers.closed_form import GaussianDenoiser
from helpers.samplers import SOLVERS, karras_sigmas, nfe, sample, trajectory

DETERMINISTIC = [name for name, solver in SOLVERS.items() if not solver.stochastic]
STOCHASTIC = [name for name, solver in SOLVERS.items() if solver.stochastic]


def gaussian(seed=0, shape=(1, 2, 3)):
    g = torch.Generator().manual_seed(seed)
    d = math.prod(shape)
    basis = torch.linalg.qr(torch.randn(d, d, generator=g, dtype=torch.float64))[0]
    variances = torch.logspace(-3, 0.5, d, dtype=torch.float64)
    return GaussianDenoiser(torch.randn(shape, generator=g, dtype=torch.float64), basis * variances @ basis.T)


def noise(n=5, shape=(1, 2, 3), seed=1, dtype=torch.float64):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def bend(x, sigma, label=None):
    """A nonlinear denoiser, so that agreement is not special to linear ones."""
    return torch.tanh(1.3 * x / math.sqrt(1 + sigma**2)) + 0.1 * math.sin(sigma)


def bend_numpy(x, sigma):
    return np.tanh(1.3 * x / np.sqrt(1 + sigma**2)) + 0.1 * np.sin(sigma)


def randomness(solver, seed=0):
    return {"generator": torch.Generator().manual_seed(seed)} if solver in STOCHASTIC else {}


def test_karras_sigmas():
    sigmas = karras_sigmas(18)
    assert sigmas.dtype == torch.float64 and sigmas[0] == 80 and sigmas[-2] == 0.002 and sigmas[-1] == 0
    published = [80, 57.6, 40.8, 28.4, 19.4, 12.9, 8.4, 5.3, 3.3, 1.9, 1.1, 0.59, 0.30, 0.14, 0.06, 0.023, 0.0075]
    np.testing.assert_allclose(sigmas[:-2], published, rtol=0.08)
    i = np.arange(7)
    reference = (5 ** (1 / 3) + i / 6 * (0.1 ** (1 / 3) - 5 ** (1 / 3))) ** 3
    np.testing.assert_allclose(karras_sigmas(7, 0.1, 5, 3)[:-1], reference, rtol=1e-14)
    assert karras_sigmas(1).tolist() == [80, 0]
    for bad in ({"steps": 0}, {"sigma_min": 0}, {"sigma_min": 90}, {"sigma_max": math.inf}):
        with pytest.raises(ValueError, match="need steps >= 1 and 0 < sigma_min < sigma_max"):
            karras_sigmas(**bad)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("heun", 2), ("dpm2", 2), ("dpmpp2m", 2)])
@pytest.mark.parametrize("sigma_max", [80.0, 3.0])
def test_order_of_convergence(solver, order, sigma_max):
    model, z, low = gaussian(), noise(), 0.05
    exact = model.flow(z, sigma_max, low)

    def error(steps):
        *_, before_last, _ = trajectory(model, z, solver, steps, sigma_min=low, sigma_max=sigma_max)
        assert before_last.sigma == low
        return (before_last.x - exact).abs().max()

    errors = torch.stack([error(n + 1) for n in (128, 256, 512)])
    slopes = (errors[:-1] / errors[1:]).log2()
    torch.testing.assert_close(slopes, torch.full_like(slopes, order), rtol=0, atol=0.2)
    assert errors[-1] < (2e-2 if order == 1 else 1e-3)


def edm_algorithm_2(x, sigmas, heun, gammas, draws=None, s_noise=1.0):
    """Karras et al. 2022, Alg. 2, line by line in numpy; gammas = 0 gives Alg. 1."""
    x = sigmas[0] * x
    for i in range(len(sigmas) - 1):
        t_hat = sigmas[i] + gammas[i] * sigmas[i]
        if gammas[i] > 0:
            x = x + np.sqrt(t_hat**2 - sigmas[i] ** 2) * s_noise * draws[i]
        slope = (x - bend_numpy(x, t_hat)) / t_hat
        x_next = x + (sigmas[i + 1] - t_hat) * slope
        if heun and sigmas[i + 1] != 0:
            slope_next = (x_next - bend_numpy(x_next, sigmas[i + 1])) / sigmas[i + 1]
            x_next = x + (sigmas[i + 1] - t_hat) * (slope / 2 + slope_next / 2)
        x = x_next
    return x


def dpm_solver(x, sigmas, multistep):
    """DPM-Solver-2 (Lu et al. 2022a, Alg. 1) and DPM-Solver++(2M) (2022b, Alg. 2), in their variables for alpha = 1.

    lambda = -log sigma, h = lambda_t - lambda_s, eps = (x - D) / sigma; the step to 0 is first order.
    """
    x, q_last, h_last = sigmas[0] * x, None, None
    for s, t in pairwise(sigmas[:-1]):
        h = np.log(s) - np.log(t)
        if multistep:
            q = bend_numpy(x, s)
            mixed = q if q_last is None else (1 + h / (2 * h_last)) * q - h / (2 * h_last) * q_last
            x, q_last, h_last = t / s * x - np.expm1(-h) * mixed, q, h
        else:
            middle = np.exp((np.log(s) + np.log(t)) / 2)
            u = x - middle * np.expm1(h / 2) * (x - bend_numpy(x, s)) / s
            x = x - t * np.expm1(h) * (u - bend_numpy(u, middle)) / middle
    return bend_numpy(x, sigmas[-2])


@pytest.mark.parametrize("sigma_max", [80.0, 7.0])
@pytest.mark.parametrize("solver", DETERMINISTIC)
def test_equals_independent_implementation(solver, sigma_max):
    z = noise()
    sigmas = karras_sigmas(18, 0.002, sigma_max).numpy()
    if solver in ("euler", "heun"):
        expected = edm_algorithm_2(z.numpy(), sigmas, solver == "heun", np.zeros(18))
    else:
        expected = dpm_solver(z.numpy(), sigmas, solver == "dpmpp2m")
    result = sample(bend, z, solver, sigma_max=sigma_max)
    torch.testing.assert_close(result, torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


def test_churn_equals_edm_algorithm_2():
    z, draws = noise(), [noise(seed=100 + i) for i in range(18)]
    sigmas = karras_sigmas(18).numpy()
    gammas = np.where((sigmas[:-1] >= 0.1) & (sigmas[:-1] <= 30), min(5 / 18, math.sqrt(2) - 1), 0)
    expected = edm_algorithm_2(z.numpy(), sigmas, True, gammas, [n.numpy() for n in draws], 1.01)
    result = sample(bend, z, "churn", noises=lambda i: draws[i], s_churn=5, s_min=0.1, s_max=30, s_noise=1.01)
    torch.testing.assert_close(result, torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


def test_churn_zero_is_heun_and_draws_nothing():
    z, g = noise(), torch.Generator().manual_seed(0)
    state = g.get_state()
    assert torch.equal(sample(bend, z, "churn", generator=g, s_churn=0), sample(bend, z, "heun"))
    assert torch.equal(g.get_state(), state)


def test_euler_is_ddim():
    """DDIM (Song et al. 2021, Eq. 12, eta = 0) in DDPM's coordinates y = sqrt(a) x, a = 1 / (1 + sigma^2)."""
    z, sigmas = noise(), karras_sigmas(12, 0.01, 20).numpy()
    a = 1 / (1 + sigmas**2)
    y = math.sqrt(a[0]) * sigmas[0] * z.numpy()
    for i in range(12):
        x0 = bend_numpy(y / math.sqrt(a[i]), sigmas[i])
        eps = (y - math.sqrt(a[i]) * x0) / math.sqrt(1 - a[i])
        y = math.sqrt(a[i + 1]) * x0 + math.sqrt(1 - a[i + 1]) * eps
    result = sample(bend, z, "euler", 12, sigma_min=0.01, sigma_max=20)
    torch.testing.assert_close(result, torch.from_numpy(y), rtol=1e-10, atol=1e-12)


def test_ddpm_is_ancestral_sampling():
    """Ho et al. 2020, Eq. 7, in their coordinates: posterior mean and variance from a_t and a_(t-1)."""
    z, draws = noise(), [noise(seed=100 + i).numpy() for i in range(12)]
    sigmas = karras_sigmas(12, 0.01, 20).numpy()
    a = 1 / (1 + sigmas**2)
    y = math.sqrt(a[0]) * sigmas[0] * z.numpy()
    for i in range(12):
        alpha, now, then = a[i] / a[i + 1], a[i], a[i + 1]
        x0 = bend_numpy(y / math.sqrt(now), sigmas[i])
        mean = (math.sqrt(then) * (1 - alpha) * x0 + math.sqrt(alpha) * (1 - then) * y) / (1 - now)
        y = mean + math.sqrt((1 - then) / (1 - now) * (1 - alpha)) * draws[i]
    result = sample(bend, z, "ddpm", 12, sigma_min=0.01, sigma_max=20, noises=lambda i: torch.from_numpy(draws[i]))
    torch.testing.assert_close(result, torch.from_numpy(y), rtol=1e-9, atol=1e-9)


MEAN, VARIANCE = 0.7, 0.25


def run_on_a_gaussian(solver, **options):
    """50,000 samples of a one-pixel Gaussian; they must not remember the noise that they started from."""
    model = GaussianDenoiser(torch.full((1, 1, 1), MEAN), torch.full((1, 1), VARIANCE))
    g = torch.Generator().manual_seed(3)
    z = torch.randn(50_000, 1, 1, 1, generator=g)
    x = sample(model, z, solver, steps=60, batch=None, generator=g, **options)
    assert torch.corrcoef(torch.stack([x.flatten(), z.flatten()]))[0, 1].abs() < 0.05
    return x


def ddpm_variance(steps):
    """The variance that ancestral sampling of N(mean, VARIANCE) ends with, from its linear recursion."""
    sigmas = karras_sigmas(steps).tolist()
    variance = sigmas[0] ** 2
    for s, t in pairwise(sigmas):
        gain = VARIANCE / (VARIANCE + s**2)
        variance *= (gain + (t / s) ** 2 * (1 - gain)) ** 2
        variance += t**2 * (1 - (t / s) ** 2)
    return variance


def test_ddpm_law_on_a_gaussian():
    x = run_on_a_gaussian("ddpm")
    assert x.mean() == pytest.approx(MEAN, abs=0.01)
    assert x.var() == pytest.approx(ddpm_variance(60), rel=0.02)
    biases = [VARIANCE - ddpm_variance(steps) for steps in (500, 1000, 2000)]
    assert [biases[0] / biases[1], biases[1] / biases[2]] == pytest.approx([2, 2], abs=0.05)


def test_churn_law_on_a_gaussian():
    x = run_on_a_gaussian("churn", s_churn=10, s_noise=1.0)
    assert x.mean() == pytest.approx(MEAN, abs=0.01)
    assert x.var() == pytest.approx(VARIANCE, rel=0.03)


def test_full_run_lands_on_the_exact_flow():
    model, z = gaussian(), noise()
    for solver in ("heun", "dpm2", "dpmpp2m"):
        torch.testing.assert_close(sample(model, z, solver, 300), model.flow(z, 80.0), rtol=0, atol=5e-3)


@pytest.mark.parametrize("steps", [1, 2, 18])
@pytest.mark.parametrize("solver", SOLVERS)
def test_counts_evaluations_and_ends_with_a_euler_step(solver, steps):
    seen = []

    def counting(x, sigma, label=None):
        seen.append((sigma, torch.is_grad_enabled(), bend(x, sigma)))
        return seen[-1][2]

    result = sample(counting, noise(), solver, steps, **randomness(solver))
    assert len(seen) == nfe(solver, steps)
    assert all(isinstance(sigma, float) and not grad for sigma, grad, _ in seen)
    assert torch.equal(result, seen[-1][2])


@pytest.mark.parametrize("solver", SOLVERS)
def test_deterministic_and_leaves_its_input_alone(solver):
    z = noise(dtype=torch.float32)
    kept, state = z.clone(), torch.get_rng_state()
    first = sample(bend, z, solver, **randomness(solver))
    assert torch.equal(first, sample(bend, z, solver, **randomness(solver)))
    assert torch.equal(z, kept) and torch.equal(torch.get_rng_state(), state)
    assert first.dtype == torch.float32 and first.shape == z.shape and first.device == z.device
    if solver in STOCHASTIC:
        assert not torch.equal(first, sample(bend, z, solver, **randomness(solver, seed=1)))


@pytest.mark.parametrize("solver", SOLVERS)
def test_batches_do_not_change_the_result(solver):
    model, z, label = gaussian(), noise(7), torch.arange(7)

    def labeled(x, sigma, label=None):
        return model(x, sigma) + 0.1 * label[:, None, None, None]

    whole = sample(labeled, z, solver, label=label, batch=None, **randomness(solver))
    for batch in (1, 3, 7, 100):
        torch.testing.assert_close(sample(labeled, z, solver, label=label, batch=batch, **randomness(solver)), whole)


def test_float32_network_stays_close_to_float64():
    model, z = gaussian(), noise(dtype=torch.float32)
    torch.testing.assert_close(sample(model, z).double(), sample(model, z.double()), rtol=0, atol=1e-4)


def test_trajectory_holds_what_the_denoiser_saw():
    z = noise()
    path = list(trajectory(bend, z, "dpmpp2m", 6))
    assert [step.sigma for step in path] == karras_sigmas(6).tolist()
    assert torch.equal(path[0].x, 80 * z)
    assert all(torch.equal(step.denoised, bend(step.x, step.sigma)) for step in path[:-1])
    assert torch.equal(path[-1].x, sample(bend, z, "dpmpp2m", 6))


def test_no_grad_does_not_leak_and_can_be_overridden():
    def guided(x, sigma, label=None):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return x - torch.autograd.grad((x**2).sum() / 2, x)[0] * 0.5

    path = trajectory(guided, noise(), "euler", 3)
    next(path)
    assert torch.is_grad_enabled()
    assert not sample(guided, noise(), "euler", 3).requires_grad


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="unknown solver 'ddim'; known: euler, heun, dpm2, dpmpp2m, ddpm, churn"):
        sample(bend, noise(), "ddim")
    with pytest.raises(ValueError, match="'ddpm' is stochastic: pass generator"):
        sample(bend, noise(), "ddpm")
    with pytest.raises(ValueError, match="one entry for each of the 5 noises, got 2"):
        sample(bend, noise(), label=torch.zeros(2))
    with pytest.raises(TypeError):
        sample(bend, noise(), "heun", s_churn=1)
