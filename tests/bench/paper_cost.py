"""What is too long to run here: the chapters, from their last runs, and the profile `paper`, from counted operations.

Profile `paper`. Training: steps x batch x operations of an image in a step, over all models of all chapters. Sampling: 35
evaluations (18 Heun steps) for each of the profile's noises, once for every model, one-step generators included. Not
counted: scores and descriptors, the optimizer, the closed forms, a second set of noises.
"""

import torch

from helpers.chapters.models import all_models
from helpers.chapters.profile import Profile
from helpers.chapters.profiles import shape_of
from helpers.report.record import read_all
from helpers.samplers import nfe
from helpers.zoo.rehearsal import Rehearsal, kinds, rehearse
from tests.bench.record import Record


def cost(record: Record, profile: Profile) -> None:
    """A number for each network, and their sums."""
    images = torch.rand(4, *shape_of(profile), generator=torch.Generator().manual_seed(0)) * 2 - 1
    by_network: dict[str, list[float]] = {}
    for spec, same in kinds(all_models(profile)).items():
        found = rehearse(spec, images, torch.arange(4), steps=1, batch=1)
        entry = by_network.setdefault(_named(spec), [0, 0.0, 0.0, found.training])
        entry[0] += len(same)
        entry[1] += sum(_training(found, one) for one in same)
        entry[2] += len(same) * profile.samples * nfe("heun", profile.solver_steps) * found.forward
    for name, (models, training, sampling, each) in by_network.items():
        record.number(f"paper, {name}: models", models, "models")
        record.number(f"paper, {name}: an image in training", each, "FLOPs")
        record.number(f"paper, {name}: training", training, "FLOPs")
        record.number(f"paper, {name}: sampling", sampling, "FLOPs")
    record.number("paper, all: models", sum(entry[0] for entry in by_network.values()), "models")
    record.number("paper, all: training", sum(entry[1] for entry in by_network.values()), "FLOPs")
    record.number("paper, all: sampling", sum(entry[2] for entry in by_network.values()), "FLOPs")


def _training(found: Rehearsal, spec) -> float:
    return found.training * spec.recipe.steps * spec.recipe.batch


def _named(spec) -> str:
    """The network and its width; whether all of it is trained, and by what, if that changes the price of an image."""
    name = f"{spec.network}{dict(spec.options).get('width', '')}"
    if spec.network == "pair" or spec.objective in ("consistency", "distillation"):
        return f"{name}, {spec.objective}"
    return f"{name}, fine-tuned in part" if spec.trainable != "all" else name


def chapters(record: Record) -> None:
    """Seconds that the last run of each chapter took, from its results."""
    for content in read_all():
        if taken := content.get("cost"):
            record.number(f"chapter {content['chapter']}", taken["wall_seconds"], f"s on {taken['threads']} threads")


COST, STORED = {"cost": cost}, {"last runs": chapters}
