"""Subjects: the models that are audited, each with the images that it was trained on."""

import importlib
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from helpers import paths
from helpers.adapters import from_callable, load_diffusers
from helpers.data import load
from helpers.denoiser import Denoiser, as_label
from helpers.zoo import ModelSpec, load_denoiser
from helpers.zoo.store import read, training_images


@dataclass(frozen=True, eq=False)
class Subject:
    """A model: its name in the report ("A"), where it came from, D, and its training images (N, C, H, W), labels (N,)."""

    name: str
    source: str
    denoiser: Denoiser
    images: Tensor
    labels: Tensor

    def told(self, label: Tensor) -> dict[str, Tensor]:
        """{"label": ...} for a model that knows classes, else {}."""
        return {"label": label} if self.denoiser.classes else {}

    def turns(self, n: int) -> dict[str, Tensor]:
        """The label of each of n noises: the classes in turn; {} for a model without any."""
        return self.told(torch.arange(n) % self.denoiser.classes) if self.denoiser.classes else {}


def load_subject(name: str, source: str, data: str, first: int | None = None, device: str = "cpu") -> Subject:
    """A model and its training images: those that its spec names, else the first so many of the data's training images.

    source   a file of the zoo (its name alone will do), a folder that a diffusers pipeline saved, or module:function

    ValueError, FileNotFoundError or ImportError in one line if it cannot be had, or does not fit the data.
    """
    denoiser, spec = load_model(source, device)
    if spec is None:
        train = load(data, "train")
        train = train if first is None else train.first(first)
        images, labels = train.images, train.labels
    elif spec.dataset != data:
        raise ValueError(f"model {name} learned from {spec.dataset}, not from {data}: give --data {spec.dataset}")
    else:
        images, labels = training_images(spec)
    subject = Subject(name, source, denoiser, images, labels)
    _try(subject, device)
    return subject


def load_model(source: str, device: str = "cpu") -> tuple[Denoiser, ModelSpec | None]:
    """The denoiser of a source, and its spec if it is one of the zoo. Errors as `load_subject`."""
    path = Path(source).expanduser()
    if path.suffix == ".safetensors":
        return _of_zoo(path if path.exists() or path.parent != Path(".") else paths.ZOO / path, device)
    if path.is_dir():
        return load_diffusers(path, device), None
    if ":" in source:
        return _of_function(source, device), None
    raise ValueError(f"there is no model {source!r}: give a file of the zoo (.safetensors), a folder that a diffusers "
                     "pipeline saved, or module:function")


def _of_zoo(path: Path, device: str) -> tuple[Denoiser, ModelSpec]:
    header = read(path)[1]
    try:
        spec = ModelSpec.parse(header["spec"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} holds no model of the zoo ({error})") from error
    if path.name != spec.file:
        raise ValueError(f"{path.name} holds the model {spec.file}: give it back its name")
    if spec.objective == "classes":
        raise ValueError(f"{path.name} is a classifier, which draws no images")
    return load_denoiser(spec, device, path.parent, train=False), spec


def _of_function(source: str, device: str) -> Denoiser:
    module, _, name = source.rpartition(":")
    try:
        found = getattr(importlib.import_module(module), name)()
    except Exception as error:                             # the reader's code can raise anything
        raise ValueError(f"{source} gives no model ({type(error).__name__}: {_first_line(error)})") from error
    if not callable(found):
        raise ValueError(f"{source} returns {type(found).__name__}, and a denoiser D(x, sigma) is needed")
    found = found if isinstance(found, Denoiser) else from_callable(found)
    return found.requires_grad_(False).eval().to(device) if isinstance(found, nn.Module) else found


@torch.no_grad()
def _try(subject: Subject, device: str) -> None:
    """ValueError unless the model takes the data's images and classes, and answers with finite images."""
    shape, known = tuple(subject.images.shape[1:]), subject.denoiser.classes
    asked = getattr(subject.denoiser, "shape", None)
    if asked and tuple(asked) != shape:
        hint = f": give --data FOLDER@{'x'.join(map(str, asked))}" if asked[0] in (1, 3) else ", as latents have"
        raise ValueError(f"model {subject.name} draws images {tuple(asked)}, the data's are {shape}{hint}")
    if known and (most := int(subject.labels.max())) >= known:
        raise ValueError(f"the data have classes up to {most}, and model {subject.name} knows 0 to {known - 1}")
    x = torch.zeros(2, *shape, device=device)
    try:
        answer = subject.denoiser(x, 1.0, **subject.told(as_label(0, x)))
    except Exception as error:
        raise ValueError(f"model {subject.name} fails on images {shape} ({_first_line(error)})") from error
    if not isinstance(answer, Tensor) or answer.shape != x.shape or not answer.isfinite().all():
        raise ValueError(f"model {subject.name} answers images {shape} with something else, or with NaN")


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
