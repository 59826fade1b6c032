"""Denoisers that need no training: the best answer is known in closed form.

The best denoiser in mean square is the posterior mean, D*(x, sigma) = E[x0 | x0 + sigma eps = x]. For three data
distributions it can be written down:

    N training images, each with probability 1/N    EmpiricalDenoiser    Theorem 1: a softmax over the images
    a Gaussian                                      GaussianDenoiser     the Wiener filter, linear in x
    a mixture of Gaussians                          MixtureDenoiser      Wiener filters, weighted by a softmax

The first is what a network with unlimited capacity, trained to the end, would become: sampling it returns training
images, so it stands for the memorization regime. The second is the linear baseline: what models share because they
share the data's mean and covariance. The third is a distribution whose true denoiser is known. Used in chapter 2.

Images x0 in [-1, 1] and x = x0 + sigma eps are (B, C, H, W); sigma is a number or (B,); D = C H W.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

Sigma = float | Tensor


def _decode(images: Tensor, like: Tensor) -> Tensor:
    """Images as float64 rows on the device of `like`: uint8 0..255 becomes -1..1, floats stay as they are."""
    rows = images.flatten(1).to(like.device, torch.float64)                         # (n, D)
    return rows / 127.5 - 1 if images.dtype == torch.uint8 else rows


def _check_images(images: Tensor) -> Tensor:
    if images.ndim != 4 or images.numel() == 0:
        raise ValueError(f"images must be (N, C, H, W) with N >= 1, got {tuple(images.shape)}")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ValueError(f"images must be uint8 in 0..255 or floats in [-1, 1], got {images.dtype}")
    return images


def _check_input(x: Tensor, shape: torch.Size) -> None:
    if x.ndim != 4 or x.shape[1:] != shape:
        raise ValueError(f"x must be (B, {', '.join(map(str, shape))}), got {tuple(x.shape)}")


def _variance(sigma: Sigma, x: Tensor) -> Tensor:
    """sigma^2 as float64, (1, 1) or (B, 1). The floor keeps sigma = 0 finite; it stands for the limit."""
    column = torch.as_tensor(sigma, dtype=torch.float64, device=x.device).reshape(-1, 1)
    if column.shape[0] not in (1, x.shape[0]):
        raise ValueError(f"sigma must be one number or one for each of the {x.shape[0]} images, got {column.shape[0]}")
    return column.clamp_min(1e-9) ** 2


class EmpiricalDenoiser:
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
        self.images, self.labels, self.chunk = _check_images(images), labels, chunk
        if labels is not None and labels.shape != images.shape[:1]:
            raise ValueError(f"labels must be ({len(images)},), one for each image, got {tuple(labels.shape)}")
        if chunk < 1:
            raise ValueError(f"chunk must be at least 1, got {chunk}")
        self.half_norms = torch.cat([0.5 * _decode(part, images).square().sum(1) for part in images.split(chunk)])

    def _logits(self, x: Tensor, sigma: Sigma, label: Tensor | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Chunks of images (n, D) and their logits (B, n), float64. |x|^2 is left out: the softmax does not see it."""
        rows, var = x.flatten(1).double(), _variance(sigma, x)                      # (B, D), (B or 1, 1)
        for start in range(0, len(self.images), self.chunk):
            span = slice(start, start + self.chunk)
            y = _decode(self.images[span], x)                                       # (n, D)
            logits = torch.addmm(-self.half_norms[span].to(x.device), rows, y.T) / var  # (B, n)
            if label is not None:
                other = self.labels[span].to(x.device)[None, :] != label[:, None]   # (B, n)
                logits = logits.masked_fill(other, -torch.inf)
            yield y, logits

    def _check(self, x: Tensor, label: Tensor | None) -> Tensor | None:
        _check_input(x, self.images.shape[1:])
        if label is None:
            return None
        if self.labels is None:
            raise ValueError("label given, but this denoiser was made without labels")
        label = torch.as_tensor(label, device=x.device).expand(len(x))
        missing = set(label.tolist()) - set(self.labels.unique().tolist())
        if missing:
            raise ValueError(f"no image has label {', '.join(map(str, sorted(missing)))}")
        return label

    def __call__(self, x: Tensor, sigma: Sigma, label: Tensor | None = None) -> Tensor:
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
        return pulled / _variance(sigma, x)

    def effective_number(self, x: Tensor, sigma: Sigma, label: Tensor | None = None) -> Tensor:
        """exp(entropy of w), (B,) float64: how many images share the posterior, from 1 (a copy) to N (the mean)."""
        label = self._check(x, label)
        peak = x.new_full((len(x), 1), torch.finfo(torch.float64).min, dtype=torch.float64)
        total, moment = torch.zeros_like(peak), torch.zeros_like(peak)              # sums of w and of w log w, (B, 1)
        for _, logits in self._logits(x, sigma, label):
            new_peak = torch.maximum(peak, logits.amax(1, keepdim=True))
            shift = (peak - new_peak).clamp_min(-1e3)       # a finite log of a weight that exp turns into 0
            log_w = (logits - new_peak).clamp_min(-1e3)
            moment = (moment + total * shift) * shift.exp() + (log_w * log_w.exp()).sum(1, keepdim=True)
            total = total * shift.exp() + log_w.exp().sum(1, keepdim=True)
            peak = new_peak
        return (total.log() - moment / total).exp().squeeze(1)


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


