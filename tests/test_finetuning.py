"""Chapter 5's runs: every one there once, what each has in common with its partner, and from whom it starts."""

import dataclasses
from itertools import product

import pytest
import torch

from helpers.chapters.finetuning import DEPTHS, MODES, Parent, Run, finetuned, finetuning_models, pretrained, runs
from helpers.chapters.models import all_models, chapter_models
from helpers.chapters.profiles import PROFILES, SMOKE
from helpers.models.layers import SelfAttention
from helpers.models.trainable import restrict
from helpers.zoo import store as zoo
from helpers.zoo.spec import build
from helpers.zoo.store import training_images

NAMES = sorted(PROFILES)


@pytest.fixture(params=NAMES)
def profile(request):
    return PROFILES[request.param]


def plan_of(profile):
    return profile.finetuning


def images_of(spec):
    return spec.dataset, spec.classes, spec.subset_start, spec.subset_size


def differences(a, b):
    return {f.name for f in dataclasses.fields(a) if getattr(a, f.name) != getattr(b, f.name)}


def small_run(profile, mode, seed=0, **changes):
    return Run(mode, plan_of(profile).sizes[0], profile.widths[0], seed)._replace(**changes)


def test_no_run_is_there_twice_and_no_two_are_the_same_model(profile):
    found = runs(profile)
    assert len(set(found)) == len(found)
    assert len({finetuned(profile, run).key for run in found}) == len(found)


def test_every_mode_size_and_seed_is_there(profile):
    plan, found, (small, large) = plan_of(profile), set(runs(profile)), profile.widths
    assert found >= {Run(*key) for key in product(MODES, plan.sizes, [small], profile.seeds)}
    assert found >= {Run(*key) for key in product(DEPTHS, plan.sizes[:2], [small], profile.seeds)}
    assert {run for run in found if run.width == large} == {Run(mode, n, large, profile.seeds[0])
                                                           for mode in MODES for n in plan.few}
    assert set(plan.few) <= set(plan.sizes) and list(plan.sizes) == sorted(set(plan.sizes))


def test_shorter_runs_are_of_everything_by_both_seeds_and_end_earlier(profile):
    plan, short = plan_of(profile), [run for run in runs(profile) if run.steps is not None]
    assert {(run.mode, run.width) for run in short} == {("all", profile.widths[0])}
    assert {run.n for run in short} == set(plan.few)
    for run in short:
        assert 0 < run.steps < plan.recipe.steps
        assert all(run._replace(seed=seed) in short for seed in profile.seeds)
    if profile is not SMOKE:
        assert len({run.steps for run in short}) == 3


def test_runs_that_are_compared_share_their_images_and_nothing_else(profile):
    (small, large), (first, second) = profile.widths, profile.seeds
    for mode, n in product(MODES, plan_of(profile).few):
        a, seed = (finetuned(profile, Run(mode, n, small, s)) for s in (first, second))
        wide = finetuned(profile, Run(mode, n, large, first))
        assert images_of(a) == images_of(seed) == images_of(wide) and a.subset_size == n
        assert a.trainable == seed.trainable == wide.trainable
        assert differences(a, seed) == {"recipe"} | ({"init_from"} if mode != "scratch" else set())
        assert differences(a, wide) == {"options"} | ({"init_from"} if mode != "scratch" else set())
        assert dataclasses.replace(a.recipe, seed=second) == seed.recipe


@pytest.mark.parametrize("mode", sorted({*MODES, *DEPTHS} - {"scratch"}))
def test_a_run_starts_from_the_pretrained_network_of_its_own_width_and_seed(profile, mode):
    for width, seed in product(profile.widths, profile.seeds):
        spec, parent = finetuned(profile, Run(mode, 8, width, seed)), pretrained(profile, width, seed)
        assert (spec.init_from, spec.trainable, spec.subset_size) == (parent.key, mode, 8)
        assert (spec.dataset, spec.classes) == plan_of(profile).target
        assert (spec.network, spec.options, spec.objective, spec.objective_options) == (
            parent.network, parent.options, parent.objective, parent.objective_options)
        assert spec.recipe == dataclasses.replace(plan_of(profile).recipe, seed=seed)


def test_from_scratch_is_the_same_run_without_a_parent(profile):
    run = small_run(profile, "scratch", seed=1)
    spec = finetuned(profile, run)
    assert spec.init_from is None and spec.trainable == "all" and spec.initial_seed is None
    assert differences(spec, finetuned(profile, run._replace(mode="all"))) == {"init_from"}


