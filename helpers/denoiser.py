"""Denoisers: what the whole book is about.

A **denoiser** estimates a clean image from a noisy one, D(x, sigma) ~ E[x0 | x] for x = x0 + sigma eps. Any callable
D(x, sigma, label=None) -> x0_hat is one: a trained network, a closed form, a model that is guided by a measurement. The
classes here add what a sampler would like to know of it:

    sampling   the arguments of `sample` that suit how it was trained; {} if any do
    strict     whether others do not suit at all, as for a network that was trained to take one step
    classes    how many classes it tells apart; 0 if it was trained without labels, None if nobody knows

A denoiser that asks another one (to count its calls, to guide it, to turn its noise) is a `Wrapper`: it has the other's
traits unless it says otherwise, so that they are never lost on the way. Used by every chapter.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Real

import torch
from torch import Tensor, nn

from helpers.data import as_x0

DenoiserLike = Callable[..., Tensor]              # D(x, sigma, label=None) -> x0_hat
Sigma = float | Tensor
Label = int | Sequence[int] | Tensor              # classes (B,), or one for all images


class Denoiser(nn.Module):
    """D(x, sigma, label=None) -> x0_hat: x (B, C, H, W), sigma a number or (B,), label (B,) or None.

    A module, so that `.to(device)` moves what it knows: weights, or the images of a closed form.
    """

    sampling: Mapping[str, object] = {}
    strict: bool = False
    classes: int | None = None

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        raise NotImplementedError(f"{type(self).__name__} does not say how it denoises")


class Wrapper(Denoiser):
    """A denoiser that asks another one, and has its traits: `sampling`, `strict`, `classes`.

    denoiser   any callable D(x, sigma, label=None); a bare function has no traits, and gets the defaults
    """

    def __init__(self, denoiser: DenoiserLike):
        super().__init__()
        self.denoiser = denoiser
        self.sampling = dict(getattr(denoiser, "sampling", {}))
        self.strict = getattr(denoiser, "strict", False)
        self.classes = getattr(denoiser, "classes", None)

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        return self.denoiser(x, sigma, label=label)


class Counted(Wrapper):
    """D itself, counting its calls, one a batch: how to know the NFE of an adaptive solver."""

    def __init__(self, denoiser: DenoiserLike):
        super().__init__(denoiser)
        self.calls = 0

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        self.calls += 1
        return self.denoiser(x, sigma, label=label)


class NetworkDenoiser(Denoiser):
    """A trained network with the preconditioning of its objective (`models/objectives.py`).

    It computes in the network's own type and answers in that of x, so that noise of any floating type works. ValueError
    for a class that the network does not know; on a GPU, where looking would mean waiting, `sample` looks once.
    """

    FLOOR = 1e-6                          # stands for sigma = 0, where D(x, 0) = x: the network is asked for ln sigma

    def __init__(self, network: nn.Module, objective):
        super().__init__()
        self.network, self.objective = network, objective
        self.sampling, self.strict = dict(objective.sampling), getattr(objective, "strict", False)
        self.classes = getattr(network, "classes", None)

    def forward(self, x: Tensor, sigma: Sigma, label: Label | None = None) -> Tensor:
        return self._answer(x, sigma, known_label(label, x, self.classes))

    def free_and_told(self, x: Tensor, sigma: Sigma, label: Label) -> tuple[Tensor, Tensor]:
        """D(x, sigma) and D(x, sigma, c), in one call of the network on twice the batch: its last class is "no label"."""
        label = known_label(label, x, self.classes)
        if self.classes is None:
            raise ValueError("this network does not say how many classes it knows, so it has no label for none")
        both = torch.cat([torch.full_like(label, self.classes), label])
        return self._answer(torch.cat([x, x]), broadcast_sigma(sigma, x).repeat(2), both).chunk(2)

    def _answer(self, x: Tensor, sigma: Sigma, label: Tensor | None) -> Tensor:
        if not len(x):
            return x                      # pixel_unshuffle and others do not take what is empty
        weight = next((p for p in self.network.parameters() if p.is_floating_point()), x) \
            if isinstance(self.network, nn.Module) else x.float()
        inner = x.to(weight.dtype)
        sigma = broadcast_sigma(sigma, inner).clamp_min(self.FLOOR)
        return self.objective.denoise(self.network, inner, sigma, label).to(x.dtype)


def noise_level(sigma: object) -> float:
    """A noise level as a number. ValueError unless it is one, finite and at least 0."""
    if not isinstance(sigma, Real) or not 0 <= sigma < math.inf:
        raise ValueError(f"sigma is a number from 0 on, or a tensor with one for each image, got {sigma!r}")
    return float(sigma)


def broadcast_sigma(sigma: Sigma, x: Tensor) -> Tensor:
    """sigma, a number or (B,), as (B,) on x's device in x's type. ValueError for another length or number.

    A number is filled in on the device: nothing is copied there, and nobody waits.
    """
    if not isinstance(sigma, Tensor):
        return torch.full((len(x),), noise_level(sigma), dtype=x.dtype, device=x.device)
    if sigma.ndim > 1 or (sigma.ndim == 1 and len(sigma) not in (1, len(x))):
        raise ValueError(f"sigma is one number or one an image: {tuple(sigma.shape)} does not fit {len(x)} images")
    return sigma.to(x.device, x.dtype).expand(len(x))


def as_label(label: Label | None, x: Tensor) -> Tensor | None:
    """The classes of images x (B, ...), (B,) int64 on x's device, from (B,) or from one for all. ValueError otherwise.

    A number is filled in on the device: nothing is copied there.
    """
    if label is None:
        return None
    if isinstance(label, int):
        return torch.full((len(x),), label, dtype=torch.long, device=x.device)
    try:
        label = torch.as_tensor(label)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ValueError(f"label must be whole numbers, one for each image or one for all, got {label!r}") from error
    label = label if label.numel() else label.long()                    # an empty list would be floats
    if label.is_floating_point() or label.is_complex() or label.dtype == torch.bool:
        raise ValueError(f"label must be whole numbers, the classes of the images, got {label.dtype}")
    if label.ndim > 1 or (label.ndim == 1 and len(label) != len(x)):
        raise ValueError(f"label must have one entry for each of the {len(x)} images, or be one for all, got "
                         f"{tuple(label.shape)}")
    return label.to(x.device, torch.long).expand(len(x))


def check_label(classes: int | None, label: Tensor | None) -> None:
    """ValueError unless a denoiser of so many classes (None: nobody knows) takes these labels (B,). Waits for a GPU."""
    if label is None or classes is None:
        return
    if classes == 0:
        raise ValueError("this denoiser was trained without classes: leave label out")
    values = label.tolist()
    if values and not 0 <= min(values) <= max(values) < classes:
        raise ValueError(f"this denoiser knows the classes 0 to {classes - 1}, got labels from {min(values)} to "
                         f"{max(values)}")


def known_label(label: Label | None, x: Tensor, classes: int | None) -> Tensor | None:
    """`as_label`, checked as far as nobody has to wait: on the CPU in full."""
    label = as_label(label, x)
    if classes == 0 or (label is not None and label.is_cpu):
        check_label(classes, label)
    return label


def resident(owner: object, name: str, x: Tensor) -> Tensor:
    """The tensor owner.name on the device of x: copied there once, at the first call, and kept.

    So a denoiser of tensors on the CPU can be asked about images on a GPU, and a sampling loop waits for one copy.
    """
    tensor = getattr(owner, name)
    if tensor.device == x.device:
        return tensor
    kept = owner.__dict__.setdefault("_residents", {})
    source, copy = kept.get((name, x.device), (None, None))
    if source is not tensor:
        copy = tensor.to(x.device)
        kept[name, x.device] = tensor, copy
    return copy


@torch.no_grad()
def denoising_error(denoiser: DenoiserLike, x0: Tensor, sigmas: Sequence[float], seed: int = 0, batch: int = 512,
                    label: Label | None = None) -> Tensor:
    """Mean squared denoising error per pixel, E|D(x0 + sigma eps, sigma) - x0|^2 / d, for each sigma: (len(sigmas),).

    x0 (n, C, H, W) in [-1, 1], or uint8, label (n,), one for all, or None. The noise depends on the seed alone, so that two
    denoisers, and two sets of equal size, see the same. On images that no model has seen it is the held-out error.
    ValueError without images or noise levels.
    """
    if not len(x0) or not len(sigmas) or batch < 1:
        raise ValueError("a denoising error is a mean over images at noise levels, some at a time: give at least one of "
                         f"each, got {len(x0)}, {len(sigmas)} and {batch}")
    errors, x0, label = [], as_x0(x0, "x0"), as_label(label, x0)
    labels = [None] * len(x0.split(batch)) if label is None else label.split(batch)
    for sigma in sigmas:
        generator, total = torch.Generator().manual_seed(seed), 0.0
        for part, c in zip(x0.split(batch), labels):
            eps = torch.randn(part.shape, generator=generator).to(part.device)
            told = {} if c is None else {"label": c}
            total = total + ((denoiser(part + sigma * eps, sigma, **told) - part) ** 2).sum()
        errors.append(total / x0.numel())
    return torch.stack(errors)
