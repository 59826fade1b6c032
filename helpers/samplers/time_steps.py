"""A kernel's own time steps: the noise levels that a family of diffusion models would visit.

In the coordinates x = x0 + sigma eps all kernels share one ODE, and what is left of a kernel is where its solver starts
and where it stops on the way: at sigma(t_i), with t_i even in its own time. Two families have customs of their own: EDM's
steps are those of `karras_sigmas`, and VE's fall by one factor (Song et al. 2021, App. C). Used in chapter 1.
"""

import torch

from helpers.kernels import kernel
from helpers.samplers.sampling import karras_sigmas


def own_sigmas(name: str, steps: int, sigma_min: float = 0.002) -> list[float]:
    """sigma(t_i) from the kernel's sigma_max down to sigma_min, then 0: steps + 1 numbers, for `sample(sigmas=...)`.

    name    a key of `KERNELS`
    steps   2 or more; t_i is even between t_max and t(sigma_min). EDM: rho = 7; VE: geometric

    ValueError for an unknown kernel, or fewer steps.
    """
    if steps < 2:
        raise ValueError(f"a kernel's own time steps go from sigma_max to sigma_min: 2 steps or more, not {steps}")
    k = kernel(name)
    if name == "edm":
        return karras_sigmas(steps, sigma_min, k.sigma_max).tolist()
    if name == "ve":
        return karras_sigmas(steps, sigma_min, k.sigma_max, rho=1e4).tolist()       # the limit rho -> infinity, nearly
    times = torch.linspace(k.t_max, float(k.t(sigma_min)), steps, dtype=torch.double)
    return [*k.sigma(times).tolist(), 0.0]
