"""Solvers: the rules that take x from one noise level to the next. `samplers.py` has their table, and walks with them.

A rule is advance(D, x, interval, **options) -> (x at t, D(x, s)): one step of the probability-flow ODE (or of its SDE)
from s to t < s. On the last step, t = 0, every rule is Euler's and returns the denoiser's answer. With h = log(s/t), the
length of a step in lambda = -log sigma, the ODE reads dx/dlambda = D - x, and its exact solution is

    x_t = (t/s) x_s + integral of exp(lambda - lambda_t) D(x, sigma) over the step:

the multistep rules put a polynomial through the last answers in place of D (Lu et al. 2022b, Sec. 4).
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from helpers.denoiser import DenoiserLike


class Step(NamedTuple):
    """One point of a trajectory: x (B, C, H, W) at noise level sigma, and the denoiser's answer there (same shape)."""

    sigma: float
    x: Tensor
    denoised: Tensor


class Interval(NamedTuple):
    """What a rule may use to go from s to t, besides x: how many steps the run has, the steps before this one (the last
    two at most, the latest last), and fresh noise like x."""

    s: float
    t: float
    steps: int
    previous: tuple[Step, ...]
    noise: Callable[[], Tensor]


class Solver(NamedTuple):
    """A rule and what it costs.

    evaluations   calls of the denoiser on a step to t > 0; None for an adaptive solver: they depend on the image
    last          calls on the step to 0
    steps         how many steps a run has unless somebody says otherwise
    """

    advance: Callable[..., tuple[Tensor, Tensor]]
    evaluations: int | None = 1
    last: int = 1
    stochastic: bool = False
    steps: int = 18


def _toward(x: Tensor, denoised: Tensor, s: float, t: float) -> Tensor:
    """The Euler step d + (t/s)(x - d): on the line from x to its denoised image. At t = 0 it is d."""
    return denoised + (t / s) * (x - denoised)


def euler(denoise: DenoiserLike, x: Tensor, step: Interval) -> tuple[Tensor, Tensor]:
    """x' = d + (t/s)(x - d): DDIM, Song et al. 2021, Eq. 12 with eta = 0."""
    d = denoise(x, step.s)
    return _toward(x, d, step.s, step.t), d


def heun(denoise: DenoiserLike, x: Tensor, step: Interval) -> tuple[Tensor, Tensor]:
    """x' = x + (t - s)(slope at s + slope at the Euler point)/2. Karras et al. 2022, Alg. 1."""
    s, t = step.s, step.t
    d = denoise(x, s)
    x_t = _toward(x, d, s, t)
    if t == 0:
        return x_t, d
    slope, slope_t = (x - d) / s, (x_t - denoise(x_t, t)) / t
    return x + (t - s) * 0.5 * (slope + slope_t), d


def dpm2(denoise: DenoiserLike, x: Tensor, step: Interval) -> tuple[Tensor, Tensor]:
    """x' = x + (t - s)(slope at m), m = sqrt(s t). Lu et al. 2022a, DPM-Solver-2 with r = 1/2."""
    s, t = step.s, step.t
    d = denoise(x, s)
    if t == 0:
        return _toward(x, d, s, t), d
    middle = math.sqrt(s * t)
    x_middle = _toward(x, d, s, middle)
    return x + (t - s) / middle * (x_middle - denoise(x_middle, middle)), d


def dpmpp2m(denoise: DenoiserLike, x: Tensor, step: Interval) -> tuple[Tensor, Tensor]:
    """Euler's step toward d + (h/h_last)(d - d_last)/2. Lu et al. 2022b, Alg. 2; the first step is Euler's."""
    s, t = step.s, step.t
    d = denoise(x, s)
    if t == 0 or not step.previous:
        return _toward(x, d, s, t), d
    last = step.previous[-1]
    ratio = math.log(s / t) / math.log(last.sigma / s)
    return _toward(x, d, s, t) + (1 - t / s) * 0.5 * ratio * (d - last.denoised), d


