"""Residuals: how much do two models share beyond the linear prediction?

Models that see data of one mean and covariance agree already where they are linear: the Gaussian denoiser maps the noise
to an image b in closed form (`GaussianDenoiser.flow`), and two images that resemble b resemble each other. What is left,

    r1 = x1 - b,   r2 = x2 - b,

is the part of the models' images that this does not explain. If x1 = b + n1 and x2 = b + n2 with unrelated n1 and n2, the
residuals do not agree, however alike the images look; if they agree, the models share more than the linear map.

Zero is not quite chance, though: both residuals hold the same b. If the images are as large as b and correlate with it by
rho < 1, then r = -(1 - rho) b + ..., and the residuals agree by (1 - rho) / 2 without any other thing in common: by 1/2
if the models ignore b. `residual_null` measures that level; what exceeds it is shared. Used in chapters 1, 3 and 4.
"""

import torch
from torch import Tensor

from helpers.data import as_x0
from helpers.measure.bootstrap import DRAWS, Score, percentile_interval, resampled_counts


def _residuals(x1: Tensor, x2: Tensor, baseline: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """r1, r2, b (n, D) float64. All images are clipped to [-1, 1]: else a b that overshoots makes any two models agree."""
    if x1.ndim != 4 or not (x1.shape == x2.shape == baseline.shape) or not x1.numel():
        raise ValueError(f"residuals need three image sets of one shape (n, C, H, W), got {tuple(x1.shape)}, "
                         f"{tuple(x2.shape)} and {tuple(baseline.shape)}")
    rows = [as_x0(x).flatten(1).double().clamp(-1, 1) for x in (x1, x2, baseline)]
    return rows[0] - rows[2], rows[1] - rows[2], rows[2]


def residual_share(x1: Tensor, x2: Tensor, baseline: Tensor, generator: torch.Generator, draws: int = DRAWS) -> Score:
    """E<r1, r2> / sqrt(E|r1|^2 E|r2|^2), r = x - b; in [-1, 1], its interval from a bootstrap over the n images.

    If r1 = s + n1 and r2 = s + n2 with unrelated s, n1, n2 and |n1| = |n2|, it is |s|^2 / (|s|^2 + |n|^2), the share of
    the residuals' energy that the models have in common. Large residuals count more than small ones.

    x1, x2, baseline   images of the same noises (n, C, H, W), uint8 or in [-1, 1], clipped to that range

    ValueError for images of other shapes, for what is no image, if there is no residual, or fewer than two images.
    """
    r1, r2, _ = _residuals(x1, x2, baseline)
    return _share((r1 * r2).sum(1), r1, r2, generator, draws)


def residual_null(x1: Tensor, x2: Tensor, baseline: Tensor, generator: torch.Generator, draws: int = DRAWS) -> Score:
    """E<p1, p2> / sqrt(E|r1|^2 E|r2|^2): the share that comes from a common mean residual and a common multiple of b.

    p = E r + c (b - E b) is the least-squares fit of r, one number c for all images and pixels: the share to expect of
    models that have nothing in common but their correlation with b. The interval takes the fit as known.
    """
    r1, r2, b = _residuals(x1, x2, baseline)
    p1, p2 = _explained(r1, b), _explained(r2, b)
    return _share((p1 * p2).sum(1), r1, r2, generator, draws)


def _explained(r: Tensor, b: Tensor) -> Tensor:
    """E r + c (b - E b) with the best c: (n, D), (n, D) -> (n, D)."""
    mean, centered = r.mean(0), b - b.mean(0)
    c = ((r - mean) * centered).sum() / centered.square().sum().clamp_min(torch.finfo(r.dtype).tiny)
    return mean + c * centered


def _share(cross: Tensor, r1: Tensor, r2: Tensor, generator: torch.Generator, draws: int) -> Score:
    """E cross / sqrt(E|r1|^2 E|r2|^2) with its bootstrap: cross (n,), residuals (n, D)."""
    moments = torch.stack([cross, r1.square().sum(1), r2.square().sum(1)], dim=1)                   # (n, 3)
    if (n := len(moments)) < 2 or (moments.sum(0)[1:] == 0).any():
        raise ValueError(f"a share needs two images or more that differ from the baseline, got n = {n}")
    counts = resampled_counts(n, draws, generator).to(moments.device)                               # (draws, n)
    total, first, second = torch.cat([moments.sum(0, keepdim=True), counts @ moments]).unbind(1)    # (1 + draws,)
    shares = total / (first * second).sqrt().clamp_min(torch.finfo(torch.float64).tiny)
    return Score(shares[0].item(), *percentile_interval(shares[1:]), n)
