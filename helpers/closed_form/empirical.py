"""The denoiser of the memorization regime: N training images, each with probability 1/N.

The best denoiser in mean square is the posterior mean, D*(x, sigma) = E[x0 | x0 + sigma eps = x]. Of N images it is a
softmax over them (Theorem 1 of the paper): it returns training images, and is what a network becomes that learns its
training set by heart.

Images x0 in [-1, 1] and x = x0 + sigma eps are (B, C, H, W); sigma is a number or (B,); D = C H W. Used in chapters 1 to 4.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from helpers.closed_form.images import check_images, check_input, decode, variance
from helpers.denoiser import Denoiser, Sigma


class EmpiricalDenoiser(Denoiser):
    """D*(x, sigma) = sum_i w_i y_i with w = softmax_i(-|x - y_i|^2 / (2 sigma^2)), the optimal denoiser of N images.

    Theorem 1 of the paper, in the coordinates x = x0 + sigma eps; Karras et al. 2022, App. B.3.

    images  (N, C, H, W), uint8 in 0..255 or floats in [-1, 1]; kept as given and converted a chunk at a time
    labels  (N,), optional: with them, D*(x, sigma, label) averages over the images of class label (B,) alone
    chunk   images at a time; beyond the images, memory is O(chunk (B + D)) and does not grow with N

    Relative error below 1e-5 for float32 x and sigma from 1e-3 to 1e3. That takes float64 logits: a float32 product x.y
    is off by 1e-5 and more, and is divided by sigma^2 (at sigma = 0.01 the error reaches 2e-3). Selecting candidates in
    float32 and redoing those in float64 halves the time where few images matter and costs more where many do;
    tests/bench/bench_closed_form.py measures it. The weights and the average need no more digits than x has, and images
    whose weight is negligible for the whole batch are left out. float64 must exist on the device of x.
    """

    def __init__(self, images: Tensor, labels: Tensor | None = None, chunk: int = 2048):
        super().__init__()
        self.chunk, self.classes = chunk, 0 if labels is None else None
        if labels is not None and labels.shape != images.shape[:1]:
            raise ValueError(f"labels must be ({len(images)},), one for each image, got {tuple(labels.shape)}")
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}")
        halves = [0.5 * decode(part, images).square().sum(1) for part in check_images(images).split(chunk)]
        self.register_buffer("images", images)
        self.register_buffer("labels", labels)
        self.register_buffer("half_norms", torch.cat(halves))

    def _logits(self, x: Tensor, sigma: Sigma, label: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Chunks of images (n, D) and their logits (B, n), float64. |x|^2 is left out: the softmax does not see it."""
        rows, var = x.flatten(1).double(), variance(sigma, x)                      # (B, D), (B or 1, 1)
        for start in range(0, len(self.images), self.chunk):
            span = slice(start, start + self.chunk)
            y = decode(self.images[span], x)                                       # (n, D)
            logits = torch.addmm(-self.half_norms[span].to(x.device), rows, y.T) / var  # (B, n)
            if label is not None:
                other = self.labels[span].to(x.device)[None, :] != label[:, None]   # (B, n)
                logits = logits.masked_fill(other, -torch.inf)
            yield y, logits

    def _check(self, x: Tensor, label: Tensor | None) -> Tensor | None:
        check_input(x, self.images.shape[1:])
        if label is None:
            return None
        if self.labels is None:
            raise ValueError("label given, but this denoiser was made without labels")
        label = torch.as_tensor(label, device=x.device).expand(len(x))
        missing = set(label.tolist()) - set(self.labels.unique().tolist())
        if missing:
            raise ValueError(f"no image has label {', '.join(map(str, sorted(missing)))}")
        return label

    def forward(self, x: Tensor, sigma: Sigma, label: Tensor | None = None) -> Tensor:
        """x (B, C, H, W) -> x0_hat (B, C, H, W) of the same type. Differentiable in x, once."""
        return _PosteriorMean.apply(x, self, sigma, self._check(x, label))

    def mean(self, x: Tensor, sigma: Sigma, label: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """sum_i w_i y_i (B, D), and the largest logit and the sum of exp(logit - largest), (B, 1), all float64."""
        dtype = torch.promote_types(x.dtype, torch.float32)
        peak = x.new_full((len(x), 1), torch.finfo(torch.float64).min, dtype=torch.float64)
        total, mean = torch.zeros_like(peak), torch.zeros_like(peak)                # (B, 1), then (B, D)
        for y, logits in self._logits(x, sigma, label):
            new_peak = torch.maximum(peak, logits.amax(1, keepdim=True))            # (B, 1)
            w = (logits - new_peak).to(dtype).exp()                                 # (B, n), 1 at the peak
            shrink, peak = (peak - new_peak).exp(), new_peak
            total = total * shrink + w.sum(1, keepdim=True, dtype=torch.float64)
            matters = w.amax(0) > 1e-8 / len(self.images)                           # (n,)
            mean = mean * shrink + (w[:, matters] @ y[matters].to(dtype)).double()
        return mean / total, peak, total

    def pull(self, g: Tensor, x: Tensor, sigma: Sigma, label: Tensor | None) -> Tensor:
        """J^T g (B, D), float64, for g (B, D): J = Cov_w(y) / sigma^2, so sum_i w_i (y_i - D) <y_i - D, g> / sigma^2.

        Differentiating the quotient that `mean` computes would subtract numbers of size |y|^2 / sigma^2 from each other.
        """
        mean, peak, total = self.mean(x, sigma, label)
        g, pulled = g.double(), torch.zeros_like(mean)
        offset = (mean * g).sum(1, keepdim=True)                                    # <D, g>, (B, 1)
        for y, logits in self._logits(x, sigma, label):
            v = (logits - peak).exp() / total * (g @ y.T - offset)                  # w_i <y_i - D, g>, (B, n)
            matters = v.abs().amax(0) > 0
            pulled += v[:, matters] @ y[matters] - v.sum(1, keepdim=True) * mean
        return pulled / variance(sigma, x)


class _PosteriorMean(torch.autograd.Function):
    """EmpiricalDenoiser's answer, with its own gradient."""

    @staticmethod
    def forward(ctx, x: Tensor, denoiser: EmpiricalDenoiser, sigma: Sigma, label: Tensor | None) -> Tensor:
        ctx.save_for_backward(x)
        ctx.asked = denoiser, sigma, label
        return denoiser.mean(x, sigma, label)[0].to(x.dtype).view_as(x)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, g: Tensor):
        denoiser, sigma, label = ctx.asked
        (x,) = ctx.saved_tensors
        return denoiser.pull(g.flatten(1), x, sigma, label).to(g.dtype).view_as(g), None, None, None
