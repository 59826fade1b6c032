"""The U-Net: (x, noise level, label) -> output, with nothing about diffusion inside.

What the output *means* (a denoised image, the noise, a velocity) is the business of `objectives.py`. Used by every chapter
that trains.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.models.layers import (
    ResidualBlock,
    SelfAttention,
    embed,
    group_norm,
    noise_layers,
    require_images,
    require_whole,
    zero,
)
from helpers.models.words import label_table


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

    x (B, C, H, W), c_noise (B,), label (B,) or None -> (B, C, H, W). H and W are multiples of patch.

    width        channels of the first level; the paper's UNet-64, -128, -256 are named by it
    multipliers  channels of each level, in widths; the resolution halves from one to the next
    blocks       residual blocks a level, on the way down and on the way up
    attention    for each level, whether its blocks attend; the middle, at the lowest resolution, always does
    patch        pixel-unshuffle factor at the input: 2 turns 28x28x1 into 14x14x4
    classes      0 for an unconditional network; otherwise label = classes means "no label"
    words        None: labels are classes; else the name of a table of captions, and `classes` is how many it has
    noise_scale  what the noise level is multiplied by before its sinusoids are taken
    """

    outer = {"stem", "head", "label", "embed", "emb"}     # input, output, embeddings: Adam's when Muon trains the rest

    def __init__(self, image_channels: int = 1, width: int = 32, multipliers: tuple[int, ...] = (1, 2, 4), blocks: int = 1,
                 attention: tuple[bool, ...] | None = None, patch: int = 2, classes: int = 0, dropout: float = 0.0,
                 noise_scale: float = 1000.0, words: str | None = None):
        super().__init__()
        require_whole(image_channels=image_channels, width=width, blocks=blocks, patch=patch, levels=len(multipliers))
        require_whole(0, classes=classes)
        attention = attention or (False,) * len(multipliers)
        if len(attention) != len(multipliers):
            raise ValueError(f"attention has {len(attention)} entries for {len(multipliers)} levels: give one a level")
        widths, c_emb = [width * m for m in multipliers], 4 * width
        self.image_channels, self.patch, self.classes, self.noise_scale = image_channels, patch, classes, noise_scale
        self.embed = nn.Sequential(*noise_layers(width, c_emb), nn.SiLU())
        self.label = label_table(classes, c_emb, words)
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

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        require_images(x, self.image_channels, self.patch)
        emb = embed(c_noise, label, self.embed, self.label, self.noise_scale)
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
