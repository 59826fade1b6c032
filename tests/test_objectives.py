"""Objectives, against Gaussian data, whose optimal denoiser is known in closed form."""

import dataclasses
import math

import pytest
import torch

from helpers.closed_form import GaussianDenoiser
from helpers.denoiser import denoising_error
from helpers.kernels import kernel
from helpers.models.objectives import EDMObjective, KernelObjective
from helpers.zoo.spec import make_objective

SHAPE, VARIANCE = (1, 4, 4), 0.3
KERNEL_OBJECTIVES = ("vp", "sub-vp", "ve", "flow", "ddpm")
ALPHAS_BAR = (1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)).cumprod(0)


def integral(t):
    return 0.1 * t + 19.9 * t**2 / 2


# sigma when the fraction u of the training times is passed: each paper's schedule, written out.
LEVELS = {
    "vp": lambda u: integral(1e-5 + (1 - 1e-5) * u).expm1().sqrt(),
    "sub-vp": lambda u: 2 * (integral(1e-5 + (1 - 1e-5) * u) / 2).sinh(),
    "ve": lambda u: 0.01 * (100 / 0.01) ** u,
    "flow": lambda u: (1e-5 + (80 / 81 - 1e-5) * u) / (1 - 1e-5 - (80 / 81 - 1e-5) * u),
    "ddpm": lambda u: (1 / ALPHAS_BAR[(1000 * u).long()] - 1).sqrt(),
}
# What the network sees, read back: x_t / s_t and sigma from (x_t, c_noise).
SEEN = {
    "vp": lambda x, c: (x / (-integral(c) / 2).exp(), integral(c).expm1().sqrt()),
    "sub-vp": lambda x, c: (x / (-integral(c) / 2).exp(), 2 * (integral(c) / 2).sinh()),
    "ve": lambda x, c: (x * (1 + (8 * c).exp()).sqrt(), (4 * c).exp()),
    "flow": lambda x, c: (x / (1 - c), c / (1 - c)),
    "ddpm": lambda x, c: (x * (1 + kernel("ddpm").sigma(1000 * c) ** 2).sqrt(), kernel("ddpm").sigma(1000 * c)),
}


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


def predictor(name, denoiser):
    """The best prediction of a kernel's network: E[eps | x] = (x - D) / sigma, and E[eps - x0 | x] for flow matching."""
    def network(seen, c_noise, label=None):
        x, sigma = (v.float() for v in SEEN[name](seen.double(), c_noise.double().view(-1, 1, 1, 1)))
        d = denoiser(x, sigma.flatten())
        return (x - d) / sigma - (d if name == "flow" else 0)
    return network


def test_preconditioning_returns_the_denoiser():
    objective, denoiser, x = EDMObjective(), gaussian(), torch.randn(4, *SHAPE)
    for sigma in (torch.tensor([0.01, 0.3, 2.0, 40.0]), 0.7):
        ours = objective.denoise(as_network(denoiser, 0.5), x, sigma)
        torch.testing.assert_close(ours, denoiser(x, sigma), rtol=1e-4, atol=1e-5)


def test_loss_of_the_optimal_denoiser_is_its_posterior_variance():
    """E|D* - x0|^2 / d = v sigma^2 / (v + sigma^2) for N(m, v I): the loss is its weighted mean over noise levels."""
    objective, generator = EDMObjective(), torch.Generator().manual_seed(0)
    x0 = 0.1 + math.sqrt(VARIANCE) * torch.randn(80_000, *SHAPE, generator=generator)
    loss = objective.loss(as_network(gaussian(), 0.5), x0, None, generator)
    sigma = objective.noise_levels(200_000, generator)
    weight = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
    expected = (weight * VARIANCE * sigma**2 / (VARIANCE + sigma**2)).mean()
    torch.testing.assert_close(loss, expected, rtol=0.01, atol=0)
    worse = objective.loss(as_network(lambda x, s: 0.98 * gaussian()(x, s), 0.5), x0, None, generator)
    assert worse > loss