def dpmpp3m(denoise: DenoiserLike, x: Tensor, step: Interval, curvature: float = 1.0) -> tuple[Tensor, Tensor]:
    """x' = d + (t/s)(x - d) + phi_2 D1 - curvature phi_3 D2: a parabola through the last three answers, in lambda.

    D1 and D2 are its slope and second divided difference at s, in steps of h; phi_2 = 1 - (1 - t/s)/h and
    phi_3 = phi_2/h - 1/2. The code of Lu et al. 2022b (multistep, order 3); the first two steps are dpmpp2m's.

    curvature   1 as in that code and its ports (diffusers, k-diffusion), so that our images are theirs. The integral of
                the parabola has 2: only with it the order is three. With 1 it is two, and the error a part of dpmpp2m's
    """
    x_t, d = dpmpp2m(denoise, x, step)
    if step.t == 0 or len(step.previous) < 2:
        return x_t, d
    s, t, (first, last) = step.s, step.t, step.previous
    h = math.log(s / t)
    r0, r1 = math.log(last.sigma / s) / h, math.log(first.sigma / last.sigma) / h
    new, old = (d - last.denoised) / r0, (last.denoised - first.denoised) / r1
    d2 = (new - old) / (r0 + r1)
    phi_2 = 1 - (1 - t / s) / h
    phi_3 = phi_2 / h - 0.5
    return _toward(x, d, s, t) + phi_2 * (new + r0 * d2) - curvature * phi_3 * d2, d


def rk45(denoise: DenoiserLike, x: Tensor, step: Interval, rtol: float = 1e-4, atol: float = 1e-4) -> tuple[Tensor, Tensor]:
    """dx/dlog(sigma) = x - D(x, sigma) from s to t, by Dormand & Prince 1980, whose steps are as short as they must be.

    A step is taken if the root mean square, over the whole batch, of error / (atol + rtol |x|) is at most 1. While |x| is
    about sigma, rtol decides, and an error there shrinks with x on its way to the image; at the end atol does, and 1e-4 is
    a hundredth of one of 256 gray levels. Below 1e-6 the rounding of float32 counts: use float64 images. Of images in half
    precision the steps are taken in float32.
    """
    if step.t == 0 or not len(x):
        return euler(denoise, x, step)
    answers = []

    def slope(log_sigma: Tensor, y: Tensor) -> Tensor:
        d = denoise(y, math.exp(log_sigma))
        if not answers:
            answers.append(d)
        return y - d

    start = x.to(torch.promote_types(x.dtype, torch.float32))
    x_t = _dormand_prince(slope, start, math.log(step.s), math.log(step.t), rtol, atol)
    return x_t.to(x.dtype), answers[0].to(x.dtype)


def _dormand_prince(slope: Callable[[Tensor, Tensor], Tensor], x: Tensor, start: float, end: float, rtol: float,
                    atol: float) -> Tensor:
    """x at `end`, from x at `start`. ValueError if no step is short enough."""
    from torchdiffeq import odeint  # here, because it imports scipy.integrate: a quarter of a second that others save

    ends = torch.tensor([start, end], dtype=torch.float64, device=x.device)
    try:
        # step_t: the last step ends at `end`. Without it torchdiffeq goes on below, and interpolates.
        return odeint(slope, x, ends, rtol=rtol, atol=atol, method="dopri5", options={"step_t": ends[1:]})[-1]
    except AssertionError as error:
        raise ValueError(f"rk45 found no step that is short enough ({error}): raise rtol and atol, or look for a denoiser "
                         "that does not return finite numbers") from error


def ancestral(denoise: DenoiserLike, x: Tensor, step: Interval) -> tuple[Tensor, Tensor]:
    """x' ~ q(x_t | x_s, x0 = d). Ho et al. 2020, Eq. 6-7."""
    s, t = step.s, step.t
    d = denoise(x, s)
    if t == 0:
        return d, d
    mean = d + (t / s) ** 2 * (x - d)
    return mean + t * math.sqrt(1 - (t / s) ** 2) * step.noise(), d


def churn(denoise: DenoiserLike, x: Tensor, step: Interval, s_churn: float = 40.0, s_min: float = 0.05,
          s_max: float = 50.0, s_noise: float = 1.003) -> tuple[Tensor, Tensor]:
    """Noise up to (1 + gamma) s, then heun. Karras et al. 2022, Alg. 2; the defaults are theirs for ImageNet-64, Tab. 5."""
    gamma = min(s_churn / step.steps, math.sqrt(2) - 1) if s_min <= step.s <= s_max else 0.0
    if gamma > 0:
        raised = (1 + gamma) * step.s
        x = x + math.sqrt(raised**2 - step.s**2) * s_noise * step.noise()
        step = step._replace(s=raised)
    return heun(denoise, x, step)


SOLVERS: dict[str, Solver] = {
    "euler": Solver(euler),
    "heun": Solver(heun, evaluations=2),
    "dpm2": Solver(dpm2, evaluations=2),
    "dpmpp2m": Solver(dpmpp2m),
    "dpmpp3m": Solver(dpmpp3m),
    "rk45": Solver(rk45, evaluations=None, steps=2),
    "ancestral": Solver(ancestral, stochastic=True),
    "churn": Solver(churn, evaluations=2, stochastic=True),
}
