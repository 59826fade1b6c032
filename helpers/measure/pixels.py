"""Pixel by pixel: how far apart two images are, and how well one predicts the other. One number for each noise.

MSE has the units of the images; Pearson's r ignores brightness and contrast, and is what papers on local machines quote. On
clothes, which share a frame, r is high for any two pictures: read it beside its null (other noises) and beside the residual
share (`residuals.py`). Used in chapter 7.
"""

import torch
from torch import Tensor


def squared_error(x1: Tensor, x2: Tensor) -> Tensor:
    """Mean squared difference a pixel of images (n, C, H, W), clipped to [-1, 1]: (n,) float64."""
    _check_pair(x1, x2)
    return (x1.double().clamp(-1, 1) - x2.double().clamp(-1, 1)).flatten(1).square().mean(1)


def pearson(x1: Tensor, x2: Tensor) -> Tensor:
    """Pearson's correlation over the pixels of each image, images (n, C, H, W): (n,) float64; 0 for a flat image."""
    _check_pair(x1, x2)
    a, b = (x.double().flatten(1) - x.double().flatten(1).mean(1, keepdim=True) for x in (x1, x2))
    return torch.cosine_similarity(a, b, dim=1)


def _check_pair(x1: Tensor, x2: Tensor) -> None:
    if x1.ndim != 4 or x1.shape != x2.shape or not x1.numel():
        raise ValueError(f"two image sets of one shape (n, C, H, W) are needed, got {tuple(x1.shape)} and {tuple(x2.shape)}")
    if not (x1.isfinite().all() and x2.isfinite().all()):
        raise ValueError("images hold NaN or infinity: the sampler that made them has failed")
