"""Inverse problems: photographs behind an operator, and how good, and how much alike, their reconstructions are.

    box = InverseProblem.of(make_operator("box", (1, 28, 28)), photographs, noise=0.05)
    x = sample(DPS(denoiser, box.operator, box.y, 3.0), z, batch=None)
    box.misfit(x), box.psnr(x), box.shared({"mine": x, "yours": x2}, [("mine", "yours")], baseline)

A measurement makes all reconstructions alike, whatever the denoiser: where it sees, they copy it. So what is scored here
is the part h = x - A^+ A x that it hides (`Operator.hidden`). Used in chapter 4.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from helpers.closed_form import GaussianDenoiser, GaussianPosterior, gaussian_posterior
from helpers.data import as_x0
from helpers.measure.residuals import residual_share
from helpers.measure.scores import Score
from helpers.operators import Mask, Operator

BLACK = -1.0


@dataclass(frozen=True)
class InverseProblem:
    """y = A x0 + sigma_y eps: photographs `truth` x0 (n, C, H, W) in [-1, 1], their measurements y (n, *m), noise sigma_y.

    Reconstructions x (n, C, H, W) are scored in the order of the photographs, on any device.
    """

    operator: Operator
    truth: Tensor
    y: Tensor
    noise: float

    @classmethod
    def of(cls, operator: Operator, truth: Tensor, noise: float, seed: int = 1) -> "InverseProblem":
        """Measure photographs: A x0 + sigma_y eps with the eps of a seed. `truth` may be uint8, too: `as_x0`."""
        truth = as_x0(truth, "truth")
        return cls(operator, truth, operator.measure(truth, noise, torch.Generator().manual_seed(seed)), noise)

    def first(self, n: int) -> "InverseProblem":
        """The problem of the first n photographs, with the same measurements."""
        return InverseProblem(self.operator, self.truth[:n], self.y[:n], self.noise)

    def copy(self) -> Tensor:
        """A^+ y, (n, C, H, W): what can be had without knowing images; the hidden part stays empty."""
        return self.operator.pseudo_inverse(self.y)

    def posterior(self, prior: GaussianDenoiser) -> GaussianPosterior:
        """p(x0 | y) for a Gaussian prior: `gaussian_posterior`."""
        return gaussian_posterior(prior, self.operator, self.y, self.noise)

    def misfit(self, x: Tensor) -> float:
        """The root-mean-square of y - A x: `noise` if x fits as well as the truth does."""
        return (self.y - self.operator(self._check(x))).square().mean().sqrt().item()

    def psnr(self, x: Tensor) -> float:
        """Of the hidden part, in dB: the mean over images of 10 log10(4 d / |h(clip(x) - x0)|^2), 4 the range squared.

        d is the number of hidden dimensions, the trace of h, estimated by E|h(eps)|^2 over 256 draws of eps ~ N(0, I).
        """
        error = self.operator.hidden(self._check(x).clamp(-1, 1) - self.truth).square().flatten(1).sum(1)
        eps = torch.randn(256, *self.operator.shape, generator=torch.Generator().manual_seed(0)).to(error)
        dimensions = self.operator.hidden(eps).square().flatten(1).sum(1).mean()
        return (10 * (4 * dimensions / error).log10()).mean().item()

    def hidden_only(self, x: Tensor) -> Tensor:
        """The images with all observed pixels black, so that only the others can agree. TypeError unless A is a mask."""
        if not isinstance(self.operator, Mask):
            raise TypeError(f"{self.operator.name!r} observes no pixels by themselves: only a Mask leaves some of them out")
        return torch.where(self.operator.observed.to(x.device), BLACK, self._check(x, device=x.device))

    def shared(self, images: Mapping[object, Tensor], pairs: Sequence[tuple], baseline: Tensor, draws: int = 500) -> Score:
        """`residual_share` of the hidden parts of two models' images beyond those of a baseline, the mean over pairs.

        images     by name, (n, C, H, W) each, as the baseline (n, C, H, W)

        The interval's ends are means over the pairs, too: it resamples photographs, not models.
        """
        hidden = {name: self.operator.hidden(self._check(images[name])) for name in {n for pair in pairs for n in pair}}
        middle = self.operator.hidden(self._check(baseline))
        generator = torch.Generator().manual_seed(0)
        scores = [residual_share(hidden[a], hidden[b], middle, generator, draws) for a, b in pairs]
        return Score(*(sum(getattr(score, end) for score in scores) / len(scores) for end in ("value", "low", "high")),
                     len(self.truth))

    def _check(self, x: Tensor, device: torch.device | None = None) -> Tensor:
        """x on the problem's device. ValueError unless there is an image for each photograph."""
        if x.shape != self.truth.shape:
            raise ValueError(f"reconstructions must be {tuple(self.truth.shape)}, one a photograph, got {tuple(x.shape)}")
        return x.to(device or self.truth.device)
