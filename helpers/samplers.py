"""Samplers: from noise to an image, by calling a denoiser a few times.

In the coordinates x = x0 + sigma eps every diffusion model follows the same probability-flow ODE,

    dx/dsigma = (x - D(x, sigma)) / sigma,

from x = sigma_max z at sigma_max down to an image at 0. A deterministic solver of it maps a noise z to an image: that
map is what reproducibility compares between models. For one step from s to t < s, with d = D(x, s), the solvers are

    euler      x' = d + (t/s)(x - d)                              first order; the same as DDIM
    heun       the mean of the slopes at s and at the Euler point second order; Karras et al. 2022, Alg. 1
    dpm2       the slope at the midpoint sqrt(s t) of log sigma   second order; Lu et al. 2022a, DPM-Solver-2
    dpmpp2m    d extrapolated from this step and the last         second order; Lu et al. 2022b, DPM-Solver++(2M)
    ddpm       x' ~ q(x_t | x_s, x0 = d)                          stochastic; Ho et al. 2020, Eq. 6-7
    churn      fresh noise first, then heun                       stochastic; Karras et al. 2022, Alg. 2

and each ends with an Euler step to 0, which returns d. A denoiser is any callable D(x, sigma, label=None) -> x0_hat.
Used by every chapter.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

Denoiser = Callable[..., Tensor]


class Step(NamedTuple):
    """One point of a trajectory: x (B, C, H, W) at noise level sigma, and the denoiser's answer there (same shape)."""

    sigma: float
    x: Tensor
    denoised: Tensor


class Interval(NamedTuple):
    """What a solver may use to go from noise level s to t, besides x: the step before, and fresh noise like x."""

    s: float
    t: float
    steps: int
    previous: Step | None
    noise: Callable[[], Tensor]


class Solver(NamedTuple):
    """advance(D, x, interval, **options) -> (x at t, denoised); its calls of D on a step to t > 0, and on the last."""

    advance: Callable[..., tuple[Tensor, Tensor]]
    evaluations: int = 1
    last: int = 1
    stochastic: bool = False


