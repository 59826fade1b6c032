"""Where datasets come from; their splits are fixed once for the whole book.

The embedded default is Fashion-MNIST (Xiao et al. 2017): 60,000 training and 10,000 test images, 28x28, grey. One fixed
permutation of the training images defines

    pool      its first 2^15 images: what diffusion models train on, always "the first N", so that subsets are nested
    reserve   the other 27,232: what the copy-detection descriptor learns on, never seen by a diffusion model
    test      the 10,000 test images: held out from everything, for controls and ceilings

The second set that ships, characters of two scripts, has a pool of 2^14, a reserve of 11,664 and 4,096 test images:
`glyphs.py`. CIFAR-10, CIFAR-100 (through torchvision) and any folder of images load through the same function. Used by
every chapter.
"""

import gzip
import hashlib
import os
import re
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from helpers import paths
from helpers.data.dataset import Dataset, permutation
from helpers.data.folder import fingerprint, load_folder

POOL_SIZE = 2**15
POOL_SIZES = {"glyphs": 2**14}                   # of sets that are smaller
KNOWN = ("fashion-mnist", "glyphs", "cifar10", "cifar100")
SPLITS = ("pool", "reserve", "train", "test")
CLASS_NAMES = {
    "fashion-mnist": ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"),
    "glyphs": ("ideograph", "Hangul syllable"),
    "cifar10": ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
}

# The original files of zalandoresearch/fashion-mnist, as torchvision also checks them.
FASHION_MNIST_MD5 = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
GLYPHS_MD5 = {
    "train-images-idx3-ubyte.gz": "401f7b89427827df168e274bb99b475b",
    "train-labels-idx1-ubyte.gz": "11a785ee8beaa79e5605b57151dc2aec",
    "t10k-images-idx3-ubyte.gz": "df4cd4bf3712d09570191425a6ce2eae",
    "t10k-labels-idx1-ubyte.gz": "992888bdcacd405d9ed25bdffbea3221",
}


def load(name: str | Path, split: str = "train", size: int | None = None, channels: int | None = None) -> Dataset:
    """One split of a dataset as a `Dataset`.

    name      "fashion-mnist", "glyphs" (shipped), "cifar10", "cifar100" (downloaded by torchvision on first use), or a
              folder of images, whose name may end in the form that they are brought to: "~/photos@1x28x28" is gray, 28 x 28
    split     "train", "test", or "pool" and "reserve": the two parts of the permuted training images
    size      for a folder: the side in pixels that its images are cropped and resized to; None: all have one size already
    channels  for a folder: 3 for RGB, 1 for gray; None: 3

    A folder without train/ and test/ is split by content: `folder.py`. A relative one begins where Python runs.
    ValueError for an unknown name or split, with the known ones, and for files that cannot be read, with their names.
    """
    if split not in SPLITS:
        raise ValueError(f"unknown split {split!r}: choose from {', '.join(SPLITS)}")
    if not isinstance(name, str | os.PathLike) or not os.fspath(name).strip():
        raise ValueError(f"a dataset has a name, or is a folder: got {name!r}")
    part, name = "test" if split == "test" else "train", os.fspath(name)
    if name in KNOWN:
        if size is not None or channels is not None:
            raise ValueError(f"{name} has images of one size: size and channels are for a folder of images")
        whole = _shipped(name, part) if name in shipped() else _cifar(name, part)
    else:
        whole = load_folder(part, *as_folder(name, size, channels))
    if split in ("train", "test"):
        return whole
    order, size = torch.from_numpy(permutation(len(whole))), POOL_SIZES.get(name, POOL_SIZE)
    return whole[order[:size] if split == "pool" else order[size:]]


def shipped() -> dict[str, tuple[Path, dict[str, str]]]:
    """The sets that come with the repository: their folder, and the md5 of each file."""
    return {"fashion-mnist": (paths.FASHION_MNIST, FASHION_MNIST_MD5), "glyphs": (paths.GLYPHS, GLYPHS_MD5)}


def identify(name: str) -> tuple[str, str | None]:
    """The one name of a dataset, wherever it is asked from, and for a folder `fingerprint` of its training images.

    ("cifar10", None), or ("/data/photos@1x28x28", "0123456789abcdef"). ValueError as `load`.
    """
    if name in KNOWN:
        return name, None
    folder, size, channels = as_folder(name)
    return f"{folder}@{channels}x{size}x{size}" if size else str(folder), fingerprint(folder, size, channels)


def as_folder(name: str, size: int | None = None, channels: int | None = None) -> tuple[Path, int | None, int]:
    """The folder that a name means, whole and with its links resolved, and the size and channels of its images.

    ValueError if there is no such folder, or for a form that images cannot have.
    """
    form = None if Path(name).expanduser().is_dir() else re.fullmatch(r"(.+)@(\d+)x(\d+)x(\d+)", name, re.DOTALL)
    if form:
        name, (channels, size, width) = form[1], map(int, form.groups()[1:])
        if width != size:
            raise ValueError(f"images are brought to squares: {channels}x{size}x{width} is none")
    folder = Path(name).expanduser()
    if not folder.is_dir():
        what = "is a file, not a folder: unpack or move it" if folder.is_file() else "is not there"
        raise ValueError(f"unknown dataset {name!r}: choose from {', '.join(KNOWN)}, or a folder of images; "
                         f"{folder.absolute()} {what}")
    if size is not None and (type(size) is not int or size < 1):
        raise ValueError(f"size is a number of pixels, 1 or more, or None: got {size!r}")
    if channels not in (None, 1, 3):
        raise ValueError(f"channels are 3 (RGB), 1 (gray) or None: got {channels!r}")
    return folder.resolve(), size, channels or 3


def _read_idx(path: Path, md5: dict[str, str] = FASHION_MNIST_MD5) -> Tensor:
    """An IDX file as a uint8 tensor, after its md5 has been checked."""
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: restore it from git (git checkout -- data/{path.parent.name})")
    packed = path.read_bytes()
    if hashlib.md5(packed, usedforsecurity=False).hexdigest() != md5[path.name]:
        raise ValueError(f"{path} is damaged (its md5 is wrong): restore it from git")
    raw = gzip.decompress(packed)
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape).copy())


@cache                                  # unpacking takes longer than training a tiny model; nobody writes into it
def _shipped(name: str, part: str) -> Dataset:
    folder, md5 = shipped()[name]
    prefix = "train" if part == "train" else "t10k"
    images = _read_idx(folder / f"{prefix}-images-idx3-ubyte.gz", md5)[:, None]
    labels = _read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz", md5).long()
    return Dataset(name, images, labels)


def _cifar(name: str, part: str) -> Dataset:
    from torchvision import datasets

    kind = {"cifar10": datasets.CIFAR10, "cifar100": datasets.CIFAR100}[name]
    try:
        source = kind(os.environ.get("TORCHVISION_DATA", paths.DOWNLOADS), train=part == "train", download=True)
    except (OSError, RuntimeError) as error:
        raise RuntimeError(f"{name} could not be downloaded ({error}): put torchvision's files into {paths.DOWNLOADS}"
                           " or name their folder in TORCHVISION_DATA") from error
    return Dataset(name, torch.from_numpy(source.data).permute(0, 3, 1, 2).contiguous(), torch.tensor(source.targets))
