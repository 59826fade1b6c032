"""The loops on a GPU: whether sampling waits for it, whether both devices agree, whether training learns and resumes."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import Tensor
from torch.nn import functional as F

from helpers.chapters.profiles import LAPTOP
from helpers.closed_form import EmpiricalDenoiser, GaussianDenoiser
from helpers.denoiser import NetworkDenoiser
from helpers.guidance import DPS, MomentMatching
from helpers.models.objectives import EDMObjective
from helpers.models.training import State, train
from helpers.models.unet import UNet
from helpers.noise import initial_noise, noise_path
from helpers.operators import make_operator
from helpers.samplers import SOLVERS, sample, trajectory
from tests.bench.forms import pictures
from tests.bench.networks import network, precision
from tests.bench.record import Record
from tests.bench.solvers import shipped

STEPS, BATCH, SHAPE = 18, 64, (1, 28, 28)
GRAY_LEVEL = 2 / 255


def denoisers(device: torch.device, n: int = 2**12) -> dict:
    """One of each kind, on the device."""
    images = pictures(n, SHAPE, torch.device("cpu"))
    operator = make_operator("sr2", SHAPE)
    target = operator(images[:1].float() / 127.5 - 1)

    def measured(guide, *options):
        return guide(shipped().to(device), operator, target.to(device), *options)

    return {"U-Net": shipped().to(device), "EmpiricalDenoiser": EmpiricalDenoiser(images).to(device),
            "GaussianDenoiser": GaussianDenoiser.fit(images).to(device), "DPS": measured(DPS),
            "MomentMatching": measured(MomentMatching, 0.1)}


def waiting(record: Record) -> None:
    """Nothing between the steps waits for the GPU: torch raises where something would."""
    device = record.device
    z = initial_noise(range(8), SHAPE).to(device)

    def walk(denoiser, solver: str = "heun") -> None:
        generator = torch.Generator(device).manual_seed(0) if SOLVERS[solver].stochastic else None
        path = trajectory(denoiser, z, solver, 6, generator=generator)
        next(path)                                                    # checks, copies and kernels are made here, once
        if device.type == "cuda":
            torch.cuda.set_sync_debug_mode("error")
        try:
            list(path)
        finally:
            if device.type == "cuda":
                torch.cuda.set_sync_debug_mode("default")

    every = denoisers(device)
    for name, denoiser in every.items():
        record.check(f"no waiting, {name}", partial(walk, denoiser))
    for solver in SOLVERS:
        if solver != "rk45":                                          # its steps depend on the error of the last
            record.check(f"no waiting, {solver}", partial(walk, every["U-Net"], solver))


def agreement(record: Record) -> None:
    """The images of the device against those of the CPU, from the same noise, in float32: at most a gray level apart.

    Of rk45's images half are held to that: whether it takes a step hangs on rounding, and a change of 1e-6 in the noises
    moves single images of its by .04 to .2 on one and the same processor.
    """
    z, cpu = initial_noise(range(16), SHAPE), torch.device("cpu")
    here, there = denoisers(cpu), denoisers(record.device)

    def differ(name: str, kind: str, act) -> None:
        def measure() -> None:
            with precision("float32", record.device, gradients=True):
                one, other = act(here[kind], z), act(there[kind], z.to(record.device))
            by_image = (one - other.cpu()).abs().flatten(1).amax(1)
            record.number(f"CPU against device, {name}", by_image.max().item(), "largest difference, in [-1, 1]")
            off = (by_image.median() if name.startswith("rk45") else by_image.max()).item()
            if not off <= GRAY_LEVEL:
                raise ValueError(f"they differ by {off:.3g}, more than a gray level, {GRAY_LEVEL:.3g}")
        record.check(f"agreement, {name}", measure)

    for kind in here:
        differ(f"{kind}, 18 Heun steps", kind, lambda d, z: sample(d, z, steps=STEPS))
        if kind not in ("DPS", "MomentMatching"):
            differ(f"{kind}, one call", kind, lambda d, z: d(z, 1.0))
    for solver in SOLVERS:
        noises = noise_path(0, tuple(z.shape)) if SOLVERS[solver].stochastic else None
        differ(f"{solver}, U-Net", "U-Net", partial(sample, solver=solver, noises=noises))


def learning(record: Record) -> None:
    """Training on the device: the loss falls, and a run that was stopped and resumed ends with the same weights."""
    coarse = torch.randn(256, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    x0 = F.interpolate(coarse, SHAPE[1:], mode="bilinear").clamp(-1, 1).to(record.device)
    recipe = replace(LAPTOP.recipe, steps=100, warmup=10, batch=32)

    def run(recipe, stops: tuple[int, ...] = (), file: Path | None = None) -> State:
        for stop in (*stops, recipe.steps):
            state = State(UNet(width=8).to(record.device), recipe)
            for progress in train(state, EDMObjective(), x0, None, recipe, file, "key", every=0.0):
                if progress.step == stop:
                    break
        return state

    def falls() -> None:
        losses = run(recipe).losses
        first, last = losses[:10].mean().item(), losses[-30:].mean().item()
        record.number("training, last loss", last / first, "of the first")
        if not last < 0.8 * first:
            raise ValueError(f"the loss went from {first:.3g} to {last:.3g}")

    def resumes() -> None:
        torch.manual_seed(0)
        short = replace(recipe, steps=20)
        with TemporaryDirectory() as folder:
            whole = run(short)
            torch.manual_seed(0)
            parts = run(short, (5, 12), Path(folder) / "run.safetensors")
        off = max((a - b).abs().max().item() for a, b in zip(whole.ema.parameters(), parts.ema.parameters()))
        record.number("a resumed run", off, "largest difference of its weights")
        if off:
            raise ValueError(f"the weights of a resumed run differ by {off:.3g}")

    record.check("training, the loss falls", falls)
    record.check("training, resumed", resumes)


def graph(record: Record) -> None:
    """A descent recorded once as a CUDA graph and replayed, against the same loop run by Python."""
    if record.device.type != "cuda":
        return
    for width in (16, 32):
        denoiser = NetworkDenoiser(network(width).eval(), EDMObjective()).to(record.device).requires_grad_(False)
        started = partial(_started, denoiser, initial_noise(range(BATCH), SHAPE).to(record.device))
        plain = _rest(started())
        path, graphed = started(), torch.cuda.CUDAGraph()
        torch.cuda.synchronize()
        with torch.cuda.graph(graphed):
            out = _rest(path)
        graphed.replay()
        torch.cuda.synchronize()
        record.number(f"CUDA graph, width {width}: change", (out - plain).abs().max().item(), "largest difference")
        record.ratio(f"CUDA graph, width {width}", f"17 Heun steps replayed, width {width}, B = {BATCH}", "run by Python",
                     graphed.replay, lambda started=started: _rest(started()))


def _started(denoiser, z: Tensor):
    """A path after its first step: what is checked on the host has its place there."""
    path = trajectory(denoiser, z, "heun", STEPS)
    next(path)
    return path


def _rest(path) -> Tensor:
    for step in path:
        last = step.x
    return last


LOOPS = {"agreement": agreement, "waiting": waiting, "learning": learning, "CUDA graph": graph}
