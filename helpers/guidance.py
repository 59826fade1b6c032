"""Inverse problems: an image from a measurement y = A x0 + sigma_y eps, by a denoiser that is guided towards it.

With Bayes' rule the score of the posterior p(x0 | y) at noise level sigma is that of the prior plus
grad_x log p(y | x), so that any denoiser D becomes one of the posterior,

    D_y(x, sigma) = D(x, sigma) + sigma^2 grad_x log p(y | x),

and any sampler can take it. What p(y | x) is, the denoiser does not say; with J = dD/dx and e = y - A D(x, sigma),

    DPS             D_y = D + zeta (1 + sigma^2) J^T A^T e / |e|                      Chung et al. 2023, Alg. 1
    MomentMatching  D_y = D + sigma^2 J^T A^T (sigma_y^2 I + sigma^2 A J A^T)^-1 e    Rozet et al. 2024, Eq. 18

The second takes x0 given x for a Gaussian with mean D and covariance sigma^2 J (Tweedie's formulas), and is exact if
it is one. The first takes x0 = D for certain and replaces the unknown scale by a strength zeta. Chung et al. subtract
the gradient with respect to x_t = x / sqrt(1 + sigma^2) once a step; two changes of coordinates give the factor
1 + sigma^2, and a step from sigma to t adds (1 - t / sigma) of what stands above, so that zeta is guidance per unit of
-ln sigma and the number of steps does not matter while a step is shorter than the error. It is as long however small
the error: near the data it passes them, and the last step, to 0, adds all of it, so that an image may miss its
measurement by zeta |A A^T|. zeta should be small against the noise, sigma_y sqrt(m) for m numbers in y. Deterministic
DPS, as the paper runs it, is this denoiser under an ODE solver. Used in chapter 4.
"""

import math

import torch
from torch import Tensor

from helpers.denoiser import DenoiserLike, Label, NetworkDenoiser, Sigma, Wrapper, broadcast_sigma, resident
from helpers.operators import Operator


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """<a, b> of every measurement, (B, 1, ...), to be multiplied with one."""
    return (a * b).flatten(1).sum(1).view(-1, *[1] * (a.ndim - 1))


class MeasurementGuidance(Wrapper):
    """What the guided denoisers share: they hold the measurement, and differentiate through the denoiser.

    y   (n, *m), of the n images that are sampled together, or (1, *m) for all of them
    """

    def __init__(self, denoiser: DenoiserLike, operator: Operator, y: Tensor):
        if y.shape[1:] != operator.measured:
            raise ValueError(f"a measurement by this operator is (n, {', '.join(map(str, operator.measured))}), "
                             f"got {tuple(y.shape)}")
        if not y.isfinite().all():
            raise ValueError("a measurement must be finite, got NaN or infinity")
        super().__init__(denoiser)
        self.operator = operator
        self.register_buffer("y", y)
        self.sampling = self.sampling | {"batch": None}

    def error(self, x: Tensor, sigma: Sigma, label: Label | None) -> tuple[Tensor, Tensor, Tensor]:
        """x that gradients can flow to, D(x, sigma), and e = y - A D: call it under torch.enable_grad.

        All have at least the digits of float32, so that gradients and squares of errors neither vanish nor overflow.
        """
        if len(self.y) not in (1, len(x)):
            raise ValueError(f"{len(self.y)} measurements do not fit a batch of {len(x)} images: "
                             "sample with batch=None")
        x = x.detach().to(torch.promote_types(x.dtype, torch.float32)).requires_grad_()
        x0_hat = self.denoiser(x, sigma, label=label)
        return x, x0_hat, resident(self, "y", x).to(x.dtype) - self.operator(x0_hat)


