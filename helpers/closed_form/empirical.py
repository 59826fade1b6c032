"""The denoiser of the memorization regime: N training images, each with probability 1/N.

The best denoiser in mean square is the posterior mean, D*(x, sigma) = E[x0 | x0 + sigma eps = x]. Of N images it is a
softmax over them (Theorem 1 of the paper): it returns training images, and is what a network becomes that learns its
training set by heart.

Images x0 in [-1, 1] and x = x0 + sigma eps are (B, C, H, W); sigma is a number or (B,); D = C H W. Used in chapters 1 to 4.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from helpers.closed_form.candidates import Vicinity, look
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

    Relative error below 1e-5 for float32 x and sigma from 1e-3 to 1e3. A float32 product x.y is off by some 1e-7 |x| |y|,
    which is divided by sigma^2 (at sigma = 0.01 the error would reach 2e-3), so that the logits are float32 where that is
    below 1e-5 and float64 elsewhere. Where few images can matter (`candidates.py`), only these are looked at, in float64,
    and the last VICINITIES such sets are kept for the next steps of a sampler. They change the time that a call takes and,
    as the size of a batch does, the rounding of its answer; `make bench` measures it. All this is for the CPU: on a GPU it
    would have to be waited for which images matter. float64 must exist on the device of x.
    """

    FLOAT32 = 1.2e-5                      # the largest |x| |y| 2^-24 / sigma^2 at which logits are float32
    VICINITIES = 4                        # for as many threads, each with its own batch of noises on the way

    def __init__(self, images: Tensor, labels: Tensor | None = None, chunk: int = 2048):
        super().__init__()
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}")
        halves = [0.5 * decode(part).square().sum(1) for part in check_images(images).split(chunk)]
        self.chunk, self.classes = chunk, 0 if labels is None else _count_classes(labels, len(images))
        self.register_buffer("images", images)
        self.register_buffer("labels", labels)
        self.register_buffer("half_norms", torch.cat(halves))
        self._vicinities: tuple[Vicinity, ...] = ()           # replaced as a whole: threads see the old or the new ones

    def logits(self, x: Tensor, sigma: Sigma, label: Tensor | None, index: Tensor | None = None,
               dtype: torch.dtype = torch.float64) -> Iterator[tuple[Tensor, Tensor]]:
        """Chunks of images (n, D) and their logits (B, n), of all images or those of `index`. |x|^2 is left out: the
        softmax does not see it."""
        rows, var = x.flatten(1).to(dtype), variance(sigma, x).to(dtype)            # (B, D), (B or 1, 1)
        images, half_norms = resident(self, "images", x), resident(self, "half_norms", x)
        labels = None if label is None else resident(self, "labels", x)
        total = len(images) if index is None else len(index)
        for start in range(0, total, self.chunk):
            span = slice(start, start + self.chunk)
            span = span if index is None else index[span]
            y = decode(images[span], dtype)                                         # (n, D)
            logits = torch.addmm(-half_norms[span].to(dtype), rows, y.T).div_(var)  # (B, n)
            if label is not None:
                logits = logits.masked_fill(labels[span][None, :] != label[:, None], -torch.inf)
            yield y, logits

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        """x (B, C, H, W) -> x0_hat (B, C, H, W) of the same type. Differentiable in x, once. ValueError for a class
        without images; on a GPU, where looking would mean waiting, `sample` looks once, and a call answers NaN."""
        check_input(x, self.images.shape[1:])
        return PosteriorMean.apply(x, self, sigma, known_label(label, x, self.classes))

    def mean(self, x: Tensor, sigma: Sigma, label: Tensor | None, exact: bool = False) -> tuple[Tensor, Tensor, Tensor]:
        """sum_i w_i y_i (B, D), and the largest logit and the sum of exp(logit - largest), (B, 1), all float64.

        exact   for who uses the last two: from all images, in float64
        """
        index, precision = (None, torch.float64) if exact else self._plan(x, variance(sigma, x), label)
        alike = index is None and not exact
        dtype = torch.promote_types(x.dtype, torch.float32) if alike else torch.float64
        floor = (1e-8 if index is None else 1e-16) / len(self.images)
        peak = x.new_full((len(x), 1), torch.finfo(precision).min, dtype=precision)
        total = torch.zeros_like(peak, dtype=torch.float64)                         # (B, 1)
        mean = torch.zeros_like(x.flatten(1), dtype=torch.float64)                  # (B, D)
        for y, logits in self.logits(x, sigma, label, index, precision):
            new_peak = torch.maximum(peak, logits.amax(1, keepdim=True))            # (B, 1)
            w = logits.sub_(new_peak).to(dtype).exp_()                              # (B, n), 1 at the peak
            shrink, peak = (peak - new_peak).double().exp(), new_peak
            total = total * shrink + w.sum(1, keepdim=True)
            mean = mean * shrink + _weighted(w, y, dtype, floor)
        return mean / total, peak.double(), total

    def _plan(self, x: Tensor, var: Tensor, label: Tensor | None) -> tuple[Tensor | None, torch.dtype]:
        """The images that can matter, None for all, and the type of their logits."""
        rows = x.flatten(1)
        if not rows.is_cpu or not len(rows):
            return None, torch.float64
        images, half_norms = resident(self, "images", x), resident(self, "half_norms", x)
        size = rows.double().norm(dim=1, keepdim=True) * (2 * half_norms.max()).sqrt() * 2.0**-24
        if x.dtype != torch.float64 and (size <= self.FLOAT32 * var).all():
            return None, torch.float32
        for known in self._vicinities:
            if known.suffices(rows, var, label, len(images)):
                return known.index, torch.float64
        labels = None if label is None else resident(self, "labels", x)
        found = look(rows, var, label, images, half_norms, labels, self.chunk)
        if found is None:
            return None, torch.float64
        self._vicinities = (found, *self._vicinities[:self.VICINITIES - 1])
        return found.index, torch.float64

    def pull(self, g: Tensor, x: Tensor, sigma: Sigma, label: Tensor | None) -> Tensor:
        """J^T g (B, D), float64, for g (B, D): J = Cov_w(y) / sigma^2, so sum_i w_i (y_i - D) <y_i - D, g> / sigma^2.

        Differentiating the quotient that `mean` computes would subtract numbers of size |y|^2 / sigma^2 from each other.
        """
        mean, peak, total = self.mean(x, sigma, label, exact=True)
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
        if 2 * matters.sum() < len(y):                                              # to pick costs, too
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
