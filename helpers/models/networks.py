"""Networks: (x, noise level, label) -> output, with nothing about diffusion inside.

A network sees an image-shaped tensor `x` (B, C, H, W), one number per image that says how noisy it is, `c_noise` (B,), and
optionally a class label (B,). What the output *means* (a denoised image, the noise, a velocity) is the business of
`objectives.py`. Used by every chapter that trains.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def fourier_features(c_noise: Tensor, dim: int, max_period: float = 1e4) -> Tensor:
    """Sinusoids of the noise level, cos(w_k c) and sin(w_k c), w_k geometric from 1 to 1/max_period.

    c_noise (B,) -> (B, dim). The transformer's positional code, as in Ho et al. 2020, App. B; c_noise is scaled by 1000 so
    that EDM's log(sigma)/4 uses the same range as DDPM's 1000 steps.
    """
    half = dim // 2
    freqs = torch.exp(-math.log(max_period) * torch.arange(half, device=c_noise.device) / half)
    angles = 1000.0 * c_noise.float()[:, None] * freqs[None, :]
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def group_norm(channels: int) -> nn.GroupNorm:
    """Group normalization in groups of at least 4 channels, 8 groups at most."""
    return nn.GroupNorm(min(8, channels // 4), channels)


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


class SelfAttention(nn.Module):
    """x + proj(softmax(q k^T / sqrt(d)) v) over the H*W positions, heads of `head_dim` channels. (B, C, H, W) -> same."""

    def __init__(self, channels: int, head_dim: int = 32):
        super().__init__()
        self.heads = max(1, channels // head_dim)
        self.norm = group_norm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = zero(nn.Linear(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        b, c, h, w = x.shape
        tokens = self.norm(x).flatten(2).transpose(1, 2)                            # (B, HW, C)
        qkv = self.qkv(tokens).view(b, h * w, 3, self.heads, c // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)                                        # 3 x (B, heads, HW, d)
        weights = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(dim=-1)   # (B, heads, HW, HW)
        out = (weights @ v).transpose(1, 2).reshape(b, h * w, c)
        return x + self.proj(out).transpose(1, 2).view(b, c, h, w)


class Level(nn.Module):
    """The residual blocks of one resolution, each followed by attention where asked for."""

    def __init__(self, c_ins: list[int], c_out: int, c_emb: int, attention: bool, dropout: float):
        super().__init__()
        self.blocks = nn.ModuleList(ResidualBlock(c, c_out, c_emb, dropout) for c in c_ins)
        self.attention = nn.ModuleList(SelfAttention(c_out) if attention else nn.Identity() for _ in c_ins)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        for block, attend in zip(self.blocks, self.attention):
            x = attend(block(x, emb))
        return x


class UNet(nn.Module):
    """A U-Net in the manner of DDPM (Ho et al. 2020), for small images on a CPU.

    x (B, C, H, W), c_noise (B,), label (B,) or None -> (B, C, H, W). H and W divide by patch.

    width        channels of the first level; the paper's UNet-64, -128, -256 are named by it
    multipliers  channels of each level, in widths; the resolution halves from one to the next
    blocks       residual blocks a level, on the way down and on the way up
    attention    for each level, whether its blocks attend; the middle, at the lowest resolution, always does
    patch        pixel-unshuffle factor at the input: 2 turns 28x28x1 into 14x14x4
    classes      0 for an unconditional network; otherwise label = classes means "no label"
    """

    outer = {"stem", "head", "label", "embed", "emb"}     # input, output, embeddings: Adam's when Muon trains the rest

    def __init__(self, image_channels: int = 1, width: int = 32, multipliers: tuple[int, ...] = (1, 2, 4), blocks: int = 1,
                 attention: tuple[bool, ...] | None = None, patch: int = 2, classes: int = 0, dropout: float = 0.0):
        super().__init__()
        attention = attention or (False,) * len(multipliers)
        if len(attention) != len(multipliers):
            raise ValueError(f"attention has {len(attention)} entries for {len(multipliers)} levels: give one a level")
        widths, c_emb = [width * m for m in multipliers], 4 * width
        self.width, self.patch, self.classes = width, patch, classes
        self.embed = nn.Sequential(nn.Linear(width, c_emb), nn.SiLU(), nn.Linear(c_emb, c_emb), nn.SiLU())
        self.label = nn.Embedding(classes + 1, c_emb) if classes else None
        self.stem = nn.Conv2d(image_channels * patch**2, width, 3, padding=1)
        ins = [width, *widths[:-1]]
        self.down = nn.ModuleList(Level([c_in] + [c] * (blocks - 1), c, c_emb, a, dropout)
                                  for c_in, c, a in zip(ins, widths, attention))
        self.middle = Level([widths[-1]], widths[-1], c_emb, True, dropout)
        outs = [*widths[1:], widths[-1]]
        self.up = nn.ModuleList(Level([above + c] + [c] * (blocks - 1), c, c_emb, a, dropout)
                                for above, c, a in zip(outs, widths, attention))
        self.head = nn.Sequential(group_norm(widths[0]), nn.SiLU(),
                                  zero(nn.Conv2d(widths[0], image_channels * patch**2, 3, padding=1)))

    def embedding(self, c_noise: Tensor, label: Tensor | None) -> Tensor:
        """Noise level and label as one vector, (B, 4 * width)."""
        emb = self.embed(fourier_features(c_noise, self.width))
        if self.label is None:
            return emb
        none = torch.full_like(c_noise, self.classes, dtype=torch.long)
        return emb + self.label(none if label is None else label)

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        emb = self.embedding(c_noise, label)
        h = self.stem(F.pixel_unshuffle(x, self.patch))
        skips = []
        for i, level in enumerate(self.down):
            h = level(F.avg_pool2d(h, 2, ceil_mode=True) if i else h, emb)
            skips.append(h)
        h = self.middle(h, emb)
        for i in reversed(range(len(self.up))):
            h = self.up[i](torch.cat([h, skips[i]], dim=1), emb)
            h = F.interpolate(h, size=skips[i - 1].shape[-2:], mode="nearest") if i else h
        return F.pixel_shuffle(self.head(h), self.patch)