def karras_sigmas(steps: int = 18, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Tensor:
    """sigma_i = (sigma_max^(1/rho) + i/(n-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho for i < n, then 0.

    Karras et al. 2022, Eq. 5, with the defaults of their Tab. 1. (n + 1,) float64, falling; one step is (sigma_max, 0).
    ValueError unless n >= 1 and 0 < sigma_min < sigma_max.
    """
    if steps < 1 or not 0 < sigma_min < sigma_max < math.inf:
        raise ValueError(f"need steps >= 1 and 0 < sigma_min < sigma_max, got {steps}, {sigma_min}, {sigma_max}")
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    sigmas = torch.cat([(high + ramp * (low - high)) ** rho, ramp.new_zeros(1)])
    # The power's rounding must not move the ends: "the same noise" is sigma_max z to the last bit.
    sigmas[-2], sigmas[0] = sigma_min, sigma_max
    return sigmas


def _toward(x: Tensor, denoised: Tensor, s: float, t: float) -> Tensor:
    """The Euler step d + (t/s)(x - d): on the line from x to its denoised image. At t = 0 it is d."""
    return denoised + (t / s) * (x - denoised)


def _euler(denoise: Denoiser, x: Tensor, step: Interval) -> tuple[Tensor, Tensor]:
    d = denoise(x, step.s)
    return _toward(x, d, step.s, step.t), d


def _heun(denoise: Denoiser, x: Tensor, step: Interval) -> tuple[Tensor, Tensor]:
    s, t = step.s, step.t
    d = denoise(x, s)
    x_t = _toward(x, d, s, t)
    if t == 0:
        return x_t, d
    slope, slope_t = (x - d) / s, (x_t - denoise(x_t, t)) / t
    return x + (t - s) * 0.5 * (slope + slope_t), d


def _dpm2(denoise: Denoiser, x: Tensor, step: Interval) -> tuple[Tensor, Tensor]:
    s, t = step.s, step.t
    d = denoise(x, s)
    if t == 0:
        return _toward(x, d, s, t), d
    middle = math.sqrt(s * t)
    x_middle = _toward(x, d, s, middle)
    return x + (t - s) / middle * (x_middle - denoise(x_middle, middle)), d


def _dpmpp2m(denoise: Denoiser, x: Tensor, step: Interval) -> tuple[Tensor, Tensor]:
    s, t, previous = step.s, step.t, step.previous
    d = denoise(x, s)
    if t == 0 or previous is None:
        return _toward(x, d, s, t), d
    ratio = math.log(s / t) / math.log(previous.sigma / s)
    return _toward(x, d, s, t) + (1 - t / s) * 0.5 * ratio * (d - previous.denoised), d


def _ddpm(denoise: Denoiser, x: Tensor, step: Interval) -> tuple[Tensor, Tensor]:
    s, t = step.s, step.t
    d = denoise(x, s)
    if t == 0:
        return d, d
    mean = d + (t / s) ** 2 * (x - d)
    return mean + t * math.sqrt(1 - (t / s) ** 2) * step.noise(), d


def _churn(denoise: Denoiser, x: Tensor, step: Interval, s_churn: float = 40.0, s_min: float = 0.05,
           s_max: float = 50.0, s_noise: float = 1.003) -> tuple[Tensor, Tensor]:
    """The defaults are Karras et al.'s for ImageNet-64, Tab. 5."""
    gamma = min(s_churn / step.steps, math.sqrt(2) - 1) if s_min <= step.s <= s_max else 0.0
    if gamma > 0:
        raised = (1 + gamma) * step.s
        x = x + math.sqrt(raised**2 - step.s**2) * s_noise * step.noise()
        step = step._replace(s=raised)
    return _heun(denoise, x, step)


SOLVERS: dict[str, Solver] = {
    "euler": Solver(_euler),
    "heun": Solver(_heun, evaluations=2),
    "dpm2": Solver(_dpm2, evaluations=2),
    "dpmpp2m": Solver(_dpmpp2m),
    "ddpm": Solver(_ddpm, stochastic=True),
    "churn": Solver(_churn, evaluations=2, stochastic=True),
}


def _solver(name: str) -> Solver:
    if name not in SOLVERS:
        raise ValueError(f"unknown solver {name!r}; known: {', '.join(SOLVERS)}")
    return SOLVERS[name]


def nfe(solver: str, steps: int = 18) -> int:
    """Number of denoiser evaluations of a run, e.g. 2 * steps - 1 for heun. ValueError for an unknown solver."""
    return (steps - 1) * _solver(solver).evaluations + _solver(solver).last


def _batched(denoiser: Denoiser, label: Tensor | None, batch: int | None) -> Denoiser:
    """The denoiser on `batch` images at a time; only its own memory grows with the batch."""
    def denoise(x: Tensor, sigma: float) -> Tensor:
        size = batch or max(len(x), 1)
        labels = [None] * len(x.split(size)) if label is None else label.split(size)
        return torch.cat([denoiser(part, sigma, label=c) for part, c in zip(x.split(size), labels, strict=True)])
    return denoise


@torch.no_grad()
def trajectory(denoiser: Denoiser, z: Tensor, solver: str = "heun", steps: int = 18, sigma_min: float = 0.002,
               sigma_max: float = 80.0, rho: float = 7.0, label: Tensor | None = None, batch: int | None = 256,
               generator: torch.Generator | None = None, noises: Callable[[int], Tensor] | None = None,
               **options: float) -> Iterator[Step]:
    """The path from sigma_max z to an image: steps + 1 items, from sigma_max to 0. See `sample` for the arguments.

    Item i has x at sigma_i and the answer of the step that leaves from there (churn: at its raised noise level); the
    last has sigma = 0 and both equal to the image.
    """
    advance, *_, stochastic = _solver(solver)
    if stochastic and generator is None and noises is None:
        raise ValueError(f"solver {solver!r} is stochastic: pass generator=torch.Generator() or noises=...")
    if label is not None and len(label) != len(z):
        raise ValueError(f"label must have one entry for each of the {len(z)} noises, got {len(label)}")

    def noise(i: int) -> Tensor:
        if noises is not None:
            return noises(i).to(z)
        return torch.randn(z.shape, generator=generator, device=generator.device, dtype=z.dtype).to(z.device)

    denoise = _batched(denoiser, label, batch)
    x, previous = sigma_max * z, None
    # Step sizes are Python floats: nothing in the loop waits for the device.
    for i, (s, t) in enumerate(pairwise(karras_sigmas(steps, sigma_min, sigma_max, rho).tolist())):
        x_next, d = advance(denoise, x, Interval(s, t, steps, previous, partial(noise, i)), **options)
        previous = Step(s, x, d)
        yield previous
        x = x_next
    yield Step(0.0, x, x)


def sample(denoiser: Denoiser, z: Tensor, solver: str = "heun", steps: int = 18, sigma_min: float = 0.002,
           sigma_max: float = 80.0, rho: float = 7.0, label: Tensor | None = None, batch: int | None = 256,
           generator: torch.Generator | None = None, noises: Callable[[int], Tensor] | None = None,
           **options: float) -> Tensor:
    """Images x0 (B, C, H, W) from noise z (B, C, H, W) ~ N(0, I), on z's device and in its type; z is not modified.

    denoiser    D(x, sigma, label=None) -> x0_hat; sigma arrives as a Python float
    solver      a key of SOLVERS; the defaults are EDM's for CIFAR-10 (Karras et al. 2022, Tab. 1)
    steps, sigma_min, sigma_max, rho   time steps, see `karras_sigmas`; sampling starts at sigma_max z
    label       (B,) class of each image, handed to the denoiser
    batch       images per denoiser call, None for all at once; the result depends on it by float rounding alone
    generator   where a stochastic solver draws its noise, a step at a time for all images
    noises      instead: noises(i) -> (B, C, H, W), the noise of step i; the same for two models, the same random path
    options     of the solver: s_churn, s_min, s_max, s_noise for churn

    ValueError for an unknown solver, bad time steps, or a stochastic solver without randomness. Gradients are off; a
    denoiser that needs them turns them on with torch.enable_grad().
    """
    path = trajectory(denoiser, z, solver, steps, sigma_min, sigma_max, rho, label, batch, generator, noises, **options)
    return deque(path, maxlen=1).pop().x
