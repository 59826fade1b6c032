"""The models of chapters 7 and 8, which ask what later papers ask, and windows that those papers publish.

Chapter 8 has the small U-Net at three sizes, both widths at the size where one copies and the other does not yet, and the
flow-matching network, chapter 1's and 2's models; two networks that learn from the mean of the target, and four that learn
one stage of the path each. Chapter 7 has chapter 1's other architectures, and the U-Nets of two disjoint halves, two seeds
each; then of two halves that differ in mean and covariance, and of images without neighborhoods.
"""

from dataclasses import replace
from math import atan, log, pi

from helpers.chapters.profile import Profile
from helpers.chapters.systems import systems
from helpers.samplers import karras_sigmas
from helpers.zoo import ModelSpec


def oracle_sizes(profile: Profile) -> tuple[int, ...]:
    """The training set sizes of chapter 8: every other one of the profile's spread ones."""
    return profile.spread[::2]


def oracle_models(profile: Profile) -> dict[tuple[int, int] | str, ModelSpec]:
    """Chapter 8's models: (width, N) of the small U-Net at each size and of both at the smallest of chapter 3's; "flow"."""
    small, large = profile.widths
    keys = [(small, n) for n in oracle_sizes(profile)] + [(width, profile.few[0]) for width in (small, large)]
    return {key: profile.model(*key) for key in dict.fromkeys(keys)} | {"flow": systems(profile)["flow"].spec}


def targets(profile: Profile) -> dict[tuple[str | int, int], ModelSpec]:
    """Chapter 8's networks of the smaller sets: (seed, N) on the usual target, ("expected", N), first seed, on its mean."""
    found = {(seed, n): profile.model(profile.widths[0], n, seed) for n in profile.few for seed in profile.seeds}
    return found | {("expected", n): replace(found[profile.seeds[0], n], objective="edm-expected") for n in profile.few}


STAGES = 2.4        # sigma, between the collapse of the posterior at N = 1,024 and at 16,384: 2.9 and 2.1 in chapter 8


def stages(profile: Profile) -> dict[tuple[str, int], ModelSpec]:
    """Chapter 8's networks of one stage: ("above", seed) and ("below", seed) STAGES, each with half the steps."""
    of = {seed: profile.model(profile.widths[0], profile.few[-1], seed) for seed in profile.seeds}
    return {(side, seed): replace(
        spec, objective=f"edm-{side}", objective_options=(*spec.objective_options, ("split", STAGES)),
        recipe=replace(spec.recipe, steps=spec.recipe.steps // 2))
        for side in ("above", "below") for seed, spec in of.items()}


def bars(profile: Profile) -> dict[tuple[str, int], ModelSpec]:
    """Chapter 7's bars: ("half", seed) and ("other half", seed) of the pool, same width, same steps."""
    small, half = profile.widths[0], profile.half
    return {(name, seed): profile.model(small, half, seed, start)
            for name, start in (("half", 0), ("other half", half)) for seed in profile.seeds}


def stratified(profile: Profile) -> dict[tuple[str, int], ModelSpec]:
    """The control: halves of the pool by its second principal component instead, ("top", seed) and ("bottom", seed)."""
    names = {"half": "top", "other half": "bottom"}
    return {(names[name], seed): replace(spec, arranged="by-pc2") for (name, seed), spec in bars(profile).items()}


def shuffled(profile: Profile) -> dict[tuple[str, int], ModelSpec]:
    """The first half of the pool with shuffled pixels, ("shuffled", seed)."""
    return {("shuffled", seed): replace(spec, arranged="shuffled-pixels")
            for (name, seed), spec in bars(profile).items() if name == "half"}


def architectures(profile: Profile) -> dict[str, ModelSpec]:
    """The networks that chapter 7's machines are compared with: chapter 1's U-Net, plain CNN, U-ViT and MLP."""
    found = systems(profile)
    return {found[name].label: found[name].spec for name in ("unet", "cnn", "uvit", "mlp")}


def agreement_models(profile: Profile) -> dict[str, ModelSpec]:
    """Chapter 7's models."""
    return bars(profile) | stratified(profile) | shuffled(profile) | architectures(profile)


# Window sizes that Kamb & Ganguli calibrated for their Fashion-MNIST U-Net on 32 x 32 images (`files/` of their repository):
# step i of 20 has t = i / 20 and sigma = tan(pi t / (2 * 1.008)), and the last step is not used.
KAMB_WINDOWS = (3, 3, 5, 5, 7, 7, 7, 9, 11, 11, 11, 13, 15, 15, 21, 23, 25, 25, 25, 25)
# Patch sides of Niedoba et al. for CIFAR-10 at 18 of Karras's time steps, from 80 down to .002 (their repository).
NIEDOBA_PATCHES = (32,) * 7 + (23, 15, 11, 7, 5) + (3,) * 6


def kamb_window(sigma: float) -> int:
    """The published window of the local machine at this noise level."""
    t = 2 * 1.008 / pi * atan(sigma)
    return KAMB_WINDOWS[min(max(round(20 * t), 0), len(KAMB_WINDOWS) - 1)]


def niedoba_patch(sigma: float) -> int:
    """The published patch side at this noise level; 32 stands for the whole image."""
    steps = karras_sigmas(len(NIEDOBA_PATCHES))[:-1].log()
    return NIEDOBA_PATCHES[int((steps - log(max(sigma, 1e-9))).abs().argmin())]
