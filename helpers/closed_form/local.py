"""Local machines: the posterior mean of N training images, asked about a window at a time. No training.

The optimal denoiser weighs whole images, and returns one of them. Networks see mostly neighborhoods. If a pixel's answer
may depend on a window O_p around it alone, the best answer is

    D(x)[p] = sum_i w_i(p) y_i[p],     w(p) = softmax_i( -|x[O_p] - y_i[O_p]|^2 / (2 sigma^2) ),

and it is put together from pieces of different images: new, and without training. Three machines say what the window is:

    LocalDenoiser     k x k around the pixel, cut off at the border; Kamb & Ganguli 2025, their local score machine
    PatchDenoiser     the mean over all k x k windows that hold the pixel; after Niedoba et al. 2025
    MaskDenoiser      whichever pixels the data's covariance ties to it; after Lukoianov et al. 2025

With a window that holds the image each is the `EmpiricalDenoiser`. The fourth, which also forgets where a patch was, is in
`equivariant.py`. k is a number, or a function of sigma that says how large the window is at each noise level.

Images x0 in [-1, 1] and x = x0 + sigma eps are (B, C, H, W); sigma is a number or (B,). Used in chapter 7.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from helpers.closed_form.gaussian import GaussianDenoiser
from helpers.closed_form.images import check_images, check_input, decode
from helpers.denoiser import Denoiser, Label, Sigma, resident

Window = int | Callable[[float], int]


class PixelwiseDenoiser(Denoiser):
    """D(x)[p] = sum_i w_i(p) y_i[p]: a posterior mean whose weights differ from pixel to pixel; a subclass says `weights`.

    images   (N, C, H, W), uint8 in 0..255 or floats in [-1, 1]

    An image at a time, with memory O(N H W). Distances are sums of squared differences in the type of x, at least float32;
    products of x and y would cancel at low noise. Labels are ignored.
    """

    def __init__(self, images: Tensor):
        super().__init__()
        images = check_images(images)
        floats = decode(images).float().view(images.shape) if images.dtype == torch.uint8 else images
        self.register_buffer("images", floats)

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        """x (B, C, H, W) -> x0_hat (B, C, H, W) of the same type."""
        check_input(x, self.images.shape[1:])
        precise = x.to(torch.promote_types(x.dtype, torch.float32))
        y = resident(self, "images", x).to(precise.dtype)
        levels = one_each(sigma, len(x))
        answers = [(self.weights((y - row).square().sum(1), s)[:, None] * y).sum(0) for row, s in zip(precise, levels)]
        return torch.stack(answers).to(x.dtype) if answers else x

    def weights(self, squares: Tensor, sigma: float) -> Tensor:
        """w (N, H, W) of every image at every pixel, from squared differences (N, H, W), which it may overwrite."""
        raise NotImplementedError(f"{type(self).__name__} does not say how it weighs images")


class LocalDenoiser(PixelwiseDenoiser):
    """Each pixel from its own k x k window, which the border cuts off: the local score machine.

    window   k >= 1, odd, or k(sigma); from 2 max(H, W) - 1 on every window holds the image
    """

    def __init__(self, images: Tensor, window: Window):
        super().__init__(images)
        self.window = window

    def weights(self, squares: Tensor, sigma: float) -> Tensor:
        return posterior(around(squares, window_size(self.window, sigma)), sigma)


class PatchDenoiser(PixelwiseDenoiser):
    """The patch posterior mean: every k x k window in the image is denoised, and a pixel is the mean over its windows.

    window   k >= 1 or k(sigma), at most min(H, W): there, for square images, one window holds all
    """

    def __init__(self, images: Tensor, window: Window):
        super().__init__(images)
        self.window = window

    def weights(self, squares: Tensor, sigma: float) -> Tensor:
        k, (height, width) = window_size(self.window, sigma, odd=False), squares.shape[1:]
        k = min(k, height, width)
        rows, columns = inside(height, k).to(squares), inside(width, k).to(squares)                 # (windows, side)
        w = posterior(_boxes(squares, rows, columns), sigma)                                        # (N, windows, windows)
        count = rows.sum(0)[:, None] * columns.sum(0)                                               # windows of a pixel
        return _boxes(w, rows.T, columns.T) / count


class MaskDenoiser(PixelwiseDenoiser):
    """Each pixel from the pixels that the data's covariance C ties to it: a window that follows the data, not the grid.

    With W = C (C + sigma^2)^-1 the linear denoiser's filter, pixel n counts for pixel m where |W_nm / W_nn| is at least
    `share` of its largest entry.

    gaussian   the mean and covariance of the data: `GaussianDenoiser.fit(images)`
    share      in [0, 1]; at 0 every pixel counts
    """

    def __init__(self, images: Tensor, gaussian: GaussianDenoiser, share: float = 0.005):
        super().__init__(images)
        if images.shape[1] != 1 or gaussian.mean.shape != images.shape[1:]:
            raise ValueError(f"a covariance mask needs images of one channel and their own Gaussian, got "
                             f"{tuple(images.shape[1:])} and {tuple(gaussian.mean.shape)}")
        if not 0 <= share <= 1:
            raise ValueError(f"share is a part of the largest entry, in [0, 1], got {share}")
        self.gaussian, self.share, self._masks = gaussian, share, {}

    def mask(self, sigma: float) -> Tensor:
        """(D, D) bool: [n, m] says whether pixel n counts for pixel m."""
        if sigma not in self._masks:
            self._masks[sigma] = covariance_mask(self.gaussian, sigma, self.share)
        return self._masks[sigma]

    def weights(self, squares: Tensor, sigma: float) -> Tensor:
        energy = squares.flatten(1) @ self.mask(sigma).to(squares)
        return posterior(energy.view_as(squares), sigma)


def covariance_mask(gaussian: GaussianDenoiser, sigma: float, share: float) -> Tensor:
    """Where |W_nm / W_nn| >= share max |W_nm / W_nn|, W = C (C + sigma^2)^-1: (D, D) bool, its diagonal always True.

    A pixel that never varies has W_nn = 0, and counts for itself alone.
    """
    gain = gaussian.lam / (gaussian.lam + max(sigma, 1e-9)**2)
    filter = (gaussian.basis * gain) @ gaussian.basis.T
    scale = filter.diagonal()[:, None]
    tied = torch.where(scale > 1e-12, filter / scale.clamp_min(1e-12), torch.zeros_like(filter)).abs()
    return (tied >= share * tied.max()) | torch.eye(len(tied), dtype=torch.bool, device=tied.device)


def posterior(energy: Tensor, sigma: float) -> Tensor:
    """softmax over the images of -energy / (2 sigma^2): (N, ...) -> (N, ...); sigma = 0 stands for the limit."""
    logits = (energy.amin(0) - energy) / (2 * max(sigma, 1e-9) ** 2)
    return logits.softmax(0)


def around(squares: Tensor, k: int) -> Tensor:
    """Sums over the k x k window around each pixel, cut off at the border: (N, H, W) -> (N, H, W)."""
    return _boxes(squares, *(band(side, k).to(squares) for side in squares.shape[1:]))


def band(side: int, k: int) -> Tensor:
    """Which coordinates lie in the window of k around a coordinate: (side, side), 0 or 1."""
    i = torch.arange(side)
    return ((i[:, None] - i).abs() <= k // 2).double()


def inside(side: int, k: int) -> Tensor:
    """Which coordinates lie in each window of k that fits: (side - k + 1, side), 0 or 1."""
    ahead = torch.arange(side) - torch.arange(side - k + 1)[:, None]
    return ((ahead >= 0) & (ahead < k)).double()


def _boxes(values: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """rows @ values @ columns^T for (N, H, W). Sums by matrix product: running sums would lose digits at low noise."""
    return rows @ (values.reshape(-1, values.shape[2]) @ columns.T).view(*values.shape[:2], len(columns))


def window_size(window: Window, sigma: float, odd: bool = True) -> int:
    """k at this noise level. ValueError unless it is a whole number >= 1, and odd where it has a center."""
    k = window(sigma) if callable(window) else window
    if not isinstance(k, int) or k < 1 or (odd and k % 2 == 0):
        raise ValueError(f"a window is a{'n odd' if odd else ''} whole number of pixels, 1 or more, got {k!r}")
    return k


def one_each(sigma: Sigma, n: int) -> list[float]:
    """sigma as one number for each of n images. ValueError for another length."""
    if not isinstance(sigma, Tensor):
        return [float(sigma)] * n
    if sigma.numel() not in (1, n):
        raise ValueError(f"sigma must be one number or one for each of the {n} images, got {sigma.numel()}")
    return sigma.reshape(-1).double().expand(n).tolist() if sigma.numel() == 1 else sigma.reshape(-1).tolist()
