"""Generators that are not diffusion models: a GAN and a VAE, for the claim that reproducibility is special to diffusion.

Both draw an image from a latent vector u ~ N(0, I) in one evaluation, x = G(u). To start them from "the same noise" as a
diffusion model, u is the first `latent` pixels of its noise z. They take the form of a denoiser that is asked once,
D(sigma_max z, sigma_max) = G(u(z)), so that a chapter samples them like every other system. Used in chapter 1.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from helpers.denoiser import broadcast_sigma
from helpers.models.layers import group_norm, require_images, require_whole


class Generator(nn.Module):
    """u (B, latent) -> image (B, C, size, size) in (-1, 1): a linear layer, then three convolutions, doubling twice."""

    def __init__(self, latent: int, width: int, size: int, image_channels: int):
        super().__init__()
        self.start = (4 * width, size // 4, size // 4)
        self.linear = nn.Linear(latent, 4 * width * (size // 4) ** 2)
        self.convolutions = nn.ModuleList([nn.Conv2d(4 * width, 2 * width, 3, padding=1),
                                           nn.Conv2d(2 * width, width, 3, padding=1)])
        self.norms = nn.ModuleList([group_norm(4 * width), group_norm(2 * width)])
        self.last = nn.Conv2d(width, image_channels, 3, padding=1)

    def forward(self, u: Tensor) -> Tensor:
        h = self.linear(u).view(-1, *self.start)
        for norm, convolution in zip(self.norms, self.convolutions):
            h = F.interpolate(convolution(F.silu(norm(h))), scale_factor=2.0, mode="nearest")
        return self.last(F.silu(h)).tanh()


class Critic(nn.Module):
    """Image (B, C, size, size) -> `outputs` numbers (B, outputs): three convolutions, halving twice, and a linear layer."""

    def __init__(self, outputs: int, width: int, size: int, image_channels: int):
        super().__init__()
        self.size, self.image_channels = size, image_channels
        self.convolutions = nn.Sequential(
            nn.Conv2d(image_channels, width, 3, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, 4, 2, padding=1), nn.LeakyReLU(0.2),
            nn.Conv2d(2 * width, 4 * width, 4, 2, padding=1), nn.LeakyReLU(0.2))
        self.linear = nn.Linear(4 * width * (size // 4) ** 2, outputs)

    def forward(self, x: Tensor) -> Tensor:
        require_images(x, self.image_channels, size=self.size)
        return self.linear(self.convolutions(x).flatten(1))


class GeneratorPair(nn.Module):
    """A generator and what it is trained against: a critic (GAN, one output) or an encoder (VAE, mean and log variance)."""

    outer: set[str] = set()

    def __init__(self, latent: int = 32, width: int = 16, size: int = 28, image_channels: int = 1, outputs: int = 1):
        super().__init__()
        require_whole(latent=latent, width=width, size=size, image_channels=image_channels, outputs=outputs)
        if size % 4:
            raise ValueError(f"the side of the image must divide by 4, got {size}")
        if latent > image_channels * size**2:
            raise ValueError(f"latent must be at most the {image_channels * size**2} pixels of the noise, got {latent}")
        self.latent = latent
        self.generator = Generator(latent, width, size, image_channels)
        self.partner = Critic(outputs, width, size, image_channels)


def latent_of(z: Tensor, latent: int) -> Tensor:
    """u, the first `latent` pixels of the noise: z (B, C, H, W) -> (B, latent). ValueError if z has not that many."""
    if not len(z) or z[0].numel() < latent:
        raise ValueError(f"a latent of {latent} numbers needs noises (B, C, H, W) with as many pixels, got {tuple(z.shape)}")
    return z.flatten(1)[:, :latent]


@dataclass(frozen=True)
class _OneShot:
    """What a GAN and a VAE share: an image in one evaluation, from a latent that is a part of the noise."""

    strict = True

    @property
    def sampling(self) -> dict[str, float | int | str]:
        """One evaluation; sigma_max cancels."""
        return {"solver": "euler", "steps": 1}

    def denoise(self, network: GeneratorPair, x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        """G(u(x / sigma)): x = sigma z, (B, C, H, W) -> image (B, C, H, W), float32."""
        z = x / broadcast_sigma(sigma, x).view(-1, 1, 1, 1)
        return network.generator(latent_of(z, network.latent)).float()


@dataclass(frozen=True)
class GAN(_OneShot):
    """R3GAN's loss, Huang et al. 2024: a relativistic pairing loss and two zero-centered gradient penalties.

        critic      E softplus( C(G(u)) - C(x) ) + gamma/2 ( E|grad C(x)|^2 + E|grad C(G(u))|^2 )
        generator   E softplus( C(x) - C(G(u)) )

    One scalar holds both: in each term the other network's weights are constants, so one backward pass gives each its own
    gradient, and the book's one loop trains it.
    """

    gamma: float = 1.0

    def loss(self, network: GeneratorPair, x0: Tensor, label: Tensor | None, generator: torch.Generator,
             progress: float = 0.0) -> Tensor:
        """Critic's loss plus generator's, a scalar; 2 ln 2 where the critic cannot tell them apart."""
        u = torch.randn(len(x0), network.latent, generator=generator, device=x0.device)
        fake, frozen = network.generator(u), {n: p.detach() for n, p in network.partner.named_parameters()}
        real_score = functional_call(network.partner, frozen, (x0,)).detach()
        generator_loss = F.softplus(real_score - functional_call(network.partner, frozen, (fake,))).mean()
        x, y = x0.detach().requires_grad_(), fake.detach().requires_grad_()
        on_x, on_y = network.partner(x), network.partner(y)
        slopes = torch.autograd.grad((on_x.sum(), on_y.sum()), (x, y), create_graph=True)
        penalty = sum(slope.flatten(1).square().sum(1).mean() for slope in slopes)
        return generator_loss + F.softplus(on_y - on_x).mean() + 0.5 * self.gamma * penalty


@dataclass(frozen=True)
class VAE(_OneShot):
    """Kingma & Welling 2014: |x - G(u)|^2 / (2 noise^2) + KL( N(mean, var) | N(0, I) ), u = mean + std * eps, per pixel.

    noise   standard deviation of a pixel given the latent, in [-1, 1]: what the decoder may get wrong
    """

    noise: float = 0.25

    def loss(self, network: GeneratorPair, x0: Tensor, label: Tensor | None, generator: torch.Generator,
             progress: float = 0.0) -> Tensor:
        """The negative evidence bound per pixel, without its constant: a scalar. ValueError if the encoder's outputs do
        not hold a mean and a log variance for each latent."""
        code = network.partner(x0).float()
        if code.shape[1] != 2 * network.latent:
            raise ValueError(f"a VAE's encoder needs outputs = 2 * latent = {2 * network.latent}, got {code.shape[1]}")
        mean, log_var = code.chunk(2, dim=1)
        eps = torch.randn(mean.shape, generator=generator, device=x0.device)
        x = network.generator(mean + (0.5 * log_var).exp() * eps)
        kl = 0.5 * (mean**2 + log_var.exp() - 1 - log_var).sum(1).mean()
        return ((x - x0) ** 2).mean() / (2 * self.noise**2) + kl / x0[0].numel()