class DPS(MeasurementGuidance):
    """D_y = D - zeta (1 + sigma^2) grad_x |y - A D(x, sigma)|, see above; one evaluation and one gradient.

    strength   zeta > 0, guidance per unit of -ln sigma

    ValueError otherwise, or if y is not a measurement by `operator`.
    """

    def __init__(self, denoiser: DenoiserLike, operator: Operator, y: Tensor, strength: float = 1.0):
        super().__init__(denoiser, operator, y)
        if not strength > 0:
            raise ValueError(f"the guidance strength must be positive, got {strength}")
        self.strength = strength

    def gradient(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> tuple[Tensor, Tensor]:
        """D(x, sigma) and grad_x |y - A D(x, sigma)|, both (B, C, H, W)."""
        with torch.enable_grad():
            x, x0_hat, e = self.error(x, sigma, label)
            norm = e.flatten(1).square().sum(1).clamp_min(1e-12).sqrt().sum()
            return x0_hat.detach(), torch.autograd.grad(norm, x)[0]

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        x0_hat, gradient = self.gradient(x, sigma, label)
        scale = 1 + broadcast_sigma(sigma, x0_hat).view(-1, 1, 1, 1) ** 2
        return (x0_hat - self.strength * scale * gradient).to(x.dtype)


class Borrowed(DPS):
    """DPS whose denoised image is one model's and whose gradient another's: what a Jacobian alone changes.

    lender   the DPS denoiser, of the same measurement, that lends its grad_x |y - A D(x, sigma)|
    """

    def __init__(self, denoiser: DenoiserLike, lender: DPS):
        super().__init__(denoiser, lender.operator, lender.y, lender.strength)
        self.lender = lender

    def gradient(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> tuple[Tensor, Tensor]:
        return self.denoiser(x, sigma, label=label).detach(), self.lender.gradient(x, sigma, label)[1]


class MomentMatching(MeasurementGuidance):
    """D_y = D + sigma^2 J^T A^T (sigma_y^2 I + sigma^2 A J A^T)^-1 e, see above.

    noise        sigma_y > 0, in units of the pixels
    iterations   of the conjugate gradients that solve for the inverse; each costs a gradient. J of the best denoiser
                 is symmetric, a covariance over sigma^2, so that J^T stands for J.
    """

    def __init__(self, denoiser: DenoiserLike, operator: Operator, y: Tensor, noise: float, iterations: int = 3):
        super().__init__(denoiser, operator, y)
        if not noise > 0 or iterations < 1:
            raise ValueError(f"need noise > 0 and iterations >= 1, got {noise} and {iterations}")
        self.noise, self.iterations = noise, iterations

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        dtype = x.dtype
        with torch.enable_grad():
            x, x0_hat, e = self.error(x, sigma, label)
            variance = broadcast_sigma(sigma, x0_hat).view(-1, 1, 1, 1) ** 2

            def pull(v: Tensor) -> Tensor:
                """sigma^2 J^T A^T v: from a measurement to an image."""
                return -variance * torch.autograd.grad(e, x, v, retain_graph=True)[0]

            v = conjugate_gradients(lambda v: self.noise**2 * v + self.operator(pull(v)), e.detach(), self.iterations)
            return (x0_hat + pull(v)).detach().to(dtype)


class ClassifierFreeGuidance(Wrapper):
    """D_w = D(x, sigma) + w (D(x, sigma, c) - D(x, sigma)), w >= 0; a network is asked for both at once. Ho & Salimans 2022.

    A network that learned with its label hidden now and then is two denoisers in one: D(x, sigma, c) and, without a label,
    D(x, sigma). So w = 0 is unconditional, w = 1 conditional, and w > 1 draws what is typical of the class. Without a label
    it is the unconditional denoiser. ValueError for a negative w.
    """

    def __init__(self, denoiser: DenoiserLike, strength: float):
        super().__init__(denoiser)
        if not 0 <= strength < math.inf:
            raise ValueError("guidance strength must be a number of at least 0 (1: conditional, 0: unconditional), got "
                             f"{strength}")
        self.strength = strength

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        if label is None:
            return self.denoiser(x, sigma)
        if isinstance(self.denoiser, NetworkDenoiser):
            free, told = self.denoiser.free_and_told(x, sigma, label)
        else:
            free, told = self.denoiser(x, sigma), self.denoiser(x, sigma, label=label)
        return torch.lerp(free, told, self.strength)


def conjugate_gradients(matrix, b: Tensor, iterations: int) -> Tensor:
    """v with M v ~ b after some steps of Hestenes & Stiefel 1952, from v = 0; for every row of b (B, ...) by itself.

    matrix   v -> M v with M symmetric and positive. Rows that are solved stand still; so do those where M proves not
             to be positive, as the Jacobian of a network is not exactly.
    """
    v, r = torch.zeros_like(b), b
    p, rr = r, _dot(r, r)
    tiny = torch.finfo(b.dtype).tiny
    for _ in range(iterations):
        mp = matrix(p)
        curvature = _dot(p, mp)
        going = curvature > tiny
        step = torch.where(going, rr / curvature, 0.0)
        v, r = v + step * p, r - step * mp
        before, rr = rr, _dot(r, r)
        p = torch.where(going, r + rr / before.clamp_min(tiny) * p, 0.0)
    return v
