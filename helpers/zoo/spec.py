"""Specs: everything that decides a trained model, and what its names mean.

A `ModelSpec` is a value: data, network, objective, recipe, seed. Its key, a hash of its canonical JSON, names the model's
file in the zoo. `build` and `make_objective` turn the names in it into a network and an objective.
"""

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from helpers.models import training
from helpers.models.architectures import MLP, Multistage, ResidualCNN, UViT
from helpers.models.classifier import Classification, Classifier
from helpers.models.fewstep import Consistency, Distillation
from helpers.models.gan_vae import GAN, VAE, GeneratorPair
from helpers.models.networks import UNet
from helpers.models.objectives import EDM, KernelObjective

NETWORKS = {"unet": UNet, "cnn": ResidualCNN, "uvit": UViT, "mlp": MLP, "multistage": Multistage, "pair": GeneratorPair,
            "classifier": Classifier}
OBJECTIVES = {
    "edm": EDM,
    "vp": KernelObjective,
    "sub-vp": partial(KernelObjective, "sub-vp"),
    "ve": partial(KernelObjective, "ve", t_min=1e-4, geometric=True),        # sigma from 0.01, as Song et al. 2021
    "flow": partial(KernelObjective, "flow", predict="velocity"),
    "ddpm": partial(KernelObjective, "ddpm", t_min=1, discrete=True),
    "consistency": Consistency,
    "distillation": Distillation,
    "gan": GAN,
    "vae": VAE,
    "classes": Classification,
}

# Fields that came after the first weights were shipped. With their default they are left out of the canonical JSON, so
# that an old model keeps its key.
LATER = {"initial_seed": None, "classes": (), "recipe": {"beta1": 0.9, "label_dropout": 0.0}}


@dataclass(frozen=True)
class ModelSpec:
    """All that decides a model's weights.

    dataset, subset_start, subset_size   the images: `subset_size` of the pool from `subset_start` on; nested for start 0
    classes                              of these classes only; all if empty
    network, options                     a name in NETWORKS and its keyword arguments
    objective, objective_options         a name in OBJECTIVES and its keyword arguments
    conditional                          whether the network is given the labels; its options say how many `classes`
    recipe                               see `training.Recipe`; its seed also draws the initial weights,
    initial_seed                         unless this is given
    init_from                            key of a parent model: where the weights start, and who teaches in distillation
    trainable                            what of the parent's network is trained, a name that `partial.py` knows
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

    @property
    def json(self) -> str:
        """The canonical JSON: sorted keys, no spaces, later fields left out where they have their default."""
        return json.dumps(_without(dataclasses.asdict(self), LATER), sort_keys=True, separators=(",", ":"))

    @classmethod
    def parse(cls, text: str) -> "ModelSpec":
        """The spec of a canonical JSON, as a zoo file's header holds it."""
        fields = json.loads(text)
        pairs = {name: tuple((key, _frozen(value)) for key, value in fields[name])
                 for name in ("options", "objective_options")}
        return cls(**fields | pairs | {"recipe": training.Recipe(**fields["recipe"]),
                                       "classes": tuple(fields.get("classes", ()))})

    @property
    def key(self) -> str:
        """The first 12 hexadecimal digits of the canonical JSON's SHA-256."""
        return hashlib.sha256(self.json.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """A readable name: network and width, objective unless it is EDM's (and a student's steps), classes or condition,
        subset, seeds, and what is trained unless it is all."""
        width = dict(self.options).get("width", "")
        steps = dict(self.objective_options).get("steps", "")
        objective = "" if self.objective == "edm" else f"{self.objective}{steps}-"
        objective += "conditional-" if self.conditional and self.objective != "classes" else ""
        objective += f"c{''.join(map(str, self.classes))}-" if self.classes else ""
        part = f"n{self.subset_size}" + (f"from{self.subset_start}" if self.subset_start else "")
        initial = "" if self.initial_seed is None else f"i{self.initial_seed}"
        trained = "" if self.trainable == "all" else f"-{self.trainable}"
        return f"{self.network}{width}-{objective}{part}-s{self.recipe.seed}{initial}{trained}"

    @property
    def file(self) -> str:
        """The file's name in the zoo."""
        return f"{self.name}-{self.key}.safetensors"


def build(spec: ModelSpec) -> nn.Module:
    """The untrained network of a spec, its weights drawn from the recipe's seed. ValueError for an unknown network."""
    if spec.network not in NETWORKS:
        raise ValueError(f"unknown network {spec.network!r}: choose from {', '.join(NETWORKS)}")
    if spec.conditional and not dict(spec.options).get("classes"):
        raise ValueError(f"{spec.name} is conditional, but its options do not say how many classes its network knows")
    if spec.trainable != "all" and spec.init_from is None:
        raise ValueError(f"{spec.name} trains a part of a network, but init_from names no parent that has the rest")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.recipe.seed if spec.initial_seed is None else spec.initial_seed)
        return NETWORKS[spec.network](**dict(spec.options))


def make_objective(name: str, **options):
    """An objective by name. ValueError for an unknown name, with the known ones."""
    if name not in OBJECTIVES:
        raise ValueError(f"unknown objective {name!r}: choose from {', '.join(OBJECTIVES)}")
    return OBJECTIVES[name](**options)


def _without(fields: dict, defaults: dict) -> dict:
    """The fields that differ from these defaults, or have none here."""
    nested = {name: _without(fields[name], value) for name, value in defaults.items() if isinstance(value, dict)}
    return {name: value for name, value in (fields | nested).items() if name not in defaults or name in nested
            or value != defaults[name]}


def _frozen(value):
    """JSON's lists as tuples, as keyword arguments of a network are written."""
    return tuple(_frozen(v) for v in value) if isinstance(value, list) else value
