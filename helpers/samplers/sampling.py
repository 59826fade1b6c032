"""Samplers: from noise to an image, by calling a denoiser a few times.

In the coordinates x = x0 + sigma eps every diffusion model follows the same probability-flow ODE,

    dx/dsigma = (x - D(x, sigma)) / sigma,

from x = sigma_max z at sigma_max down to an image at 0. A deterministic solver of it maps a noise z to an image: that
map is what reproducibility compares between models. For one step from s to t < s, with d = D(x, s), the solvers are

    euler      x' = d + (t/s)(x - d)                              first order; the same as DDIM
    heun       the mean of the slopes at s and at the Euler point second order; Karras et al. 2022, Alg. 1
    dpm2       the slope at the midpoint sqrt(s t) of log sigma   second order; Lu et al. 2022a, DPM-Solver-2
    dpmpp2m    d extrapolated from this step and the last         second order; Lu et al. 2022b, DPM-Solver++(2M)
    dpmpp3m    d extrapolated from this step and the last two     second order (third: curvature=2); 2022b, (3M)
    rk45       steps as short as an error bound asks for          fifth order, adaptive; Dormand & Prince 1980
    ancestral  x' ~ q(x_t | x_s, x0 = d)                          stochastic; Ho et al. 2020, Eq. 6-7
    churn      fresh noise first, then heun                       stochastic; Karras et al. 2022, Alg. 2

and each ends with an Euler step to 0, which returns d. Their rules are in `solvers.py`. A denoiser is any callable
D(x, sigma, label=None) -> x0_hat. Used by every chapter.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from numbers import Integral

import torch
from torch import Tensor

from helpers.denoiser import DenoiserLike, Label, as_label, check_label
from helpers.samplers.checks import check_batch, check_fit, check_grid, check_noise
from helpers.samplers.solvers import SOLVERS, Interval, Solver, Step


def karras_sigmas(steps: int = 18, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0) -> Tensor:
    """sigma_i = (sigma_max^(1/rho) + i/(n-1) (sigma_min^(1/rho) - sigma_max^(1/rho)))^rho for i < n, then 0.

    Karras et al. 2022, Eq. 5, with the defaults of their Tab. 1. (n + 1,) float64, falling; one step is (sigma_max, 0).
    ValueError unless n >= 1, 0 < sigma_min < sigma_max and rho > 0.
    """
    if not isinstance(steps, Integral) or steps < 1 or not 0 < sigma_min < sigma_max < math.inf or not rho > 0:
        raise ValueError("need whole steps >= 1, 0 < sigma_min < sigma_max and rho > 0, got "
                         f"{steps}, {sigma_min}, {sigma_max} and {rho}")
    ramp = torch.linspace(0, 1, steps, dtype=torch.float64)
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    sigmas = torch.cat([(high + ramp * (low - high)) ** rho, ramp.new_zeros(1)])
    # The power's rounding must not move the ends: "the same noise" is sigma_max z to the last bit.
    sigmas[-2], sigmas[0] = sigma_min, sigma_max
    return sigmas


def _solver(name: str) -> Solver:
    if name not in SOLVERS:
        raise ValueError(f"unknown solver {name!r}; known: {', '.join(SOLVERS)}")
    return SOLVERS[name]


def nfe(solver: str, steps: int = 18) -> int:
    """Number of denoiser evaluations of a run, e.g. 2 * steps - 1 for heun. ValueError for an unknown or adaptive solver."""
    found = _solver(solver)
    if found.evaluations is None:
        raise ValueError(f"solver {solver!r} is adaptive: count the calls of the denoiser to know its NFE")
    if steps < 1:
        raise ValueError(f"a run has at least one step, got {steps}")
    return (steps - 1) * found.evaluations + found.last


def _grid(steps: int, sigma_min: float, sigma_max: float, rho: float, sigmas: Sequence[float] | None) -> list[float]:
    """The noise levels of a run, `sigmas` if given. ValueError unless they are positive and fall to a last one of 0."""
    if sigmas is None:
        return karras_sigmas(steps, sigma_min, sigma_max, rho).tolist()
    grid = [float(sigma) for sigma in sigmas]
    check_grid(grid)
    return grid


def _batched(denoiser: DenoiserLike, label: Tensor | None, batch: int | None) -> DenoiserLike:
    """The denoiser on `batch` images at a time; only its own memory grows with the batch."""
    def denoise(x: Tensor, sigma: float) -> Tensor:
        if not len(x):
            return x
        size = batch or len(x)
        labels = [None] * len(x.split(size)) if label is None else label.split(size)
        parts = [denoiser(part, sigma, label=c) for part, c in zip(x.split(size), labels, strict=True)]
        answer = torch.cat(parts).to(x.dtype)
        if answer.shape != x.shape:
            raise ValueError(f"the denoiser answered {tuple(answer.shape)} to images {tuple(x.shape)}: it must keep their "
                             "shape")
        return answer
    return denoise


@torch.no_grad()
def trajectory(denoiser: DenoiserLike, z: Tensor, solver: str = "heun", steps: int | None = None, sigma_min: float = 0.002,
               sigma_max: float = 80.0, rho: float = 7.0, label: Label | None = None, batch: int | None = 256,
               generator: torch.Generator | None = None, noises: Callable[[int], Tensor] | None = None,
               sigmas: Sequence[float] | None = None, **options: float) -> Iterator[Step]:
    """The path from sigma_max z to an image: steps + 1 items, from sigma_max to 0; z (B, C, H, W) is not modified.

    denoiser    D(x, sigma, label=None) -> x0_hat; sigma arrives as a Python float
    solver      a key of SOLVERS; the defaults are EDM's for CIFAR-10 (Karras et al. 2022, Tab. 1)
    steps, sigma_min, sigma_max, rho   time steps, see `karras_sigmas`; sampling starts at sigma_max z. Steps are 18 unless
                given, and 2 for rk45, whose own steps lie within the first: sigma_max, sigma_min, 0
    label       (B,) class of each image, or one for all, handed to the denoiser as a tensor on z's device
    batch       images per denoiser call, None for all at once; the result depends on it by float rounding alone (rk45
                bounds the error of all of z together: there an image depends on the others, within its tolerance)
    generator   where a stochastic solver draws its noise, a step at a time for all images; on z's device nobody waits
    noises      instead: noises(i) -> (B, C, H, W), the noise of step i; the same for two models, the same random path
    sigmas      the noise levels themselves, falling, the last one 0; steps, sigma_min, sigma_max, rho then say nothing
    options     of the solver: s_churn, s_min, s_max, s_noise for churn; rtol, atol for rk45; curvature for dpmpp3m

    Item i has x at sigma_i and the answer of the step that leaves from there (churn: at its raised noise level); the
    last has sigma = 0 and both equal to the image.

    ValueError for an unknown solver, bad time steps, a stochastic solver without randomness, a z that is not finite, a
    class that the denoiser does not know, or a denoiser that was trained for one way of sampling (`strict`) and is asked
    for another: all of it is seen once, before the first step. Gradients are off; a denoiser that needs them turns them
    on with torch.enable_grad().
    """
    found = _solver(solver)
    grid = _grid(found.steps if steps is None else steps, sigma_min, sigma_max, rho, sigmas)
    check_fit(denoiser, solver, grid)
    check_noise(z)
    check_batch(batch)
    if found.stochastic and generator is None and noises is None:
        raise ValueError(f"solver {solver!r} is stochastic: pass generator=torch.Generator() or noises=...")
    label = as_label(label, z)
    check_label(getattr(denoiser, "classes", None), label)

    def noise(i: int) -> Tensor:
        if noises is not None:
            return noises(i).to(z)
        return torch.randn(z.shape, generator=generator, device=generator.device, dtype=z.dtype).to(z.device)

    denoise = _batched(denoiser, label, batch)
    x, previous = grid[0] * z, ()
    # Step sizes are Python floats: but for rk45, nothing in the loop waits for a GPU.
    for i, (s, t) in enumerate(pairwise(grid)):
        x_next, d = found.advance(denoise, x, Interval(s, t, len(grid) - 1, previous, partial(noise, i)), **options)
        previous = (*previous, Step(s, x, d))[-2:]
        yield previous[-1]
        x = x_next
    yield Step(0.0, x, x)


def sample(denoiser: DenoiserLike, z: Tensor, solver: str = "heun", steps: int | None = None, **arguments) -> Tensor:
    """Images x0 (B, C, H, W) from noise z (B, C, H, W) ~ N(0, I), on z's device and in its type: where `trajectory` ends.

    sample(denoiser, z, solver="heun", steps=18, sigma_min=0.002, sigma_max=80.0, rho=7, label=None, batch=256): the
    arguments and errors are those of `trajectory`. Of the path only the last point is kept.
    """
    return deque(trajectory(denoiser, z, solver, steps, **arguments), maxlen=1).pop().x
