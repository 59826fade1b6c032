"""A rehearsal: one or a few training steps of each kind of model, in memory, before days are spent on the real ones.

Specs that differ in seed, images, or number of steps alone train the same way: they are one kind, and one of them rehearses
for all. The steps are those of the one training loop, on a CPU, and what they compute is counted meanwhile, in
floating-point operations (a multiplication and an addition are two): hence what all models of a profile would cost.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from helpers.closed_form import EmpiricalDenoiser
from helpers.denoiser import NetworkDenoiser
from helpers.models.objectives import EDMObjective, ExpectedTarget
from helpers.models.trainable import restrict
from helpers.models.training import State, train
from helpers.zoo.spec import ModelSpec, build, make_objective


class Rehearsal(NamedTuple):
    """What one kind of model needs: numbers that are trained; operations of a training step and of one forward pass, each
    for one image; the loss of each step."""

    parameters: int
    training: float
    forward: float
    losses: list[float]


class Operations(TorchDispatchMode):
    """Counts what products, convolutions and attention compute. (torch's own counter stops at a gradient of a gradient, as
    a GAN's penalty has it.)"""

    total = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        out = operation(*arguments, **(options or {}))
        if count := flop_registry.get(getattr(operation, "overloadpacket", None)):
            self.total += count(*arguments, **(options or {}), out_val=out)
        return out


def kinds(specs: Iterable[ModelSpec]) -> dict[ModelSpec, list[ModelSpec]]:
    """One spec of each kind, and all that are of its kind, in their order."""
    found: dict[tuple, list[ModelSpec]] = {}
    for spec in specs:
        kind = spec.network, spec.options, spec.objective, spec.objective_options, spec.conditional, spec.trainable
        found.setdefault(kind, []).append(spec)
    return {same[0]: same for same in found.values()}


def rehearse(spec: ModelSpec, images: Tensor, labels: Tensor, steps: int = 1, batch: int = 2) -> Rehearsal:
    """`steps` training steps of a spec on images (N, C, H, W) in [-1, 1] with labels (N,), on their device.

    Who would start from a parent starts from nothing, and a student is taught by an untrained network: what a step computes
    is the same. A target's mean is taken over these images alone, so that a closed form over all of them is not counted.
    ValueError for images that the network cannot read; FloatingPointError if a loss is not finite.
    """
    recipe = replace(spec.recipe, steps=steps, batch=batch)
    network, objective = _start(spec)
    if isinstance(objective, ExpectedTarget):
        objective = objective.of(EmpiricalDenoiser(images, labels if spec.conditional else None))
    network = network.to(images.device)
    with Operations() as counted:
        progress = list(train(State(network, recipe), objective, images, labels if spec.conditional else None, recipe))
    learned = sum(p.numel() for p in network.parameters() if p.requires_grad)
    return Rehearsal(learned, counted.total / (steps * batch), _forward(network, objective, images[:1]),
                     [step.loss for step in progress])


def _start(spec: ModelSpec) -> tuple[nn.Module, object]:
    network, objective = build(spec), make_objective(spec.objective, **dict(spec.objective_options))
    if spec.objective == "distillation":
        objective = objective.taught_by(NetworkDenoiser(build(spec).eval(), EDMObjective()).requires_grad_(False))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.recipe.seed)
        return restrict(network, spec.trainable), objective


@torch.no_grad()
def _forward(network: nn.Module, objective, x: Tensor) -> float:
    """Operations of one answer to one image: the denoiser's, or the class."""
    with Operations() as counted:
        if hasattr(objective, "denoise"):
            objective.denoise(network.eval(), x, 1.0)
        else:
            network.eval()(x)
    return counted.total
