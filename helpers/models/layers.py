"""Layers that the networks share: what they know of the noise level and the label, norms, residual blocks, attention.

A network sees an image-shaped tensor `x` (B, C, H, W), one number per image that says how noisy it is, `c_noise` (B,), and
optionally a class label (B,). Sizes that cannot work are refused when a network is built, images that do not fit it when
it is called. Used by `unet.py`, `architectures.py`, `gan_vae.py` and `classifier.py`.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.models.words import label_table


def require_whole(least: int = 1, **sizes: int) -> None:
    """ValueError unless every size is a whole number, `least` or more."""
    for name, value in sizes.items():
        if type(value) is not int or value < least:
            raise ValueError(f"{name} must be a whole number of {least} or more, got {value!r}")


def require_images(x: Tensor, channels: int, patch: int = 1, size: int | None = None) -> None:
    """ValueError unless x is (B, channels, H, W), B >= 1, with H and W multiples of `patch`, or equal to `size` if given."""
    sides = f"{size}, {size}" if size else "H, W"
    if x.ndim != 4 or not len(x) or x.shape[1] != channels or size and x.shape[2:] != (size, size):
        raise ValueError(f"this network reads images (B, {channels}, {sides}) with B >= 1, got {tuple(x.shape)}")
    if x.shape[2] % patch or x.shape[3] % patch:
        raise ValueError(f"patches of {patch} x {patch} pixels do not divide images of {x.shape[2]} x {x.shape[3]}: "
                         "build the network with another patch")


def fourier_features(c_noise: Tensor, dim: int, max_period: float = 1e4, scale: float = 1000.0) -> Tensor:
    """Sinusoids of the noise level, cos(w_k c) and sin(w_k c), w_k geometric from 1 to 1/max_period, c = scale c_noise.

    c_noise (B,) -> (B, dim). The transformer's positional code, as in Ho et al. 2020, App. B; a scale of 1000 lets EDM's
    log(sigma)/4 use the same range as DDPM's 1000 steps, a smaller one makes the network smoother in sigma.
    """
    half = dim // 2
    freqs = torch.exp(-math.log(max_period) * torch.arange(half, device=c_noise.device) / half)
    angles = scale * c_noise.float()[:, None] * freqs[None, :]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def noise_layers(features: int, dim: int) -> list[nn.Module]:
    """The layers from the sinusoids of the noise level, (B, features), to (B, dim)."""
    if features % 2:
        raise ValueError(f"the noise level is told by pairs of a sine and a cosine: {features} features are odd")
    return [nn.Linear(features, dim), nn.SiLU(), nn.Linear(dim, dim)]


def embed(c_noise: Tensor, label: Tensor | None, noise: nn.Sequential, table: nn.Module | None,
          scale: float = 1000.0) -> Tensor:
    """noise(features(c_noise)) + table[label]: noise level (B,) and label (B,) or None as one vector, (B, dim).

    The last row of the table stands for "no label"; without a table, labels mean nothing.
    """
    emb = noise(fourier_features(c_noise, noise[0].in_features, scale=scale))
    if table is None:
        return emb
    return emb + table(torch.full_like(c_noise, table.num_embeddings - 1, dtype=torch.long) if label is None else label)


class Embedding(nn.Module):
    """Noise level and label as one vector: c_noise (B,), label (B,) or None -> (B, dim). label = classes: "no label".

    words   as in `UNet`
    """

    def __init__(self, dim: int, classes: int = 0, features: int = 64, words: str | None = None):
        super().__init__()
        self.noise = nn.Sequential(*noise_layers(features, dim))
        self.classes_of = label_table(classes, dim, words)

    def forward(self, c_noise: Tensor, label: Tensor | None) -> Tensor:
        return embed(c_noise, label, self.noise, self.classes_of)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalization in groups of at least 4 channels, 8 groups at most. ValueError if they do not divide."""
    groups = min(8, channels // 4)
    if groups < 1 or channels % groups:
        raise ValueError(f"{channels} channels do not divide into {max(1, groups)} groups of 4 or more: "
                         "choose a width of 4, or a multiple of 8")
    return nn.GroupNorm(groups, channels)


def zero(module: nn.Module) -> nn.Module:
    """The module with all parameters set to zero."""
    for p in module.parameters():
        nn.init.zeros_(p)
    return module


class ResidualBlock(nn.Module):
    """x + conv(silu(norm(conv(silu(norm(x)))) * (1 + scale) + shift)), scale and shift from the embedding.

    x (B, c_in, H, W), emb (B, e) -> (B, c_out, H, W). Ho et al. 2020 App. B, with the scale-shift conditioning of Dhariwal &
    Nichol 2021; the last convolution starts at zero, so that the block starts as the identity.
    """

    def __init__(self, c_in: int, c_out: int, c_emb: int, dropout: float = 0.0):
        super().__init__()
        self.norm1, self.conv1 = group_norm(c_in), nn.Conv2d(c_in, c_out, 3, padding=1)
        self.norm2, self.conv2 = group_norm(c_out), zero(nn.Conv2d(c_out, c_out, 3, padding=1))
        self.emb = nn.Linear(c_emb, 2 * c_out)
        self.dropout = dropout
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x)))
        scale, shift = self.emb(emb)[:, :, None, None].chunk(2, dim=1)
        h = F.silu(torch.addcmul(shift, self.norm2(h), 1 + scale))
        h = F.dropout(h, self.dropout, self.training)
        return self.skip(x) + self.conv2(h)


def attend(tokens: Tensor, qkv: nn.Module, heads: int) -> Tensor:
    """softmax(q k^T / sqrt(d)) v for each of the heads, d = dim / heads, side by side: tokens (B, L, dim) -> same.

    qkv   the linear layer from a token to its query, key and value: (B, L, dim) -> (B, L, 3 dim)
    """
    b, n, dim = tokens.shape
    q, k, v = qkv(tokens).view(b, n, 3, heads, dim // heads).permute(2, 0, 3, 1, 4)         # 3 x (B, heads, L, d)
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(b, n, dim)


class SelfAttention(nn.Module):
    """x + proj(attention) over the H*W positions, heads of about `head_dim` channels. (B, C, H, W) -> same."""

    def __init__(self, channels: int, head_dim: int = 32):
        super().__init__()
        self.heads = max(1, channels // head_dim)
        if channels % self.heads:
            raise ValueError(f"{channels} channels do not divide among {self.heads} heads: choose another width")
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)                                    # (B, HW, C)
        return x + self.proj(attend(tokens, self.qkv, self.heads)).transpose(1, 2).view_as(x)
