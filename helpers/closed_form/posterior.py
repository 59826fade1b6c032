"""The posterior of a Gaussian prior: an inverse problem whose answer is known in closed form.

For x0 ~ N(mu, C) and y = A x0 + sigma_y eps,

    p(x0 | y) = N(mu + K (y - A mu), C - K A C),    K = C A^T (A C A^T + sigma_y^2 I)^-1

The mean is the linear baseline of every reconstruction; and since the posterior is Gaussian again, its probability-flow
ODE is solved exactly, so that a noise z has one image under it: the linear baseline of agreement. Used in chapter 4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from helpers.closed_form.gaussian import GaussianDenoiser
from helpers.closed_form.images import check_finite
from helpers.operators import Operator


@dataclass(frozen=True)
class GaussianPosterior:
    """p(x0 | y) for n measurements: means (n, C, H, W), and one covariance (D, D), float64; it does not depend on y."""

    mean: Tensor
    covariance: Tensor

    def flow(self, z: Tensor, sigma_max: float = 80.0) -> Tensor:
        """The image of each noise z (n, C, H, W) under its own posterior: the PF-ODE solved exactly from sigma_max z."""
        mean = self.mean.to(z)
        centered = GaussianDenoiser(torch.zeros_like(self.mean[0]), self.covariance)
        return mean + centered.flow(z - mean / sigma_max, sigma_max)

    def sampling_errors(self, x: Tensor, pixels: Tensor) -> tuple[float, float]:
        """How far samples x (k, C, H, W) of the first posterior are from it, on some pixels, (D,) bool.

        The root-mean-square bias of their mean, and the sum of their variances over the exact one. Exact samples have a
        bias of sqrt(mean variance / k), and a ratio of 1.
        """
        if len(x) < 2 or x.shape[1:] != self.mean.shape[1:]:
            raise ValueError(f"need two samples or more of {tuple(self.mean.shape[1:])}, got {tuple(x.shape)}")
        rows, variance = x.cpu().double().flatten(1), self.covariance.diagonal()
        bias = (rows.mean(0) - self.mean[0].flatten())[pixels].square().mean().sqrt()
        return bias.item(), (rows.var(0)[pixels].sum() / variance[pixels].sum()).item()


def gaussian_posterior(prior: GaussianDenoiser, operator: Operator, y: Tensor, noise: float) -> GaussianPosterior:
    """The posterior of a Gaussian prior for measurements y (n, *m), finite, with noise sigma_y > 0; ValueError otherwise."""
    if not noise > 0:
        raise ValueError(f"the measurement noise must be positive, got {noise}")
    check_finite(y, "a measurement")
    basis, mean = prior.basis.cpu(), prior.mean.cpu()
    covariance = (basis * prior.lam.cpu()) @ basis.T                                                # C, (D, D)
    seen = operator(covariance.view(-1, *operator.shape)).flatten(1)                                # C A^T, (D, m)
    inner = operator(seen.T.reshape(-1, *operator.shape)).flatten(1)                                # A C A^T, (m, m)
    inner = inner + noise**2 * torch.eye(len(inner), dtype=torch.float64)
    gain = torch.linalg.solve(inner, seen.T).T                                                      # K, (D, m)
    error = y.cpu().double().flatten(1) - operator(mean[None]).flatten(1)                           # (n, m)
    means = mean + (error @ gain.T).view(-1, *operator.shape)
    posterior = covariance - gain @ seen.T
    return GaussianPosterior(means, (posterior + posterior.T) / 2)
