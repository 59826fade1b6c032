"""What the closed forms share: images as rows of numbers, and their checks.

Images x0 in [-1, 1] and x = x0 + sigma eps are (B, C, H, W); sigma is a number or (B,); D = C H W.
"""

import torch
from torch import Tensor

from helpers.denoiser import Sigma


def decode(images: Tensor, like: Tensor) -> Tensor:
    """Images as float64 rows on the device of `like`: uint8 0..255 becomes -1..1, floats stay as they are."""
    rows = images.flatten(1).to(like.device, torch.float64)                         # (n, D)
    return rows / 127.5 - 1 if images.dtype == torch.uint8 else rows


def check_images(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.numel() == 0:
        raise ValueError(f"images must be (N, C, H, W) with N >= 1, got {tuple(images.shape)}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ValueError(f"images must be uint8 in 0..255 or floats in [-1, 1], got {images.dtype}")
    return images


def check_input(x: Tensor, shape: torch.Size) -> None:
    if x.ndim != 4 or x.shape[1:] != shape:
        raise ValueError(f"x must be (B, {', '.join(map(str, shape))}), got {tuple(x.shape)}")


def variance(sigma: Sigma, x: Tensor) -> Tensor:
    """sigma^2 as float64, (1, 1) or (B, 1). The floor keeps sigma = 0 finite; it stands for the limit."""
    column = torch.as_tensor(sigma, dtype=torch.float64, device=x.device).reshape(-1, 1)
    if column.shape[0] not in (1, x.shape[0]):
        raise ValueError(f"sigma must be one number or one for each of the {x.shape[0]} images, got {column.shape[0]}")
    return column.clamp_min(1e-9) ** 2
