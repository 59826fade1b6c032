"""Images arranged otherwise than the dataset has them, before a training set is cut from them. Used by chapter 7.

    by-pc2           in descending order of their second principal component, so that the first half and the other differ in
                     mean and covariance (the control of Wang et al. 2026, second-hand)
    shuffled-pixels  in the dataset's order, all with their pixels permuted by one permutation: any two pixels have the same
                     statistics as before, but no neighborhoods
"""

import torch
from torch import Tensor

from helpers.data.dataset import Dataset, permutation, to_float


def by_pc2(data: Dataset) -> Dataset:
    """The images by their scores on the second principal component, the largest first.

    A component's sign is free: here the entry that is largest in size is positive. Ties keep the dataset's order.
    """
    x = to_float(data.images).flatten(1).double()
    centered = x - x.mean(0)
    component = torch.linalg.eigh(centered.T @ centered)[1][:, -2]                 # (D,), eigenvalues ascend
    component *= component[component.abs().argmax()].sign()
    return data[(centered @ component).round(decimals=6).argsort(descending=True, stable=True)]


def shuffled(data: Dataset) -> Dataset:
    """The images with shuffled pixels."""
    return Dataset(data.name, shuffle_pixels(data.images), data.labels)


def shuffle_pixels(x: Tensor, back: bool = False) -> Tensor:
    """Images (N, C, H, W) of any type with their pixels in the one other order of this size, channels together; or back."""
    order = torch.from_numpy(permutation(x.shape[-2] * x.shape[-1], seed=7))
    return x.flatten(-2)[..., order.argsort() if back else order].view_as(x)


ARRANGED = {"by-pc2": by_pc2, "shuffled-pixels": shuffled}
