"""The oracle velocity: what flow matching would learn if it fitted its N training images perfectly.

Flow matching mixes an image with noise, x_t = t y + (1 - t) eps for t from 0 (noise) to 1 (image), and regresses on the
velocity y - eps. The best answer in mean square is the posterior mean of that,

    u(x, t) = sum_i g_i (y_i - x) / (1 - t),      g = softmax_i( -|x - t y_i|^2 / (2 (1 - t)^2) ),

and g is Theorem 1's softmax at x / t and sigma = (1 - t) / t: the oracle velocity and the optimal denoiser are one function
in two coordinate systems. Bertrand et al. 2025; Liu et al. 2025. (The network of `models/objectives.py` runs its time the
other way, from the image to the noise.) How many images g spreads over is `effective_number`. Used in chapter 8.
"""

import torch
from torch import Tensor

from helpers.closed_form.empirical import EmpiricalDenoiser
from helpers.closed_form.images import check_input
from helpers.denoiser import DenoiserLike, Label, Sigma, as_label


def velocity(denoiser: DenoiserLike, x: Tensor, t: float, label: Label | None = None) -> Tensor:
    """u(x, t) = (D(x / t, (1 - t) / t) - x) / (1 - t): x (B, C, H, W) at time t in (0, 1) -> (B, C, H, W).

    Of the optimal denoiser it is the oracle velocity; of a network, the velocity that it would follow.
    ValueError for another t.
    """
    if not 0 < t < 1:
        raise ValueError(f"a velocity has a time between 0 (noise) and 1 (image), got {t}")
    return (denoiser(x / t, noise_of(t), label=label) - x) / (1 - t)


def noise_of(t: float) -> float:
    """sigma = (1 - t) / t, the noise level of x_t / t. ValueError unless 0 < t <= 1."""
    if not 0 < t <= 1:
        raise ValueError(f"a time is above 0 (noise) and at most 1 (image), got {t}")
    return (1 - t) / t


def time_of(sigma: float) -> float:
    """t = 1 / (1 + sigma), the time at which x_t / t has this noise level. ValueError for a negative one."""
    if not sigma >= 0:
        raise ValueError(f"a noise level is at least 0, got {sigma}")
    return 1 / (1 + sigma)


@torch.no_grad()
def effective_number(denoiser: EmpiricalDenoiser, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
    """exp(-sum_i w_i ln w_i), how many images the posterior of x (B, C, H, W) spreads over: (B,) float64, from 1 to N.

    1: one image holds all the weight, and to denoise is to recall it. N: nothing is decided.
    """
    check_input(x, denoiser.images.shape[1:])
    label = as_label(label, x)
    _, peak, total = denoiser.mean(x, sigma, label, exact=True)
    gap = torch.zeros_like(peak)                                    # sum_i w_i (peak - logit_i), (B, 1)
    for _, logits in denoiser.logits(x, sigma, label):
        below = (peak - logits).clamp_max(1e4)                      # 0 exp(-1e4) = 0, where infinity would give NaN
        gap += (below * (-below).exp()).sum(1, keepdim=True) / total
    return (total.log() + gap).exp().squeeze(1)
