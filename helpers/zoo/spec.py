"""Specs: everything that decides a trained model, and what its names mean.

A `ModelSpec` is a value: data, network, objective, recipe, seed. Its key, a hash of its canonical JSON, names the model's
file in the zoo. `build` and `make_objective` turn the names in it into a network and an objective.
"""

import dataclasses
import hashlib
import inspect
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from helpers.data import identify
from helpers.data.arranged import ARRANGED
from helpers.data.captions import KINDS_OF_CAPTION
from helpers.models import training
from helpers.models.architectures import MLP, Multistage, ResidualCNN, UViT
from helpers.models.classifier import Classification, Classifier
from helpers.models.fewstep import Consistency, Distillation
from helpers.models.gan_vae import GAN, VAE, GeneratorPair
from helpers.models.objectives import EDMObjective, ExpectedTarget, KernelObjective, OneStage, SharedPreconditioning
from helpers.models.unet import UNet

NETWORKS = {"unet": UNet, "cnn": ResidualCNN, "uvit": UViT, "mlp": MLP, "multistage": Multistage, "pair": GeneratorPair,
            "classifier": Classifier}
PUBLISHED = {
    "vp": KernelObjective,
    "sub-vp": partial(KernelObjective, "sub-vp"),
    "ve": partial(KernelObjective, "ve", t_min=1e-4, geometric=True),        # sigma from 0.01, as Song et al. 2021
    "flow": partial(KernelObjective, "flow", predict="velocity"),
}
OBJECTIVES = {
    "edm": EDMObjective,
    **PUBLISHED,
    "ddpm": partial(KernelObjective, "ddpm", t_min=1, discrete=True),
    "consistency": Consistency,
    "distillation": Distillation,
    "gan": GAN,
    "vae": VAE,
    "classes": Classification,
    "edm-expected": ExpectedTarget,
    "edm-above": partial(OneStage, above=True),
    "edm-below": partial(OneStage, above=False),
    **{f"edm-{name}": partial(SharedPreconditioning, source=make()) for name, make in PUBLISHED.items()},
}

# Fields that came after the first weights were shipped. With their default they are left out of the canonical JSON, so
# that an old model keeps its key.
LATER = {"initial_seed": None, "classes": (), "images": None, "teacher": None, "captions": None,
         "withheld": False, "arranged": None,
         "recipe": {"beta1": 0.9, "label_dropout": 0.0, "decay": "cosine"}}

# What a canonical JSON calls a reader's folder: its images name it, so that it may be moved, and must not be changed.
FOLDER = "folder"


