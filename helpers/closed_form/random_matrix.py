"""Two linear models that share no image: how far apart do they land? Random matrix theory, no training and no data.

A denoiser that knows the mean and the covariance of n images is linear, and two of them from disjoint halves differ because
each covariance S^ is one draw. For x0 ~ N(mu, S) with eigenvalues lam_k, n and D large, a noisy covariance acts as the true
one at a higher noise level kappa (the self-consistent equation)

    kappa - sigma^2 = kappa / n  sum_k lam_k / (lam_k + kappa),           E[S^ (S^ + sigma^2)^-1] = S (S + kappa)^-1,

and along the eigenvector k its output varies over draws by

    Var_k = kappa^2 / (n - df2)  lam_k / (lam_k + kappa)^2  (1 + Q),      df2 = sum_k lam_k^2 / (lam_k + kappa)^2,

with Q = (x - mu)^T S (S + kappa)^-2 (x - mu); the 1 is the mean's own share, which is estimated, too. Two models that share
no image differ by twice that. From noise to image the linear map is mu + S^^(1/2) z at high sigma_max, and
S^^(1/2) = (2/pi) int_0^inf S^ (S^ + u^2)^-1 du carries both formulas over to samples. Wang, Zavatone-Veth & Pehlevan 2026;
the 1 of the mean is derived here. Eigenvalues are (D,) float64. Used in chapter 7.
"""

from math import pi

import torch
from torch import Tensor


def effective_noise(lam: Tensor, n: int, variance: Tensor) -> Tensor:
    """kappa of kappa - v = (kappa / n) sum_k lam_k / (lam_k + kappa): v (...) -> (...), float64.

    lam   eigenvalues (D,) >= 0; n images; variance v = sigma^2 > 0. ValueError for others.

    The left side less the right is convex in kappa, so Newton's steps from above fall to the root.
    """
    lam, v = check_spectrum(lam, n), torch.as_tensor(variance, dtype=torch.float64)
    if not (v > 0).all():
        raise ValueError("the noise level must be positive: at 0 a singular covariance has no inverse")
    kappa = v + lam.sum() / n
    for _ in range(200):
        gain = lam / (lam + kappa[..., None])                                       # (..., D)
        step = (kappa - kappa * gain.sum(-1) / n - v) / (1 - gain.square().sum(-1) / n)
        kappa = torch.maximum(kappa - step, v)
        if (step.abs() <= 1e-13 * kappa).all():
            break
    return kappa


def expected_gain(lam: Tensor, n: int, sigma: float) -> Tensor:
    """E of the linear denoiser's factor by mode, lam / (lam + kappa) (D,): less than lam / (lam + sigma^2), the true one."""
    lam = check_spectrum(lam, n)
    return lam / (lam + effective_noise(lam, n, sigma**2))


def denoiser_split(lam: Tensor, n: int, sigma: float) -> Tensor:
    """E (u_k' (D_1 - D_2)(x))^2 by mode, (D,): two linear denoisers of n images each, none in common, on x0 + sigma eps.

    Twice Var_k with E Q = sum_j lam_j (lam_j + sigma^2) / (lam_j + kappa)^2. Its mean over k is the MSE a pixel.
    """
    lam = check_spectrum(lam, n)
    kappa = effective_noise(lam, n, sigma**2)
    shrunk = lam / (lam + kappa).square()
    spread = 1 + (shrunk * (lam + sigma**2)).sum()
    return 2 * kappa.square() / (n - (lam * shrunk).sum()) * shrunk * spread


def expected_map(lam: Tensor, n: int, nodes: int = 400) -> Tensor:
    """E of the factor of the sampling map by mode, (2/pi) int lam / (lam + kappa(u^2)) du (D,): about sqrt(lam)."""
    lam = check_spectrum(lam, n)
    u, weight = _half_line(lam, nodes)
    kappa = effective_noise(lam, n, u.square())                                     # (nodes,)
    return 2 / pi * (weight * lam[:, None] / (lam[:, None] + kappa)).sum(1)


def map_split(lam: Tensor, n: int, nodes: int = 400) -> Tensor:
    """E (u_k' (x_1 - x_2))^2 by mode, (D,): two linear sampling maps of n images each, none in common, from the same z.

    2 [ (4/pi^2) int int kappa kappa' / (n - df2) tr(S A A') lam_k a_k a_k' du du' + lam_k / n ],  A = (S + kappa)^-1,
    df2 = tr(S^2 A A'); the last term is the mean's. For sigma_max well above the largest standard deviation of the data.
    """
    lam = check_spectrum(lam, n)
    u, weight = _half_line(lam, nodes)
    kappa = effective_noise(lam, n, u.square())
    a = 1 / (lam[:, None] + kappa)                                                  # (D, nodes)
    trace, df2 = (a * lam[:, None]).T @ a, (a * lam.square()[:, None]).T @ a        # (nodes, nodes)
    scaled = a * (kappa * weight)
    pairs = (scaled @ (trace / (n - df2)) * scaled).sum(1)                          # (D,)
    return 2 * (4 / pi**2 * lam * pairs + lam / n)


def _half_line(lam: Tensor, nodes: int) -> tuple[Tensor, Tensor]:
    """Nodes u and weights of int_0^inf du, by the trapezoid rule in log u: from far below to far above the data's scale."""
    if nodes < 2:
        raise ValueError(f"an integral needs 2 nodes or more, got {nodes}")
    scale = lam.max().sqrt()
    logs = torch.linspace(-14, 10, nodes, dtype=torch.float64)
    u = scale * logs.exp()
    return u, u * (logs[1] - logs[0])


def check_spectrum(lam: Tensor, n: int) -> Tensor:
    """Eigenvalues as float64. ValueError unless they are (D,), finite, none below 0, one above, and n is 1 or more."""
    if lam.ndim != 1 or not lam.isfinite().all() or not (lam >= 0).all() or not (lam > 0).any():
        raise ValueError("eigenvalues must be (D,), finite and not negative, with a positive one among them")
    if not isinstance(n, int) or n < 1:
        raise ValueError(f"the number of images must be whole, 1 or more, got {n!r}")
    return lam.double()
