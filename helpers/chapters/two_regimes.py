"""Chapter 2's models: U-Nets of two widths on nested training sets, two seeds, and two disjoint halves; and students of
one of them."""

from dataclasses import replace

from helpers.chapters.profile import Profile
from helpers.zoo import ModelSpec


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


def students(profile: Profile) -> dict[int, ModelSpec]:
    """Chapter 2's students by N: the small width on the first N images that the teacher draws, with a seed of their own.

    The teacher is the best model there is, the large width on the largest set.
    """
    teacher = profile.model(profile.widths[1], profile.sizes[-1], profile.seeds[0])
    return {n: replace(profile.model(profile.widths[0], n, seed=7), teacher=teacher.key) for n in profile.spread}
