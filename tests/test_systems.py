"""The systems of chapter 1: complete, distinct, each different from the reference in what its axis says."""

import dataclasses

import pytest

from helpers.chapters.later_work import bars, oracle_sizes, shuffled, stages, stratified, targets
from helpers.chapters.models import all_models, chapter_models, inverse_models
from helpers.chapters.profiles import PROFILES
from helpers.chapters.systems import independent, systems
from helpers.denoiser import NetworkDenoiser
from helpers.zoo.spec import build, make_objective

CHAPTERS = (1, 2, 3, 4, 5, 6, 7, 8)


@pytest.fixture(params=["laptop", "smoke", "paper"])
def found(request):
    return systems(PROFILES[request.param])


def differences(a, b):
    return {f.name for f in dataclasses.fields(a) if getattr(a, f.name) != getattr(b, f.name)}


def test_each_axis_varies_what_it_says(found):
    base = found["unet"].spec
    allowed = {"training": {"recipe", "initial_seed", "network", "options", "objective", "objective_options"},
               "kernel": {"objective", "objective_options"},
               "architecture": {"network", "options"},
               "procedure": {"objective", "objective_options", "network", "recipe", "init_from"}}
    for name, system in found.items():
        if system.axis in allowed:
            own_seed = {"recipe"} if name.startswith("edm-") else set()
            assert differences(system.spec, base) <= allowed[system.axis] | own_seed, name
    assert differences(found["unet-order"].spec, base) == {"recipe", "initial_seed"}
    assert found["unet-order"].spec.initial_seed == base.recipe.seed != found["unet-order"].spec.recipe.seed
    assert differences(found["unet-init"].spec, base) == {"initial_seed"}
    assert differences(found["uvit-seed"].spec, found["uvit"].spec) == {"recipe"}


def test_trainings_that_share_a_seed_are_not_independent(found):
    def two(a, b):
        return independent(found[a].spec, found[b].spec)

    assert two("unet", "unet-seed") and two("unet-seed", "vp") and two("edm-vp", "edm-ve")
    assert not two("unet", "vp") and not two("unet", "unet-wide")
    assert not two("unet", "unet-order") and not two("unet-order", "unet-init")
    assert not two("unet", "tuned")


def test_every_system_is_a_model_of_its_own_on_the_same_images(found):
    specs = [system.spec for system in found.values()]
    assert len({spec.key for spec in specs}) == len(specs) == len({system.label for system in found.values()})
    assert len({(spec.dataset, spec.subset_start, spec.subset_size) for spec in specs}) == 1


def test_parents_come_first(found):
    seen = set()
    for system in found.values():
        assert system.spec.init_from is None or system.spec.init_from in seen
        seen.add(system.spec.key)


def test_networks_and_objectives_of_the_smoke_profile_can_be_built():
    for system in systems(PROFILES["smoke"]).values():
        objective = make_objective(system.spec.objective, **dict(system.spec.objective_options))
        assert isinstance(NetworkDenoiser(build(system.spec), objective).sampling, dict)


def test_a_profile_s_models_are_those_of_its_chapters_once():
    for profile in PROFILES.values():
        models = all_models(profile)
        assert len(set(models)) == len(models)
        described = (9, 10) * (profile.dataset == "fashion-mnist")       # only these have captions, and others beside them
        assert set(models) == {spec for chapter in CHAPTERS + described for spec in chapter_models(profile, chapter)}


def test_chapter_4_trains_nothing_of_its_own_and_names_what_it_takes_as_chapter_1_does(found):
    profile = next(profile for profile in PROFILES.values() if systems(profile) == found)
    models = inverse_models(profile)
    assert set(chapter_models(profile, 4)) == set(models.values()) <= set(chapter_models(profile, 1))
    assert models == {name: found[name].spec for name in models} and len(set(models.values())) == len(models)
    for family in ("unet", "uvit", "cnn"):
        assert differences(models[family], models[f"{family}-seed"]) == {"recipe"}


def test_the_other_chapters_have_models_of_their_own():
    for profile in PROFILES.values():
        models = {chapter: set(chapter_models(profile, chapter)) for chapter in range(1, 6)}
        for chapter in (1, 2, 3, 5):
            rest = {spec for other in models.keys() - {chapter} for spec in models[other]}
            assert models[chapter] - rest, f"chapter {chapter} of {profile.name}"


def test_chapters_7_and_8_train_only_what_differs_in_one_thing():
    for profile in PROFILES.values():
        known = {spec for chapter in (1, 2) for spec in chapter_models(profile, chapter)}
        target = targets(profile)
        parts = stages(profile)
        assert set(chapter_models(profile, 8)) - known == {target["expected", n] for n in profile.few} | set(parts.values())
        for (side, seed), spec in parts.items():
            whole = target[seed, profile.few[-1]]
            assert differences(spec, whole) == {"objective", "objective_options", "recipe"}
            assert spec.recipe.steps == whole.recipe.steps // 2 and spec.objective == f"edm-{side}"
        for n in profile.few:
            assert differences(target["expected", n], target[profile.seeds[0], n]) == {"objective"}
        (one, seed, other, last), top = bars(profile).values(), stratified(profile)
        assert set(chapter_models(profile, 7)) - known == {last, *top.values(), *shuffled(profile).values()}
        assert differences(one, other) == {"subset_start"} and differences(one, seed) == {"recipe"}
        assert other.subset_start == one.subset_size == profile.half and differences(seed, last) == {"subset_start"}
        for mine, theirs in zip((*top.values(), *shuffled(profile).values()), (one, seed, other, last, one, seed)):
            assert differences(mine, theirs) == {"arranged"}
        assert {n for n in oracle_sizes(profile)} <= set(profile.sizes)
