"""Which of N images can matter to a batch of noisy ones: those of the last step bound those of the next.

At a low noise level almost all weights of the softmax vanish. Whoever has measured once that no image outside a set is
nearer to x than r knows of x', by the triangle inequality, that none is nearer than

    r - |x' - x|,

so that a sampler's whole descent needs one look at all images. A `Vicinity` is such a set. It is a hint and no more: it
is used where the bound proves that it suffices, whatever was asked before, and by whom.

x is (B, D), images are (N, D) when decoded; s_i = <x, y_i> - |y_i|^2 / 2 = (|x|^2 - |x - y_i|^2) / 2.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from helpers.closed_form.images import decode

NATS = 33.0                  # what is left out has together e^-33 = 5e-15 of the weight: float64's last digits
SPARE = 20.0                 # so much more is kept at first, in the same unit, for x moves on
FIRST, SHARE = 0.5, 0.25     # of the images, at the first look and in the end; with more, looking at all costs no more
CROWD = 0.9                  # of those looked at so far: where so many can matter, the rest will not change it


class Vicinity(NamedTuple):
    """`index` (n,): no other image is nearer to row b of x (B, D) than radius[b], (B, 1); the nearest is nearest[b], (B, D).

    With labels (B,), of the images of class label[b].
    """

    x: Tensor
    label: Tensor | None
    index: Tensor
    radius: Tensor
    nearest: Tensor

    def suffices(self, x: Tensor, var: Tensor, label: Tensor | None, n: int) -> bool:
        """Whether the n images outside have less than e^-NATS of the weight at x (B, D), sigma^2 = var (B or 1, 1)."""
        if x.shape != self.x.shape or not _equal(label, self.label):
            return False
        least = self.radius - (x.double() - self.x).norm(dim=1, keepdim=True)
        most = (x.double() - self.nearest).norm(dim=1, keepdim=True)
        return bool(((least > 0) & (least**2 - most**2 > 2 * var * (NATS + math.log(n)))).all())


def look(x: Tensor, var: Tensor, label: Tensor | None, images: Tensor, half_norms: Tensor, labels: Tensor | None,
         chunk: int) -> Vicinity | None:
    """The images around x (B, D), from float32 products and the bound u |y| (D |x| + |y|) on their error, u = 2^-24.

    None if more than SHARE of the images can matter, which the first chunks often show, or if an s is not finite.
    """
    n, norm = len(images), x.double().norm(dim=1, keepdim=True)                     # (B, 1)
    longest = (2 * half_norms.max()).sqrt()                                         # |y|
    error = 2.0**-24 * longest * (x.shape[1] * norm + longest)
    gap = var * (NATS + math.log(n) + SPARE) + 2 * error                            # of s below its largest
    peak, nearest = torch.full_like(norm, -torch.inf), torch.zeros(len(x), 1, dtype=torch.long)
    index = torch.arange(n)
    for most in (FIRST * n, SHARE * n):                   # the second time with the largest s of all images
        near, seen, found = [], 0, 0
        for part in index.split(chunk):
            s = torch.addmm(-half_norms[part].float(), x.float(), decode(images[part], torch.float32).T)
            if label is not None:
                s.masked_fill_(labels[part][None, :] != label[:, None], -torch.inf)
            top, where = s.max(1, keepdim=True)                                     # s is (B, chunk)
            nearest, peak = torch.where(top > peak, part[where], nearest), torch.maximum(peak, top.double())
            near.append(part[(s > (peak - gap).float()).any(0)])
            seen, found = seen + len(part), found + len(near[-1])
            if found > most or most > SHARE * n and found > CROWD * seen:
                return None
        if not peak.isfinite().all():
            return None
        index = torch.cat(near)
    radius = (norm**2 - 2 * (peak - gap + error)).clamp_min(0).sqrt()
    return Vicinity(x.clone(), label, index, radius, decode(images[nearest[:, 0]]))


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and torch.equal(one, other))
