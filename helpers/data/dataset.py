"""A dataset is one tensor; and the two forms of an image: uint8 in 0..255, and x0, floats in [-1, 1]."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


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
        """The images of the given classes, in order. ValueError for a class that does not occur."""
        known = self.labels.unique().tolist()
        if unknown := sorted(set(classes) - set(known)):
            raise ValueError(f"{self.name} has no class {unknown}: its classes are {known}")
        return self[torch.isin(self.labels, torch.tensor(classes))]

    @property
    def x0(self) -> Tensor:
        """The images as float32 in [-1, 1]."""
        return to_float(self.images)


def to_float(images: Tensor) -> Tensor:
    """x0 = u / 127.5 - 1: uint8 [0, 255] -> float32 [-1, 1], any shape."""
    return images.float() / 127.5 - 1


def to_uint8(x0: Tensor) -> Tensor:
    """u = clip(floor(127.5 x0 + 128), 0, 255): float [-1, 1] -> uint8, the quantization of Karras et al. 2022's code."""
    return (127.5 * x0 + 128).clamp(0, 255).to(torch.uint8)


def permutation(n: int, seed: int = 0) -> np.ndarray:
    """A permutation of range(n) that depends on (n, seed) alone, on any machine and any version of numpy.

    Sorting Philox's raw output: numpy promises that a bit generator's stream never changes, and promises nothing of
    `Generator.permutation`.
    """
    return np.argsort(np.random.Philox(key=seed).random_raw(n), kind="stable")
