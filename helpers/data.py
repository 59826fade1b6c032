"""Data: a dataset is one tensor, and its splits are fixed once for the whole book.

The embedded default is Fashion-MNIST (Xiao et al. 2017): 60,000 training and 10,000 test images, 28x28, grey. One fixed
permutation of the training images defines

    pool      its first 2^15 images: what diffusion models train on, always "the first N", so that subsets are nested
    reserve   the other 27,232: what the copy-detection descriptor learns on, never seen by a diffusion model
    test      the 10,000 test images: held out from everything, for controls and ceilings

CIFAR-10, CIFAR-100 (through torchvision) and any folder of images load through the same function. Used by every chapter.
"""

import gzip
import hashlib
import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from helpers import paths

POOL_SIZE = 2**15
SPLITS = ("pool", "reserve", "train", "test")
CLASS_NAMES = {
    "fashion-mnist": ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp"}

# The original files of zalandoresearch/fashion-mnist, as torchvision also checks them.
FASHION_MNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}


@dataclass(frozen=True)
class Dataset:
    """Images and their classes: `images` uint8 (N, C, H, W), `labels` int64 (N,)."""

    name: str
    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: slice | Tensor) -> "Dataset":
        return Dataset(self.name, self.images[index], self.labels[index])

    def first(self, n: int, start: int = 0) -> "Dataset":
        """The n images from `start` on, in the set's fixed order. ValueError if there are not that many."""
        if n < 1 or start < 0 or start + n > len(self):
            raise ValueError(f"{self.name} has {len(self)} images: {n} from number {start} on are not to be had")
        return self[start:start + n]

    def of_classes(self, classes: list[int]) -> "Dataset":
        """The images of the given classes, in order. ValueError for a class that does not occur."""
        known = self.labels.unique().tolist()
        if unknown := sorted(set(classes) - set(known)):
            raise ValueError(f"{self.name} has no class {unknown}: its classes are {known}")
        return self[torch.isin(self.labels, torch.tensor(classes))]

    @property
    def x0(self) -> Tensor:
        """The images as float32 in [-1, 1]."""
        return to_float(self.images)


def to_float(images: Tensor) -> Tensor:
    """x0 = u / 127.5 - 1: uint8 [0, 255] -> float32 [-1, 1], any shape."""
    return images.float() / 127.5 - 1


def to_uint8(x0: Tensor) -> Tensor:
    """u = clip(floor(127.5 x0 + 128), 0, 255): float [-1, 1] -> uint8, the quantization of Karras et al. 2022's code."""
    return (127.5 * x0 + 128).clamp(0, 255).to(torch.uint8)


def permutation(n: int, seed: int = 0) -> np.ndarray:
    """A permutation of range(n) that depends on (n, seed) alone, on any machine and any version of numpy.

    Sorting Philox's raw output: numpy promises that a bit generator's stream never changes, and promises nothing of
    `Generator.permutation`.
    """
    return np.argsort(np.random.Philox(key=seed).random_raw(n), kind="stable")


def load(name: str, split: str = "train", size: int | None = None) -> Dataset:
    """One split of a dataset as a `Dataset`.

    name   "fashion-mnist" (shipped), "cifar10", "cifar100" (downloaded by torchvision on first use), or a folder of images
    split  "train", "test", or "pool" and "reserve": the two parts of the permuted training images
    size   for a folder: the side in pixels that its images are cropped and resized to

    ValueError for an unknown name or split, with the known ones.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose from {', '.join(SPLITS)}")
    part = "test" if split == "test" else "train"
    if name == "fashion-mnist":
        whole = _fashion_mnist(part)
    elif name in ("cifar10", "cifar100"):
        whole = _cifar(name, part)
    elif Path(name).is_dir():
        whole = _folder(Path(name), part, size)
    else:
        raise ValueError(f"unknown dataset {name!r}: choose from fashion-mnist, cifar10, cifar100, or a folder of images")
    if split in ("train", "test"):
        return whole
    order = torch.from_numpy(permutation(len(whole)))
    return whole[order[:POOL_SIZE] if split == "pool" else order[POOL_SIZE:]]


def _read_idx(path: Path) -> Tensor:
    """An IDX file as a uint8 tensor, after its md5 has been checked."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: restore it from git (git checkout -- data/{path.parent.name})")
    packed = path.read_bytes()
    if hashlib.md5(packed).hexdigest() != FASHION_MNIST_MD5[path.name]:
        raise ValueError(f"{path} is damaged (its md5 is wrong): restore it from git")
    raw = gzip.decompress(packed)
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape).copy())


@cache                                  # unpacking takes longer than training a tiny model; nobody writes into it
def _fashion_mnist(part: str, folder: Path = paths.FASHION_MNIST) -> Dataset:
    prefix = "train" if part == "train" else "t10k"
    images = _read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")[:, None]
    labels = _read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz").long()
    return Dataset("fashion-mnist", images, labels)


def _cifar(name: str, part: str) -> Dataset:
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    try:
        source = kind(os.environ.get("TORCHVISION_DATA", paths.DOWNLOADS), train=part == "train", download=True)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(f"{name} could not be downloaded ({error}): put torchvision's files into {paths.DOWNLOADS}"
                           " or name their folder in TORCHVISION_DATA") from error
    return Dataset(name, torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(source.targets))


def _folder(folder: Path, part: str, size: int | None) -> Dataset:
    """folder[/train|/test][/class]/image: every image, cropped to its center square; classes are the sub-folders."""
    from PIL import Image, ImageOps

    root = folder / part if (folder / part).is_dir() else folder
    files = sorted(p for p in root.rglob("*") if p.suffix.lower() in IMAGE_SUFFIXES)
    if not files:
        raise ValueError(f"{root} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    classes = {c: i for i, c in enumerate(sorted({p.parent for p in files}))}

    def one(path: Path) -> Tensor:
        with Image.open(path) as image:
            square = ImageOps.fit(image.convert("RGB"), (size or 32,) * 2, Image.Resampling.LANCZOS)
        return torch.from_numpy(np.array(square)).permute(2, 0, 1)

    return Dataset(folder.name, torch.stack([one(p) for p in files]), torch.tensor([classes[p.parent] for p in files]))
