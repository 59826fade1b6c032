"""Other people's solvers, as functions (denoiser, z, steps, raw=False) -> images: of diffusers and of azula, beside ours.

All walk the same ODE, dx/dsigma = (x - D(x, sigma)) / sigma, from 80 z over Karras' noise levels. diffusers' schedulers for
EDM make these levels themselves; its others get them in place of Stable Diffusion's, take eps = (x - D) / sigma, and some
walk on y = x / sqrt(1 + sigma^2). azula gets them as a noise schedule; it divides by the last sigma, which is therefore
0.002 and not 0. With `raw` the function that is given answers in the solver's own terms: for measuring what these cost.
"""

import warnings
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from helpers.samplers import karras_sigmas, sample

warnings.filterwarnings("ignore", message=".*__array_", category=DeprecationWarning)     # of numpy, by diffusers

Run = Callable[..., Tensor]
SMALLEST, LARGEST, RHO = 0.002, 80.0, 7.0


def _ours(solver: str) -> Run:
    return lambda denoiser, z, steps, raw=False: sample(denoiser, z, solver, steps)


def _edm(make: Callable[[], object]) -> Run:
    """An EDM scheduler, whose own preconditioning is undone: its network's output is what makes D of it."""
    def run(denoiser, z: Tensor, steps: int, raw: bool = False) -> Tensor:
        scheduler = make()
        scheduler.set_timesteps(steps)
        x = LARGEST * z
        for i, t in enumerate(scheduler.timesteps):
            scaled = scheduler.scale_model_input(x, t)
            output = denoiser(scaled, t) if raw else _unconditioned(denoiser, x, scheduler.sigmas[i].item())
            x = scheduler.step(output, t, x).prev_sample
        return x
    return run


def _unconditioned(denoiser, x: Tensor, sigma: float) -> Tensor:
    """The F of which EDM's preconditioning makes D: D = c_skip x + c_out F, sigma_data = 0.5."""
    spread = (sigma**2 + 0.25) ** 0.5
    return (denoiser(x, sigma) - 0.25 / spread**2 * x) * spread / (0.5 * sigma)


def _discrete(make: Callable[[], object], scaled: bool = False) -> Run:
    """A scheduler of eps; `scaled` for those that walk on y = x / sqrt(1 + sigma^2)."""
    def run(denoiser, z: Tensor, steps: int, raw: bool = False) -> Tensor:
        scheduler = make()
        levels = karras_sigmas(steps)[:-1].numpy()
        scheduler._convert_to_karras = lambda *_, **__: levels
        scheduler.set_timesteps(steps)
        scheduler.set_begin_index(0)
        factor = (1 + LARGEST**2) ** 0.5 if scaled else 1.0
        x = LARGEST * z / factor
        for i, t in enumerate(scheduler.timesteps):
            model_input = scheduler.scale_model_input(x, t)
            if raw:
                x = scheduler.step(denoiser(model_input, t), t, x).prev_sample
                continue
            half = hasattr(scheduler, "sigmas_interpol") and not scheduler.state_in_first_order
            sigma = (scheduler.sigmas_interpol if half else scheduler.sigmas)[i].item()
            y = x * (1 + sigma**2) ** 0.5 if scaled else x
            x = scheduler.step((y - denoiser(y, sigma)) / sigma, t, x).prev_sample
        return x
    return run


def _azula(make: Callable, **options) -> Run:
    from azula.denoise import Denoiser, DiracPosterior

    class Levels:
        """alpha = 1 and Karras' sigma(t), from 0.002 at t = 0 to 80 at t = 1."""

        def __call__(self, t: Tensor) -> tuple[Tensor, Tensor]:
            low, high = SMALLEST ** (1 / RHO), LARGEST ** (1 / RHO)
            return torch.ones_like(t), (low + t * (high - low)) ** RHO

    def run(denoiser, z: Tensor, steps: int, raw: bool = False) -> Tensor:
        theirs = Denoiser()
        theirs.schedule = Levels()
        theirs.forward = lambda x, t: DiracPosterior(denoiser(x, t if raw else theirs.schedule(t)[1].item()))
        return make(theirs, steps=steps, silent=True, dtype=torch.float64, **options)(LARGEST * z).to(z.dtype)
    return run


def ours() -> dict[str, Run]:
    return {name: _ours(name) for name in ("euler", "heun", "dpm2", "dpmpp2m", "dpmpp3m")}


def of_diffusers() -> dict[str, Run]:
    import diffusers

    karras = {"use_karras_sigmas": True}
    edm = diffusers.EDMDPMSolverMultistepScheduler
    return {
        "EDMEuler": _edm(diffusers.EDMEulerScheduler),
        "EDMDPMSolverMultistep, order 2": _edm(partial(edm, solver_order=2)),
        "EDMDPMSolverMultistep, order 3": _edm(partial(edm, solver_order=3)),
        "HeunDiscrete": _discrete(partial(diffusers.HeunDiscreteScheduler, **karras)),
        "KDPM2Discrete": _discrete(partial(diffusers.KDPM2DiscreteScheduler, **karras)),
        "LMSDiscrete": _discrete(partial(diffusers.LMSDiscreteScheduler, **karras)),
        "UniPCMultistep": _discrete(partial(diffusers.UniPCMultistepScheduler, final_sigmas_type="zero", **karras), True),
        "DEISMultistep": _discrete(partial(diffusers.DEISMultistepScheduler, **karras), True),
    }


def of_azula() -> dict[str, Run]:
    """Those that walk the ODE; the others draw fresh noise."""
    from azula import sample as samplers

    return {
        "DDIM": _azula(samplers.DDIMSampler), "Heun": _azula(samplers.HeunSampler),
        **{f"{name}, order {order}": _azula(getattr(samplers, f"{name}Sampler"), order=order)
           for name in ("zAB", "zEAB", "xEAB") for order in (2, 3)},
    }