@dataclass(frozen=True)
class ModelSpec:
    """All that decides a model's weights.

    dataset, subset_start, subset_size   the images: `subset_size` of the pool from `subset_start` on; nested for start 0
    classes                              of these classes only; all if empty
    arranged                             how the pool is arranged before, a name in ARRANGED; None: as the dataset has it
    images                               of a folder, found by the spec itself: the hash of its training images; else None
    network, options                     a name in NETWORKS and its keyword arguments
    objective, objective_options         a name in OBJECTIVES and its keyword arguments
    conditional                          whether the network is given the labels; its options say how many `classes`
    recipe                               see `training.Recipe`; its seed also draws the initial weights,
    initial_seed                         unless this is given
    init_from                            key of a parent model: where the weights start, and who teaches in distillation
    teacher                              key of the model whose images are learned from, in place of the dataset's
    captions, withheld                   which captions are the labels, in place of classes, and whether images of some
                                         of them are left out: see `training_captions`
    trainable                            what of the parent's network is trained, a name that `trainable.py` knows

    Options may be given as a dictionary or as pairs in any order: they are kept sorted, so that one model has one key.
    ValueError for values that make no sense, with the ones that do.
    """

    dataset: str = "fashion-mnist"
    subset_start: int = 0
    subset_size: int = 2**15
    network: str = "unet"
    options: tuple[tuple[str, object], ...] = (("width", 32),)
    objective: str = "edm"
    objective_options: tuple[tuple[str, float], ...] = ()
    conditional: bool = False
    recipe: training.Recipe = training.Recipe(steps=1000)
    init_from: str | None = None
    trainable: str = "all"
    initial_seed: int | None = None
    classes: tuple[int, ...] = ()
    images: str | None = None
    teacher: str | None = None
    captions: str | None = None
    withheld: bool = False
    arranged: str | None = None

    def __post_init__(self):
        if self.dataset != FOLDER or self.images is None:
            for name, value in zip(("dataset", "images"), identify(self.dataset)):
                object.__setattr__(self, name, value)
        for name in ("options", "objective_options"):
            object.__setattr__(self, name, _sorted_pairs(name, getattr(self, name)))
        object.__setattr__(self, "classes", _frozen(list(self.classes)))
        _require_known("network", self.network, NETWORKS)
        _require_known("objective", self.objective, OBJECTIVES)
        _require_whole("subset_size", self.subset_size, 1)
        _require_whole("subset_start", self.subset_start, 0)
        for label in self.classes:
            _require_whole("classes", label, 0)
        if len(set(self.classes)) < len(self.classes):
            raise ValueError(f"each of the classes is named once: got {self.classes}")
        if self.initial_seed is not None:
            _require_whole("initial_seed", self.initial_seed, -(2**63))
        for name in ("init_from", "teacher"):
            if (key := getattr(self, name)) is not None and not re.fullmatch("[0-9a-f]{12}", str(key)):
                raise ValueError(f"{name} is the key of a model, 12 hexadecimal digits: got {key!r}")
        if self.teacher is not None and (self.conditional or self.classes):
            raise ValueError("a teacher's images have no labels: neither conditional nor classes can be asked for")
        if self.arranged is not None:
            _require_known("arranged", self.arranged, ARRANGED)
            if self.teacher or self.captions or self.classes:
                raise ValueError("the whole pool is arranged: neither a teacher, captions nor classes can be asked for")
        self._require_captions()
        try:
            json.dumps(dataclasses.asdict(self), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise ValueError(f"a spec holds texts, finite numbers, True, False, None and tuples of them: {error}") from None

    def _require_captions(self) -> None:
        """ValueError for captions that there are not, or of images that have none."""
        if self.captions is None:
            if self.withheld is not False:
                raise ValueError("withheld is for a model of captions: say which captions")
            return
        _require_known("captions", self.captions, dict.fromkeys(KINDS_OF_CAPTION))
        if self.dataset != "fashion-mnist" or self.classes or not self.conditional or "words" not in dict(self.options):
            raise ValueError("captions describe fashion-mnist, all classes of it, to a conditional network whose options "
                             f"name the table of its words: got {self.dataset}, {self.conditional}, {self.options}")
        if type(self.withheld) is not bool:
            raise ValueError(f"withheld is True or False: got {self.withheld!r}")

    @property
    def json(self) -> str:
        """The canonical JSON: sorted keys, no spaces, later fields left out where they have their default."""
        fields = _without(dataclasses.asdict(self), LATER) | ({"dataset": FOLDER} if self.images else {})
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> "ModelSpec":
        """The spec of a canonical JSON, as a zoo file's header holds it. ValueError for any other text."""
        try:
            fields = json.loads(text)
            return cls(**fields | {"recipe": training.Recipe(**fields["recipe"])})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this describes no model ({error}): {text[:60]!r}") from error

    @property
    def key(self) -> str:
        """The first 12 hexadecimal digits of the canonical JSON's SHA-256."""
        return hashlib.sha256(self.json.encode()).hexdigest()[:12]

    @property
    def parents(self) -> set[str]:
        """The keys of the models that must be there before this one is trained."""
        return {self.init_from, self.teacher} - {None}

    @property
    def name(self) -> str:
        """A readable name: network and width, objective unless it is EDM's (and a student's steps), classes or condition,
        subset, the steps of a run without decay, seeds, and what is trained unless it is all."""
        width = dict(self.options).get("width", "")
        steps = dict(self.objective_options).get("steps", "")
        objective = "" if self.objective == "edm" else f"{self.objective}{steps}-"
        told = f"{self.captions}{'-seen' * self.withheld}" if self.captions else "conditional"
        objective += f"{told}-" if self.conditional and self.objective != "classes" else ""
        objective += f"c{''.join(map(str, self.classes))}-" if self.classes else ""
        part = "glyphs-" if self.dataset == "glyphs" else ""
        part += ("taught-" if self.teacher else f"{self.arranged}-" if self.arranged else "") + f"n{self.subset_size}"
        part += f"from{self.subset_start}" if self.subset_start else ""
        part += f"-k{self.recipe.steps}" if self.recipe.decay == "none" else ""
        initial = "" if self.initial_seed is None else f"i{self.initial_seed}"
        trained = "" if self.trainable == "all" else f"-{self.trainable}"
        return f"{self.network}{width}-{objective}{part}-s{self.recipe.seed}{initial}{trained}"

    @property
    def file(self) -> str:
        """The file's name in the zoo."""
        return f"{self.name}-{self.key}.safetensors"


def build(spec: ModelSpec) -> nn.Module:
    """The untrained network of a spec, its weights drawn from the recipe's seed. ValueError for options that it lacks."""
    if spec.conditional and not dict(spec.options).get("classes"):
        raise ValueError(f"{spec.name} is conditional, but its options do not say how many classes its network knows")
    if spec.trainable != "all" and spec.init_from is None:
        raise ValueError(f"{spec.name} trains a part of a network, but init_from names no parent that has the rest")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.recipe.seed if spec.initial_seed is None else spec.initial_seed)
        return _called(f"network {spec.network!r}", NETWORKS[spec.network], dict(spec.options))


