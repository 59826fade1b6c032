"""Objectives: what a network is trained to predict, and the denoiser that it becomes.

A **denoiser** estimates the clean image from a noisy one, D(x, sigma) ~ E[x0 | x], for x = x0 + sigma * eps. An objective
wraps a network so that it is one, and says what loss teaches it. The EDM objective (Karras et al. 2022, Sec. 5) keeps the
network's input and target at unit variance for every sigma:

    D(x, sigma) = c_skip(sigma) x + c_out(sigma) F(c_in(sigma) x, c_noise(sigma))
    loss        = E_{ln sigma ~ N(p_mean, p_std^2)} [ lambda(sigma) |D(x0 + sigma eps, sigma) - x0|^2 ],  lambda = 1/c_out^2

A network trained in a kernel's own coordinates, x_t = s_t x0 + s_t sigma_t eps, to predict the noise or the velocity becomes
a denoiser by solving that prediction for x0: `KernelObjective`. Used by every chapter that trains.
"""

from copy import copy
from dataclasses import dataclass
from math import isfinite, log

import torch
from torch import Tensor, nn

from helpers.denoiser import DenoiserLike, broadcast_sigma
from helpers.kernels import kernel


@dataclass(frozen=True)
class EDMObjective:
    """Karras et al. 2022, Table 1 (column "Ours") and Sec. 5.

    sigma_data     standard deviation of the data, in [-1, 1]
    p_mean, p_std  mean and standard deviation of ln sigma in training

    ValueError for what is no number, or a deviation that is not above 0.
    """

    sigma_data: float = 0.5
    p_mean: float = -1.2
    p_std: float = 1.2

    def __post_init__(self):
        values = self.sigma_data, self.p_mean, self.p_std
        if not all(isinstance(v, int | float) and isfinite(v) for v in values) or min(self.sigma_data, self.p_std) <= 0:
            raise ValueError("sigma_data, p_mean and p_std are numbers, the first and the last above 0: got "
                             f"{self.sigma_data!r}, {self.p_mean!r}, {self.p_std!r}")

    @property
    def sampling(self) -> dict[str, float]:
        """Any solver on any noise levels: `sample`'s defaults are this objective's."""
        return {}

    def denoise(self, network: nn.Module, x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        """D(x, sigma, label): x (B, C, H, W), sigma a number or (B,) -> x0_hat (B, C, H, W), float32."""
        sigma = broadcast_sigma(sigma, x)
        s, total = sigma.view(-1, 1, 1, 1), (sigma**2 + self.sigma_data**2).view(-1, 1, 1, 1)
        c_skip, c_out, c_in = self.sigma_data**2 / total, s * self.sigma_data * total.rsqrt(), total.rsqrt()
        output = network(c_in * x, sigma.log() / 4, label)
        return c_skip * x + c_out * output.float()

    def noise_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` training noise levels sigma > 0, (count,), on the generator's device."""
        normal = torch.randn(count, generator=generator, device=generator.device)
        return (self.p_mean + self.p_std * normal).exp()

    def loss(self, network: nn.Module, x0: Tensor, label: Tensor | None, generator: torch.Generator,
             progress: float = 0.0) -> Tensor:
        """The training loss of one batch, a scalar; it is about 1 for a network that has learned nothing.

        progress, from 0 to 1, says how much of the training is done; only `fewstep.Consistency` looks at it.
        """
        sigma = self.noise_levels(len(x0), generator)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device)
        x = x0 + sigma.view(-1, 1, 1, 1) * eps
        x0_hat = self.denoise(network, x, sigma, label)
        weight = (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
        return (weight.view(-1, 1, 1, 1) * (x0_hat - self.target(x0, x, sigma, label)) ** 2).mean()

    def target(self, x0: Tensor, x: Tensor, sigma: Tensor, label: Tensor | None) -> Tensor:
        """What the network is to answer at (x, sigma), (B, C, H, W): the image that the noise was added to."""
        return x0


@dataclass(frozen=True)
class KernelObjective:
    """A network trained in a kernel's own coordinates, with the weighting of its paper: the error of what it predicts.

    kernel     a name in KERNELS: the network sees x_t = s_t x0 + s_t sigma_t eps and the time t
    predict    "eps": D = x - sigma F, the score-SDE's likelihood-free weighting (Song et al. 2021, Eq. 7, lambda = variance)
               "velocity": F = eps - x0 for x_t = (1 - t) x0 + t eps, so D = x_t - t F (Lipman et al. 2023)
    t_min      training times are drawn from [t_min, t_max] uniformly,
    geometric  or geometrically (VE: Song et al. 2021 let sigma grow so),
    discrete   or are whole numbers (DDPM: Ho et al. 2020, Alg. 1)

    x arrives and D leaves in the book's coordinates, x = x_t / s_t.
    """

    kernel: str = "vp"
    predict: str = "eps"
    t_min: float = 1e-5
    geometric: bool = False
    discrete: bool = False

    def __post_init__(self):
        kernel(self.kernel)
        if self.predict not in ("eps", "velocity") or (self.predict == "velocity") != (self.kernel == "flow"):
            raise ValueError(f"cannot predict {self.predict!r} with kernel {self.kernel!r}: use 'velocity' with 'flow', "
                             "'eps' with any other")
        if self.discrete != (self.kernel == "ddpm") or not 0 < self.t_min < kernel(self.kernel).t_max:
            raise ValueError(f"discrete goes with kernel 'ddpm' and no other, and t_min lies between 0 and t_max: got "
                             f"{self.kernel!r}, discrete={self.discrete}, t_min={self.t_min}")

    @property
    def sampling(self) -> dict[str, float]:
        """The range of noise levels that training covered, as arguments of `sample`."""
        k = kernel(self.kernel)
        return {"sigma_min": max(0.002, float(k.sigma(self.t_min))), "sigma_max": k.sigma_max}

    def times(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` training times, (count,) float64."""
        u, k = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64), kernel(self.kernel)
        if self.discrete:
            return (u * k.t_max).floor() + 1
        return self.t_min * (k.t_max / self.t_min) ** u if self.geometric else self.t_min + (k.t_max - self.t_min) * u

    def predicted(self, network: nn.Module, x: Tensor, sigma: Tensor, label: Tensor | None) -> Tensor:
        """The network's output for x = x0 + sigma eps, sigma (B,): it gets x_t, of unit variance or so, and t in [0, 1]."""
        k = kernel(self.kernel)
        t = k.t(sigma.double())
        # VE's x_t is as large as its noise and its t is a variance: the network sees x_t scaled, and ln sigma.
        scale, c_noise = ((1 + sigma**2).rsqrt(), sigma.log() / 4) if k.name in ("ve", "edm") else (k.s(t), t)
        c_noise = c_noise / k.t_max if self.discrete else c_noise
        return network(scale.to(x.dtype).view(-1, 1, 1, 1) * x, c_noise.to(x.dtype), label).float()

    def denoise(self, network: nn.Module, x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        """D(x, sigma, label): x (B, C, H, W), sigma a number or (B,) -> x0_hat (B, C, H, W), float32."""
        sigma = broadcast_sigma(sigma, x)
        s, output = sigma.view(-1, 1, 1, 1), self.predicted(network, x, sigma, label)
        if self.predict == "eps":
            return x - s * output
        t = s / (1 + s)
        return (1 - t) * x - t * output

    def loss(self, network: nn.Module, x0: Tensor, label: Tensor | None, generator: torch.Generator,
             progress: float = 0.0) -> Tensor:
        """Mean squared error of the prediction, a scalar; 1 for eps and more for velocity if nothing is learned."""
        sigma = kernel(self.kernel).sigma(self.times(len(x0), generator)).to(x0.dtype)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device)
        output = self.predicted(network, x0 + sigma.view(-1, 1, 1, 1) * eps, sigma, label)
        return ((output - (eps if self.predict == "eps" else eps - x0)) ** 2).mean()


@dataclass(frozen=True)
class SharedPreconditioning(EDMObjective):
    """EDM's network and loss at the noise levels on which another kernel is trained: that, and nothing else, differs.

    source   the objective whose training times, and with them noise levels sigma(t), are taken over

    Kernels as published differ in what the network predicts, how its input is scaled and which noise levels are trained.
    The first two can make a network bad at high noise (D = x - sigma F multiplies its error by sigma); this objective
    leaves them EDM's, so that what remains of a kernel is its p(sigma).
    """

    source: KernelObjective = KernelObjective()

    @property
    def sampling(self) -> dict[str, float]:
        return self.source.sampling

    def noise_levels(self, count: int, generator: torch.Generator) -> Tensor:
        return kernel(self.source.kernel).sigma(self.source.times(count, generator)).float()


@dataclass(frozen=True)
class OneStage(EDMObjective):
    """EDM's loss on one side of a noise level alone: a network for one stage of the path, to be joined with another's.

    split   the noise level sigma > 0 that parts the two,
    above   and whether it is the noisier stage; ln sigma stays N(p_mean, p_std^2), cut off at ln split

    It can be asked at any sigma, and knows nothing of the other side.
    """

    split: float = 1.0
    above: bool = True

    def __post_init__(self):
        super().__post_init__()
        if not self.split > 0:
            raise ValueError(f"split is a noise level above 0, got {self.split}")

    def noise_levels(self, count: int, generator: torch.Generator) -> Tensor:
        at = torch.tensor((log(self.split) - self.p_mean) / self.p_std, dtype=torch.float64, device=generator.device)
        u = torch.rand(count, generator=generator, device=generator.device, dtype=torch.float64).clamp(1e-9, 1 - 1e-9)
        normal = -torch.special.ndtri(u * torch.special.ndtr(-at)) if self.above else torch.special.ndtri(
            u * torch.special.ndtr(at))
        return (self.p_mean + self.p_std * normal).exp().float()


@dataclass(frozen=True)
class ExpectedTarget(EDMObjective):
    """EDM's loss with the mean of its target: E[x0 | x] over the training images, which has a closed form, in place of x0.

    Both losses have the same gradient on average, and this one's has less variance (Bertrand et al. 2025 ask whether that
    variance is why networks generalize). `of` gives it the training images' optimal denoiser, without which it can be
    sampled and not trained.
    """

    def of(self, oracle: DenoiserLike) -> "ExpectedTarget":
        """The objective with this oracle as its target."""
        taught = copy(self)
        object.__setattr__(taught, "oracle", oracle)
        return taught

    def target(self, x0: Tensor, x: Tensor, sigma: Tensor, label: Tensor | None) -> Tensor:
        """E[x0 | x]. ValueError before `of` was asked."""
        if not hasattr(self, "oracle"):
            raise ValueError("an expected target is that of some images: ask `of` for the objective with their oracle")
        with torch.no_grad(), torch.autocast(x.device.type, enabled=False):
            return self.oracle(x, sigma, label)
