"""Chapter 6's models: the small U-Net at several moments of one training run, for several numbers of images, two seeds.

The learning rate does not decay, so that the model of k steps is what every longer run passes on its way. Beside them stand
chapter 2's own small networks, whose rate decays.
"""

from dataclasses import replace

from helpers.chapters.profile import Profile
from helpers.zoo import ModelSpec

Run = tuple[int, int, int]                  # N, seed, steps


def moments(profile: Profile) -> dict[int, tuple[int, ...]]:
    """Numbers of steps at which a run is looked at, by N: powers of two below twice the profile's own steps.

    The smallest set is looked at up to half of the profile's steps, the next up to all of them, the others to twice as many.
    """
    last = 2 * profile.recipe.steps
    grid = [last // 2**k for k in reversed(range(7)) if last // 2**k > 0]
    grid = list(dict.fromkeys(grid))
    sizes = clock_sizes(profile)
    return {n: tuple(grid[:len(grid) - shorter] or grid[:1]) for n, shorter in zip(sizes, (2, 1, *[0] * len(sizes)))}


def clock_sizes(profile: Profile) -> tuple[int, ...]:
    """The numbers of images: the smallest of chapter 2, and the first three of the profile's spread ones."""
    return (profile.sizes[0], *profile.spread[:3])


def runs(profile: Profile) -> dict[Run, ModelSpec]:
    """Chapter 6's models by (N, seed, steps)."""
    width = profile.widths[0]
    return {(n, seed, steps): replace(spec, recipe=replace(spec.recipe, steps=steps, decay="none"))
            for n, found in moments(profile).items() for seed in profile.seeds
            for spec in [profile.model(width, n, seed)] for steps in found}


def decayed(profile: Profile) -> dict[tuple[int, int], ModelSpec]:
    """Chapter 2's small networks by (N, seed)."""
    return {(n, seed): profile.model(profile.widths[0], n, seed) for n in profile.sizes for seed in profile.seeds}


def clock_models(profile: Profile) -> dict[tuple[int, ...], ModelSpec]:
    """All of chapter 6's models."""
    return decayed(profile) | runs(profile)


def at_fixed_steps(profile: Profile) -> dict[int, int]:
    """For each N, the moment of as many steps for all: the last that all runs have."""
    return {n: max(moments(profile)[clock_sizes(profile)[0]]) for n in clock_sizes(profile)}


def at_fixed_epochs(profile: Profile) -> dict[int, int]:
    """For each N, the moment after as many passes through the images as the smallest set has at its first moment."""
    first = clock_sizes(profile)[0]
    start = moments(profile)[first][0]
    return {n: min(found, key=lambda k: abs(k * first / n - start)) for n, found in moments(profile).items()}
