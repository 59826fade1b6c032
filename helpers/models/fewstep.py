"""Few-step objectives: networks that are trained to make an image in one step, or in a few.

A diffusion model answers "where does the probability-flow ODE go from here?"; these answer "where does it end?".

    Consistency   no teacher: two neighbors on one noising path must have the same end (Song et al. 2023)
    Distillation  a teacher: one step of the student lands where two steps of the teacher do (Salimans & Ho 2022)

Both keep the denoiser's form, f(x, sigma) -> image, with EDM's preconditioning, but they only fit the solver and the noise
levels that they were trained for: `sampling` says which, and `sample` refuses others. Used in chapter 1.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from helpers.denoiser import DenoiserLike, broadcast_sigma
from helpers.models.objectives import EDMObjective
from helpers.samplers import karras_sigmas


@dataclass(frozen=True)
class Consistency:
    """Improved consistency training, Song & Dhariwal 2024: |f(x0 + sigma' eps, sigma') - stop f(x0 + sigma eps, sigma)|.

    f(x, sigma) = c_skip x + c_out F with c_skip = 1 and c_out = 0 at sigma_min, so that an image without noise is its own
    end. sigma < sigma' are neighbors on a grid of n(k) noise levels, n doubling from `first` to `last` over the training;
    the pair is drawn with ln sigma ~ N(p_mean, p_std^2); the distance is pseudo-Huber, weighted by 1/(sigma' - sigma).
    f(sigma_max z, sigma_max) is an image, in one network evaluation.
    """

    sigma_data: float = 0.5
    p_mean: float = -1.1
    p_std: float = 2.0
    first: int = 10
    last: int = 160
    sigma_min: float = 0.002
    sigma_max: float = 80.0

    strict = True

    def __post_init__(self):
        if self.first < 2 or not math.log2(self.last / self.first).is_integer() or self.last < self.first:
            raise ValueError(f"last must be first, doubled some times, and first 2 or more: got {self.first}, {self.last}")

    @property
    def sampling(self) -> dict[str, float | int | str]:
        """One step from sigma_max to the image."""
        return {"solver": "euler", "steps": 1, "sigma_max": self.sigma_max}

    def denoise(self, network: nn.Module, x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        """f(x, sigma, label), the end of the ODE through (x, sigma): (B, C, H, W) -> (B, C, H, W), float32."""
        sigma = broadcast_sigma(sigma, x)
        s, above, data = sigma.view(-1, 1, 1, 1), (sigma - self.sigma_min).view(-1, 1, 1, 1), self.sigma_data
        c_skip, c_out = data**2 / (above**2 + data**2), above * data * (s**2 + data**2).rsqrt()
        output = network((s**2 + data**2).rsqrt() * x, sigma.log() / 4, label)
        return c_skip * x + c_out * output.float()

    def levels(self, progress: float) -> int:
        """Noise levels in the grid when the fraction `progress` of the training is done: doubled at equal intervals."""
        doublings = round(math.log2(self.last / self.first))
        return self.first * 2 ** min(int(progress * (doublings + 1)), doublings) + 1

    def pairs(self, count: int, progress: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Neighbors sigma < sigma' of the grid, (count,) each."""
        device = generator.device
        grid = karras_sigmas(self.levels(progress), self.sigma_min, self.sigma_max)[:-1].flip(0).to(device)     # rising
        cdf = torch.special.ndtr((grid.log() - self.p_mean) / self.p_std)
        i = torch.multinomial(cdf.diff(), count, replacement=True, generator=generator)
        return grid[i].float(), grid[i + 1].float()

    def loss(self, network: nn.Module, x0: Tensor, label: Tensor | None, generator: torch.Generator,
             progress: float = 0.0) -> Tensor:
        """The weighted pseudo-Huber distance of one batch, a scalar."""
        low, high = self.pairs(len(x0), progress, generator)
        eps = torch.randn(x0.shape, generator=generator, device=x0.device)
        ends = self.denoise(network, x0 + high.view(-1, 1, 1, 1) * eps, high, label)
        with torch.no_grad():
            target = self.denoise(network, x0 + low.view(-1, 1, 1, 1) * eps, low, label)
        c = 0.00054 * math.sqrt(x0[0].numel())
        distance = ((ends - target).flatten(1).square().sum(1) + c**2).sqrt() - c
        return (distance / (high - low)).mean()


@dataclass(frozen=True)
class Distillation:
    """Progressive distillation, Salimans & Ho 2022, Alg. 2: one Euler (DDIM) step of the student for two of the teacher.

    The student takes `steps` steps over every (base/steps)-th noise level of a grid of `base`; `taught_by` gives it a
    teacher, the student of the round before, without which it can be sampled and not trained.
    """

    steps: int = 4
    base: int = 64
    sigma_data: float = 0.5
    sigma_min: float = 0.002
    sigma_max: float = 80.0

    strict = True

    def __post_init__(self):
        if self.steps < 1 or self.base % (2 * self.steps):
            raise ValueError(f"steps must be 1 or more and 2 * steps must divide base = {self.base}, got {self.steps}")

    def grid(self, steps: int) -> Tensor:
        """`steps` steps to 0 over the base grid: (steps + 1,), falling."""
        return karras_sigmas(self.base, self.sigma_min, self.sigma_max)[::self.base // steps]

    @property
    def sampling(self) -> dict[str, object]:
        """Euler steps over the student's own noise levels."""
        return {"solver": "euler", "sigmas": tuple(self.grid(self.steps).tolist())}

    def denoise(self, network: nn.Module, x: Tensor, sigma: Tensor | float, label: Tensor | None = None) -> Tensor:
        """d(x, sigma, label), toward which a step goes: (B, C, H, W) -> (B, C, H, W), float32."""
        return EDMObjective(self.sigma_data).denoise(network, x, sigma, label)

    def taught_by(self, teacher: DenoiserLike) -> "Lesson":
        """The objective by which a student learns from this teacher, a denoiser."""
        return Lesson(self, teacher)

    def loss(self, network: nn.Module, x0: Tensor, label: Tensor | None, generator: torch.Generator,
             progress: float = 0.0) -> Tensor:
        """ValueError: nobody to learn from."""
        raise ValueError("distillation needs a teacher: give the spec an init_from, or ask `taught_by` for a lesson")


class Lesson:
    """Distillation by a teacher. In x = x0 + sigma eps, with s > t a step of the student, m between them, and x_t the point
    where the teacher arrives from x_s by way of m, the target solves x_t = d + (t/s)(x_s - d) for d:

        d = (x_t - (t/s) x_s) / (1 - t/s)

    student   its options: a `Distillation`, whose `denoise` and `sampling` are the lesson's
    teacher   the denoiser of the round before
    """

    strict = True

    def __init__(self, student: Distillation, teacher: DenoiserLike):
        self.student, self.teacher = student, teacher
        self.sampling, self.denoise = student.sampling, student.denoise

    def target(self, x: Tensor, s: Tensor, m: Tensor, t: Tensor, label: Tensor | None) -> Tensor:
        """What the student is to answer at (x, s): two steps of the teacher, s to m to t. All noise levels (B, 1, 1, 1)."""
        d = self.teacher(x, s.flatten(), label)
        x_m = d + m / s * (x - d)
        d = self.teacher(x_m, m.flatten(), label)
        x_t = d + t / m * (x_m - d)
        return (x_t - t / s * x) / (1 - t / s)

    def loss(self, network: nn.Module, x0: Tensor, label: Tensor | None, generator: torch.Generator,
             progress: float = 0.0) -> Tensor:
        """EDM's weighted squared error to the target, a scalar."""
        steps, data = self.student.steps, self.student.sigma_data
        grid = self.student.grid(2 * steps).float().to(x0.device)
        i = 2 * torch.randint(steps, (len(x0),), generator=generator, device=x0.device)
        s, m, t = (grid[i + k].view(-1, 1, 1, 1) for k in range(3))
        x = x0 + s * torch.randn(x0.shape, generator=generator, device=x0.device)
        with torch.no_grad():
            target = self.target(x, s, m, t, label)
        weight = (s**2 + data**2) / (s * data) ** 2
        return (weight * (self.denoise(network, x, s.flatten(), label) - target) ** 2).mean()
