"""A plane on which everything is known: a density of pictures of two pixels, and small models of four kinds that learn it.

The density is a mixture of three Gaussians without a symmetry, of mean 0 and variance 1 a pixel. Each kind of model maps
noise z ~ N(0, I) of the same two numbers to a picture, and learns with the book's own objective:

    diffusion       `EDMObjective`       a denoiser, sampled along the probability flow
    flow matching   `KernelObjective`    a velocity, sampled along the same flow
    GAN             `GAN`                a generator, told by a critic whether its pictures look like the density's
    VAE             `VAE`                a decoder, with an encoder that says which noise a picture should have come from

Several runs of a kind, each with weights, pictures and noise of its own, are one network whose layers are stacks of
matrices (runs, in, out): a batch of rows holds the first run's part, then the second's, as in `ensemble.py`. There are so
many pictures that no model copies. Used in chapter 7.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.closed_form.mixture import MixtureDenoiser
from helpers.denoiser import NetworkDenoiser
from helpers.models.ensemble import Ensemble
from helpers.models.gan_vae import GAN, VAE
from helpers.models.objectives import EDMObjective, KernelObjective
from helpers.models.recipe import Recipe
from helpers.models.state import State
from helpers.models.training import train
from helpers.samplers import sample

WEIGHTS = (0.45, 0.35, 0.2)
CENTERS = ((-1.1, -0.5), (1.2, -0.4), (0.2, 1.5))
AXES = ((0.9, 0.25, 60.0), (0.7, 0.2, 145.0), (0.55, 0.3, 10.0))        # standard deviations, degrees of the longer one


def plane_density() -> MixtureDenoiser:
    """The density: its draws, its moments and its optimal denoiser; pictures (n, 1, 1, 2), mean 0, variance 1 a pixel."""
    weights, centers = torch.tensor(WEIGHTS, dtype=torch.float64), torch.tensor(CENTERS, dtype=torch.float64)
    long, short, angle = torch.tensor(AXES, dtype=torch.float64).T
    angle = angle.deg2rad()
    basis = torch.stack([torch.stack([angle.cos(), -angle.sin()], 1), torch.stack([angle.sin(), angle.cos()], 1)], 1)
    covariances = basis @ torch.diag_embed(torch.stack([long, short], 1) ** 2) @ basis.mT
    mean, covariance = MixtureDenoiser(weights, centers.view(-1, 1, 1, 2), covariances).moments()
    scale = (covariance.trace() / 2).sqrt()
    return MixtureDenoiser(weights, (centers.view(-1, 1, 1, 2) - mean) / scale, covariances / scale**2)


class Stack(nn.Module):
    """`runs` perceptrons side by side, each with weights of its own: x (runs * b, ...) -> (runs * b, *shape).

    x's rows are flattened to `inputs` numbers; run i sees rows i b to (i + 1) b, and no other. First weights are drawn from
    `generator`: uniform in +-1 / sqrt(inputs of the layer).
    """

    outer: set[str] = set()

    def __init__(self, runs: int, inputs: int, shape: tuple[int, ...], generator: torch.Generator, width: int = 64,
                 hidden: int = 3):
        super().__init__()
        self.runs, self.shape = runs, shape
        sizes = [inputs, *[width] * hidden, math.prod(shape)]
        layers = list(pairwise(sizes))
        self.weights = nn.ParameterList([_uniform((runs, a, b), a**-0.5, generator) for a, b in layers])
        self.biases = nn.ParameterList([_uniform((runs, 1, b), a**-0.5, generator) for a, b in layers])

    def forward(self, x: Tensor) -> Tensor:
        if len(x) % self.runs:
            raise ValueError(f"{len(x)} rows cannot be shared among {self.runs} runs: use a multiple")
        h = x.reshape(self.runs, len(x) // self.runs, -1)                           # (runs, b, inputs)
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            h = torch.baddbmm(bias, F.silu(h) if k else h, weight)
        return h.reshape(-1, *self.shape)


def _uniform(size: tuple[int, ...], bound: float, generator: torch.Generator) -> nn.Parameter:
    return nn.Parameter(bound * (2 * torch.rand(size, generator=generator) - 1))


class PlanePair(nn.Module):
    """A generator and its partner, a GAN's critic (1 output) or a VAE's encoder (4): the form of `GeneratorPair`."""

    outer: set[str] = set()
    latent = 2

    def __init__(self, runs: int, generator: torch.Generator, outputs: int, **size: int):
        super().__init__()
        self.generator = Stack(runs, 2, (1, 1, 2), generator, **size)
        self.partner = Stack(runs, 2, (outputs,), generator, **size)


class Kind(NamedTuple):
    """One kind of model: its network (runs, generator), its objective, how it is trained, and sampled if in steps."""

    network: Callable[[int, torch.Generator], nn.Module]
    objective: object
    recipe: Recipe
    sampling: dict[str, object]

    def denoiser(self, network: nn.Module) -> NetworkDenoiser:
        """A trained network as a denoiser that says how it is sampled."""
        found = NetworkDenoiser(network.eval(), self.objective).requires_grad_(False)
        found.sampling |= self.sampling
        return found


def _mlp(runs: int, generator: torch.Generator, **size: int) -> Ensemble:
    return Ensemble(runs, 2, generator=generator, **size)


def plane_kinds(steps: int) -> dict[str, Kind]:
    """The four kinds, each trained for `steps` steps; a GAN, which needs longer, for twice as many with smaller networks.

    The GAN's size, rate and penalty are the best of four that were tried, by the distribution it draws and nothing else.
    """
    def recipe(steps: int, batch: int = 256, **changed: float) -> Recipe:
        return Recipe(steps, batch, warmup=min(100, steps), bf16=False, **changed)

    gan = partial(PlanePair, outputs=1, width=48, hidden=2)
    mlp, flow = partial(_mlp, width=64, blocks=2), {"solver": "heun", "steps": 24}
    return {
        "diffusion": Kind(mlp, EDMObjective(sigma_data=1.0, p_mean=-0.5), recipe(steps), flow),
        "flow matching": Kind(mlp, KernelObjective("flow", "velocity"), recipe(steps), flow),
        "GAN": Kind(gan, GAN(gamma=0.1), recipe(2 * steps, 128, beta1=0.0, rate=2e-3), {}),
        "VAE": Kind(partial(PlanePair, outputs=4), VAE(noise=0.15), recipe(steps), {}),
    }


def train_runs(kind: Kind, runs: int, images: Tensor, seed: int = 0) -> NetworkDenoiser:
    """`runs` models of one kind, trained at once on images (N, 1, 1, 2); each run's batch is the recipe's.

    seed   of the first weights, and of the pictures and the noise of each step
    """
    recipe = replace(kind.recipe, batch=runs * kind.recipe.batch, seed=seed)
    state = State(kind.network(runs, torch.Generator().manual_seed(seed)), recipe)
    for _ in train(state, kind.objective, images, None, recipe, check_every=100):
        pass
    return kind.denoiser(state.ema)


def draw_runs(denoiser: NetworkDenoiser, z: Tensor, runs: int) -> Tensor:
    """What each run makes of the noises z (..., 2): (runs, ..., 2), float64."""
    rows = z.reshape(-1, 1, 1, 2).float().repeat(runs, 1, 1, 1)
    x = sample(denoiser, rows, batch=None, **denoiser.sampling)     # a batch must hold all runs' rows
    return x.double().view(runs, *z.shape)
