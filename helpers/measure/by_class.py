"""One noise under every class: what a conditional model makes of it, and what an unconditional one does.

With k classes a conditional model has k images for a noise, x^c = x(z, c), and so k descriptors, (n, k, d). Two conditional
models are compared class by class; an unconditional image x, which belongs to no class by decree, is compared with all k,

    between, best     P( max_c M(x, x^c) > t )
    between, matched  P( M(x, x^c) > t ) for the class c that a classifier sees in x

The best of k tries succeeds more often than one, also by chance. Its honest null is the best of k *unrelated* images of the
same model, one of each class, from k other noises. Used in chapter 3.
"""

import torch
from torch import Tensor, nn

from helpers.denoiser import DenoiserLike
from helpers.measure.descriptor import describe
from helpers.measure.scores import check_threshold, check_unit
from helpers.samplers import sample


def every_class(denoiser: DenoiserLike, z: Tensor, classes: int, **sampling) -> Tensor:
    """The images of noises z (n, C, H, W) under all classes: (n, k, C, H, W) on the CPU."""
    label = torch.arange(classes, device=z.device).repeat(len(z))
    return sample(denoiser, z.repeat_interleave(classes, 0), label=label, **sampling).unflatten(0, (-1, classes)).cpu()


def describe_every(images: Tensor, descriptor: nn.Module | None = None) -> Tensor:
    """Descriptors of images (n, k, C, H, W): (n, k, d)."""
    return describe(images.flatten(0, 1), descriptor).unflatten(0, images.shape[:2])


def same_class(f1: Tensor, f2: Tensor, threshold: float, noise: int = 0, label: int = 0) -> Tensor:
    """Whether noise i under class c by one model is noise i + `noise` under class c + `label` by the other: (n, k) bool.

    Unit descriptors (n, k, d); both shifts are cyclic. With shifts of 0 its mean is RP; with another noise, or another
    class, a null. ValueError for other shapes or lengths, and for a threshold outside [-1, 1].
    """
    if f1.shape != f2.shape or f1.ndim != 3:
        raise ValueError(f"need descriptors (noises, classes, d) of one shape, got {tuple(f1.shape)}, {tuple(f2.shape)}")
    check_unit(f1, f2)
    check_threshold(threshold)
    return (f1 * f2.roll((-noise, -label), (0, 1))).sum(2) > threshold


def between(free: Tensor, bound: Tensor) -> Tensor:
    """M(x, x^c): unit descriptors of unconditional (n, d) and conditional images (n, k, d), same noises -> (n, k).

    ValueError for other shapes or lengths.
    """
    if free.ndim != 2 or bound.ndim != 3 or free.shape != (bound.shape[0], bound.shape[2]):
        raise ValueError(f"need descriptors (n, d) and (n, k, d), got {tuple(free.shape)} and {tuple(bound.shape)}")
    check_unit(free, bound)
    return torch.einsum("nd,nkd->nk", free, bound)


def between_unrelated(free: Tensor, bound: Tensor) -> Tensor:
    """M(x_i, x_j^c), j = i + 1 + c (cyclic): as `between`, but a noise that is not i, another for each class if n > k."""
    n, k, _ = bound.shape
    if n < 2:
        raise ValueError("an unrelated noise needs two noises or more")
    index = (torch.arange(n)[:, None] + 1 + torch.arange(k) % (n - 1)) % n                          # (n, k)
    return between(free, bound[index, torch.arange(k)])


def _check_labels(values: Tensor, label: Tensor) -> None:
    n, k = values.shape
    if label.shape != (n,) or (n and not (0 <= label.amin() and label.amax() < k)):
        raise ValueError(f"need a label from 0 to {k - 1} for each of {n} rows, got {label.tolist()[:10]}")


def of_class(values: Tensor, label: Tensor) -> Tensor:
    """values (n, k) at each row's class label (n,): (n,). ValueError for a label that is none of the k classes."""
    _check_labels(values, label)
    return values.gather(1, label[:, None]).squeeze(1)


def best_other(values: Tensor, label: Tensor) -> Tensor:
    """The greatest of values (n, k) over the classes that are not the row's label (n,): (n,). ValueError if k < 2."""
    _check_labels(values, label)
    if values.shape[1] < 2:
        raise ValueError("one class has no other: best_other needs two or more")
    return values.scatter(1, label[:, None], -torch.inf).amax(1)
