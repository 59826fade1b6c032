"""Models that are stages of one training run.

Without decay of the learning rate, step k of a run depends on what came before alone, not on how long the run will be: the
batch and noise of step k come from (seed, k), and the EMA's weight of step k is a function of k. So the model of k steps is
what every longer run of the same recipe passes on its way, and one run can write them all. Used by the zoo.
"""

from dataclasses import replace

from helpers.zoo.spec import ModelSpec

LOOKS_AHEAD = ("consistency",)                  # objectives whose loss knows how much of the run is done


def run_of(spec: ModelSpec) -> ModelSpec:
    """What stages of one run have in common: the spec with one step; the spec itself if it is no stage of a longer run."""
    if spec.recipe.decay != "none" or spec.objective in LOOKS_AHEAD:
        return spec
    return replace(spec, recipe=replace(spec.recipe, steps=1))


def by_run(specs: list[ModelSpec]) -> list[tuple[ModelSpec, ...]]:
    """The specs, stages of one run together: runs in the order of their first specs, stages by their steps."""
    runs: dict[ModelSpec, list[ModelSpec]] = {}
    for spec in dict.fromkeys(specs):
        runs.setdefault(run_of(spec), []).append(spec)
    return [tuple(sorted(stages, key=lambda spec: spec.recipe.steps)) for stages in runs.values()]


def stages_of_one_run(specs: list[ModelSpec]) -> tuple[ModelSpec, ...]:
    """The specs by their steps. ValueError if they are not stages of one run, or none are given."""
    runs = by_run(specs)
    if len(runs) != 1:
        names = ", ".join(f"{spec.name} ({spec.key})" for spec in specs) or "none"
        raise ValueError("one run trains specs that differ in the recipe's steps alone and have decay \"none\": got "
                         f"{names}")
    return runs[0]
