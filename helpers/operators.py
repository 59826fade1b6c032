"""Measurement operators: what is left of an image when less than the image is measured.

    y = A x + sigma_y eps,   A linear,   eps ~ N(0, I)

The inverse problem is to find x from y. Three kinds of A, by what they do to an image and how much can be undone:

    Mask   A x = some of the pixels          A^T y = y in its places, 0 elsewhere   A^+ = A^T
    Pool   A x = means of f x f blocks       A^T y = copies / f^2                   A^+ y = copies
    Blur   A x = k * x = F^-1 (k_hat F x)    A^T y = F^-1 (conj(k_hat) F y)         A^+ y = F^-1 (F y / k_hat), cut off

F is the discrete Fourier transform, k * x a circular convolution, A^+ the Moore-Penrose inverse. x = A^+ A x + h with
A h = 0: the first part is a copy of the measurement, h is hidden from it, and a prior has to supply it. Blurs seldom
bring a frequency to exactly 0, and 1 / k_hat would make noise of the faint ones: where |k_hat| < cutoff a frequency
counts as hidden. There A^+ returns 0, so that a blur has A A^+ A = A up to |A h| < cutoff |h|.

Images x are (B, C, H, W) in [-1, 1], measurements y are (B, *m); any floating type, any device. Used in chapter 4.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from helpers.denoiser import resident
from helpers.noise import random_bits

Shape = tuple[int, int, int]


def _image_shape(shape: Shape) -> Shape:
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"the shape of an image is (C, H, W), got {tuple(shape)}")
    return tuple(shape)


def _check(tensor: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    if tensor.shape[1:] != shape or tensor.ndim != len(shape) + 1:
        raise ValueError(f"{name} must be (B, {', '.join(map(str, shape))}), got {tuple(tensor.shape)}")
    if not tensor.is_floating_point():
        raise ValueError(f"{name} must be floats, got {tensor.dtype}")
    return tensor


class Operator:
    """A linear map A from images of `shape` (C, H, W) to measurements of shape `measured`; ValueError for any others.

    A kind of operator says what `_apply` (A), `_transpose` (A^T) and `_invert` (A^+) do.
    """

    def __init__(self, shape: Shape, measured: tuple[int, ...], name: str):
        self.shape, self.measured, self.name = _image_shape(shape), tuple(measured), name

    def __call__(self, x: Tensor) -> Tensor:
        """A x: (B, C, H, W) -> (B, *m). Differentiable in x, as the others are."""
        return self._apply(_check(x, self.shape, "x"))

    def adjoint(self, y: Tensor) -> Tensor:
        """A^T y: (B, *m) -> (B, C, H, W), with <A x, y> = <x, A^T y>."""
        return self._transpose(_check(y, self.measured, "y"))

    def pseudo_inverse(self, y: Tensor) -> Tensor:
        """A^+ y: (B, *m) -> (B, C, H, W), the shortest x with A x = y up to the cutoff: a copy of the measurement."""
        return self._invert(_check(y, self.measured, "y"))

    def hidden(self, x: Tensor) -> Tensor:
        """x - A^+ A x, (B, C, H, W): the part of the images that the measurement does not see."""
        return x - self.pseudo_inverse(self(x))

    def measure(self, x: Tensor, noise: float, generator: torch.Generator) -> Tensor:
        """y = A x + noise eps, (B, *m), eps ~ N(0, I); one generator gives one eps, for any noise and type of x."""
        if not (noise >= 0 and math.isfinite(noise)):
            raise ValueError(f"noise must be a finite number, 0 or more, got {noise}")
        y = self(x)
        eps = torch.randn(y.shape, generator=generator, device=generator.device, dtype=torch.float32)
        return y + noise * eps.to(y)


class Mask(Operator):
    """A x = the observed pixels in reading order, (B, m). A^+ = A^T leaves the others 0, which is mid-gray.

    mask    bool, True where a pixel is observed: (C, H, W), or (H, W) for the same pixels in all channels
    shape   of the images; may be left out, and is then that of the mask, with one channel if the mask is (H, W)
    """

    def __init__(self, mask: Tensor, name: str, shape: Shape | None = None):
        shape = _image_shape(shape or (mask.shape if mask.ndim == 3 else (1, *mask.shape)))
        if mask.dtype != torch.bool:
            raise ValueError(f"a mask must be bool, True where a pixel is observed, got {mask.dtype}")
        if tuple(mask.shape) not in (shape, shape[1:]):
            raise ValueError(f"a mask for images {shape} must be {shape} or {shape[1:]}, got {tuple(mask.shape)}")
        if mask.all() or not mask.any():
            raise ValueError(f"a mask must observe some pixels, not all, got {mask.sum()} of {mask.numel()}")
        self.observed = mask.expand(shape).clone()
        self.index = self.observed.flatten().nonzero().squeeze(1)
        super().__init__(shape, self.index.shape, name)

    def _apply(self, x: Tensor) -> Tensor:
        return x.flatten(1).index_select(1, resident(self, "index", x))

    def _transpose(self, y: Tensor) -> Tensor:
        pixels = y.new_zeros(len(y), self.observed.numel())
        return pixels.index_copy(1, resident(self, "index", y), y).view(len(y), *self.shape)

    _invert = _transpose


def box(shape: Shape, side: int) -> Mask:
    """Hides the side x side pixels in the middle."""
    _, h, w = _image_shape(shape)
    if not 1 <= side <= min(h, w):
        raise ValueError(f"the side of a box in images {tuple(shape)} must be from 1 to {min(h, w)}, got {side}")
    mask, top, left = torch.ones(h, w, dtype=torch.bool), (h - side) // 2, (w - side) // 2
    mask[top:top + side, left:left + side] = False
    return Mask(mask, "box", shape)


def random_mask(shape: Shape, share: float, seed: int) -> Mask:
    """Hides round(share H W) pixels at random, the same in all channels: a function of (shape, share, seed) alone.

    A larger share of the same seed hides the same pixels and more.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"need a share from 0 to 1, got {share}")
    _, h, w = _image_shape(shape)
    # noise.py has the keys (seed, sample); what is hidden must not go with the noise of a sample.
    raw = random_bits(seed, 2**64 - 1, h * w)
    mask = torch.ones(h * w, dtype=torch.bool)
    mask[torch.from_numpy(raw.argsort(kind="stable")[:round(share * h * w)])] = False
    return Mask(mask.view(h, w), "random", shape)