def nearest_images(x: Tensor, images: Tensor, k: int = 2, chunk: int = 2048) -> tuple[Tensor, Tensor]:
    """Euclidean distances |x - y_i| to the k nearest images and their indices i, nearest first.

    x (B, C, H, W) floats, images (N, C, H, W) as in EmpiricalDenoiser -> (B, k) float64, (B, k) int64. Candidates come
    from float64 products, their distances from differences. The ratio of the first two is the copy test of Yoon et al.
    2023. ValueError unless N >= k >= 1.
    """
    _check_input(x, _check_images(images).shape[1:])
    if not 1 <= k <= len(images):
        raise ValueError(f"k must be from 1 to {len(images)}, the number of images, got {k}")
    pairs = [_nearest(rows, images, k, chunk) for rows in x.flatten(1).double().split(1024)]
    distances, indices = zip(*pairs, strict=True)
    return torch.cat(distances), torch.cat(indices)


def _nearest(rows: Tensor, images: Tensor, k: int, chunk: int) -> tuple[Tensor, Tensor]:
    best = rows.new_empty(len(rows), 0)                                             # (B, up to k)
    index = best.long()
    for start in range(0, len(images), chunk):
        y = _decode(images[start:start + chunk], rows)                              # (n, D)
        score = torch.addmm(0.5 * y.square().sum(1), rows, y.T, alpha=-1)           # (B, n), (|x-y|^2 - |x|^2) / 2
        score, where = score.topk(min(k, len(y)), largest=False)
        best, index = torch.cat([best, score], 1), torch.cat([index, where + start], 1)
        best, order = best.topk(min(k, best.shape[1]), largest=False)
        index = index.gather(1, order)
    candidates = _decode(images[index.flatten().to(images.device)], rows).view(*index.shape, rows.shape[1])
    distance = (rows[:, None] - candidates).norm(dim=2)                             # (B, k)
    distance, order = distance.sort(dim=1, stable=True)
    return distance, index.gather(1, order)


