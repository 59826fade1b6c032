"""Calibration: what a threshold of similarity means, and the rule that chose ours.

Three kinds of pairs whose answer is known, from images that no diffusion model has made, over a grid of thresholds t:
unrelated images must not pass for copies, held-out images must count as new against all training images, and an edited
copy must be found. `Calibration.choose_threshold` takes the smallest t that does all three, a rule that was written down
before any RP was seen. With the shipped descriptor, 10,000 test images and the whole pool of 2^15 it is `THRESHOLD`;
below it, it is the held-out images that fail. Used in chapter 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from helpers.data import load
from helpers.measure.augmentations import EDITS
from helpers.measure.descriptor import describe, load_descriptor
from helpers.measure.scores import exceedance, max_similarity, similarity


@dataclass(frozen=True)
class Calibration:
    """Fractions over a grid of thresholds (T,), from images that no diffusion model has made.

    unrelated   (T,)        random held-out image against random pool image: M > t, the null of RP
    held_out    (sizes, T)  held-out images that count as new (max M <= t) against the first N of the pool: GL's ceiling
    edited      name: (T,)  held-out images whose edited copy is found: M > t, the power (of the first 2,000 images)
    """

    thresholds: Tensor
    unrelated: Tensor
    sizes: tuple[int, ...]
    held_out: Tensor
    edited: dict[str, Tensor]

    def choose_threshold(self, new: float = 0.95, null: float = 0.001, found: float = 0.95) -> float:
        """The rule behind THRESHOLD: the smallest t that passes all three. ValueError if there is none."""
        power = torch.stack(list(self.edited.values())).amin(dim=0)
        passes = (self.held_out[-1] >= new) & (self.unrelated <= null) & (power >= found)
        if not passes.any():
            raise ValueError("no threshold passes: the descriptor cannot tell copies from look-alikes; train it longer")
        return round(self.thresholds[passes][0].item(), 4)


def calibration(net: nn.Module | None = None, n: int = 10_000, sizes: Sequence[int] = tuple(2**k for k in range(4, 16)),
                thresholds: Tensor | None = None, seed: int = 0, dataset: str = "fashion-mnist") -> Calibration:
    """Calibrate a descriptor (None: the shipped one) with the first n test images of a dataset against its pool.

    ValueError for thresholds outside [-1, 1], or more images than there are.
    """
    net = load_descriptor() if net is None else net
    thresholds = torch.arange(50, 100, dtype=torch.double) / 100 if thresholds is None else thresholds
    if not len(thresholds) or not ((thresholds >= -1) & (thresholds <= 1)).all():
        raise ValueError(f"thresholds are similarities in [-1, 1], got {thresholds.tolist()}")
    images, generator = load(dataset, "test").first(n).x0, torch.Generator().manual_seed(seed)
    f, pool = describe(images, net), describe(load(dataset, "pool").first(max(sizes)).images, net)
    strangers = torch.randint(len(pool), (100, len(f)), generator=generator)
    unrelated = torch.stack([similarity(f, pool[index]) for index in strangers])                    # (100, n)
    held_out = [1 - exceedance(max_similarity(f, pool[:size])[0], thresholds) for size in sizes]
    some = images[:2000]
    edited = {name: exceedance(similarity(f[:2000], describe(edit(some, generator), net)), thresholds)
              for name, edit in EDITS.items()}
    return Calibration(thresholds, exceedance(unrelated, thresholds), tuple(sizes), torch.stack(held_out), edited)
