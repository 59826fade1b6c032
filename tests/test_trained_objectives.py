"""Each objective, trained for a second or three on Gaussian images, whose optimal denoiser and whose flow are known.

The images are N(mu, C) on 4x4 pixels, C of rank two plus a small diagonal; networks are tiny. A bound is about twice the
worst of three seeds, and the untrained network misses it.
"""

import pytest
import torch

from helpers.closed_form import GaussianDenoiser
from helpers.denoiser import NetworkDenoiser
from helpers.models.architectures import MLP
from helpers.models.gan_vae import GeneratorPair
from helpers.models.training import Recipe, State, train
from helpers.samplers import sample
from helpers.zoo.spec import make_objective

SHAPE, SEED = (1, 4, 4), 0
TOP, REST = (0.4, 0.3), 0.003                   # variance along a ramp from left to right, from top to bottom; and elsewhere


def modes():
    """The two ramps, (2, 16), of length 1."""
    ramp = torch.linspace(-1, 1, 4, dtype=torch.float64).expand(4, 4)
    return torch.stack([ramp.flatten(), ramp.T.flatten()]) / ramp.norm()


def covariance(top=TOP, rest=REST):
    u = modes()
    return rest * torch.eye(16, dtype=torch.float64) + u.T @ torch.diag(torch.tensor(top, dtype=torch.float64) - rest) @ u


MEAN, COVARIANCE = torch.linspace(0.2, -0.2, 16, dtype=torch.float64), covariance()
IDEAL = GaussianDenoiser(MEAN.view(SHAPE), COVARIANCE)
VARIANCE = COVARIANCE.trace().item() / 16


def images(count=2**14, seed=0):
    z = torch.randn(count, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return (MEAN + z @ torch.linalg.cholesky(COVARIANCE).T).float().view(-1, *SHAPE)


def noise(count=2048):
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(3))


def trained(objective, build, **recipe):
    """(the denoiser after training, the one before)."""
    torch.manual_seed(SEED)
    network, recipe = build(), Recipe(**{"warmup": 50, "bf16": False, "seed": SEED, "batch": 128} | recipe)
    before = NetworkDenoiser(build(), objective)
    state = State(network, recipe)
    for _ in train(state, objective, images(), None, recipe):
        pass
    return NetworkDenoiser(state.ema.eval(), objective).requires_grad_(False), before.requires_grad_(False)


def mlp():
    return MLP(size=4, width=64, blocks=2)


def excess(denoiser, sigma):
    """E|D - D*|^2 as a fraction of E|D* - x0|^2 = tr(C sigma^2 / (C + sigma^2)): what is lost to the optimal denoiser."""
    x0 = images(4096, seed=5)
    x = x0 + sigma * torch.randn(x0.shape, generator=torch.Generator().manual_seed(6))
    unavoidable = (IDEAL.lam * sigma**2 / (IDEAL.lam + sigma**2)).mean().item()
    return ((denoiser(x, sigma) - IDEAL(x, sigma)) ** 2).mean().item() / unavoidable


@pytest.mark.parametrize("name, bound", [("edm", 0.035), ("vp", 0.10), ("sub-vp", 0.15), ("ve", 0.25), ("flow", 0.03),
                                         ("ddpm", 0.10)])
def test_a_diffusion_objective_finds_the_optimal_denoiser(name, bound):
    """At noise below, around and above the data's (its standard deviation is 0.2). The bounds rise where fewer of the
    training's noise levels fall there, and as sigma^2 for what predicts eps: D = x - sigma F."""
    after, before = trained(make_objective(name), mlp, steps=500, batch=256, rate=1e-2)
    for sigma in (0.2, 0.5, 1.0, 2.0):
        assert excess(after, sigma) < bound < excess(before, sigma)


def test_a_consistency_model_finds_the_end_of_the_flow_in_one_step():
    """Within 13 % of the data's variance, where the data's mean would be off by 100 %."""
    objective = make_objective("consistency", first=20, sigma_data=0.2)
    after, before = trained(objective, mlp, steps=800, batch=256, rate=3e-3)
    ends = IDEAL.flow(noise(), 80.0, 0.002)
    errors = [((sample(d, noise(), **d.sampling) - ends) ** 2).mean().item() / VARIANCE for d in (after, before)]
    assert errors[0] < 0.13 < errors[1]


def test_a_distilled_model_lands_where_its_teacher_does():
    """Four steps of the student against eight of the exact denoiser: within 0.5 % of the data's variance, where four steps
    of the exact denoiser itself are 7 % away."""
    objective = make_objective("distillation", steps=4, base=16).taught_by(IDEAL)
    after, before = trained(objective, mlp, steps=400, rate=1e-2)
    fine = sample(IDEAL, noise(), solver="euler", sigmas=objective.student.grid(8).tolist())
    errors = [((sample(d, noise(), **after.sampling) - fine) ** 2).mean().item() / VARIANCE for d in (after, before, IDEAL)]
    assert errors[0] < 0.005 < min(errors[1:])


def moments(denoiser):
    """Mean (16,) and covariance (16, 16) of 4096 samples, float64."""
    x = sample(denoiser, noise(4096), **denoiser.sampling).flatten(1).double()
    return x.mean(0), x.T.cov()


def distances(denoiser, target):
    """Of the samples' mean from the data's, in standard deviations of the whole image; of their covariance, relative."""
    mean, cov = moments(denoiser)
    return (mean - MEAN).norm().item() / COVARIANCE.trace().sqrt().item(), ((cov - target).norm() / target.norm()).item()


def test_a_gan_finds_mean_and_covariance():
    def pair():
        return GeneratorPair(latent=4, width=8, size=4)

    after, before = trained(make_objective("gan", gamma=3.0), pair, steps=400, batch=64, rate=2e-3, beta1=0.0)
    for ours, bound, untrained in zip(distances(after, COVARIANCE), (0.1, 0.4), distances(before, COVARIANCE)):
        assert ours < bound < untrained


def test_a_vae_finds_the_variance_that_lies_above_its_noise():
    """Its optimum is probabilistic PCA (Tipping & Bishop 1999; Lucas et al. 2019): along a direction of variance lam the
    images vary by lam - noise^2, and not at all where that is negative; the data's own covariance is 0.13 away."""
    def pair():
        return GeneratorPair(latent=2, width=8, size=4, outputs=4)

    after, before = trained(make_objective("vae", noise=0.2), pair, steps=600, rate=5e-3)
    target = covariance([lam - 0.2**2 for lam in TOP], rest=0.0)
    for ours, bound, untrained in zip(distances(after, target), (0.1, 0.11), distances(before, target)):
        assert ours < bound < untrained
    assert (COVARIANCE - target).norm() / target.norm() > 0.11
