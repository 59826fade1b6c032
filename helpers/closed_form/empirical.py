"""The denoiser of the memorization regime: N training images, each with probability 1/N.

The best denoiser in mean square is the posterior mean, D*(x, sigma) = E[x0 | x0 + sigma eps = x]. Of N images it is a
softmax over them (Theorem 1 of the paper): it returns training images, and is what a network becomes that learns its
training set by heart.

Images x0 in [-1, 1] and x = x0 + sigma eps are (B, C, H, W); sigma is a number or (B,); D = C H W. Used in chapters 1 to 4.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from helpers.closed_form.differentiable import PosteriorMean
from helpers.closed_form.images import check_images, check_input, decode, variance
from helpers.denoiser import Denoiser, Label, Sigma, known_label, resident


class EmpiricalDenoiser(Denoiser):
    """D*(x, sigma) = sum_i w_i y_i with w = softmax_i(-|x - y_i|^2 / (2 sigma^2)), the optimal denoiser of N images.

    Theorem 1 of the paper, in the coordinates x = x0 + sigma eps; Karras et al. 2022, App. B.3.

    images  (N, C, H, W), uint8 in 0..255 or floats in [-1, 1]; kept as given and converted a chunk at a time
    labels  (N,), optional: whole numbers 0 to k-1, with an image for each. D*(x, sigma, label) averages over the images
            of class label (B,) alone, and `classes` is k
    chunk   images at a time; beyond the images, memory is O(chunk (B + D)) and does not grow with N

    Relative error below 1e-5 for float32 x and sigma from 1e-3 to 1e3. That takes float64 logits: a float32 product x.y
    is off by 1e-5 and more, and is divided by sigma^2 (at sigma = 0.01 the error reaches 2e-3). Selecting candidates in
    float32 and redoing those in float64 halves the time where few images matter and costs more where many do;
    tests/bench/bench_closed_form.py measures it. The weights and the average need no more digits than x has. On the CPU,
    images whose weight is negligible for the whole batch are left out of the average; on a GPU it would have to be waited
    for which they are. float64 must exist on the device of x.
    """

    def __init__(self, images: Tensor, labels: Tensor | None = None, chunk: int = 2048):
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}")
        halves = [0.5 * decode(part).square().sum(1) for part in check_images(images).split(chunk)]
        self.chunk, self.classes = chunk, 0 if labels is None else _count_classes(labels, len(images))
        self.register_buffer("images", images)
        self.register_buffer("labels", labels)
        self.register_buffer("half_norms", torch.cat(halves))

    def logits(self, x: Tensor, sigma: Sigma, label: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Chunks of images (n, D) and their logits (B, n), float64. |x|^2 is left out: the softmax does not see it."""
        rows, var = x.flatten(1).double(), variance(sigma, x)                      # (B, D), (B or 1, 1)
        images, half_norms = resident(self, "images", x), resident(self, "half_norms", x)
        labels = None if label is None else resident(self, "labels", x)
        for start in range(0, len(images), self.chunk):
            span = slice(start, start + self.chunk)
            y = decode(images[span])                                                # (n, D)
            logits = torch.addmm(-half_norms[span], rows, y.T) / var                # (B, n)
            if label is not None:
                logits = logits.masked_fill(labels[span][None, :] != label[:, None], -torch.inf)
            yield y, logits

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        """x (B, C, H, W) -> x0_hat (B, C, H, W) of the same type. Differentiable in x, once. ValueError for a class
        without images; on a GPU, where looking would mean waiting, `sample` looks once, and a call answers NaN."""
        check_input(x, self.images.shape[1:])
        return PosteriorMean.apply(x, self, sigma, known_label(label, x, self.classes))

    def mean(self, x: Tensor, sigma: Sigma, label: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """sum_i w_i y_i (B, D), and the largest logit and the sum of exp(logit - largest), (B, 1), all float64."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        peak = x.new_full((len(x), 1), torch.finfo(torch.float64).min, dtype=torch.float64)
        total, mean = torch.zeros_like(peak), torch.zeros_like(x.flatten(1), dtype=torch.float64)   # (B, 1), (B, D)
        for y, logits in self.logits(x, sigma, label):
            new_peak = torch.maximum(peak, logits.amax(1, keepdim=True))            # (B, 1)
            w = (logits - new_peak).to(dtype).exp()                                 # (B, n), 1 at the peak
            shrink, peak = (peak - new_peak).exp(), new_peak
            total = total * shrink + w.sum(1, keepdim=True, dtype=torch.float64)
            mean = mean * shrink + _weighted(w, y, dtype, 1e-8 / len(self.images)).double()
        return mean / total, peak, total

    def pull(self, g: Tensor, x: Tensor, sigma: Sigma, label: Tensor | None) -> Tensor:
        """J^T g (B, D), float64, for g (B, D): J = Cov_w(y) / sigma^2, so sum_i w_i (y_i - D) <y_i - D, g> / sigma^2.

        Differentiating the quotient that `mean` computes would subtract numbers of size |y|^2 / sigma^2 from each other.
        """
        mean, peak, total = self.mean(x, sigma, label)
        g, pulled = g.double(), torch.zeros_like(mean)
        offset = (mean * g).sum(1, keepdim=True)                                    # <D, g>, (B, 1)
        for y, logits in self.logits(x, sigma, label):
            v = (logits - peak).exp() / total * (g @ y.T - offset)                  # w_i <y_i - D, g>, (B, n)
            pulled += _weighted(v, y, torch.float64, 0.0) - v.sum(1, keepdim=True) * mean
        return pulled / variance(sigma, x)


def _weighted(w: Tensor, y: Tensor, dtype: torch.dtype, floor: float) -> Tensor:
    """w @ y, (B, n) @ (n, D) -> (B, D); on the CPU without the images whose weight is at most `floor` for all of B."""
    if w.is_cpu and len(w):
        matters = w.abs().amax(0) > floor                                           # (n,)
        w, y = w[:, matters], y[matters]
    return w @ y.to(dtype)


def _count_classes(labels: Tensor, n: int) -> int:
    """k of labels (n,) that are whole numbers 0 to k-1. ValueError unless each has an image."""
    if labels.shape != (n,):
        raise ValueError(f"labels must be ({n},), one for each image, got {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.dtype == torch.bool:
        raise ValueError(f"labels must be whole numbers, 0 to k-1 for k classes, got {labels.dtype}")
    found = labels.unique().tolist()
    if found != list(range(len(found))):
        raise ValueError(f"labels must be 0 to k-1, with an image for each of the k classes, got {found}")
    return len(found)
