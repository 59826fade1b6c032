"""The noise that two models share.

Reproducibility compares what different models make of the *same* initial noise, so the noise of sample i must be the same
on every machine, device and batch size, today and in ten years. Here it depends on (seed, i) alone: sample i has its own
counter-based generator, Philox (Salmon et al. 2011), keyed by the pair. The paper's official code keeps one CUDA generator
for each seed, whose numbers cannot be had without a GPU. A stochastic solver draws fresh noise on its way, and two models
may share that, too: `noise_path`. Used by every chapter.
"""

import operator
from collections.abc import Callable, Iterable
from numbers import Integral

import numpy as np
import torch
from torch import Tensor

LAST = 2**64 - 1


def random_bits(seed: int, index: int, count: int) -> np.ndarray:
    """`count` random uint64 that depend on (seed, index) alone: Philox's raw output, which numpy promises never to change.

    ValueError unless both are whole numbers from 0 to 2^64 - 1: cut to that range they would be another pair's numbers.
    """
    key = [_whole(seed, "seed"), _whole(index, "sample number")]
    return np.random.Philox(key=np.array(key, dtype=np.uint64)).random_raw(count)


def _whole(value: int, name: str, last: int = LAST) -> int:
    try:
        whole = operator.index(value)
    except TypeError:
        whole = -1
    if not 0 <= whole <= last:
        shown = {LAST: "2^64 - 1", 2**53: "2^53"}.get(last, last)
        raise ValueError(f"{name} must be a whole number from 0 to {shown}, got {value}")
    return whole


def standard_normal(seed: int, index: int, count: int) -> np.ndarray:
    """`count` standard normal numbers that depend on (seed, index) alone, float64.

    Box & Muller's transform of `random_bits`, z = sqrt(-2 ln u) (cos 2 pi v, sin 2 pi v): numpy promises nothing of its
    own `Generator.standard_normal`.
    """
    half = (count + 1) // 2
    raw = random_bits(seed, index, 2 * half)
    uniform = ((raw >> np.uint64(11)) + 0.5) * 2.0**-53            # in (0, 1), never 0: its logarithm is taken
    radius, angle = np.sqrt(-2.0 * np.log(uniform[:half])), 2.0 * np.pi * uniform[half:]
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]


def initial_noise(indices: Iterable[int], shape: tuple[int, ...], seed: int = 0,
                  device: str | torch.device = "cpu") -> Tensor:
    """z ~ N(0, I) of the samples numbered `indices`, float32 (len(indices), *shape), rounded from float64.

    A sampler starts from `sigma_max * z`, for every perturbation kernel (see the book's protocol).
    ValueError for no indices, a shape of other numbers than 1, 2, ..., or if the seed or one of them is no whole number from
    0 to 2^64 - 1.
    """
    indices = list(indices)
    if not indices:
        raise ValueError("no samples asked for: give at least one index")
    if not all(isinstance(side, Integral) and side > 0 for side in shape):
        raise ValueError(f"the shape of a noise is made of whole numbers from 1 on, got {tuple(shape)}")
    count = int(np.prod(shape))
    z = np.stack([standard_normal(seed, i, count) for i in indices]).astype(np.float32)
    return torch.from_numpy(z).view(len(indices), *shape).to(device)


def noise_path(number: int, shape: tuple[int, ...]) -> Callable[[int], Tensor]:
    """The fresh noise of a stochastic solver, for `sample(noises=...)`: step i -> N(0, I) of `shape` (B, C, H, W), float32.

    It depends on (number, i) and the shape alone: two models with one number walk on one path, with two numbers on paths
    of their own. ValueError for a number that is not whole, negative or above 2^53, where torch's seeds end, or for a
    step beyond 999, whose noise is the next path's.
    """
    number = _whole(number, "the number of a noise path", 2**53)

    def noise(i: int) -> Tensor:
        i = _whole(i, "the step of a noise path", 999)
        return torch.randn(tuple(shape), generator=torch.Generator().manual_seed(1000 * number + i))

    return noise
