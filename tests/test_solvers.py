"""solvers.py: orders of convergence, equality with independent implementations, and the laws of the stochastic solvers."""

import math
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp  # torchdiffeq needs scipy

from helpers.closed_form import GaussianDenoiser
from helpers.samplers import karras_sigmas, sample, trajectory


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


ORDERS = [("euler", 1, {}), ("heun", 2, {}), ("dpm2", 2, {}), ("dpmpp2m", 2, {}), ("dpmpp3m", 2, {}),
          ("dpmpp3m", 3, {"curvature": 2})]


@pytest.mark.parametrize(("solver", "order", "options"), ORDERS)
@pytest.mark.parametrize("sigma_max", [80.0, 3.0])
def test_order_of_convergence(solver, order, options, sigma_max):
    model, z, low = gaussian(), noise(), 0.05
    # The first step is Euler's, with an error of second order, which the ODE forgets on its way from 80, but not from 3.
    order = min(order, 2) if sigma_max == 3 else order
    exact = model.flow(z, sigma_max, low)

    def error(steps):
        *_, before_last, _ = trajectory(model, z, solver, steps, sigma_min=low, sigma_max=sigma_max, **options)
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


def dpm_solver_2(x, sigmas):
    """DPM-Solver-2 (Lu et al. 2022a, Alg. 1) in its variables for alpha = 1; the step to 0 is first order.

    lambda = -log sigma, h = lambda_t - lambda_s, eps = (x - D) / sigma.
    """
    x = sigmas[0] * x
    for s, t in pairwise(sigmas[:-1]):
        h, middle = np.log(s / t), np.exp((np.log(s) + np.log(t)) / 2)
        u = x - middle * np.expm1(h / 2) * (x - bend_numpy(x, s)) / s
        x = x - t * np.expm1(h) * (u - bend_numpy(u, middle)) / middle
    return bend_numpy(x, sigmas[-2])


def multistep(x, sigmas, order, curvature=1.0):
    """DPM-Solver++ (Lu et al. 2022b): x_t = exp(-h) x_s + the integral of exp(lambda - lambda_t) P(lambda) from s to t.

    P is the polynomial a_0 + a_1 lambda + a_2 lambda^2 through the last answers, lambda = 0 at s. The paper replaces the
    integral for a_1 by h (1 - exp(-h)) / 2 at order 2, its code that for a_2 by half of it at order 3 (curvature = 1).
    """
    x, lambdas, answers = sigmas[0] * x, [], []
    for s, t in pairwise(sigmas[:-1]):
        lambdas, answers = [*lambdas, -np.log(s)][-order:], [*answers, bend_numpy(x, s)][-order:]
        points = np.array(lambdas) - lambdas[-1]
        a = np.linalg.solve(np.vander(points, increasing=True), np.stack(answers).reshape(len(points), -1))
        h, decay = np.log(s / t), t / s
        integrals = [1 - decay, h - 1 + decay, (h**2 - 2 * h + 2 - 2 * decay) * curvature / 2]
        if len(points) == 2:
            integrals[1] = h * (1 - decay) / 2
        x = decay * x + sum(i * part for i, part in zip(integrals, a)).reshape(x.shape)
    return bend_numpy(x, sigmas[-2])


def scipy_rk45(x, sigmas):
    """scipy's Runge-Kutta 4(5) in log sigma, far more exact than what it is compared with."""
    def slope(log_sigma, y):
        y = y.reshape(x.shape)
        return (y - bend_numpy(y, np.exp(log_sigma))).ravel()

    ends = (np.log(sigmas[0]), np.log(sigmas[-2]))
    found = solve_ivp(slope, ends, (sigmas[0] * x).ravel(), method="RK45", rtol=1e-11, atol=1e-12)
    return bend_numpy(found.y[:, -1].reshape(x.shape), sigmas[-2])


INDEPENDENT = {
    "euler": lambda z, sigmas: edm_algorithm_2(z, sigmas, False, np.zeros(18)),
    "heun": lambda z, sigmas: edm_algorithm_2(z, sigmas, True, np.zeros(18)),
    "dpm2": dpm_solver_2,
    "dpmpp2m": partial(multistep, order=2),
    "dpmpp3m": partial(multistep, order=3),
}


