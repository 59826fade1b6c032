"""Perturbation kernels: how each family of diffusion models adds noise, and how to leave its coordinates.

A forward process turns an image x0 into x_t = s_t x0 + s_t sigma_t eps with eps ~ N(0, I). Families differ in the scale
s_t and the noise level sigma_t alone. Divided by s_t, all of them read x = x0 + sigma eps, and there they share one
probability-flow ODE, dx/dsigma = (x - D(x, sigma)) / sigma: the kernel decides where a solver places its time steps and
how a loss weighs the noise levels, not where a noise ends (Karras et al. 2022, Sec. 2 and App. B).

`objectives.py` uses a kernel to turn a network trained in these coordinates into a denoiser; nothing else needs one.
Used in chapters 1 and 2. The SDE of a kernel, dx = f(t) x dt + g(t) dw, gives the moments of x_t given x0:
mean' = f mean and var' = 2 f var + g^2, from which each class below follows.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from torch import Tensor

from helpers.denoiser import resident

Time = float | Tensor


def _tensor(value: Time) -> Tensor:
    """Python numbers enter as float64, tensors keep their type."""
    return value if isinstance(value, Tensor) else torch.tensor(value, dtype=torch.float64)


@dataclass(frozen=True)
class Kernel:
    """x_t = s(t) x0 + s(t) sigma(t) eps for 0 < t <= t_max, with sigma strictly increasing.

    Each method maps numbers or tensors elementwise to a tensor of the same shape; a Python number counts as float64.
    """

    name: ClassVar[str]
    t_max: float

    def s(self, t: Time) -> Tensor:
        """Scale of the image, s(t) in (0, 1]."""
        return torch.ones_like(_tensor(t))

    def sigma(self, t: Time) -> Tensor:
        """Noise level relative to the image, sigma(t) in (0, sigma_max]."""
        raise NotImplementedError

    def t(self, sigma: Time) -> Tensor:
        """Inverse of `sigma`: the time at which the noise level is sigma."""
        raise NotImplementedError

    @property
    def sigma_max(self) -> float:
        """Noise level at t_max: the same noise z starts this kernel at s(t_max) sigma_max z."""
        return float(self.sigma(self.t_max))


@dataclass(frozen=True)
class _LinearBeta(Kernel):
    """beta(t) = beta_min + beta_d t, and its integral B(t) = beta_min t + beta_d t^2 / 2."""

    beta_min: float = 0.1
    beta_d: float = 19.9
    t_max: float = 1.0

    def _integral(self, t: Time) -> Tensor:
        t = _tensor(t)
        return t * (self.beta_min + 0.5 * self.beta_d * t)

    def _time(self, integral: Tensor) -> Tensor:
        # The textbook root, (sqrt(b^2 + 2 d B) - b) / d, cancels near t = 0; its conjugate does not.
        root = (self.beta_min**2 + 2 * self.beta_d * integral).sqrt()
        return 2 * integral / (self.beta_min + root)

    def s(self, t: Time) -> Tensor:
        """s = exp(-B(t) / 2)."""
        return (-0.5 * self._integral(t)).exp()


@dataclass(frozen=True)
class VPKernel(_LinearBeta):
    """Variance preserving: dx = -beta/2 x dt + sqrt(beta) dw, the continuous limit of DDPM.

    s = exp(-B/2) and s^2 sigma^2 = 1 - exp(-B), so sigma = sqrt(exp(B) - 1) and s = 1/sqrt(1 + sigma^2).
    Song et al. 2021, App. B; beta_min = 0.1 and beta_d = 19.9 as in their App. C.
    """

    name: ClassVar[str] = "vp"

    def sigma(self, t: Time) -> Tensor:
        """sigma = sqrt(exp(B(t)) - 1)."""
        return self._integral(t).expm1().sqrt()

    def t(self, sigma: Time) -> Tensor:
        """B = log(1 + sigma^2), solved for t."""
        return self._time((_tensor(sigma) ** 2).log1p())


@dataclass(frozen=True)
class SubVPKernel(_LinearBeta):
    """Sub-variance preserving: dx = -beta/2 x dt + sqrt(beta (1 - exp(-2 B))) dw.

    s = exp(-B/2) as in VP, but s^2 sigma^2 = (1 - exp(-B))^2, so sigma = exp(B/2) - exp(-B/2) = 2 sinh(B/2).
    Song et al. 2021, App. B; the variance of x_t lies below VP's at every t.
    """

    name: ClassVar[str] = "sub-vp"

    def sigma(self, t: Time) -> Tensor:
        """sigma = 2 sinh(B(t) / 2)."""
        return 2 * (0.5 * self._integral(t)).sinh()

    def t(self, sigma: Time) -> Tensor:
        """B = 2 asinh(sigma / 2), solved for t."""
        return self._time(2 * (0.5 * _tensor(sigma)).asinh())


@dataclass(frozen=True)
class VEKernel(Kernel):
    """Variance exploding: dx = dw, so s = 1 and sigma = sqrt(t), with sigma up to 100.

    Time is the variance, as in Karras et al. 2022, Tab. 1; Song et al. 2021 let sigma grow geometrically in t, which
    gives the same kernel at other times.
    """

    name: ClassVar[str] = "ve"
    t_max: float = 100.0**2

    def sigma(self, t: Time) -> Tensor:
        """sigma = sqrt(t)."""
        return _tensor(t).sqrt()

    def t(self, sigma: Time) -> Tensor:
        """t = sigma^2."""
        return _tensor(sigma) ** 2


@dataclass(frozen=True)
class EDMKernel(Kernel):
    """Time is the noise level: dx = sqrt(2 t) dw, so s = 1 and sigma = t, up to 80. Karras et al. 2022, Tab. 1."""

    name: ClassVar[str] = "edm"
    t_max: float = 80.0

    def sigma(self, t: Time) -> Tensor:
        """sigma = t."""
        return _tensor(t).clone()

    def t(self, sigma: Time) -> Tensor:
        """t = sigma."""
        return _tensor(sigma).clone()


@dataclass(frozen=True)
class FlowKernel(Kernel):
    """The straight path of flow matching: x_t = (1 - t) x0 + t eps, so s = 1 - t and sigma = t / (1 - t).

    Its SDE has f = -1/(1 - t) and g^2 = 2 t / (1 - t). Lipman et al. 2023 and Liu et al. 2023, with time running from
    the image at 0 to the noise at 1. sigma(1) is infinite, and no finite multiple of z starts there: t_max is the time
    at which sigma reaches EDM's 80.
    """

    name: ClassVar[str] = "flow"
    t_max: float = 80.0 / 81.0

    def s(self, t: Time) -> Tensor:
        """s = 1 - t."""
        return 1 - _tensor(t)

    def sigma(self, t: Time) -> Tensor:
        """sigma = t / (1 - t)."""
        t = _tensor(t)
        return t / (1 - t)

    def t(self, sigma: Time) -> Tensor:
        """t = sigma / (1 + sigma)."""
        sigma = _tensor(sigma)
        return sigma / (1 + sigma)


@dataclass(frozen=True)
class DDPMKernel(Kernel):
    """The discrete chain of Ho et al. 2020, Sec. 4: t = 1 ... 1000, beta_t linear from 1e-4 to 0.02.

    s_t^2 = prod_{i <= t} (1 - beta_i) and s = 1/sqrt(1 + sigma^2) as in VP, whose discretization it is. Between two
    whole t, and only there, sigma is interpolated: ln sigma is linear in t.
    """

    name: ClassVar[str] = "ddpm"
    t_max: float = 1000.0
    beta_first: float = 1e-4
    beta_last: float = 0.02

    @cached_property
    def log_sigmas(self) -> Tensor:
        """ln sigma at t = 1 ... t_max, float64, rising."""
        betas = torch.linspace(self.beta_first, self.beta_last, int(self.t_max), dtype=torch.float64)
        return torch.expm1(-(-betas).log1p().cumsum(0)).log() / 2

    def s(self, t: Time) -> Tensor:
        """s = 1/sqrt(1 + sigma^2)."""
        return (1 + self.sigma(t) ** 2).rsqrt()

    def sigma(self, t: Time) -> Tensor:
        """sigma = sqrt(1/s^2 - 1), from the table of the chain."""
        t = _tensor(t)
        table = resident(self, "log_sigmas", t)
        low = (t.double() - 1).floor().clamp(0, len(table) - 2).long()
        return torch.lerp(table[low], table[low + 1], t.double() - 1 - low).exp().to(t.dtype)

    def t(self, sigma: Time) -> Tensor:
        """The inverse, linear in ln sigma between two whole t; outside the chain it goes on in a straight line."""
        sigma = _tensor(sigma)
        table, log = resident(self, "log_sigmas", sigma), sigma.double().log()
        high = torch.searchsorted(table, log.contiguous()).clamp(1, len(table) - 1)
        return (high + (log - table[high - 1]) / (table[high] - table[high - 1])).to(sigma.dtype)


KERNELS: dict[str, Kernel] = {
    k.name: k for k in (VPKernel(), SubVPKernel(), VEKernel(), EDMKernel(), FlowKernel(), DDPMKernel())}


def kernel(name: str) -> Kernel:
    """The kernel of that name, with its published constants; ValueError with the known names for any other."""
    if name not in KERNELS:
        raise ValueError(f"unknown kernel {name!r}; known: {', '.join(KERNELS)}")
    return KERNELS[name]
