"""A reader's own images: a folder of files, its classes, and an honest split into train and test.

    FOLDER/image, FOLDER/class/image                         split by content: a fifth of the images becomes the test set
    FOLDER/train/[class/]image, FOLDER/test/[class/]image    split by the reader

A class is a sub-folder, however deep, and has one number in train and test. Linked folders are followed. Hidden files and
folders and those that other programs leave behind (`.ipynb_checkpoints`, `__MACOSX`, `._a.jpg`) are not looked at.
"""

import hashlib
import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from helpers.data.dataset import Dataset
from helpers.data.image_file import read_image

SUFFIXES = {".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".pgm", ".ppm"}
UNREAD = {".heic", ".heif", ".avif", ".jxl", ".svg", ".psd", ".dng", ".cr2", ".nef", ".arw"}       # pictures all the same
LEFT_BEHIND = {"__MACOSX", "@eaDir"}
PARTS = ("train", "test")
TEST_SHARE = 0.2


@dataclass(frozen=True)
class _File:
    """An image file: `part` is the reader's, None if the reader made none; `kind` the class, a path below the part."""

    path: Path
    part: str | None
    kind: str


def load_folder(part: str, folder: Path, size: int | None, channels: int) -> Dataset:
    """The training or the test images of a folder, in the order of their paths: see `sources.load`.

    The split by content looks at an image's decoded pixels alone: copies stay on one side, and an image keeps its side when
    others come or go, or when it is renamed. ValueError if there are no images, none in this part, or if a test image is a
    training image, too.
    """
    files = _listed(folder)
    images, digests = _decoded(tuple(_stamp(f.path) for f in files), size, channels)
    numbers = {kind: number for number, kind in enumerate(_classes(files))}
    labels = torch.tensor([numbers[f.kind] for f in files])
    sides = [f.part or _side(digest) for f, digest in zip(files, digests)]
    _refuse_shared(files, sides, digests)
    chosen = torch.tensor([side == part for side in sides])
    if not chosen.any():
        raise ValueError(_no_part(folder, part, files))
    return Dataset(folder.name, images[chosen], labels[chosen])


def fingerprint(folder: Path, size: int | None, channels: int) -> str:
    """16 hexadecimal digits of a hash of the decoded training images and their classes, in order: what models learn from.

    Neither the folder's place nor names of files enter it, unless the order of the images changes with them.
    """
    train = load_folder("train", folder, size, channels)
    digest = hashlib.sha256(f"{tuple(train.images.shape)}".encode())
    for tensor in (train.labels, train.images):
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]


def class_names(folder: Path) -> tuple[str, ...]:
    """The classes of a folder by their numbers: paths of the sub-folders, "." for images in none."""
    return tuple(_classes(_listed(folder)))


def _listed(folder: Path) -> list[_File]:
    """Every image file of a folder, train before test. ValueError if there is none."""
    given = [part for part in PARTS if (folder / part).is_dir()]
    files = [_File(path, part, path.parent.relative_to(folder / (part or "")).as_posix())
             for part in given or [None] for path in _walk(folder / (part or ""), ())]
    if not files:
        where = f" in {' and '.join(f'{part}/' for part in given)}" if given else ""
        raise ValueError(f"{folder} holds no images{where} ({', '.join(sorted(SUFFIXES))})")
    return files


def _walk(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """The image files below a folder by name; a link back to a folder that it lies in leads nowhere new."""
    here = folder.resolve()
    if here in above:
        return
    try:
        entries = sorted(os.listdir(folder), key=lambda name: (unicodedata.normalize("NFC", name), name))
    except OSError as error:
        raise ValueError(f"{folder} cannot be read ({error.strerror})") from error
    for name in entries:
        path = folder / name
        if name.startswith(".") or name in LEFT_BEHIND:
            continue
        if path.is_dir():
            yield from _walk(path, (*above, here))
        elif path.suffix.lower() in UNREAD:
            raise ValueError(f"{path} is a picture of a kind that is not read here: convert it to PNG, or remove it")
        elif path.suffix.lower() in SUFFIXES:
            if not path.is_file():
                raise ValueError(f"{path} is a link to nothing, or no file: replace or remove it")
            yield path


def _classes(files: list[_File]) -> list[str]:
    return sorted({f.kind for f in files})


def _stamp(path: Path) -> tuple[Path, int, int]:
    """What changes when a file is written anew."""
    found = path.stat()
    return path, found.st_mtime_ns, found.st_size


@lru_cache(maxsize=2)                   # a chapter asks for the same folder once a model; nobody writes into the tensors
def _decoded(stamps: tuple[tuple[Path, int, int], ...], size: int | None, channels: int) -> tuple[Tensor, list[bytes]]:
    """The images of some files, uint8 (N, C, H, W), and the SHA-256 of each."""
    images = []
    for path, _, _ in stamps:
        images.append(read_image(path, size, channels))
        if images[-1].shape != images[0].shape:
            first, other = ("x".join(map(str, image.shape[:0:-1])) for image in (images[0], images[-1]))
            raise ValueError(f"{path} has {other} pixels and {stamps[0][0].name} has {first}: give a size to bring all to")
    return torch.stack(images), [hashlib.sha256(image.numpy().tobytes()).digest() for image in images]


def _side(digest: bytes) -> str:
    """Train or test, from the pixels alone."""
    return "test" if int.from_bytes(digest[:8]) < TEST_SHARE * 2**64 else "train"


def _refuse_shared(files: list[_File], sides: list[str], digests: list[bytes]) -> None:
    """ValueError if an image is on both sides: it would count as held out and be trained on."""
    seen = {digest: f.path for f, side, digest in zip(files, sides, digests) if side == "train"}
    both = [(f.path, seen[digest]) for f, side, digest in zip(files, sides, digests) if side == "test" and digest in seen]
    if both:
        more = f", and {len(both) - 1} more" if len(both) > 1 else ""
        raise ValueError(f"{both[0][0]} is the same image as {both[0][1]}{more}: remove test images that are trained on")


def _no_part(folder: Path, part: str, files: list[_File]) -> str:
    """Why a part is empty, and what to do."""
    if files[0].part is None:
        return (f"{folder} holds {len(files)} image{'s' * (len(files) > 1)}, none of which its split by content puts into "
                f"{part!r}: add images, or put them into {folder.name}/train and {folder.name}/test")
    other = files[0].part
    return (f"{folder} has images in {other}/ and none in {part}/: put some there, or move those of {other}/ up one level "
            "to have them split by content")
