"""Profiles: how large the book's experiments are, in one object.

Every chapter takes one parameter `profile`:

    laptop   the default: Fashion-MNIST, the shipped zoo, 2 CPU cores, minutes
    smoke    tiny models trained from nothing in seconds: what the tests run; its numbers mean nothing
    paper    CIFAR-10 at the paper's widths, sizes and training length, on a GPU; trained on first use

All sizes are fields of `Profile`, so that `dataclasses.replace(LAPTOP, name="mine", samples=128)` is a profile, too.
`profiles.py` holds these three, and reads others from a file.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from helpers.measure.scores import THRESHOLD
from helpers.models.devices import find_device
from helpers.models.training import Recipe
from helpers.zoo import ModelSpec

Options = Mapping[str, object]


@dataclass(frozen=True)
class Systems:
    """Chapter 1's systems beyond the U-Nets: keyword arguments of networks, and recipes.

    consistency, tuning   consistency training from nothing, and from the reference U-Net
    rounds                steps of the student in each round of distillation, falling
    """

    cnn: Options
    uvit: Options
    mlp: Options
    pair: Options
    consistency: Recipe
    tuning: Recipe
    rounds: tuple[int, ...]
    distillation: Recipe
    gan: Recipe
    vae: Recipe


@dataclass(frozen=True)
class Finetuning:
    """Chapter 5's plan: what is learned first, and what then.

    source, target   dataset and classes (empty: all) to learn first, and to learn then
    pool             number of images in pretraining
    sizes            training set sizes N in fine-tuning, ascending; `few` of them are also run at the large width
    recipe           of every fine-tuning run
    """

    source: tuple[str, tuple[int, ...]]
    target: tuple[str, tuple[int, ...]]
    pool: int
    sizes: tuple[int, ...]
    few: tuple[int, ...]
    recipe: Recipe


@dataclass(frozen=True)
class Profile:
    """The size of the experiments.

    sizes         training set sizes N, ascending
    widths        base widths of the two U-Nets, small and large
    seeds         training seeds at the small width
    half          size of the two disjoint training sets: the pool's first `half` images and the next
    samples       initial noises, each carried to an image by every model
    solver_steps  time steps of the Heun solver: NFE = 2 steps - 1
    held_out      test images used for controls and calibration
    few           sizes N of the smaller training sets of chapter 3; at the first, chapter 8 hands paths from width to width
    grid          points a side of a plane through three noises
    align_steps   steps of the descent that turns one latent space into another
    recipe        how the U-Nets are trained; `options` and `objective_options` are their network's and objective's
    zoo           where the trained weights are
    descriptor    None for the shipped one, or the path of SSCD's TorchScript file
    threshold     the similarity above which one image is a copy of another
    """

    name: str
    sizes: tuple[int, ...]
    widths: tuple[int, int]
    half: int
    samples: int
    recipe: Recipe
    classifier: Recipe
    systems: Systems
    finetuning: Finetuning
    zoo: Path
    seeds: tuple[int, int] = (0, 1)
    solver_steps: int = 18
    held_out: int = 10_000
    few: tuple[int, ...] = (2**8, 2**12)
    grid: int = 17
    align_steps: int = 160
    dataset: str = "fashion-mnist"
    options: tuple[tuple[str, object], ...] = ()
    objective_options: tuple[tuple[str, float], ...] = (("p_mean", -0.4), ("p_std", 1.2))
    device: str = "cpu"
    descriptor: str | None = None
    threshold: float = THRESHOLD

    @property
    def spread(self) -> tuple[int, ...]:
        """Some of `sizes`, without the ends: from the second on, each at least four times the one before.

        They are what is shown, or trained, where every N would be too many.
        """
        found: list[int] = []
        for n in self.sizes[1:-1]:
            if not found or n >= 4 * found[-1]:
                found.append(n)
        return tuple(found)

    def torch_device(self) -> torch.device:
        """The device; RuntimeError with what to do if it is not there."""
        try:
            return find_device(self.device)
        except RuntimeError as error:
            raise RuntimeError(f"profile {self.name!r} {error}: use profile 'laptop'") from error

    def model(self, width: int, size: int, seed: int = 0, start: int = 0) -> ModelSpec:
        """The spec of one U-Net: its width, and the `size` pool images from `start` on that it learns from."""
        return ModelSpec(dataset=self.dataset, subset_size=size, subset_start=start,
                         options=(*self.options, ("width", width)),
                         objective_options=self.objective_options, recipe=replace(self.recipe, seed=seed))
