"""A model whose whole training is a formula: random features under gradient flow, at one noise level.

The network is eps_hat(x) = A phi(x), with fixed features phi_i(x) = sqrt(2 / p) cos(w_i' x + b_i), w ~ N(0, 1 / scale^2) and
b uniform (Rahimi & Recht 2007); A (d, p) learns to predict the noise of x = x0 + sigma eps. Its error is quadratic,

    L(A) = E |A phi(x) - eps|^2 / d = 1 + tr(A U A' - 2 A V') / d,       U = E phi phi',   V = E eps phi',

so gradient flow from A = 0, dA/dtau = V - A U, has the solution

    A(tau) Q = V Q (1 - exp(-tau L)) / L        with U = Q L Q',

one eigendecomposition for all times. The mean over the noise is exact, too: with u = w_i +- w_j, E cos(u' x + c) is
cos(u' x0 + c) exp(-sigma^2 |u|^2 / 2), and E eps phi = sigma E grad phi (Stein). So are means over Gaussian images
N(0, diag(lam)). Bonnaire et al. 2025 study such a model with tanh features, in the limit of many dimensions; cosines are our
choice, for their exact means. Everything is float64. Used in chapter 6.
"""

from math import pi

import torch
from torch import Tensor

Moments = tuple[Tensor, Tensor]                 # U (p, p), V (d, p)


class RandomFeatures:
    """p cosine features of x = x0 + sigma eps in d dimensions, drawn with a seed.

    scale   length over which a feature varies: w ~ N(0, 1 / scale^2)

    ValueError unless d and p are whole and positive, and sigma and scale positive.
    """

    def __init__(self, d: int, p: int, sigma: float, scale: float, seed: int = 0):
        if min(d, p) < 1 or not (sigma > 0 and scale > 0):
            raise ValueError(f"features need d, p >= 1 and positive sigma and scale, got {d}, {p}, {sigma}, {scale}")
        generator = torch.Generator().manual_seed(seed)
        self.sigma = sigma
        self.w = torch.randn(p, d, generator=generator, dtype=torch.float64) / scale                    # (p, d)
        self.b = 2 * pi * torch.rand(p, generator=generator, dtype=torch.float64)                       # (p,)

    def __call__(self, x: Tensor) -> Tensor:
        """phi(x), (B, d) -> (B, p)."""
        return (2 / len(self.b)) ** 0.5 * (x.double() @ self.w.T + self.b).cos()

    def of_images(self, x0: Tensor) -> Moments:
        """U and V of a training set x0 (n, d), the mean over noise exact. ValueError for another shape."""
        if x0.ndim != 2 or not len(x0) or x0.shape[1] != self.w.shape[1]:
            raise ValueError(f"images are needed as (n, {self.w.shape[1]}), got {tuple(x0.shape)}")
        a = x0.double() @ self.w.T + self.b
        c, s = a.cos(), a.sin()
        cc, ss = c.T @ c / len(x0), s.T @ s / len(x0)
        return self._moments(cc - ss, cc + ss, s.mean(0))

    def of_gaussian(self, lam: Tensor) -> Moments:
        """U and V of all images N(0, diag(lam)), lam (d,) >= 0: what an endless training set would give."""
        inner = (self.w * lam.double()) @ self.w.T
        size, b = inner.diagonal(), self.b
        plus, minus = ((-(size[:, None] + size + 2 * sign * inner) / 2).exp() for sign in (1, -1))
        return self._moments((b[:, None] + b).cos() * plus, (b[:, None] - b).cos() * minus, b.sin() * (-size / 2).exp())

    def _moments(self, sums: Tensor, differences: Tensor, sines: Tensor) -> Moments:
        """U and V from the means over x0 of cos(a_i + a_j), cos(a_i - a_j) and sin(a_i), a = w' x0 + b."""
        v, inner, size = self.sigma**2, self.w @ self.w.T, self.w.square().sum(1)
        plus, minus = ((-v * (size[:, None] + size + 2 * sign * inner) / 2).exp() for sign in (1, -1))
        p = len(self.b)
        slope = -((2 / p) ** 0.5) * self.sigma * sines * (-v * size / 2).exp()                           # (p,)
        return (sums * plus + differences * minus) / p, slope * self.w.T


def weights(train: Moments, tau: float) -> Tensor:
    """A(tau) (d, p) after gradient flow for the time tau on a training set's moments."""
    lam, q, vq = _eigen(train)
    return (vq * _learned(lam, tau)) @ q.T


def error(a: Tensor, moments: Moments) -> float:
    """L(A), the mean squared error of the predicted noise in each dimension, on the images that the moments are of."""
    u, v = moments
    return (1 + ((a @ u * a).sum() - 2 * (a * v).sum()) / len(v)).item()


def learning_curves(train: Moments, test: Moments, taus: Tensor) -> tuple[Tensor, Tensor]:
    """L(A(tau)) on the images that were learned from and on others, at each training time: two of (len(taus),).

    ValueError for a negative time.
    """
    if not (taus >= 0).all():
        raise ValueError("training times are 0 or later")
    lam, q, vq = _eigen(train)
    u, v = q.T @ test[0] @ q, test[1] @ q
    known, unseen = [], []
    for tau in taus.tolist():
        a = vq * _learned(lam, tau)                                                                      # A(tau) Q
        known.append(error(a, (lam.diag(), vq)))
        unseen.append(error(a, (u, v)))
    return torch.tensor(known, dtype=torch.float64), torch.tensor(unseen, dtype=torch.float64)


def _eigen(train: Moments) -> tuple[Tensor, Tensor, Tensor]:
    lam, q = torch.linalg.eigh(train[0])
    return lam.clamp_min(0), q, train[1] @ q


def _learned(lam: Tensor, tau: float) -> Tensor:
    """(1 - exp(-tau lam)) / lam, which is tau where lam vanishes."""
    return torch.where(lam * tau > 1e-12, -torch.expm1(-lam * tau) / lam.clamp_min(1e-300), tau)
