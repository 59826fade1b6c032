"""The noise hyperplane: which of three images does a noise between three noises become?

Three noises e1, e2, e3 span a plane; a model carries every point of it to an image. Color each point by the corner whose
image it resembles most, and the plane falls into three cells. The paper sees the same cells from model to model, so that
models share a partition of noise space and not just its values at single points. In barycentric form a point is

    e(a, b) = c1 e1 + c2 e2 + c3 e3,   c = (1 - a - b, a, b)             "linear", as in the paper
    e(a, b) / sqrt(c^T R c),           R_ij = cos angle(e_i, e_j)        "slerp"

Between the corners a linear mixture of independent noises is shorter than noise, by up to sqrt(3), and beyond them it is
longer: no model was trained there. The second form stays on the sphere of the corners. Any smooth map makes three cells
around three corners; how much agreement that alone brings is `cell_null`'s answer. Used in chapter 1.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.measure.bootstrap import Z95, Score, wilson
from helpers.measure.scores import bootstrap_mean, max_similarity


def plane(z: Tensor, ticks: Tensor, how: str = "linear") -> Tensor:
    """Noises e(a, b) for all a, b in ticks: corners z (3, C, H, W), ticks (G,) -> (G^2, C, H, W), b runs fastest.

    (a, b) = (0, 0), (1, 0), (0, 1) are the corners, to the last bit.

    how   "linear": a (e2 - e1) + b (e3 - e1) + e1.
          "slerp": the same direction, divided by the norm that the mixture would have if the e_i were unit vectors at
          their angles. If the corners have one norm, every point has it. On the line through two corners it is exactly
          Shoemake's (1985) slerp, sin((1 - t) w) / sin w e1 + sin(t w) / sin w e2, with a = sin(t w) / (sin(t w) +
          sin((1 - t) w)) in place of t. For Gaussian noise R is nearly the identity, and c^T R c nearly |c|^2.

    ValueError for other shapes, another `how`, or corners so opposed that a mixture vanishes.
    """
    if z.ndim != 4 or len(z) != 3 or ticks.ndim != 1 or not len(ticks):
        raise ValueError(f"plane needs noises (3, C, H, W) and ticks (G,), got {tuple(z.shape)} and {tuple(ticks.shape)}")
    if how not in ("linear", "slerp"):
        raise ValueError(f"unknown mixture {how!r}; known: linear, slerp")
    a, b = (t.flatten() for t in torch.meshgrid(ticks.double(), ticks.double(), indexing="ij"))
    c = torch.stack([1 - a - b, a, b], dim=1).to(z.device)                          # (G^2, 3)
    if how == "slerp":
        c = c / _mixed_norm(c, z)
    return (c.to(z.dtype) @ z.flatten(1)).view(-1, *z.shape[1:])


def _mixed_norm(c: Tensor, z: Tensor) -> Tensor:
    """sqrt(c^T R c), R the cosines between the rows of z: c (n, 3) -> (n, 1) float64."""
    unit = torch.nn.functional.normalize(z.flatten(1).double(), dim=1)              # (3, D)
    cosines = (unit @ unit.T).fill_diagonal_(1)     # exactly 1, so that the corners stay what they are
    square = ((c @ cosines) * c).sum(1, keepdim=True)
    if not (square > 1e-9).all():
        raise ValueError("the corners are opposite to each other: their slerp is not defined on the whole plane")
    return square.sqrt()


def cells(f_grid: Tensor, f_corners: Tensor) -> tuple[Tensor, Tensor]:
    """max_i M(x, x_i) and its i = 0, 1, 2: unit descriptors (n, d) of the plane, (3, d) of the corners -> (n,), (n,).

    How much an image resembles a corner's, and which corner that is; the first among equals.
    """
    if f_corners.ndim != 2 or len(f_corners) != 3:
        raise ValueError(f"the corners are three descriptors (3, d), got {tuple(f_corners.shape)}")
    return max_similarity(f_grid, f_corners)


def partition(draw: Callable[[Tensor], Tensor], describe: Callable[[Tensor], Tensor], corners: Tensor, ticks: Tensor,
              how: str = "linear") -> tuple[Tensor, Tensor]:
    """`cells` of a model on the planes of T triples of noises: (T, G^2) similarities, (T, G^2) indices, on the CPU.

    draw      the model, noises (n, C, H, W) -> images (n, C, H, W); it is asked for corners and plane together
    describe  images (n, C, H, W) -> unit descriptors (n, d)
    corners   (T, 3, C, H, W); ticks (G,) and how as for `plane`
    """
    found = []
    for e in corners:
        features = describe(draw(torch.cat([e, plane(e, ticks, how)])).cpu())
        found.append(cells(features[3:], features[:3]))
    values, index = zip(*found, strict=True)
    return torch.stack(values).cpu(), torch.stack(index).cpu()


def _check_cells(a: Tensor, b: Tensor, ndims: tuple[int, ...], shape: str) -> None:
    if a.shape != b.shape or a.ndim not in ndims or not a.numel():
        raise ValueError(f"need the cells of two models, both {shape}, got {tuple(a.shape)} and {tuple(b.shape)}")


def agreement_over_triples(a: Tensor, b: Tensor, generator: torch.Generator) -> Score:
    """The mean of P( i_a = i_b ) over T triples of noises, with a bootstrap over triples: cells (T, n), (T, n).

    (k, T, n) for k pairs of models: then over pairs and triples. A triple is the unit, however many points its grid has.
    Few triples make the interval too narrow: of 3, as the paper shows, it holds the truth 3 times in 4, of 10, 9 in 10.
    ValueError for fewer than 2.
    """
    _check_cells(a, b, (2, 3), "(T, n) or (k, T, n)")
    if a.shape[-2] < 2:
        raise ValueError("one triple has no spread: take two or more")
    return bootstrap_mean((a == b).double().mean(dim=-1).view(-1, a.shape[-2]), generator)


def cell_null(a: Tensor, b: Tensor) -> Score:
    """The agreement of chance: a's cells of triple i against b's of triple j != i, all pairs. Cells (T, n), (T, n).

    Every plane has its corners at the same points, so that this is what three corners and a smooth map bring without any
    noise in common: far more than 1/3. With U the mean and U_(t) the mean without triple t, the interval is
    U +- 1.96 sqrt((T - 1)/T sum_t (U_(t) - U)^2), the jackknife's, which for such a statistic errs on the wide side
    (Efron & Stein 1981); Wilson's for T // 2 where all pairs agree equally. ValueError for fewer than 3 triples.
    """
    _check_cells(a, b, (2,), "(T, n)")
    if (t := len(a)) < 3:
        raise ValueError(f"the null needs three triples or more, got {t}")
    pairs = torch.stack([(row == b).double().mean(dim=1) for row in a])             # (T, T)
    pairs = pairs.fill_diagonal_(0)
    value = pairs.sum() / (t * (t - 1))
    without = (pairs.sum() - pairs.sum(0) - pairs.sum(1)) / ((t - 1) * (t - 2))     # (T,)
    half = Z95 * ((t - 1) / t * (without - value).square().sum()).sqrt().item()
    value = min(max(value.item(), 0.0), 1.0)
    if half < 1e-9:
        return wilson(value, t // 2)
    return Score(value, max(value - half, 0.0), min(value + half, 1.0), t)
