"""Hybrids: one denoiser draws the first part of the path, another the rest.

What of a picture is decided at which noise level? Let one denoiser go from sigma_max down to a node of the grid, and hand
its x over to a second one, which ends it. Where the second's picture begins to be the first's, the first has decided. The
handover is at a node: between two nodes every switch is the same experiment, and inside a step a solver would mix the two.
A multistep solver forgets its last steps there, and starts again with Euler's.

One walk of the first denoiser serves every switch. Used in chapters 1 and 8.
"""

from collections.abc import Sequence
from itertools import islice

import torch
from torch import Tensor

from helpers.denoiser import DenoiserLike
from helpers.samplers.checks import check_grid
from helpers.samplers.sampling import sample, trajectory


def hybrids(first: DenoiserLike, second: DenoiserLike, z: Tensor, nodes: Sequence[int], sigmas: Sequence[float],
            solver: str = "dpmpp2m", **options) -> dict[int, Tensor]:
    """Images (B, C, H, W) by node i: `first` from sigmas[0] z down to sigmas[i], then `second` to 0.

    nodes    numbers from 0 (all of it `second`) to len(sigmas) - 1 (all of it `first`)
    sigmas   the grid, falling to a last one of 0: `karras_sigmas(steps)`
    options  of `sample`: batch, label

    ValueError for a node that the grid does not have, and as in `trajectory`.
    """
    grid = [float(sigma) for sigma in sigmas]
    check_grid(grid)
    if unknown := [node for node in nodes if not 0 <= node < len(grid)]:
        raise ValueError(f"a grid of {len(grid) - 1} steps has the nodes 0 to {len(grid) - 1}, got {unknown}")
    path = islice(trajectory(first, z, solver, sigmas=grid, **options), max(nodes, default=-1) + 1)
    walk = {i: step.x for i, step in enumerate(path) if i in nodes}
    found = {}
    for node in nodes:
        x, rest = walk[node], grid[node:]
        found[node] = sample(second, x / rest[0], solver, sigmas=rest, **options) if rest[0] > 0 else x
    return found


def nearest_nodes(levels: Sequence[float], sigmas: Sequence[float]) -> list[int]:
    """The nodes of a grid that lie nearest to some noise levels, in log sigma: each once, in the order of the grid."""
    grid = torch.as_tensor(sigmas, dtype=torch.float64)[:-1].log()
    found = {int((grid - torch.tensor(level, dtype=torch.float64).log()).abs().argmin()) for level in levels}
    return sorted(found)
