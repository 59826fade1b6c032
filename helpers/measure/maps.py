"""Maps from noise to pictures on a plane: how far apart two of them are, whatever their distributions.

Two models can draw the same distribution by different maps. The distance of two maps f and g on z ~ N(0, I),

    d(f, g) = E|f(z) - g(z)|^2 / E|f(z) - g(z')|^2,      z' an independent noise,

is 0 for one map and 1 if what f and g draw of a noise has nothing to do with each other. The noises are a grid in polar
coordinates, `polar_noises`: rings that hold equal shares of N(0, I), and on each ring angles at equal steps. A mean over the
grid stands for E, and to turn or mirror the plane of noises is to renumber the grid: the best of all turns is found by
looking at each (`turned_distance`). A map is a tensor (rings, angles, 2), several runs (..., rings, angles, 2).

`optimal_transport` is the map that carries the same noises to the same pictures with the least E|x - z|^2.
Used in chapter 7.
"""

import math

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from helpers.measure.bootstrap import DRAWS, Score, percentile_interval, resampled_counts


def polar_noises(rings: int, angles: int) -> Tensor:
    """Noises z (rings, angles, 2) of N(0, I): ring j at the radius within which (j + 1/2) / rings of N(0, I) lies."""
    if rings < 1 or angles < 1:
        raise ValueError(f"a grid has at least one ring and one angle, got {rings} and {angles}")
    share = (torch.arange(rings, dtype=torch.float64) + 0.5) / rings
    radius = (-2 * torch.log1p(-share)).sqrt()[:, None]                             # (rings, 1)
    angle = 2 * math.pi * torch.arange(angles, dtype=torch.float64) / angles
    return torch.stack([radius * angle.cos(), radius * angle.sin()], 2)


def distance_by_noise(f: Tensor, g: Tensor) -> Tensor:
    """|f(z) - g(z)|^2 / E|f(z) - g(z')|^2 of maps (..., rings, angles, 2), which are broadcast: (..., rings * angles)."""
    if f.shape[-3:] != g.shape[-3:]:
        raise ValueError(f"maps must be on one grid, got (..., {', '.join(map(str, f.shape[-3:]))}) and "
                         f"(..., {', '.join(map(str, g.shape[-3:]))})")
    f, g = (_points(m) for m in (f, g))                                             # (..., n, 2)
    spread = sum((m - m.mean(-2, keepdim=True)).square().sum(-1).mean(-1) for m in (f, g))
    other = spread + (f.mean(-2) - g.mean(-2)).square().sum(-1)                     # E|f(z) - g(z')|^2
    return (f - g).square().sum(-1) / other[..., None]


def map_distance(f: Tensor, g: Tensor) -> Tensor:
    """d(f, g) of maps (..., rings, angles, 2), which are broadcast: (...)."""
    return distance_by_noise(f, g).mean(-1)


def turned_distance(f: Tensor, g: Tensor) -> Tensor:
    """The least d(f, g Q) over the grid's turns and mirror images Q: (...). Unrelated maps have less than 1, too."""
    turned = (g.roll(k, -2) if not mirror else g.flip(-2).roll(k, -2)
              for mirror in (False, True) for k in range(g.shape[-2]))
    return torch.stack([map_distance(f, other) for other in turned]).amin(0)


def swirl(f: Tensor) -> Tensor:
    """f after ring j of the noises is turned by j / rings of a full turn: the same pictures, by another map.

    f (..., rings, angles, 2). No objective that looks at the distribution of pictures alone can tell it from f.
    """
    rings, angles = f.shape[-3:-1]
    turned = [f[..., j, :, :].roll(round(j * angles / rings), -2) for j in range(rings)]
    return torch.stack(turned, -3)


def between_runs(maps: Tensor, distance=map_distance) -> Tensor:
    """The distances between runs, maps (runs, rings, angles, 2): (runs, runs), symmetric."""
    runs = len(maps)
    i, j = torch.triu_indices(runs, runs, 1)
    matrix = torch.zeros(runs, runs, dtype=torch.float64)
    matrix[i, j] = distance(maps[i], maps[j])
    return matrix + matrix.T


def mean_over_runs(matrix: Tensor, source: torch.Generator | int, draws: int = DRAWS) -> Score:
    """The mean of a symmetric matrix (runs, runs) over pairs of different runs, with a bootstrap over runs: its 95 %.

    A pair of a run with itself, which a draw may hold, says nothing and is left out. ValueError for fewer than 3 runs.
    """
    runs = len(matrix)
    if runs < 3 or matrix.shape != (runs, runs):
        raise ValueError(f"a bootstrap over pairs needs a square matrix of 3 runs or more, got {tuple(matrix.shape)}")
    matrix = matrix.double() * (1 - torch.eye(runs, dtype=torch.float64))
    counts = resampled_counts(runs, draws, source)                                  # (draws, runs)
    pairs = runs**2 - counts.square().sum(1)                                        # ordered ones, of different runs
    values = ((counts @ matrix) * counts).sum(1) / pairs
    low, high = percentile_interval(values)
    mean = matrix.sum().item() / (runs * (runs - 1))
    return Score(mean, min(low, mean), max(high, mean), runs)


def energy_distance(x: Tensor, y: Tensor) -> Tensor:
    """2 E|x - y| - E|x - x'| - E|y - y'| of samples (..., n, 2) and (m, 2): (...), without bias, so 0 +- for one law.

    Szekely & Rizzo 2013; zero for equal distributions only.
    """
    if min(x.shape[-2], y.shape[-2]) < 2:
        raise ValueError("an energy distance needs two samples of each, or more")

    def inner(a: Tensor) -> Tensor:
        n = a.shape[-2]
        return torch.cdist(a, a).sum((-2, -1)) / (n * (n - 1))

    x, y = x.double(), y.double()
    return 2 * torch.cdist(x, y.expand(*x.shape[:-2], *y.shape)).mean((-2, -1)) - inner(x) - inner(y)


def optimal_transport(z: Tensor, f: Tensor) -> Tensor:
    """The map with f's pictures and the least E|x - z|^2: noises and map (rings, angles, 2) -> (rings, angles, 2).

    An assignment of n noises to the same n pictures, exact on these points (Crouse 2016, in scipy). If f is an optimal
    map, it is f itself: any part of an optimal map is optimal.
    """
    if z.shape != f.shape:
        raise ValueError(f"a map has a picture for each noise, got {tuple(f.shape)} for {tuple(z.shape)}")
    noises, pictures = _points(z), _points(f)
    _, order = linear_sum_assignment((-noises @ pictures.T).numpy())                # |x - z|^2 but for what is constant
    return pictures[torch.from_numpy(order)].view(f.shape)


def _points(f: Tensor) -> Tensor:
    """(..., rings, angles, 2) -> (..., rings * angles, 2), float64."""
    return f.double().flatten(-3, -2)
