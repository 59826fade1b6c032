"""Solvers beside those of diffusers and azula: what a step costs beyond the network, and how few evaluations suffice.

The second is asked of the book's U-Net of width 16: the evaluations after which at least 99 % of the images agree (RP, by
the shipped descriptor and its threshold) with the converged solution from the same noises.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from helpers.chapters.profiles import LAPTOP
from helpers.denoiser import NetworkDenoiser
from helpers.measure.descriptor import describe
from helpers.measure.scores import rp_score
from helpers.models.objectives import EDMObjective
from helpers.noise import initial_noise
from helpers.samplers import nfe, sample
from helpers.zoo import load_denoiser
from tests.bench import peers
from tests.bench.networks import network
from tests.bench.record import Record

STEPS, BATCH, SHAPE = 18, 64, (1, 28, 28)
SAME = {"euler": ("euler", "EDMEuler", "DDIM"), "heun": ("heun", "HeunDiscrete", "Heun"),
        "dpmpp2m": ("dpmpp2m", "EDMDPMSolverMultistep, order 2", "xEAB, order 2"),
        "dpmpp3m": ("dpmpp3m", "EDMDPMSolverMultistep, order 3", "xEAB, order 3")}


@dataclass(frozen=True)
class Budget:
    """noises; evaluations that are tried, ascending; evaluations of the reference."""

    noises: int = 128
    tried: tuple[int, ...] = (6, 8, 10, 12, 14, 16, 18, 20, 24, 28, 32, 40, 48, 64)
    reference: int = 128


def trivial(x: Tensor, sigma: float, label: Tensor | None = None) -> Tensor:
    """A network that costs one operation."""
    return 0.5 * x


def unet(record: Record, width: int) -> NetworkDenoiser:
    return NetworkDenoiser(network(width).eval(), EDMObjective()).to(record.device).requires_grad_(False)


def overhead(record: Record) -> None:
    """Seconds of a step beyond the network's: against a call of the U-Net of width 32, and against the peers' steps."""
    z = initial_noise(range(BATCH), SHAPE).to(record.device)
    x, wide = 80 * z, unet(record, 32)
    every = {"ours": peers.ours(), "diffusers": peers.of_diffusers(), "azula": peers.of_azula()}
    for solver, names in SAME.items():
        def alone(calls: int = nfe(solver, STEPS)) -> None:
            for _ in range(calls):
                trivial(x, 1.0)

        runs = [partial(every[who][name], trivial, z, STEPS, raw=True) for who, name in zip(every, names)]
        found = record.times(partial(wide, x, 1.0), alone, *runs)
        what, ours = f"a step of `sample` beyond its network, {solver}, B = {BATCH}", [t[2] - t[1] for t in found]
        record.figure(f"overhead, {solver}", what, "a call of the U-Net of width 32",
                      [(max(o, 0) / STEPS, t[0]) for o, t in zip(ours, found)], "<= 0.02")
        for i, (who, name) in enumerate(zip(every, names)):
            if who != "ours":
                record.figure(f"overhead, {solver}, {who}", what, f"a step of {who}: {name}",
                              [(max(o, 0) / STEPS, (t[2 + i] - t[1]) / STEPS) for o, t in zip(ours, found)], "<= 1")


def shipped(width: int = 16):
    """The shipped U-Net; where the weights did not travel, one with random weights."""
    try:
        return load_denoiser(LAPTOP.model(width, 2**15), train=False)
    except FileNotFoundError:
        return NetworkDenoiser(network(width).eval(), EDMObjective()).requires_grad_(False)


class Counted:
    """A denoiser that counts its evaluations."""

    def __init__(self, denoiser):
        self.denoiser, self.calls = denoiser, 0

    def __call__(self, x: Tensor, sigma, label: Tensor | None = None) -> Tensor:
        self.calls += 1
        return self.denoiser(x.float(), sigma)


@torch.no_grad()
def evaluations(record: Record, budget: Budget = Budget()) -> None:
    """For each solver, the first number of evaluations, of those tried, with an RP of .99 or more with the solution."""
    denoiser = shipped().to(record.device)
    z = initial_noise(range(budget.noises), SHAPE, seed=7).to(record.device)
    exact = describe(sample(denoiser, z, "dpmpp3m", budget.reference).cpu())
    other = describe(sample(denoiser, z, "heun", budget.reference // 2).cpu())
    record.number("solvers: two references agree", rp_score(exact, other).value, "RP of two fine solutions")
    best = {}
    for who, runs in {"ours": peers.ours(), "diffusers": peers.of_diffusers(), "azula": peers.of_azula()}.items():
        for name, run in runs.items():
            needed = _needed(run, denoiser, z, exact, budget)
            record.number(f"evaluations, {who}: {name}", needed or float("nan"), f"until RP >= .99; {budget.noises} noises")
            if needed:
                best[who] = min(best.get(who, needed), needed)
    for who in ("diffusers", "azula"):
        if who in best and "ours" in best:
            record.number(f"evaluations, best of ours over best of {who}", best["ours"] / best[who], "ratio")


def _needed(run, denoiser, z: Tensor, exact: Tensor, budget: Budget) -> int | None:
    """The evaluations with which this solver first agrees; None if not even with all that are tried."""
    probe = Counted(trivial)
    run(probe, z[:1], 8)
    each = round(probe.calls / 8)                                       # evaluations a step: 1 or 2
    for wanted in budget.tried:
        counted = Counted(denoiser)
        images = run(counted, z, max(2, wanted // each))
        if images.isfinite().all() and rp_score(exact, describe(images.clamp(-1, 1).cpu())).value >= 0.99:
            return counted.calls
    return None


def growth(record: Record) -> None:
    """Seconds of a descent over its evaluations, of the U-Net of width 16."""
    denoiser, z = unet(record, 16), initial_noise(range(16), SHAPE).to(record.device)
    record.curve("sampling over NFE", "NFE", lambda n: partial(sample, denoiser, z, "dpmpp2m", n), (4, 8, 16, 32, 64))


SOLVING = {"overhead": overhead, "evaluations": evaluations, "growth": growth}
