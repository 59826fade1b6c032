"""Schedules: in which coordinates a network of diffusers was trained, read from its scheduler.

What others call a model predicts something else than x0, in other coordinates and at other times. Whatever it is, the
denoiser is linear in what the network F says,

    D(x, sigma) = a x + b F(s x, t),     x = x0 + sigma eps,     x_t = s x,

and three questions decide it: how large is its image (s), what is its time (t), and what does it predict (a and b)?

    schedule                                s                        t
    DDPM's chain and its solvers            1/sqrt(1 + sigma^2)      where the chain has this sigma
    flow matching                           1/(1 + sigma)            T sigma/(1 + sigma)
    EDM                                     1/sqrt(sigma^2 + sd^2)   ln(sigma)/4

    prediction                              a                        b
    epsilon: F = eps                        1                        -sigma
    sample: F = x0                          0                        1
    v_prediction: F = s eps - s sigma x0    s^2                      -s sigma
    flow_prediction: F = eps - x0           s                        -s sigma
    EDM's mixture of image and noise        sd^2 s^2                 sigma sd s
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

Prediction = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]                   # (s, sigma) -> (a, b)
FEW_STEPS = ("LCM", "TCD", "FlowMatchLCM")       # students that jump to an image: an answer is not E[x0 | x]
FLOW_SIGMA_MAX = 80.0                            # sigma(1) is infinite: as in `kernels.FlowKernel`


class Chain(nn.Module):
    """The chain of DDPM and of all solvers that walk on it, from its alphas_cumprod (T,): sigma = sqrt(1/alpha - 1).

    Between two whole times ln sigma is linear in t; before the first and after the last the time stands still. Times
    whose sigma is infinite (betas rescaled to no signal at the end) are left out: no multiple of z is there.

    continuous   whether the network is told ln(sigma)/4 instead
    """

    def __init__(self, alphas_cumprod: Tensor, continuous: bool = False):
        super().__init__()
        alphas, self.continuous = alphas_cumprod.double(), continuous
        self.register_buffer("log_sigmas", ((1 - alphas) / alphas).log()[alphas > 0] / 2)          # rising
        self.range = tuple(self.log_sigmas[[0, -1]].exp().tolist())

    def forward(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """s and t for sigma (B,), float64."""
        log, table = sigma.log(), self.log_sigmas
        high = torch.searchsorted(table, log).clamp(1, len(table) - 1)
        part = (log - table[high - 1]) / (table[high] - table[high - 1])
        return (1 + sigma**2).rsqrt(), log / 4 if self.continuous else (high - 1 + part).clamp(0, len(table) - 1)


class Flow(nn.Module):
    """x_t = (1 - t) x0 + t eps, of which the network is told T t; T = num_train_timesteps."""

    def __init__(self, steps: int = 1000):
        super().__init__()
        self.steps, self.range = steps, (1 / steps, FLOW_SIGMA_MAX)

    def forward(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """s and t for sigma (B,), float64."""
        return 1 / (1 + sigma), self.steps * sigma / (1 + sigma)


class EDM(nn.Module):
    """Karras et al. 2022: an input of unit variance and ln(sigma)/4. sigma_data: the standard deviation of the data."""

    def __init__(self, sigma_data: float, sigma_min: float, sigma_max: float):
        super().__init__()
        self.sigma_data, self.range = sigma_data, (sigma_min, sigma_max)

    def forward(self, sigma: Tensor) -> tuple[Tensor, Tensor]:
        """s and t for sigma (B,), float64."""
        return (sigma**2 + self.sigma_data**2).rsqrt(), sigma.log() / 4

    def mixture(self, sign: int) -> Prediction:
        """What a network predicts that stands between EDM's c_skip and c_out; diffusers lets either sign be learned."""
        return lambda s, sigma: ((self.sigma_data * s) ** 2, sign * sigma * self.sigma_data * s)


PREDICTIONS: dict[str, Prediction] = {
    "epsilon": lambda s, sigma: (torch.ones_like(s), -sigma),
    "sample": lambda s, sigma: (torch.zeros_like(s), torch.ones_like(s)),
    "v_prediction": lambda s, sigma: (s**2, -s * sigma),
    "flow_prediction": lambda s, sigma: (s, -s * sigma),
}


def read_schedule(scheduler) -> tuple[nn.Module, Prediction]:
    """A scheduler of diffusers as (schedule, prediction): sigma -> (s, t), and (s, sigma) -> (a, b).

    Only what the network was trained with matters. The time steps that the scheduler would choose, its clipping and its
    thresholds do not. ValueError for a scheduler or a prediction that has no place in the tables above.
    """
    name, config = type(scheduler).__name__, dict(getattr(scheduler, "config", {}))
    flow = name.startswith("FlowMatch")
    predicts = "flow_prediction" if flow else config.get("prediction_type", "epsilon")
    if not name.startswith(FEW_STEPS) and not config.get("invert_sigmas"):
        if name.startswith("EDM") and predicts in ("epsilon", "v_prediction"):
            edm = EDM(config["sigma_data"], config["sigma_min"], config["sigma_max"])
            return edm, edm.mixture(1 if predicts == "epsilon" else -1)
        if predicts == "flow_prediction" and (flow or config.get("use_flow_sigmas")):
            return Flow(config["num_train_timesteps"]), PREDICTIONS[predicts]
        if hasattr(scheduler, "alphas_cumprod") and predicts in ("epsilon", "sample", "v_prediction"):
            return Chain(scheduler.alphas_cumprod, config.get("timestep_type") == "continuous"), PREDICTIONS[predicts]
    raise ValueError(f"a {name} that predicts {predicts!r} has no denoiser here: known are flow matching, EDM, and "
                     "alphas_cumprod with epsilon, sample or v_prediction; write D(x, sigma) and use from_callable")
