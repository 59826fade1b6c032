"""The models of chapter 6: one run, looked at several times, for several numbers of images."""

from dataclasses import replace

import pytest

from helpers.chapters.models import chapter_models
from helpers.chapters.profiles import PROFILES
from helpers.chapters.two_clocks import at_fixed_epochs, at_fixed_steps, clock_models, clock_sizes, decayed, moments, runs

pytestmark = pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)


def test_a_run_is_one_recipe_at_several_numbers_of_steps(profile):
    for (n, seed, steps), spec in runs(profile).items():
        assert (spec.subset_size, spec.recipe.seed, spec.recipe.steps) == (n, seed, steps)
        usual = profile.model(profile.widths[0], n, seed)
        assert spec.recipe.decay == "none" and replace(spec, recipe=usual.recipe) == usual
    assert {(n, seed) for n, seed, _ in runs(profile)} == {(n, s) for n in clock_sizes(profile) for s in profile.seeds}


def test_looks_are_an_octave_apart_and_more_images_are_looked_at_longer(profile):
    found = moments(profile)
    for steps in found.values():
        assert all(b // 2 in (a, a - 1) or 2 * a in (b, b - 1) for a, b in zip(steps, steps[1:]))
    lasts, cut = [steps[-1] for steps in found.values()], max(0, 3 - len(found))
    assert lasts == sorted(lasts) and lasts[-1] == 2 * profile.recipe.steps // 2**cut


def test_moments_of_as_many_steps_or_passes_are_among_the_looks(profile):
    found, steps, passes = moments(profile), at_fixed_steps(profile), at_fixed_epochs(profile)
    assert set(steps) == set(passes) == set(found) and len(set(steps.values())) == 1
    assert all(steps[n] in found[n] and passes[n] in found[n] for n in found)


def test_networks_whose_rate_decays_are_chapter_2_s(profile):
    assert set(decayed(profile).values()) <= set(chapter_models(profile, 2))
    assert set(clock_models(profile).values()) == set(decayed(profile).values()) | set(runs(profile).values())