def make_objective(name: str, **options):
    """An objective by name. ValueError for an unknown name, with the known ones, or options that it does not have."""
    _require_known("objective", name, OBJECTIVES)
    return _called(f"objective {name!r}", OBJECTIVES[name], options)


def _called(what: str, make, options: dict):
    """make(**options); ValueError for an option that it does not have, with those that it has."""
    known = inspect.signature(make).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    if not takes_any and (unknown := sorted(options.keys() - known.keys())):
        raise ValueError(f"{what} has no option {', '.join(unknown)}; it has {', '.join(known)}")
    return make(**options)


def _require_known(what: str, name: str, known: dict) -> None:
    if not isinstance(name, str) or name not in known:
        raise ValueError(f"unknown {what} {name!r}: choose from {', '.join(known)}")


def _require_whole(name: str, value, least: int) -> None:
    if type(value) is not int or value < least:
        raise ValueError(f"{name}: a whole number of {least} or more is needed, got {value!r}")


def _sorted_pairs(name: str, options) -> tuple[tuple[str, object], ...]:
    """Options as sorted pairs, from a dictionary or pairs. ValueError for a name that is no text, or comes twice."""
    try:
        pairs = [(key, _frozen(value)) for key, value in (options.items() if isinstance(options, Mapping) else options)]
        found = dict(pairs)
        hash(tuple(pairs))
    except (TypeError, ValueError):
        pairs, found = [()], {}
    if len(found) < len(pairs) or not all(isinstance(key, str) for key in found):
        raise ValueError(f"{name} are pairs of a name and a value, each name once: got {options!r}")
    return tuple(sorted(found.items(), key=lambda pair: pair[0]))


def _without(fields: dict, defaults: dict) -> dict:
    """The fields that differ from these defaults, or have none here."""
    nested = {name: _without(fields[name], value) for name, value in defaults.items() if isinstance(value, dict)}
    return {name: value for name, value in (fields | nested).items() if name not in defaults or name in nested
            or value != defaults[name]}


def _frozen(value):
    """Lists, as JSON has them, as tuples, as keyword arguments of a network are written."""
    return tuple(_frozen(v) for v in value) if isinstance(value, list | tuple) else value
