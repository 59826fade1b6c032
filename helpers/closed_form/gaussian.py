"""The linear denoiser: what is known of images by their mean and covariance alone.

For x0 ~ N(mu, C) the posterior mean is the Wiener filter, and the probability-flow ODE is solved in closed form. It is the
baseline of every agreement: models that see the same data share its mean and covariance.

Images x0 in [-1, 1] and x = x0 + sigma eps are (B, C, H, W); sigma is a number or (B,); D = C H W. Used in every chapter.
"""

import math

import torch
from torch import Tensor

from helpers.closed_form.images import check_finite, check_images, check_input, decode, variance
from helpers.denoiser import Denoiser, Label, Sigma, resident


class GaussianDenoiser(Denoiser):
    """D(x, sigma) = mu + U diag(lam / (lam + sigma^2)) U^T (x - mu), the optimal denoiser of N(mu, U diag(lam) U^T).

    The Wiener filter: linear in x, and what trained denoisers resemble early on (Li et al. 2024; Wang & Vastola 2024).
    One eigendecomposition in float64; products in the type of x.

    mean        (C, H, W), finite
    covariance  (D, D), symmetric and positive semidefinite up to rounding

    Labels are ignored. ValueError for any other mean or covariance.
    """

    def __init__(self, mean: Tensor, covariance: Tensor):
        super().__init__()
        _check_moments(mean, covariance)
        lam, basis = torch.linalg.eigh(covariance.double())                         # (D,), (D, D)
        if lam[0] < -1e-4 * lam[-1].abs():
            raise ValueError(f"covariance must be positive semidefinite, got an eigenvalue of {lam[0]:.3g}")
        for name, tensor in (("mean", mean.double()), ("lam", lam.clamp_min(0)), ("basis", basis)):
            self.register_buffer(name, tensor)

    @classmethod
    def fit(cls, images: Tensor, chunk: int = 2048) -> "GaussianDenoiser":
        """From the mean and covariance (divided by N) of images (N, C, H, W), uint8 or floats in [-1, 1]."""
        parts, n = check_images(images).split(chunk), len(images)
        mean = sum(decode(part).sum(0) for part in parts) / n                       # (D,)
        centered = (decode(part) - mean for part in parts)
        covariance = sum(rows.T @ rows for rows in centered) / n                    # (D, D)
        return cls(mean.view(images.shape[1:]), covariance)

    def _filter(self, x: Tensor, gain: Tensor) -> Tensor:
        """mu + U diag(gain) U^T (x - mu), gain (1 or B, D); in float32 where x has fewer digits."""
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        basis, mean = (resident(self, name, x).to(precise.dtype) for name in ("basis", "mean"))
        coords = (precise - mean).flatten(1) @ basis                                # (B, D)
        return (mean + ((coords * gain.to(precise.dtype)) @ basis.T).view_as(x)).to(x.dtype)

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        """x (B, C, H, W) -> x0_hat (B, C, H, W) of the same type."""
        check_input(x, self.mean.shape)
        lam = resident(self, "lam", x)
        return self._filter(x, lam / (lam + variance(sigma, x)))

    def flow(self, z: Tensor, sigma_max: float, sigma_min: float = 0.0) -> Tensor:
        """The PF-ODE solved exactly from x = sigma_max z at sigma_max down to sigma_min; z and result (B, C, H, W).

        x(sigma) = mu + U diag(sqrt((lam + sigma^2) / (lam + sigma_max^2))) U^T (sigma_max z - mu).
        ValueError for levels that do not fall.
        """
        check_input(z, self.mean.shape)
        if not 0 <= sigma_min <= sigma_max < math.inf or not sigma_max:
            raise ValueError(f"a flow goes from sigma_max down to sigma_min >= 0, got {sigma_max} and {sigma_min}")
        lam = resident(self, "lam", z)
        return self._filter(sigma_max * z, ((lam + sigma_min**2) / (lam + sigma_max**2)).sqrt()[None])


def _check_moments(mean: Tensor, covariance: Tensor) -> None:
    d = mean.numel()
    if mean.ndim != 3 or covariance.shape != (d, d):
        raise ValueError(f"mean must be (C, H, W) and covariance (CHW, CHW), got {tuple(mean.shape)} and "
                         f"{tuple(covariance.shape)}")
    check_finite(mean, "mean")
    check_finite(covariance, "covariance")
    if (covariance - covariance.T).abs().max() > 1e-4 * covariance.abs().max():
        raise ValueError("covariance must be symmetric")
