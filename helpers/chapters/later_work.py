"""The models of chapters 7 and 8, which ask what later papers ask, and windows that those papers publish.

All models are chapter 1's or 2's: nothing is trained.

Chapter 8 has the small U-Net at three sizes, both widths at the size where one copies and the other does not yet, and the
flow-matching network. Chapter 7 has the U-Nets of two disjoint halves with a second seed, and other architectures.
"""

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


def bars(profile: Profile) -> dict[str, ModelSpec]:
    """Chapter 7's bars: the first half of the pool, the other half, the first with another seed. Same width, same steps."""
    small, half, (seed, other) = profile.widths[0], profile.half, profile.seeds
    return {"half": profile.model(small, half, seed), "other half": profile.model(small, half, seed, half),
            "other seed": profile.model(small, half, other)}


def architectures(profile: Profile) -> dict[str, ModelSpec]:
    """The networks that chapter 7's machines are compared with: chapter 1's U-Net, plain CNN, U-ViT and MLP."""
    found = systems(profile)
    return {found[name].label: found[name].spec for name in ("unet", "cnn", "uvit", "mlp")}


def agreement_models(profile: Profile) -> dict[str, ModelSpec]:
    """Chapter 7's models."""
    return bars(profile) | architectures(profile)


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
