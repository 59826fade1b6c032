"""A dataset is one tensor; and the two forms of an image: uint8 in 0..255, and x0, floats in [-1, 1].

Whoever takes images from a reader asks `as_x0` for them, so that gray levels are never taken for [-1, 1].
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

OVERSHOOT = 4.0         # floats of no negative number that exceed it are gray levels: samples overshoot on both sides


@dataclass(frozen=True)
class Dataset:
    """Images and their classes: `images` uint8 (N, C, H, W), `labels` int64 (N,)."""

    name: str
    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: slice | Tensor) -> "Dataset":
        return Dataset(self.name, self.images[index], self.labels[index])

    def first(self, n: int, start: int = 0) -> "Dataset":
        """The n images from `start` on, in the set's fixed order. ValueError if there are not that many."""
        if n < 1 or start < 0 or start + n > len(self):
            raise ValueError(f"{self.name} has {len(self)} images: {n} from number {start} on are not to be had")
        return self[start:start + n]

    def of_classes(self, classes: list[int]) -> "Dataset":
        """The images of the given classes, in order. ValueError for a class that does not occur, or none."""
        known = self.labels.unique().tolist()
        if not len(classes):
            raise ValueError(f"images of no class were asked for: {self.name} has the classes {known}")
        if unknown := sorted(set(classes) - set(known)):
            raise ValueError(f"{self.name} has no class {unknown}: its classes are {known}")
        return self[torch.isin(self.labels, torch.tensor(classes))]

    @property
    def x0(self) -> Tensor:
        """The images as float32 in [-1, 1]."""
        return to_float(self.images)


def to_float(images: Tensor) -> Tensor:
    """x0 = u / 127.5 - 1: uint8 [0, 255] -> float32 [-1, 1], any shape. ValueError for another type."""
    if images.dtype != torch.uint8:
        raise ValueError(f"to_float reads uint8 in 0..255, got {images.dtype}: as_x0 takes both forms")
    return images.float() / 127.5 - 1


def to_uint8(x0: Tensor) -> Tensor:
    """u = clip(floor(127.5 x0 + 128), 0, 255): float [-1, 1] -> uint8, the quantization of Karras et al. 2022's code.

    ValueError for whole numbers, which are gray levels already."""
    if not x0.is_floating_point():
        raise ValueError(f"to_uint8 reads floats in [-1, 1], got {x0.dtype}")
    if x0.isnan().any():
        raise ValueError("NaN is no gray level: the images hold some")
    return (127.5 * x0 + 128).clamp(0, 255).to(torch.uint8)


def check_x0(images: Tensor, name: str = "images") -> Tensor:
    """The images as they are: uint8, or finite floats in [-1, 1], which samples may overshoot. ValueError otherwise.

    Refused are other whole numbers, NaN, infinity, and floats whose range is that of gray levels: none below 0, and some
    above OVERSHOOT. (Size alone says nothing: samples of a hardly trained network reach hundreds, with both signs.)
    """
    if not isinstance(images, Tensor):
        raise ValueError(f"{name} must be a tensor, got {type(images).__name__}: torch.as_tensor makes one of an array")
    gray = f"[0, 255], give {name}.to(torch.uint8)"
    if images.dtype == torch.uint8:
        return images
    if not images.is_floating_point():
        raise ValueError(f"{name} must be uint8 or floats in [-1, 1], not {images.dtype}: for whole numbers in {gray}")
    low, high = torch.stack(images.aminmax()).tolist() if images.numel() else (0.0, 0.0)
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"{name} must be finite, got NaN or infinity")
    if low >= 0 and high > OVERSHOOT:
        raise ValueError(f"{name} as floats must be in [-1, 1], these go from {low:.3g} to {high:.3g}: for {gray}")
    return images


def as_x0(images: Tensor, name: str = "images") -> Tensor:
    """x0 of images in either form: uint8 becomes float32 in [-1, 1], floats stay. ValueError as `check_x0`."""
    return to_float(images) if check_x0(images, name).dtype == torch.uint8 else images


def permutation(n: int, seed: int = 0) -> np.ndarray:
    """A permutation of range(n) that depends on (n, seed) alone, on any machine and any version of numpy.

    Sorting Philox's raw output: numpy promises that a bit generator's stream never changes, and promises nothing of
    `Generator.permutation`.
    """
    if n < 0:
        raise ValueError(f"a permutation has a length of 0 or more, got {n}")
    return np.argsort(np.random.Philox(key=seed).random_raw(n), kind="stable")
