"""Chapter 5's models: pretrained on half of the classes, fine-tuned on N images of the others.

Each run is one of

    all, attention, last2, bias-norm, lora     what of the pretrained network goes on learning (`models/trainable.py`)
    scratch                                    nothing is pretrained: the same steps from random weights

and two runs that are compared have nothing in common but the N images: each starts from a pretrained network of its own
seed or width, and sees the images in an order of its own.
"""

from dataclasses import replace
from typing import NamedTuple

from helpers.chapters.profile import Profile
from helpers.zoo import ModelSpec

MODES = ("all", "last2", "attention", "lora", "bias-norm", "scratch")
DEPTHS = ("last1", "last2", "last3", "last4", "all")


class Parent(NamedTuple):
    """One pretraining, from which runs of its width and seed start."""

    width: int
    seed: int = 0


class Run(NamedTuple):
    """One training on n images of the target. steps: None for the plan's number, else an earlier end of a full one."""

    mode: str
    n: int
    width: int
    seed: int = 0
    steps: int | None = None

    @property
    def parent(self) -> Parent:
        """The pretraining of the run's own width and seed; from scratch, the one that it is compared with."""
        return Parent(self.width, self.seed)


def pretrained(profile: Profile, width: int, seed: int = 0) -> ModelSpec:
    """A U-Net of the profile with attention below the first resolution, so that attention is more than one layer."""
    plan, levels = profile.finetuning, len(dict(profile.options).get("multipliers", (1, 2, 4)))
    spec = profile.model(width, plan.pool, seed)
    options = {"attention": (False,) + (True,) * (levels - 1), **dict(spec.options)}
    return replace(spec, dataset=plan.source[0], classes=plan.source[1], options=tuple(sorted(options.items())))


def finetuned(profile: Profile, run: Run) -> ModelSpec:
    """The model of one run."""
    plan, parent = profile.finetuning, pretrained(profile, run.width, run.seed)
    recipe = replace(plan.recipe, seed=run.seed, steps=run.steps or plan.recipe.steps)
    spec = replace(parent, dataset=plan.target[0], classes=plan.target[1], subset_size=run.n, recipe=recipe)
    return spec if run.mode == "scratch" else replace(spec, init_from=parent.key, trainable=run.mode)


def runs(profile: Profile) -> list[Run]:
    """All runs of chapter 5: every mode and size for two seeds, some at the large width, depths, and shorter full ones."""
    plan, (small, large), seeds = profile.finetuning, profile.widths, profile.seeds
    found = [Run(mode, n, small, seed) for n in plan.sizes for mode in MODES for seed in seeds]
    found += [Run(mode, n, small, seed) for n in plan.sizes[:2] for mode in DEPTHS for seed in seeds]
    found += [Run("all", n, small, seed, max(plan.recipe.steps // part, 1)) for n in plan.few for part in (16, 8, 4)
              for seed in seeds]
    found += [Run(mode, n, large, seeds[0]) for n in plan.few for mode in MODES]
    return list(dict.fromkeys(found))


def finetuning_models(profile: Profile) -> dict[Parent | Run, ModelSpec]:
    """Chapter 5's models: parents, then runs."""
    (small, large), (first, second) = profile.widths, profile.seeds
    parents = (Parent(small, first), Parent(small, second), Parent(large, first))
    return {parent: pretrained(profile, *parent) for parent in parents} | {
        run: finetuned(profile, run) for run in runs(profile)}
