"""One noise under every class: what a conditional model makes of it, and what an unconditional one does.

With k classes a conditional model has k images for a noise, x^c = x(z, c), and so k descriptors, (n, k, d). Two conditional
models are compared class by class, by a `Comparison`; an unconditional image x, which belongs to no class by decree, is
compared with all k,

    best     P( max_c M(x, x^c) > t )
    matched  P( M(x, x^c) > t ) for the class c that a classifier sees in x

The best of k tries succeeds more often than one, also by chance. Its honest null is the best of k *unrelated* images of the
same model, one of each class, from k other noises (`unrelated`). What two conditional models make of one noise under two
classes is `crossed`. Used in chapters 3 and 9.
"""

import torch
from torch import Tensor

from helpers.measure.scores import check_unit


def between(free: Tensor, bound: Tensor) -> Tensor:
    """M(x, x^c): unit descriptors of unconditional (n, d) and conditional images (n, k, d), same noises -> (n, k).

    ValueError for other shapes or lengths.
    """
    if free.ndim != 2 or bound.ndim != 3 or free.shape != (bound.shape[0], bound.shape[2]):
        raise ValueError(f"need descriptors (n, d) and (n, k, d), got {tuple(free.shape)} and {tuple(bound.shape)}")
    check_unit(free, bound)
    return torch.einsum("nd,nkd->nk", free, bound)


def crossed(comparison, a, b, at=None) -> Tensor:
    """How far a's image of noise i under class c is b's of the same noise under class d: (n, k, k) float64 in [0, 1].

    comparison, at   a `Comparison` with classes, and the criterion of its `hits`
    """
    k = comparison.classes
    rolled = torch.stack([comparison.hits(a, b, label=shift, at=at) for shift in range(k)], -1)     # (n, c, shift)
    index = (torch.arange(k) - torch.arange(k)[:, None]) % k                                        # d - c
    return rolled.gather(-1, index.expand(len(rolled), k, k))


def unrelated(values: Tensor) -> Tensor:
    """values (n, k, ...) with row j = i + 1 + c (cyclic) in the place of row i: for each class another noise, never i.

    Of descriptors or of what is known of each image; for each class another noise if n > k. ValueError if n < 2.
    """
    n, k = values.shape[:2]
    if n < 2:
        raise ValueError("an unrelated noise needs two noises or more")
    index = (torch.arange(n)[:, None] + 1 + torch.arange(k) % (n - 1)) % n                          # (n, k)
    return values[index, torch.arange(k)]


def _check_labels(values: Tensor, label: Tensor) -> None:
    n, k = values.shape
    if label.shape != (n,) or (n and not (0 <= label.amin() and label.amax() < k)):
        raise ValueError(f"need a label from 0 to {k - 1} for each of {n} rows, got {label.tolist()[:10]}")


def of_class(values: Tensor, label: Tensor) -> Tensor:
    """values (n, k) at each row's class label (n,): (n,). ValueError for a label that is none of the k classes."""
    _check_labels(values, label)
    return values.gather(1, label[:, None]).squeeze(1)


def best_other(values: Tensor, label: Tensor) -> Tensor:
    """The class, other than the row's label (n,), with the greatest of values (n, k): (n,). ValueError if k < 2."""
    _check_labels(values, label)
    if values.shape[1] < 2:
        raise ValueError("one class has no other: best_other needs two or more")
    return values.scatter(1, label[:, None], -torch.inf).argmax(1)
