"""What can be measured of a picture of clothing: how bright it is, and how wide for its kind.

Gray levels g = (x0 + 1) / 2 lie in [0, 1]; *ink* is every pixel with g > 0.1. Two numbers of an image become words,

    brightness   mean of g over the ink: dark, gray or bright, by the terciles of the whole pool
    shape        width over height of the box around the ink: narrow, regular or wide, by the terciles of its class

A row or column belongs to the box if it holds two pixels of ink or more, so that a speck does not count. Sleeves and heels
are not measured: by the outline alone a sleeveless top looks like one whose sleeves reach the hem. Used in chapter 9.
"""

from functools import cache

import torch
from torch import Tensor

from helpers.data.dataset import Dataset, as_x0
from helpers.data.sources import CLASS_NAMES, load

INK = 0.1
SPECK = 2                               # pixels of ink that a row or column of the box holds at least
BRIGHTNESS = ("dark", "gray", "bright")
SHAPE = ("narrow", "regular", "wide")
DATASET = "fashion-mnist"
KINDS = CLASS_NAMES[DATASET]


def brightness(images: Tensor) -> Tensor:
    """Mean gray level over the ink: images (n, C, H, W) in either form -> (n,) in [0, 1]; 0 for an image without ink."""
    g, ink = _gray_and_ink(images)
    return (g * ink).sum((1, 2)) / ink.sum((1, 2)).clamp_min(1)


def aspect(images: Tensor) -> Tensor:
    """Width over height of the box around the ink: images (n, C, H, W) in either form -> (n,); 0 without a box."""
    _, ink = _gray_and_ink(images)
    return _extent(ink.sum(1)) / _extent(ink.sum(2)).clamp_min(1)


def _gray_and_ink(images: Tensor) -> tuple[Tensor, Tensor]:
    """Gray levels (n, H, W), clipped to [0, 1], and where they are ink."""
    g = ((as_x0(images).mean(1) + 1) / 2).clamp(0, 1)
    return g, g > INK


def _extent(counts: Tensor) -> Tensor:
    """From the first to the last entry of at least SPECK: (n, L) -> (n,) float, 0 if there is none."""
    inside = counts >= SPECK
    first, last = inside.int().argmax(1), inside.shape[1] - inside.flip(1).int().argmax(1)
    return torch.where(inside.any(1), last - first, 0).float()


@cache
def thresholds() -> tuple[Tensor, Tensor]:
    """The terciles of the pool: brightness (2,), and shape by class (10, 2)."""
    pool = load(DATASET, "pool")
    at = torch.tensor([1 / 3, 2 / 3])
    shapes = aspect(pool.images)
    return brightness(pool.images).quantile(at), torch.stack([shapes[pool.labels == c].quantile(at)
                                                              for c in range(len(KINDS))])


def levels(images: Tensor, labels: Tensor) -> Tensor:
    """The words of images of known classes: (n, C, H, W), (n,) -> (n, 2) int64, places in BRIGHTNESS and in SHAPE.

    labels   the classes against whose terciles the shapes are read
    """
    bright, wide = thresholds()
    shapes = (aspect(images)[:, None] > wide[labels]).sum(1)
    return torch.stack([torch.bucketize(brightness(images), bright), shapes], 1)


@cache
def pool_levels() -> Tensor:
    """`levels` of the whole pool, (N, 2): computed once."""
    pool: Dataset = load(DATASET, "pool")
    return levels(pool.images, pool.labels)
