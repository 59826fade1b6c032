"""Objectives: what a network is trained to predict, and the denoiser that it becomes.

A **denoiser** estimates the clean image from a noisy one, D(x, sigma) ~ E[x0 | x], for x = x0 + sigma * eps. An objective
wraps a network so that it is one, and says what loss teaches it. The EDM objective (Karras et al. 2022, Sec. 5) keeps the
network's input and target at unit variance for every sigma:

    D(x, sigma) = c_skip(sigma) x + c_out(sigma) F(c_in(sigma) x, c_noise(sigma))
    loss        = E_{ln sigma ~ N(p_mean, p_std^2)} [ lambda(sigma) |D(x0 + sigma eps, sigma) - x0|^2 ],  lambda = 1/c_out^2

Used by every chapter that trains.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Denoiser = Callable[..., Tensor]                  # D(x, sigma, label=None) -> x0_hat


def broadcast_sigma(sigma: Tensor | float, x: Tensor) -> Tensor:
    """sigma, a number or (B,), as (B,) on x's device in x's dtype. ValueError for another length."""
    sigma = torch.as_tensor(sigma, dtype=x.dtype, device=x.device)
    if sigma.ndim > 1 or (sigma.ndim == 1 and len(sigma) not in (1, len(x))):
        raise ValueError(f"sigma is one number or one an image: {tuple(sigma.shape)} does not fit {len(x)} images")
    return sigma.expand(len(x))


@dataclass(frozen=True)
class EDM:
    """Karras et al. 2022, Table 1 (column "Ours") and Sec. 5.

    sigma_data     standard deviation of the data, in [-1, 1]
    p_mean, p_std  mean and standard deviation of ln sigma in training
    stratified     draw the batch's noise levels from equal slices of their distribution: a lower-variance gradient with the
                   same expectation
    """

    sigma_data: float = 0.5
    p_mean: float = -1.2
    p_std: float = 1.2
    stratified: bool = False

    def denoise(self, network: nn.Module, x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        """D(x, sigma, label): x (B, C, H, W), sigma a number or (B,) -> x0_hat (B, C, H, W), float32."""
        sigma = broadcast_sigma(sigma, x)
        s, total = sigma.view(-1, 1, 1, 1), (sigma**2 + self.sigma_data**2).view(-1, 1, 1, 1)
        c_skip, c_out, c_in = self.sigma_data**2 / total, s * self.sigma_data * total.rsqrt(), total.rsqrt()
        output = network(c_in * x, sigma.log() / 4, label)
        return c_skip * x + c_out * output.float()

    def noise_levels(self, count: int, generator: torch.Generator) -> Tensor:
        """`count` training noise levels sigma > 0, (count,), on the generator's device."""
        device = generator.device
        if not self.stratified:
            normal = torch.randn(count, generator=generator, device=device)
        else:
            u = torch.rand(count, generator=generator, device=device)
            normal = torch.special.ndtri(((torch.arange(count, device=device) + u) / count).clamp(1e-6, 1 - 1e-6))
        return (self.p_mean + self.p_std * normal).exp()

    def loss(self, network: nn.Module, x0: Tensor, label: Tensor | None, generator: torch.Generator) -> Tensor:
        """The training loss of one batch, a scalar; it is about 1 for a network that has learned nothing."""
        sigma = self.noise_levels(len(x0), generator)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device)
        x0_hat = self.denoise(network, x0 + sigma.view(-1, 1, 1, 1) * eps, sigma, label)
        weight = (sigma**2 + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
        return (weight.view(-1, 1, 1, 1) * (x0_hat - x0) ** 2).mean()


OBJECTIVES = {"edm": EDM}


def make_objective(name: str, **options: float) -> EDM:
    """An objective by name. ValueError for an unknown name, with the known ones."""
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}: choose from {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name](**options)


class NetworkDenoiser(nn.Module):
    """A trained network as a denoiser: D(x, sigma, label=None) -> x0_hat, with the objective's preconditioning."""

    def __init__(self, network: nn.Module, objective: EDM):
        super().__init__()
        self.network, self.objective = network, objective

    def forward(self, x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        return self.objective.denoise(self.network, x, sigma, label)


@torch.no_grad()
def denoising_error(denoiser: Denoiser, x0: Tensor, sigmas: list[float], seed: int = 0, batch: int = 512) -> Tensor:
    """Mean squared denoising error per pixel, E|D(x0 + sigma eps, sigma) - x0|^2 / d, for each sigma: (len(sigmas),).

    The noise depends on the seed alone, so that two denoisers, and two sets of equal size, see the same.
    """
    errors = []
    for sigma in sigmas:
        generator, total = torch.Generator().manual_seed(seed), 0.0
        for part in x0.split(batch):
            eps = torch.randn(part.shape, generator=generator).to(part.device)
            total = total + ((denoiser(part + sigma * eps, sigma) - part) ** 2).sum()
        errors.append(total / x0.numel())
    return torch.stack(errors)
