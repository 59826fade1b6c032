"""The nearest training images of an image, in pixels: what a copy is a copy of. Used in chapters 1 and 2."""

import torch
from torch import Tensor

from helpers.closed_form.images import check_images, check_input, decode
from helpers.data import check_x0


def nearest_images(x: Tensor, images: Tensor, k: int = 2, chunk: int = 2048) -> tuple[Tensor, Tensor]:
    """Euclidean distances |x - y_i| to the k nearest images and their indices i, nearest first.

    x (B, C, H, W) floats, images (N, C, H, W) as in EmpiricalDenoiser -> (B, k) float64, (B, k) int64. Candidates come
    from float64 products, their distances from differences. The ratio of the first two is the copy test of Yoon et al.
    2023. ValueError unless N >= k >= 1, or if a number is not finite.
    """
    check_input(x, check_images(images).shape[1:])
    check_x0(x, "x")
    if not 1 <= k <= len(images):
        raise ValueError(f"k must be from 1 to {len(images)}, the number of images, got {k}")
    pairs = [_nearest(rows, images, k, chunk) for rows in x.flatten(1).double().split(1024)]
    distances, indices = zip(*pairs, strict=True)
    return torch.cat(distances), torch.cat(indices)


def _nearest(rows: Tensor, images: Tensor, k: int, chunk: int) -> tuple[Tensor, Tensor]:
    best = rows.new_empty(len(rows), 0)                                             # (B, up to k)
    index = best.long()
    for start in range(0, len(images), chunk):
        y = decode(images[start:start + chunk].to(rows.device))                              # (n, D)
        score = torch.addmm(0.5 * y.square().sum(1), rows, y.T, alpha=-1)           # (B, n), (|x-y|^2 - |x|^2) / 2
        score, where = score.topk(min(k, len(y)), largest=False)
        best, index = torch.cat([best, score], 1), torch.cat([index, where + start], 1)
        best, order = best.topk(min(k, best.shape[1]), largest=False)
        index = index.gather(1, order)
    candidates = decode(images[index.flatten().to(images.device)].to(rows.device)).view(*index.shape, rows.shape[1])
    distance = (rows[:, None] - candidates).norm(dim=2)                             # (B, k)
    distance, order = distance.sort(dim=1, stable=True)
    return distance, index.gather(1, order)
