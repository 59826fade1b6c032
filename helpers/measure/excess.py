"""Excess error: how far a denoiser is from the best one, which nobody knows, by the errors that two of them share.

Write a denoiser's error on held-out images as e_a = D_a(x) - x0 = e* + d_a, with e* that of the Bayes denoiser E[x0 | x]
of the true distribution and d_a what training missed. As e* is uncorrelated with every function of x,

    E<e_a, e_b> = E|e*|^2 + E<d_a, d_b>,

so the product of two networks' errors is an upper bound of the Bayes error unless their faults point against each other,
and a good one if the faults have little in common. The least of all pairs is the bound; what a network's own error has
above it, over the bound, is its excess. Used in chapter 1.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from helpers.denoiser import DenoiserLike
from helpers.parallel import side_by_side


@torch.no_grad()
def error_products(denoisers: Mapping[object, DenoiserLike], x0: Tensor, sigmas: Sequence[float], seed: int = 0) -> Tensor:
    """E<e_a, e_b> / d for all pairs of denoisers at each noise level: (len(sigmas), k, k) float64, on the CPU.

    x0 (n, C, H, W) in [-1, 1], images that no denoiser has seen. All of them see the same noise. ValueError without images.
    """
    if not len(x0):
        raise ValueError("an error is a mean over images: give at least one")
    found = []
    for sigma in sigmas:
        eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(seed)).to(x0.device)
        noisy = x0 + sigma * eps
        errors = side_by_side(lambda name, noisy=noisy, sigma=sigma: (denoisers[name](noisy, sigma) - x0).flatten(),
                              list(denoisers))
        e = torch.stack(list(errors)).double()
        found.append((e @ e.T / x0.numel()).cpu())
    return torch.stack(found)


def bayes_bound(products: Tensor) -> Tensor:
    """The least error product of two different denoisers at each noise level: (S, k, k) -> (S,). ValueError for k < 2."""
    k = products.shape[-1]
    if k < 2:
        raise ValueError("one denoiser's error bounds nothing: the bound takes two")
    apart = ~torch.eye(k, dtype=torch.bool)
    return products[:, apart].amin(1)


def excess(products: Tensor, bound: Tensor) -> Tensor:
    """(E|e_a|^2 - bound) / bound for each denoiser: (S, k, k), (S,) -> (S, k)."""
    return products.diagonal(dim1=1, dim2=2) / bound[:, None] - 1