def test_noise_levels_are_log_normal():
    """Kolmogorov-Smirnov, 1 % level; and one normal number an image is all that is drawn: old seeds, old levels."""
    levels = EDMObjective(p_mean=-0.4, p_std=1.1).noise_levels(50_000, torch.Generator().manual_seed(1))
    u = torch.special.ndtr((levels.log() + 0.4) / 1.1).sort().values
    assert (u - (torch.arange(50_000) + 0.5) / 50_000).abs().max() < 1.63 / math.sqrt(50_000)
    z = torch.randn(50_000, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(levels, (-0.4 + 1.1 * z).exp())


@pytest.mark.parametrize("name", ["vp", "sub-vp", "ve", "flow"])
def test_a_kernel_under_shared_preconditioning_differs_from_edm_in_its_noise_levels_alone(name):
    shared, published = make_objective(f"edm-{name}"), make_objective(name)
    x, sigma = torch.randn(4, *SHAPE), torch.tensor([0.01, 0.3, 2.0, 40.0])
    network = as_network(gaussian(), 0.5)
    assert torch.equal(shared.denoise(network, x, sigma), EDMObjective().denoise(network, x, sigma))
    assert shared.sampling == published.sampling
    levels = shared.noise_levels(50_000, torch.Generator().manual_seed(1))
    again = kernel(name).sigma(published.times(50_000, torch.Generator().manual_seed(2)))
    quantiles = torch.tensor([0.05, 0.25, 0.5, 0.75, 0.95])
    torch.testing.assert_close(levels.quantile(quantiles).log(), again.float().quantile(quantiles).log(), rtol=0, atol=0.12)
    loss = shared.loss(network, torch.randn(8, *SHAPE), None, torch.Generator().manual_seed(0))
    assert loss.isfinite() and loss.ndim == 0


def test_the_reference_objective_s_options_are_the_paper_s():
    assert EDMObjective() == EDMObjective(sigma_data=0.5, p_mean=-1.2, p_std=1.2)
    assert [field.name for field in dataclasses.fields(EDMObjective)] == ["sigma_data", "p_mean", "p_std"]


def test_denoising_error_has_known_values():
    x0 = torch.randn(100, *SHAPE)
    errors = denoising_error(lambda x, sigma: x, x0, [0.1, 2.0], batch=33)
    torch.testing.assert_close(errors, torch.tensor([0.01, 4.0]), rtol=0.2, atol=0)      # the identity leaves the noise
    assert torch.equal(errors, denoising_error(lambda x, sigma: x, x0, [0.1, 2.0], batch=33))
    assert denoising_error(lambda x, sigma: torch.zeros_like(x), x0, [1.0])[0] == pytest.approx((x0**2).mean().item(), 1e-4)


@pytest.mark.parametrize("name", KERNEL_OBJECTIVES)
def test_the_best_prediction_is_the_best_denoiser(name):
    objective, denoiser, x = make_objective(name), gaussian(), torch.randn(5, *SHAPE)
    for sigma in (torch.tensor([0.012, 0.3, 2.0, 10.0, 70.0]), 0.7):
        x_t = 0.1 + x * (VARIANCE + torch.as_tensor(sigma).view(-1, 1, 1, 1) ** 2).sqrt()      # as large as x0 + sigma eps
        ours = objective.denoise(predictor(name, denoiser), x_t, sigma)
        torch.testing.assert_close(ours, denoiser(x_t, sigma), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", KERNEL_OBJECTIVES)
def test_loss_of_the_best_prediction_is_its_posterior_variance(name):
    """Var(eps | x) = v / (v + sigma^2) a pixel for N(m, v I), Var(eps - x0 | x) = (1 + sigma)^2 times that, averaged over
    the training times; a network that answers 0 loses 1, in flow matching 1 + E x0^2."""
    objective, generator = make_objective(name), torch.Generator().manual_seed(0)
    x0 = 0.1 + math.sqrt(VARIANCE) * torch.randn(40_000, *SHAPE, generator=generator)
    sigma = LEVELS[name]((torch.arange(100_000, dtype=torch.float64) + 0.5) / 100_000)
    variance = VARIANCE / (VARIANCE + sigma**2) * ((1 + sigma) ** 2 if name == "flow" else 1)
    loss = objective.loss(predictor(name, gaussian()), x0, None, generator)
    assert loss.item() == pytest.approx(variance.mean().item(), rel=0.01)
    worse = objective.loss(predictor(name, lambda x, s: 0.9 * gaussian()(x, s)), x0, None, generator)
    assert worse > 1.02 * loss
    nothing = objective.loss(lambda x, c, label: torch.zeros_like(x), x0, None, generator)
    assert nothing.item() == pytest.approx(1 + (VARIANCE + 0.01 if name == "flow" else 0), rel=0.01)


@pytest.mark.parametrize("name", KERNEL_OBJECTIVES)
def test_training_times_are_spread_as_published(name):
    """Their noise levels against the schedule's quantiles: Kolmogorov-Smirnov, 1 % level, so 1.63 / sqrt(n)."""
    n, objective = 50_000, make_objective(name)
    times = objective.times(n, torch.Generator().manual_seed(2))
    sigma = kernel(name).sigma(times).sort().values
    u = torch.linspace(0, 1, 200_001, dtype=torch.float64)[:-1]
    passed = torch.searchsorted(sigma, LEVELS[name](u) * (1 + 1e-9), right=True) / n
    if name == "ddpm":                               # whole numbers, each of them as often
        assert times.unique().tolist() == list(range(1, 1001))
        u = (1000 * u).floor() / 1000 + 1 / 1000
    assert (passed - u).abs().max() < 1.63 / math.sqrt(n)


@pytest.mark.parametrize("name, low, high", [("vp", 0.002, 152.17), ("sub-vp", 0.002, 152.17), ("ve", 0.01, 100),
                                             ("flow", 0.002, 80), ("ddpm", 0.0100005, 157.40)])
def test_sampling_stays_where_the_network_was_trained(name, low, high):
    objective = make_objective(name)
    assert objective.sampling == {"sigma_min": pytest.approx(low, rel=1e-4), "sigma_max": pytest.approx(high, rel=1e-4)}
    sigma = kernel(name).sigma(objective.times(100_000, torch.Generator().manual_seed(0)))
    assert sigma.min() < 1.1 * objective.sampling["sigma_min"] and sigma.max() == pytest.approx(high, rel=1e-2)


@pytest.mark.parametrize("name", KERNEL_OBJECTIVES)
def test_the_network_sees_about_unit_variance_and_a_bounded_time(name):
    """With data of variance 1: 1 for vp, ve and ddpm; for sub-vp from 3/4 and for flow from 1/2 up, by their kernels."""
    objective, seen = make_objective(name), {}

    def network(x, c_noise, label):
        seen.update(x=x, c=c_noise)
        return x

    x0, generator = torch.randn(4096, *SHAPE, generator=torch.Generator().manual_seed(1)), torch.Generator().manual_seed(0)
    for sigma in (0.011, 0.3, 1.0, 3.0, 79.0):
        objective.denoise(network, x0 + sigma * torch.randn(x0.shape, generator=generator), sigma)
        exact = {"sub-vp": (lambda s: math.exp(-2 * math.asinh(s / 2)) * (1 + s**2)),
                 "flow": lambda s: (1 + s**2) / (1 + s) ** 2}.get(name, lambda s: 1.0)(sigma)
        assert seen["x"].var().item() == pytest.approx(exact, rel=0.02) and 0.49 < exact < 1.01
        assert seen["c"].abs().max() < 1.2 and (name == "ve" or seen["c"].min() > 0)


def test_impossible_combinations_are_errors():
    for predict, of in (("velocity", "vp"), ("eps", "flow"), ("x0", "ve")):
        with pytest.raises(ValueError, match=f"cannot predict '{predict}' with kernel '{of}': use 'velocity' with 'flow'"):
            KernelObjective(of, predict=predict)
    with pytest.raises(ValueError, match="unknown kernel 'vq'; known: vp"):
        KernelObjective("vq")


def test_errors_name_what_is_known():
    with pytest.raises(ValueError, match="unknown objective 'ddpn': choose from edm, vp, sub-vp, ve, flow, ddpm"):
        make_objective("ddpn")
    with pytest.raises(ValueError, match="does not fit 4 images"):
        EDMObjective().denoise(lambda x, c, label: x, torch.randn(4, *SHAPE), torch.ones(3))
    with pytest.raises(ValueError, match="does not fit 4 images"):
        KernelObjective().denoise(lambda x, c, label: x, torch.randn(4, *SHAPE), torch.ones(3))


@pytest.mark.parametrize("options", [{"kernel": "vp", "discrete": True}, {"kernel": "ddpm"}, {"kernel": "ve", "t_min": 0.0},
                                     {"kernel": "flow", "predict": "velocity", "t_min": 1.0}])
def test_times_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="t_min lies between 0 and t_max"):
        KernelObjective(**options)


@pytest.mark.parametrize("above", [True, False])
def test_a_stage_is_trained_on_its_side_of_the_split_as_edm_is_there(above):
    """Its noise levels are EDM's own, those of the other side left out: by the quantiles of ln sigma."""
    split, levels = 2.4, {"p_mean": -0.4, "p_std": 1.2}
    stage = make_objective("edm-above" if above else "edm-below", split=split, **levels)
    sigma, whole = (o.noise_levels(200_000, torch.Generator().manual_seed(i))
                    for i, o in enumerate((stage, EDMObjective(**levels))))
    expected = whole[whole > split] if above else whole[whole < split]
    assert (sigma > split).all() if above else (sigma < split).all()
    at = torch.linspace(0.01, 0.99, 25)
    torch.testing.assert_close(sigma.log().quantile(at), expected.log().quantile(at), atol=0.03, rtol=0)


def test_a_split_that_is_no_noise_level_is_refused():
    with pytest.raises(ValueError, match="split is a noise level above 0"):
        make_objective("edm-above", split=0.0)


@pytest.mark.parametrize("name", ["edm", "edm-expected", "edm-above", "edm-below", "consistency", "distillation",
                                  *KERNEL_OBJECTIVES])
def test_the_label_reaches_the_network_in_denoising_and_in_training(name):
    """In every call that it gets, and the calls of a distillation's teacher and of an oracle, too."""
    objective, x, label, seen = make_objective(name), torch.randn(3, *SHAPE), torch.tensor([2, 0, 1]), []

    def network(x, c_noise, label=None):
        seen.append(label)
        return x

    objective.denoise(network, x, 0.5, label)
    if name == "distillation":
        objective = objective.taught_by(lambda x, sigma, label=None: network(x, sigma, label))
    if name == "edm-expected":
        objective = objective.of(lambda x, sigma, label=None: network(x, sigma, label))
    objective.loss(network, x, label, torch.Generator().manual_seed(0))
    assert len(seen) == {"edm-expected": 3, "consistency": 3, "distillation": 4}.get(name, 2)
    assert all(given is label for given in seen)
