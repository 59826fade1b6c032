"""How fast networks train and sample here: images a second, for the laptop profile's widths.

    python -m tests.bench.bench_models [--batch B] [--seconds S]
"""

import time

import torch

from helpers.chapters.profiles import LAPTOP
from helpers.denoiser import NetworkDenoiser
from helpers.models.objectives import EDMObjective
from helpers.models.training import State, train
from helpers.models.unet import UNet
from helpers.noise import initial_noise
from helpers.samplers import nfe, sample
from tests.bench.options import parse


def training_speed(width: int, images: int, seconds: float) -> float:
    """Images a second in the training loop, after five steps of warm-up."""
    state = State(UNet(width=width), LAPTOP.recipe)
    loop = train(state, EDMObjective(), torch.rand(images, 1, 28, 28) * 2 - 1, None, LAPTOP.recipe)
    for _ in range(5):
        next(loop)
    start, first = time.perf_counter(), state.step
    while state.step == first or time.perf_counter() - start < seconds:
        next(loop)
    return (state.step - first) * LAPTOP.recipe.batch / (time.perf_counter() - start)


def sampling_speed(width: int, batch: int, seconds: float) -> float:
    """Network evaluations a second, one an image, in 18-step Heun runs of a batch in float32."""
    denoiser, z = NetworkDenoiser(UNet(width=width).eval(), EDMObjective()), initial_noise(range(batch), (1, 28, 28))
    sample(denoiser, z, steps=2)
    start, runs = time.perf_counter(), 0
    while not runs or time.perf_counter() - start < seconds:
        sample(denoiser, z)
        runs += 1
    return runs * batch * nfe("heun") / (time.perf_counter() - start)


def main(argv: list[str] | None = None) -> None:
    wanted = parse("tests.bench.bench_models", "How fast networks of the laptop profile train and sample.", argv, batch=64)
    torch.set_num_threads(wanted.threads)
    for width in LAPTOP.widths:
        training = training_speed(width, wanted.images, wanted.seconds)
        sampling = sampling_speed(width, wanted.batch, wanted.seconds)
        print(f"width {width}: {training:,.0f} images/s in training, {sampling:,.0f} in sampling")


if __name__ == "__main__":
    main()