class GaussianDenoiser:
    """D(x, sigma) = mu + U diag(lam / (lam + sigma^2)) U^T (x - mu), the optimal denoiser of N(mu, U diag(lam) U^T).

    The Wiener filter: linear in x, and what trained denoisers resemble early on (Li et al. 2024; Wang & Vastola 2024).
    One eigendecomposition in float64; products in the type of x.

    mean (C, H, W), covariance (D, D) symmetric, positive semidefinite up to rounding. Labels are ignored.
    """

    def __init__(self, mean: Tensor, covariance: Tensor):
        d = mean.numel()
        if mean.ndim != 3 or covariance.shape != (d, d):
            raise ValueError(f"mean must be (C, H, W) and covariance (CHW, CHW), got {tuple(mean.shape)} and "
                             f"{tuple(covariance.shape)}")
        lam, self.basis = torch.linalg.eigh(covariance.double())                    # (D,), (D, D)
        self.lam, self.mean = lam.clamp_min(0), mean.double()

    @classmethod
    def fit(cls, images: Tensor, chunk: int = 2048) -> "GaussianDenoiser":
        """From the mean and covariance (divided by N) of images (N, C, H, W), uint8 or floats in [-1, 1]."""
        parts, n = _check_images(images).split(chunk), len(images)
        mean = sum(_decode(part, images).sum(0) for part in parts) / n              # (D,)
        centered = (_decode(part, images) - mean for part in parts)
        covariance = sum(rows.T @ rows for rows in centered) / n                    # (D, D)
        return cls(mean.view(images.shape[1:]), covariance)

    def _filter(self, x: Tensor, gain: Tensor) -> Tensor:
        """mu + U diag(gain) U^T (x - mu), gain (1 or B, D)."""
        basis, mean = self.basis.to(x), self.mean.to(x)
        coords = (x - mean).flatten(1) @ basis                                      # (B, D)
        return mean + ((coords * gain.to(x)) @ basis.T).view_as(x)

    def __call__(self, x: Tensor, sigma: Sigma, label: Tensor | None = None) -> Tensor:
        """x (B, C, H, W) -> x0_hat (B, C, H, W) of the same type."""
        _check_input(x, self.mean.shape)
        lam = self.lam.to(x.device)
        return self._filter(x, lam / (lam + _variance(sigma, x)))

    def flow(self, z: Tensor, sigma_max: float, sigma_min: float = 0.0) -> Tensor:
        """The PF-ODE solved exactly from x = sigma_max z at sigma_max down to sigma_min; z and result (B, C, H, W).

        x(sigma) = mu + U diag(sqrt((lam + sigma^2) / (lam + sigma_max^2))) U^T (sigma_max z - mu).
        """
        _check_input(z, self.mean.shape)
        lam = self.lam.to(z.device)
        return self._filter(sigma_max * z, ((lam + sigma_min**2) / (lam + sigma_max**2)).sqrt()[None])

    def log_density(self, x: Tensor, sigma: Sigma) -> Tensor:
        """log N(x; mu, C + sigma^2 I), (B,) float64, for sigma > 0. Its gradient is the score, (D - x) / sigma^2."""
        _check_input(x, self.mean.shape)
        coords = (x.double() - self.mean.to(x.device)).flatten(1) @ self.basis.to(x.device)  # (B, D)
        var = self.lam.to(x.device) + _variance(sigma, x)                           # (1 or B, D)
        return -0.5 * (coords**2 / var + var.log() + math.log(2 * math.pi)).sum(1)


class MixtureDenoiser:
    """D(x, sigma) = sum_k r_k D_k(x, sigma), r = softmax_k(log p_k + log N(x; mu_k, C_k + sigma^2 I)).

    The optimal denoiser of a mixture of Gaussians with weights p (K,), given as K GaussianDenoisers; sigma > 0. Labels
    are ignored.
    """

    def __init__(self, weights: Tensor, components: list[GaussianDenoiser]):
        if not components or len(weights) != len(components):
            raise ValueError(f"need one weight for each component, got {len(weights)} and {len(components)}")
        self.log_weights, self.components = weights.double().log(), components

    def __call__(self, x: Tensor, sigma: Sigma, label: Tensor | None = None) -> Tensor:
        """x (B, C, H, W) -> x0_hat (B, C, H, W) of the same type."""
        log_p = torch.stack([c.log_density(x, sigma) for c in self.components])     # (K, B)
        r = (log_p + self.log_weights.to(x.device)[:, None]).softmax(0).to(x.dtype)
        return sum(r_k[:, None, None, None] * c(x, sigma) for r_k, c in zip(r, self.components, strict=True))