@pytest.mark.parametrize("sigma_max", [80.0, 7.0])
@pytest.mark.parametrize("solver", INDEPENDENT)
def test_equals_independent_implementation(solver, sigma_max):
    z = noise()
    expected = INDEPENDENT[solver](z.numpy(), karras_sigmas(18, 0.002, sigma_max).numpy())
    result = sample(bend, z, solver, sigma_max=sigma_max)
    torch.testing.assert_close(result, torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


def test_dpmpp3m_with_the_curvature_of_its_parabola():
    z, sigmas = noise(), karras_sigmas(18).numpy()
    expected = multistep(z.numpy(), sigmas, 3, curvature=2.0)
    result = sample(bend, z, "dpmpp3m", curvature=2.0)
    torch.testing.assert_close(result, torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


def counted(model):
    """The model, and the noise levels at which it is called."""
    seen = []

    def denoise(x, sigma, label=None):
        seen.append(sigma)
        return model(x, sigma)
    return denoise, seen


@pytest.mark.parametrize("sigma_max", [80.0, 7.0])
def test_rk45_equals_scipy(sigma_max):
    z = noise()
    expected = scipy_rk45(z.numpy(), karras_sigmas(2, 0.002, sigma_max).numpy())
    result = sample(bend, z, "rk45", sigma_max=sigma_max, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(result, torch.from_numpy(expected), rtol=0, atol=1e-6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_rk45_keeps_its_tolerance_and_a_looser_one_costs_less(dtype):
    model, z, calls = gaussian(), noise(), []
    for tolerance in (1e-3, 1e-4, 1e-5):
        denoise, seen = counted(model)
        start, arrived, image = trajectory(denoise, z.to(dtype), "rk45", sigma_min=0.05, rtol=tolerance, atol=tolerance)
        assert (start.sigma, arrived.sigma, image.sigma) == (80, 0.05, 0)
        torch.testing.assert_close(arrived.x.double(), model.flow(z, 80.0, 0.05), rtol=0, atol=10 * tolerance)
        assert min(seen) > 0.0499 and max(seen) < 80.001      # nothing beyond the ends, where no model was trained
        calls.append(len(seen))
    assert calls[0] < calls[1] < calls[2]


def test_rk45_at_its_defaults():
    model, z = gaussian(), noise()
    denoise, seen = counted(model)
    torch.testing.assert_close(sample(denoise, z, "rk45"), model.flow(z, 80.0), rtol=0, atol=1e-3)
    assert 18 < len(seen) < 120
    assert torch.equal(sample(model, z, "rk45"), sample(model, z, "rk45", rtol=1e-4, atol=1e-4))
    steps = [step.sigma for step in trajectory(model, z, "rk45", 4)]
    assert steps == karras_sigmas(4).tolist()


def test_rk45_says_when_it_cannot_go_on():
    with pytest.raises(ValueError, match="raise rtol and atol, or look for a denoiser that does not return finite"):
        sample(lambda x, sigma, label=None: x * math.nan, noise(), "rk45")


def test_churn_equals_edm_algorithm_2():
    z, draws = noise(), [noise(seed=100 + i) for i in range(18)]
    sigmas = karras_sigmas(18).numpy()
    gammas = np.where((sigmas[:-1] >= 0.1) & (sigmas[:-1] <= 30), min(5 / 18, math.sqrt(2) - 1), 0)
    expected = edm_algorithm_2(z.numpy(), sigmas, True, gammas, [n.numpy() for n in draws], 1.01)
    result = sample(bend, z, "churn", noises=lambda i: draws[i], s_churn=5, s_min=0.1, s_max=30, s_noise=1.01)
    torch.testing.assert_close(result, torch.from_numpy(expected), rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("sigmas", [[80, 51, 50, 20, 3, 0.4, 0.05, 0.049, 0.01, 0], karras_sigmas(120).tolist()], ids=len)
def test_churn_at_its_defaults_is_that_of_imagenet(sigmas):
    """S_churn 40, S_noise 1.003, noise levels 0.05 to 50, ends included; gamma is at most sqrt(2) - 1 (Tab. 5, Alg. 2)."""
    z, sigmas = noise(), np.array(sigmas)
    draws = [noise(seed=100 + i) for i in range(len(sigmas) - 1)]
    gamma = min(40 / len(draws), math.sqrt(2) - 1)
    gammas = np.where((sigmas[:-1] >= 0.05) & (sigmas[:-1] <= 50), gamma, 0)
    expected = edm_algorithm_2(z.numpy(), sigmas, True, gammas, [n.numpy() for n in draws], 1.003)
    result = sample(bend, z, "churn", noises=lambda i: draws[i], sigmas=sigmas.tolist())
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


def test_ancestral_sampling_is_ddpms():
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
    result = sample(bend, z, "ancestral", 12, sigma_min=0.01, sigma_max=20, noises=lambda i: torch.from_numpy(draws[i]))
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


def ancestral_variance(steps):
    """The variance that ancestral sampling of N(mean, VARIANCE) ends with, from its linear recursion."""
    sigmas = karras_sigmas(steps).tolist()
    variance = sigmas[0] ** 2
    for s, t in pairwise(sigmas):
        gain = VARIANCE / (VARIANCE + s**2)
        variance *= (gain + (t / s) ** 2 * (1 - gain)) ** 2
        variance += t**2 * (1 - (t / s) ** 2)
    return variance


def test_ancestral_law_on_a_gaussian():
    x = run_on_a_gaussian("ancestral")
    assert x.mean() == pytest.approx(MEAN, abs=0.01)
    assert x.var() == pytest.approx(ancestral_variance(60), rel=0.02)
    biases = [VARIANCE - ancestral_variance(steps) for steps in (500, 1000, 2000)]
    assert [biases[0] / biases[1], biases[1] / biases[2]] == pytest.approx([2, 2], abs=0.05)


def test_churn_law_on_a_gaussian():
    x = run_on_a_gaussian("churn", s_churn=10, s_noise=1.0)
    assert x.mean() == pytest.approx(MEAN, abs=0.01)
    assert x.var() == pytest.approx(VARIANCE, rel=0.03)


def test_full_run_lands_on_the_exact_flow():
    model, z = gaussian(), noise()
    for solver in ("heun", "dpm2", "dpmpp2m", "dpmpp3m"):
        torch.testing.assert_close(sample(model, z, solver, 300), model.flow(z, 80.0), rtol=0, atol=5e-3)


def test_float32_network_stays_close_to_float64():
    model, z = gaussian(), noise(dtype=torch.float32)
    torch.testing.assert_close(sample(model, z).double(), sample(model, z.double()), rtol=0, atol=1e-4)
