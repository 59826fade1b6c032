"""What `sample` refuses before it begins: each check looks once, so that the loop never waits for a GPU."""

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from helpers.denoiser import DenoiserLike


def check_grid(grid: list[float]) -> None:
    """ValueError unless the noise levels are positive and fall to a last one of 0."""
    if len(grid) < 2 or grid[-1] != 0 or not grid[0] < math.inf or not all(s > t for s, t in pairwise(grid)):
        raise ValueError(f"sigmas must be two or more noise levels that fall to a last one of 0, got {_shown(grid)}")


def check_noise(z: Tensor) -> None:
    """ValueError unless z is (B, C, H, W), of a floating type, and finite."""
    if not isinstance(z, Tensor):
        raise ValueError(f"z must be a tensor (B, C, H, W), got {type(z).__name__}: torch.as_tensor makes one of an array")
    if z.ndim != 4 or not z.is_floating_point():
        raise ValueError(f"z must be floats (B, C, H, W), got {z.dtype} {tuple(z.shape)}: one noise is z[None]")
    if not z.isfinite().all():
        raise ValueError("z holds NaN or infinity")


def check_batch(batch: int | None) -> None:
    """ValueError unless batch is a number of images, or None for all."""
    if batch is not None and (not isinstance(batch, int) or batch < 1):
        raise ValueError(f"batch must be at least 1, or None for all images at once, got {batch!r}")


def check_fit(denoiser: DenoiserLike, solver: str, grid: list[float]) -> None:
    """ValueError if the denoiser was trained for one way of sampling, and another is asked for."""
    if not getattr(denoiser, "strict", False):
        return
    asked = {"solver": solver, "steps": len(grid) - 1, "sigma_max": grid[0], "sigmas": tuple(grid)}
    fits = {name: denoiser.sampling[name] for name in asked if name in denoiser.sampling}
    other = {name: asked[name] for name, value in fits.items() if asked[name] != value}
    if other:
        fit, got = (", ".join(f"{name}={_shown(value)}" for name, value in some.items()) for some in (fits, other))
        raise ValueError(f"this denoiser was trained for one way of sampling, {fit}: "
                         f"use sample(denoiser, z, **denoiser.sampling), not {got}")


def _shown(value: object) -> str:
    """An argument in an error message: numbers short, and of many the first and the last two."""
    if isinstance(value, Sequence) and not isinstance(value, str):
        shown = [_shown(v) for v in value]
        return f"({', '.join(shown if len(shown) <= 6 else shown[:2] + ['...'] + shown[-2:])})"
    return f"{value:.4g}" if isinstance(value, float) else repr(value)
