"""How fast networks train and sample here: images a second on one thread, for the laptop profile's widths.

    python -m tests.bench.bench_models
"""

import time

import torch

from helpers.chapters.profiles import LAPTOP
from helpers.denoiser import NetworkDenoiser
from helpers.models.networks import UNet
from helpers.models.objectives import EDM
from helpers.models.training import State, train
from helpers.noise import initial_noise
from helpers.samplers import nfe, sample

SECONDS = 5.0


def training_speed(width: int) -> float:
    """Images a second in the training loop, after five steps of warm-up."""
    state = State(UNet(width=width), LAPTOP.recipe)
    loop = train(state, EDM(), torch.rand(256, 1, 28, 28) * 2 - 1, None, LAPTOP.recipe)
    for _ in range(5):
        next(loop)
    start, first = time.perf_counter(), state.step
    while time.perf_counter() - start < SECONDS:
        next(loop)
    return (state.step - first) * LAPTOP.recipe.batch / (time.perf_counter() - start)


def sampling_speed(width: int) -> float:
    """Network evaluations a second, one an image, in an 18-step Heun run of 64 images in float32."""
    denoiser, z = NetworkDenoiser(UNet(width=width).eval(), EDM()), initial_noise(range(64), (1, 28, 28))
    sample(denoiser, z, steps=2)
    start = time.perf_counter()
    sample(denoiser, z)
    return 64 * nfe("heun") / (time.perf_counter() - start)


if __name__ == "__main__":
    torch.set_num_threads(1)
    for width in LAPTOP.widths:
        print(f"width {width}: {training_speed(width):,.0f} images/s in training, {sampling_speed(width):,.0f} in sampling")
