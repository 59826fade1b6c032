"""Images that a model of the zoo drew: the training set of a student, whose underlying distribution is then known exactly.

A student of a *teacher* learns from the teacher's images of the noises 0, 1, ... of one seed, so that smaller sets are parts
of larger ones. As N grows it should come to draw what the teacher draws from *other* noises: the paper's Section 3.2.1
asks so whether a model learns the distribution, and not only its training set. Used in chapter 2.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from helpers import paths
from helpers.data import to_uint8
from helpers.denoiser import DenoiserLike
from helpers.noise import initial_noise
from helpers.samplers import sample

SEED = 2**20                            # of the noises: no chapter's own
SHIPPED = paths.DATA / "drawn"          # the first images, so that a reader draws none
KEPT = paths.LOCAL / "drawn"


def draw(denoiser: DenoiserLike, numbers: Sequence[int], shape: tuple[int, int, int], batch: int = 256) -> Tensor:
    """The teacher's images of the noises with these numbers: uint8 (n, C, H, W) on the CPU.

    DPM-Solver++(3M) in 18 steps, unless the denoiser's own `sampling` says otherwise.
    """
    options = {"solver": "dpmpp3m", "steps": 18, **getattr(denoiser, "sampling", {})}
    device = next((t.device for t in denoiser.parameters()), torch.device("cpu"))
    parts = [sample(denoiser, initial_noise(numbers[i:i + batch], shape, SEED, device), **options)
             for i in range(0, len(numbers), batch)]
    return to_uint8(torch.cat(parts)).cpu()


def drawn_images(key: str, denoiser: DenoiserLike, count: int, shape: tuple[int, int, int],
                 folders: tuple[Path, Path] = (SHIPPED, KEPT)) -> Tensor:
    """The first `count` images of a teacher: uint8 (count, C, H, W), from a file if one has as many, else drawn and kept.

    key   the teacher's, which names the file. ValueError for fewer images than one.
    """
    if count < 1:
        raise ValueError(f"a student needs a training image: {count} of its teacher's are no set")
    known = torch.zeros(0, *shape, dtype=torch.uint8)
    for path in (folder / f"{key}.npz" for folder in folders):
        if path.exists():
            with np.load(path) as file:
                found = torch.from_numpy(file["images"])
            known = found if len(found) > len(known) else known
    if len(known) < count:
        known = torch.cat([known, draw(denoiser, range(len(known), count), shape)])
        keep(known, folders[1] / f"{key}.npz")
    return known[:count]


def keep(images: Tensor, path: Path) -> None:
    """Write images (n, C, H, W), uint8, compressed; a reader sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, images=images.numpy())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
