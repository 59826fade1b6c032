"""Profiles: how large the book's experiments are, in one place.

Every chapter takes one parameter `profile`:

    laptop   the default: Fashion-MNIST, the shipped zoo, 2 CPU cores, minutes
    smoke    tiny models trained from nothing in seconds: what the tests run; its numbers mean nothing
    paper    CIFAR-10 at the paper's widths, sizes and training length, on a GPU; trained on first use

and a profile says which models a chapter uses, so that `zoo.py` can train them before any chapter runs.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import torch

from helpers import paths
from helpers.chapters.conditional import classifier, conditional_models, few_unconditional, unconditional_models
from helpers.chapters.finetuning import finetuning_models
from helpers.chapters.systems import systems
from helpers.measure.scores import SSCD_THRESHOLD, THRESHOLD
from helpers.models.training import Recipe
from helpers.zoo.store import ModelSpec


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
    few           sizes N of the smaller training sets of chapter 3
    grid          points a side of a plane through three noises
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
    zoo: Path
    seeds: tuple[int, int] = (0, 1)
    solver_steps: int = 18
    held_out: int = 10_000
    few: tuple[int, ...] = (2**8, 2**12)
    grid: int = 17
    dataset: str = "fashion-mnist"
    options: tuple[tuple[str, object], ...] = ()
    objective_options: tuple[tuple[str, float], ...] = (("p_mean", -0.4), ("p_std", 1.2))
    device: str = "cpu"
    descriptor: str | None = None
    threshold: float = THRESHOLD

    def torch_device(self) -> torch.device:
        """The device; RuntimeError with what to do if it is not there."""
        if self.device == "cuda" and not torch.cuda.is_available():
            raise RuntimeError(f"profile {self.name!r} needs a CUDA GPU, and torch sees none: use profile 'laptop'")
        return torch.device(self.device)

    def model(self, width: int, size: int, seed: int = 0, start: int = 0) -> ModelSpec:
        """The spec of one U-Net: its width, and the `size` pool images from `start` on that it learns from."""
        return ModelSpec(dataset=self.dataset, subset_size=size, subset_start=start,
                         options=tuple(sorted((*self.options, ("width", width)))),
                         objective_options=self.objective_options, recipe=replace(self.recipe, seed=seed))


LAPTOP = Profile(
    name="laptop", sizes=(2**4, 2**6, 2**8, 2**10, 2**12, 2**14, 2**15), widths=(16, 32), half=2**14, samples=512,
    recipe=Recipe(steps=4500, batch=128, rate=3e-3, muon=0.02), zoo=paths.ZOO)

SMOKE = Profile(
    name="smoke", sizes=(4, 16, 64), widths=(4, 8), half=16, samples=48, solver_steps=4, held_out=32, few=(16,),
    grid=5,
    options=(("multipliers", (1, 2)),), recipe=Recipe(steps=8, batch=8, warmup=2, muon=0.02), zoo=paths.BUILD / "zoo-smoke")

# The released recipe of the paper's Fig. 2 in our loop: CIFAR-10, W = 64, 128, 256 there, of which we take two; 50 M images
# at batch 128, Adam at 1e-3 after a warm-up of 10 M images. Never run by us: it needs some thousand GPU-hours.
PAPER = Profile(
    name="paper", sizes=tuple(2**k for k in range(6, 16)), widths=(64, 128), half=2**14, samples=10_000, grid=100,
    recipe=Recipe(steps=390_625, batch=128, rate=1e-3, warmup=78_125, beta2=0.999, ema=0.05),
    zoo=paths.LOCAL / "zoo-paper", dataset="cifar10", device="cuda",
    options=(("attention", (False, True, False)), ("blocks", 4), ("dropout", 0.13), ("image_channels", 3),
             ("multipliers", (2, 2, 2)), ("patch", 1)),
    objective_options=(), descriptor="sscd_disc_large.torchscript.pt", threshold=SSCD_THRESHOLD)

PROFILES = {profile.name: profile for profile in (LAPTOP, SMOKE, PAPER)}


def two_regimes(profile: Profile) -> dict[tuple[int, int, int, int], ModelSpec]:
    """Chapter 2's models by (width, N, seed, start): two widths, two seeds at the smaller, and the second half."""
    small, large = profile.widths
    keys = [(large, n, profile.seeds[0], 0) for n in profile.sizes]
    keys += [(small, n, seed, 0) for n in profile.sizes for seed in profile.seeds]
    keys += [(small, profile.half, profile.seeds[0], profile.half)]
    return {key: profile.model(*key) for key in keys}


def half_trained(profile: Profile) -> dict[int, ModelSpec]:
    """Chapter 2's check of undertraining, by seed: the small width on the largest set, for half the steps."""
    specs = {seed: profile.model(profile.widths[0], profile.sizes[-1], seed) for seed in profile.seeds}
    return {seed: replace(s, recipe=replace(s.recipe, steps=s.recipe.steps // 2)) for seed, s in specs.items()}


def inverse_models(profile: Profile) -> dict[str, ModelSpec]:
    """Chapter 4's models, which are some of chapter 1's: U-Nets (two seeds, two widths), U-ViTs and plain CNNs."""
    names = ("unet", "unet-seed", "unet-wide", "uvit", "uvit-seed", "cnn", "cnn-seed")
    found = systems(profile)
    return {name: found[name].spec for name in names}


def chapter_models(profile: Profile, chapter: int) -> list[ModelSpec]:
    """The models that one chapter of the profile uses, parents before what starts from them."""
    if chapter == 1:
        return [system.spec for system in systems(profile).values()]
    if chapter == 3:
        return [*unconditional_models(profile).values(), *few_unconditional(profile).values(),
                *conditional_models(profile).values()]
    if chapter == 4:
        return list(inverse_models(profile).values())
    if chapter == 5:
        return [*finetuning_models(profile), classifier(profile)]
    return [*two_regimes(profile).values(), *half_trained(profile).values()]


def all_models(profile: Profile) -> list[ModelSpec]:
    """Every model that some chapter of the profile uses, once."""
    return list(dict.fromkeys(spec for chapter in (2, 1, 3, 4, 5) for spec in chapter_models(profile, chapter)))