class Pool(Operator):
    """A x = means of factor x factor blocks, (B, C, H', W'): super-resolution. Hidden: the detail within blocks."""

    def __init__(self, shape: Shape, factor: int):
        c, h, w = _image_shape(shape)
        if factor < 1 or h % factor or w % factor:
            raise ValueError(f"the factor must divide height and width, got {factor} for images {tuple(shape)}")
        super().__init__(shape, (c, h // factor, w // factor), f"sr{factor}")
        self.factor = factor

    def _apply(self, x: Tensor) -> Tensor:
        _, h, w = self.measured
        return x.unflatten(3, (w, self.factor)).unflatten(2, (h, self.factor)).mean((3, 5))

    def _transpose(self, y: Tensor) -> Tensor:
        return self._invert(y) / self.factor**2

    def _invert(self, y: Tensor) -> Tensor:
        return y.repeat_interleave(self.factor, 2).repeat_interleave(self.factor, 3)


class Blur(Operator):
    """A x = k * x, circular, (B, C, H, W). (A x)[i, j] = sum_ab k[a, b] x[i - a + kh // 2, j - b + kw // 2].

    kernel   k (kh, kw), not larger than the image; divided by its sum, so that a flat image stays what it is
    cutoff   frequencies with |k_hat| below it count as hidden; A^+ raises noise at the others by up to 1 / cutoff
    """

    def __init__(self, shape: Shape, kernel: Tensor, name: str, cutoff: float = 0.1):
        super().__init__(shape, shape, name)
        h, w = self.shape[1:]
        if kernel.ndim != 2 or kernel.shape[0] > h or kernel.shape[1] > w or not kernel.numel():
            raise ValueError(f"a kernel for images {self.shape} is 2-D, at most {(h, w)}, got {tuple(kernel.shape)}")
        total = kernel.double().sum()
        if not (total.isfinite() and total > 0) or not 0 < cutoff < 1:
            raise ValueError(f"need a kernel with a positive sum and a cutoff in (0, 1), got {total:g} and {cutoff}")
        self.kernel, self.cutoff = kernel.double() / total, cutoff
        kh, kw = kernel.shape
        padded = F.pad(self.kernel, (0, w - kw, 0, h - kh)).roll((-(kh // 2), -(kw // 2)), (0, 1))
        # In float64 once, so that what is hidden does not depend on the type of the images.
        self.gain = torch.fft.rfft2(padded)                                         # k_hat, (H, W // 2 + 1)
        self.inverse_gain = torch.where(self.gain.abs() < cutoff, 0, 1 / self.gain)

    def _filter(self, x: Tensor, name: str, conjugate: bool = False) -> Tensor:
        """F^-1 (gain F x); in float32 where x has fewer digits, because there is no transform for those."""
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        gain = resident(self, name, x).to(precise.dtype.to_complex())
        gain = gain.conj() if conjugate else gain
        return torch.fft.irfft2(gain * torch.fft.rfft2(precise), s=self.shape[1:]).to(x.dtype)

    def _apply(self, x: Tensor) -> Tensor:
        return self._filter(x, "gain")

    def _transpose(self, y: Tensor) -> Tensor:
        return self._filter(y, "gain", conjugate=True)

    def _invert(self, y: Tensor) -> Tensor:
        return self._filter(y, "inverse_gain")


def gaussian_blur(shape: Shape, std: float) -> Blur:
    """k proportional to exp(-t^2 / (2 std^2)) in both directions, std in pixels, cut at 4 std."""
    if not (std > 0 and math.isfinite(std)):
        raise ValueError(f"the standard deviation of a blur must be positive, got {std}")
    radius = int(4 * std + 0.5)
    taps = torch.exp(-0.5 * (torch.arange(-radius, radius + 1, dtype=torch.float64) / std) ** 2)
    return Blur(shape, taps[:, None] * taps, "gaussian")


def motion_blur(shape: Shape, length: int, angle: float = 45.0) -> Blur:
    """The mean of `length` >= 2 copies, one pixel apart along a line at `angle` degrees to the right and up.

    What falls between pixels is shared among four, bilinearly.
    """
    if length < 2:
        raise ValueError(f"a motion must be 2 pixels long or more, got {length}")
    t = torch.arange(length, dtype=torch.float64) - (length - 1) / 2
    down, right = -t * math.sin(math.radians(angle)), t * math.cos(math.radians(angle))
    at = torch.arange(-(length // 2), length // 2 + 1, dtype=torch.float64)         # pixels from the middle
    rows, columns = ((1 - (at[:, None] - u).abs()).clamp_min(0) for u in (down, right))  # shares, (k, length)
    return Blur(shape, rows @ columns.T, "motion")


# Blurs are given for 28 pixels and grow with the image.
OPERATORS: dict[str, Callable[[Shape], Operator]] = {
    "box": lambda shape: box(shape, shape[1] // 2),
    "random": lambda shape: random_mask(shape, 0.7, seed=0),
    "sr2": lambda shape: Pool(shape, 2),
    "sr4": lambda shape: Pool(shape, 4),
    "gaussian": lambda shape: gaussian_blur(shape, 1.5 * shape[1] / 28),
    "motion": lambda shape: motion_blur(shape, max(2, round(7 * shape[1] / 28))),
}


def make_operator(name: str, shape: Shape) -> Operator:
    """The operator of that name for images (C, H, W); ValueError with the known names otherwise."""
    if name not in OPERATORS:
        raise ValueError(f"unknown operator {name!r}; known: {', '.join(OPERATORS)}")
    return OPERATORS[name](_image_shape(shape))
