"""The optimal denoiser of a mixture of Gaussians: a density that is no Gaussian, and of which everything is known.

For x0 ~ sum_k w_k N(m_k, C_k) the noisy x = x0 + sigma eps is a mixture again, so the posterior mean is a mean of Wiener
filters, each weighted by how probable its component is given x:

    D(x, sigma) = sum_k r_k [ m_k + C_k (C_k + sigma^2)^-1 (x - m_k) ],   r_k ~ w_k N(x; m_k, C_k + sigma^2).

With it the probability flow can be integrated without a network. Images x0 and x = x0 + sigma eps are (B, C, H, W),
D = C H W; sigma is a number or (B,). Used in chapter 7, on pictures of two pixels: a plane.
"""

import torch
from torch import Tensor

from helpers.closed_form.images import check_finite, check_input, variance
from helpers.denoiser import Denoiser, Label, Sigma, resident


class MixtureDenoiser(Denoiser):
    """E[x0 | x] for x0 ~ sum_k w_k N(m_k, C_k); one component gives `GaussianDenoiser`.

    weights      (K,), positive; they are divided by their sum
    means        (K, C, H, W), finite
    covariances  (K, D, D), symmetric and positive definite

    Computes in float64, answers in the type of x. Labels are ignored. ValueError for anything else.
    """

    def __init__(self, weights: Tensor, means: Tensor, covariances: Tensor):
        super().__init__()
        weights, covariances = torch.as_tensor(weights).double(), torch.as_tensor(covariances).double()
        _check(weights, means, covariances)
        lam, basis = torch.linalg.eigh(covariances)                                 # (K, D), (K, D, D)
        if lam.min() <= 0:
            raise ValueError(f"covariances must be positive definite, got an eigenvalue of {lam.min():.3g}")
        for name, tensor in (("weights", weights / weights.sum()), ("means", means.double()), ("lam", lam),
                             ("basis", basis)):
            self.register_buffer(name, tensor)

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        """x (B, C, H, W) -> x0_hat (B, C, H, W) of the same type."""
        check_input(x, self.means.shape[1:])
        weights, means, lam, basis = (resident(self, name, x) for name in ("weights", "means", "lam", "basis"))
        center = means.flatten(1)                                                   # (K, D)
        total = lam + variance(sigma, x).double().view(-1, 1, 1)                    # (1 or B, K, D)
        coords = torch.einsum("bkd,kde->bke", x.double().flatten(1)[:, None] - center, basis)
        score = weights.log() - 0.5 * (total.log() + coords**2 / total).sum(2)      # (B, K)
        answers = center + torch.einsum("bke,kde->bkd", coords * lam / total, basis)
        return (score.softmax(1)[..., None] * answers).sum(1).view_as(x).to(x.dtype)

    def draw(self, n: int, generator: torch.Generator) -> Tensor:
        """n pictures of the density, (n, C, H, W) float32."""
        k = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        w = torch.randn(n, self.lam.shape[1], generator=generator, dtype=torch.float64) * self.lam[k].sqrt()
        x0 = self.means[k].flatten(1) + torch.einsum("be,bde->bd", w, self.basis[k])
        return x0.view(n, *self.means.shape[1:]).float()

    def moments(self) -> tuple[Tensor, Tensor]:
        """Mean (C, H, W) and covariance (D, D) of the density, float64."""
        rows = self.means.flatten(1)
        mean = self.weights @ rows
        inner = (self.basis * self.lam[:, None]) @ self.basis.mT                    # (K, D, D)
        off = rows - mean
        covariance = torch.einsum("k,kde->de", self.weights, inner + off[:, :, None] * off[:, None])
        return mean.view(self.means.shape[1:]), covariance


def _check(weights: Tensor, means: Tensor, covariances: Tensor) -> None:
    if weights.ndim != 1 or not len(weights) or not (weights > 0).all() or not weights.isfinite().all():
        raise ValueError(f"weights must be (K,), positive and finite, got {weights.tolist()}")
    k, d = len(weights), means[0].numel() if len(means) else 0
    if means.ndim != 4 or len(means) != k or covariances.shape != (k, d, d):
        raise ValueError(f"{k} weights need means ({k}, C, H, W) and covariances ({k}, CHW, CHW), got "
                         f"{tuple(means.shape)} and {tuple(covariances.shape)}")
    check_finite(means, "means")
    check_finite(covariances, "covariances")
    if (covariances - covariances.mT).abs().max() > 1e-4 * covariances.abs().max():
        raise ValueError("covariances must be symmetric")
