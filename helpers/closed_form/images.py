"""What the closed forms share: images as rows of numbers, and their checks.

Images x0 in [-1, 1] and x = x0 + sigma eps are (B, C, H, W); sigma is a number or (B,); D = C H W. Checks of values are
for what a closed form is made of; an x is looked at by `sample`, once.
"""

import torch
from torch import Tensor

from helpers.data import check_x0
from helpers.denoiser import Sigma, noise_level


def decode(images: Tensor, dtype: torch.dtype = torch.float64) -> Tensor:
    """Images as rows of floats where they are: uint8 0..255 becomes -1..1, floats stay as they are."""
    rows = images.flatten(1).to(dtype)                                              # (n, D)
    return rows / 127.5 - 1 if images.dtype == torch.uint8 else rows


def check_images(images: Tensor, name: str = "images") -> Tensor:
    """ValueError unless these are (N, C, H, W), N >= 1, uint8 or floats in [-1, 1] (`check_x0`)."""
    if isinstance(images, Tensor) and (images.ndim != 4 or images.numel() == 0):
        raise ValueError(f"{name} must be (N, C, H, W) with N >= 1, got {tuple(images.shape)}")
    return check_x0(images, name)


def check_finite(tensor: Tensor, name: str) -> None:
    """ValueError if NaN or infinity is among the numbers."""
    if tensor.is_floating_point() and not all(part.isfinite().all() for part in tensor.split(2048)):
        raise ValueError(f"{name} must be finite, got NaN or infinity")


def check_input(x: Tensor, shape: torch.Size) -> None:
    """ValueError unless x is (B, *shape), floats."""
    if x.ndim != 4 or x.shape[1:] != shape:
        raise ValueError(f"x must be (B, {', '.join(map(str, shape))}), got {tuple(x.shape)}")
    if not x.is_floating_point():
        raise ValueError(f"x must be floats, got {x.dtype}")


def variance(sigma: Sigma, x: Tensor) -> Tensor:
    """sigma^2 as float64, (1, 1) or (B, 1). The floor keeps sigma = 0 finite; it stands for the limit."""
    if not isinstance(sigma, Tensor):
        column = torch.full((1, 1), noise_level(sigma), dtype=torch.float64, device=x.device)     # filled in there: no copy
    else:
        column = sigma.to(x.device, torch.float64).reshape(-1, 1)
    if len(column) not in (1, len(x)):
        raise ValueError(f"sigma must be one number or one for each of the {len(x)} images, got {len(column)}")
    return column.clamp_min(1e-9) ** 2
