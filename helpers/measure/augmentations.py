"""Edits: what somebody who copies an image might do to it, on tensors and at random.

The descriptor (`descriptor.py`) learns to see through them; its threshold is calibrated with them (`calibration.py`).
"""

import math

import torch
from torch import Tensor
from torch.nn import functional as F


def warp(x: Tensor, angle: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Rotate (radians), scale, shift (pixels right and down, (B, 2)) images (B, C, H, W); the border is continued."""
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    offset = -2 * shift / torch.tensor([x.shape[3], x.shape[2]])
    # affine_grid maps output to input coordinates, so this is the inverse of the motion that the reader has in mind.
    theta = torch.stack([torch.stack([cos, sin, cos * offset[:, 0] + sin * offset[:, 1]], 1),
                         torch.stack([-sin, cos, cos * offset[:, 1] - sin * offset[:, 0]], 1)], 1)  # (B, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


def blur(x: Tensor, sigma: Tensor) -> Tensor:
    """Gaussian blur of images (B, 1, H, W) with one width in pixels per image (B,)."""
    t = torch.arange(-3.0, 4.0)
    taps = torch.exp(-0.5 * (t / sigma[:, None].clamp(min=1e-3)) ** 2)
    taps = taps / taps.sum(1, keepdim=True)                                                         # (B, 7)
    b = len(x)
    x = F.pad(x, (3, 3, 3, 3), mode="replicate").transpose(0, 1)                                    # (1, B, H+6, W+6)
    x = F.conv2d(F.conv2d(x, taps.view(b, 1, 1, 7), groups=b), taps.view(b, 1, 7, 1), groups=b)
    return x.transpose(0, 1)


def edited_copies(x: Tensor, generator: torch.Generator, strength: float = 1.0) -> Tensor:
    """A random edit of each image (B, 1, H, W) in [-1, 1]: what somebody who copies might do to it.

    At strength 1: rotation within 8 degrees, scale within 8 %, shift within 1.5 px, gain within 25 %, contrast within
    25 %, and for half of the images each a blur of up to 1 px and noise of up to 0.2. No flip: that is another shoe.
    """
    b = len(x)

    def uniform(*shape: int) -> Tensor:
        return strength * (2 * torch.rand(b, *shape, generator=generator) - 1)

    def sometimes(limit: float) -> Tensor:
        return limit * strength * torch.rand(b, generator=generator) * (torch.rand(b, generator=generator) < 0.5)

    x = warp(x, math.radians(8) * uniform(), 1 + 0.08 * uniform(), 1.5 * uniform(2))
    x = blur(x, sometimes(1.0))
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    x = mean + (1 + 0.25 * uniform(1, 1, 1)) * (x - mean)
    x = (1 + 0.25 * uniform(1, 1, 1)) * (x + 1) - 1
    x = x + sometimes(0.2).view(b, 1, 1, 1) * torch.randn(x.shape, generator=generator)
    return x.clamp(-1, 1)


# The edits that the threshold is calibrated with: images (B, 1, H, W) in [-1, 1], generator -> edited images.
EDITS = {
    "shift by 1 px": lambda x, g: warp(x, torch.zeros(len(x)), torch.ones(len(x)), torch.tensor([[1.0, 0.0]])),
    "rotation by 5°": lambda x, g: warp(x, torch.full((len(x),), math.pi / 36), torch.ones(len(x)), torch.zeros(1, 2)),
    "scale by 5 %": lambda x, g: warp(x, torch.zeros(len(x)), torch.full((len(x),), 1.05), torch.zeros(1, 2)),
    "20 % darker": lambda x, g: 0.8 * (x + 1) - 1,
    "blur of 0.7 px": lambda x, g: blur(x, torch.full((len(x),), 0.7)),
    "noise of 0.1": lambda x, g: (x + 0.1 * torch.randn(x.shape, generator=g)).clamp(-1, 1),
}