def test_the_number_of_steps_is_the_run_s_or_the_plan_s(profile):
    run = small_run(profile, "all", steps=3)
    short, whole = (finetuned(profile, r) for r in (run, run._replace(steps=None)))
    assert (short.recipe.steps, whole.recipe.steps) == (3, plan_of(profile).recipe.steps)
    assert short.recipe == dataclasses.replace(whole.recipe, steps=3) and differences(short, whole) == {"recipe"}


def test_parents_come_first_in_chapter_5_and_among_all_models(profile):
    for models in (finetuning_models(profile).values(), chapter_models(profile, 5), all_models(profile)):
        seen = set()
        for spec in models:
            assert spec.init_from is None or spec.init_from in seen, spec.name
            seen.add(spec.key)


def test_chapter_5_trains_three_parents_all_runs_and_the_classifier(profile):
    (small, large), (first, second) = profile.widths, profile.seeds
    parents, found = [Parent(small, first), Parent(small, second), Parent(large, first)], finetuning_models(profile)
    assert list(found) == parents + runs(profile)
    assert all(found[parent] == pretrained(profile, *parent) for parent in parents)
    for run in runs(profile):
        assert found[run] == finetuned(profile, run)
        assert found[run].init_from == (None if run.mode == "scratch" else found[run.parent].key)
    models = chapter_models(profile, 5)
    assert models[:-1] == list(found.values()) and models[-1].network == "classifier"
    assert models[-1] in chapter_models(profile, 3)


def test_a_pretrained_network_attends_below_its_first_level_and_is_the_profile_s_otherwise(profile):
    for width, seed in product(profile.widths, profile.seeds):
        spec, plain = pretrained(profile, width, seed), profile.model(width, plan_of(profile).pool, seed)
        options = dict(spec.options)
        assert options["attention"][0] is False and any(options["attention"])
        assert len(options["attention"]) == len(options.get("multipliers", (1, 2, 4)))
        assert options["attention"] == dict(plain.options).get("attention", (False,) + (True,) * (len(
            options["attention"]) - 1))
        assert {**options, **dict(plain.options)} == options and list(options) == sorted(options)
        assert (spec.dataset, spec.classes) == plan_of(profile).source and spec.init_from is None
        assert (spec.subset_size, spec.recipe) == (plan_of(profile).pool, plain.recipe)


@pytest.mark.parametrize("name", ["laptop", "smoke"])
def test_there_is_attention_in_more_than_one_layer_and_every_mode_has_something_to_train(name):
    parent = pretrained(PROFILES[name], PROFILES[name].widths[0])
    assert sum(isinstance(m, SelfAttention) for m in build(parent).modules()) > 1
    for mode in {*MODES, *DEPTHS} - {"scratch"}:
        learns = [p for p in restrict(build(parent), mode).parameters() if p.requires_grad]
        assert learns


@pytest.mark.parametrize("name", NAMES)
def test_what_is_learned_first_is_not_what_is_learned_then(name):
    (dataset, first), (other, then) = PROFILES[name].finetuning.source, PROFILES[name].finetuning.target
    assert dataset != other or first and then and not set(first) & set(then)


@pytest.mark.parametrize("name", ["laptop", "smoke"])
def test_source_and_target_are_all_ten_classes_and_hold_as_many_images_as_are_asked_for(name, monkeypatch):
    plan, profile, whole = PROFILES[name].finetuning, PROFILES[name], zoo.load_dataset("fashion-mnist", "pool")
    monkeypatch.setattr(zoo, "load_dataset", lambda *_: whole)
    assert sorted(plan.source[1] + plan.target[1]) == list(range(10))
    images, labels = training_images(pretrained(profile, profile.widths[0]))
    assert len(images) == plan.pool and set(labels.tolist()) == set(plan.source[1])
    small, large = (training_images(finetuned(profile, small_run(profile, "lora", n=n))) for n in
                    (plan.sizes[0], plan.sizes[-1]))
    assert len(large[0]) == plan.sizes[-1] and set(large[1].tolist()) <= set(plan.target[1])
    assert torch.equal(small[0], large[0][:plan.sizes[0]])                      # the smaller sets are the first N


def test_more_images_than_the_target_has_is_a_clear_error():
    with pytest.raises(ValueError, match=r"^fashion-mnist has 1\d{4} images: 20000 from number 0 on are not to be"):
        training_images(finetuned(SMOKE, small_run(SMOKE, "all", n=20_000)))
