"""The zoo: from the description of a model to its trained denoiser.

A `ModelSpec` says everything that decides a model's weights: data, network, objective, recipe, seed. Its key is a hash of
its canonical JSON, so a file's name says what is in it: `data/zoo/<name>-<key>.safetensors` holds the EMA weights (float16)
and, in its header, the spec, a summary of the training and the versions. Nothing is unpickled.

    python -m helpers.zoo list                     the models of a profile, which are there, what they cost
    python -m helpers.zoo train [--jobs 2]         trains what is missing, one process a core, resumable
    python -m helpers.zoo verify                   checks every file's hash and spec

Used by every chapter.
"""

import dataclasses
import hashlib
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import torch
from filelock import FileLock
from torch import Tensor, nn
from tqdm import tqdm

from helpers import paths, training
from helpers.data import load as load_dataset
from helpers.networks import UNet
from helpers.objectives import NetworkDenoiser, make_objective
from helpers.weights import read_weights, write_weights

NETWORKS = {"unet": UNet}
CHECKPOINTS = paths.BUILD / "checkpoints"


@dataclass(frozen=True)
class ModelSpec:
    """All that decides a model's weights.

    dataset, subset_start, subset_size   the images: `subset_size` of the pool from `subset_start` on; nested for start 0
    network, options                     a name in NETWORKS and its keyword arguments
    objective, objective_options         a name in OBJECTIVES and its keyword arguments
    steps ... seed                       the recipe, see `training.Recipe`; the seed also draws the initial weights
    init_from, trainable                 key of a parent model and what of it is trained: reserved for fine-tuning
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

    @property
    def json(self) -> str:
        """The canonical JSON: sorted keys, no spaces."""
        return json.dumps(dataclasses.asdict(self), sort_keys=True, separators=(",", ":"))

    @property
    def key(self) -> str:
        """The first 12 hexadecimal digits of the canonical JSON's SHA-256."""
        return hashlib.sha256(self.json.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """A readable name: network and width, subset, seed."""
        width = dict(self.options).get("width", "")
        part = f"n{self.subset_size}" + (f"from{self.subset_start}" if self.subset_start else "")
        return f"{self.network}{width}-{part}-s{self.recipe.seed}"

    @property
    def file(self) -> str:
        """The file's name in the zoo."""
        return f"{self.name}-{self.key}.safetensors"


def build(spec: ModelSpec) -> nn.Module:
    """The untrained network of a spec, its weights drawn from the recipe's seed. ValueError for an unknown network."""
    if spec.network not in NETWORKS:
        raise ValueError(f"unknown network {spec.network!r}: choose from {', '.join(NETWORKS)}")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.recipe.seed)
        return NETWORKS[spec.network](**dict(spec.options))


def training_images(spec: ModelSpec) -> tuple[Tensor, Tensor]:
    """The images of a spec, (N, C, H, W) in [-1, 1], and their labels (N,)."""
    subset = load_dataset(spec.dataset, "pool").first(spec.subset_size, spec.subset_start)
    return subset.x0, subset.labels


def load_denoiser(spec: ModelSpec, device: str | torch.device = "cpu", zoo: Path | None = None,
                  train: bool = True) -> NetworkDenoiser:
    """The trained denoiser of a spec: from the zoo if it is there, else trained first (or FileNotFoundError).

    ValueError if the file is damaged, or holds another model.
    """
    path = (zoo or paths.ZOO) / spec.file
    if not path.exists():
        if not train:
            raise FileNotFoundError(f"{path} is missing: train it with `make zoo`, or restore it from git")
        train_model(spec, zoo=zoo, device=device)
    weights, _ = read(path, spec)
    network = build(spec)
    network.load_state_dict({name: tensor.float() for name, tensor in weights.items()})
    objective = make_objective(spec.objective, **dict(spec.objective_options))
    return NetworkDenoiser(network, objective).requires_grad_(False).eval().to(device)


def read(path: Path, spec: ModelSpec | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the header of a zoo file, checked. ValueError if it is damaged or not the model that `spec` names."""
    hint = f"restore it (git checkout -- data/zoo/{path.name}), or delete it and run `make zoo`"
    return read_weights(path, spec.json if spec else None, hint)


def train_model(spec: ModelSpec, zoo: Path | None = None, device: str | torch.device = "cpu", every: float = 60.0,
                position: int = 0) -> Path:
    """Train a spec into the zoo and return its file; resumes from a checkpoint; waits while another process trains it."""
    path = (zoo or paths.ZOO) / spec.file
    checkpoint = CHECKPOINTS / f"{spec.key}.safetensors"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(checkpoint.with_suffix(".lock")):
        if path.exists():
            return path
        images, labels = (t.to(device) for t in training_images(spec))
        state = training.State(build(spec).to(device), spec.recipe)
        loop = training.train(state, make_objective(spec.objective, **dict(spec.objective_options)), images,
                              labels if spec.conditional else None, spec.recipe, checkpoint, spec.key, every,
                              check_every=1 if images.device.type == "cpu" else 50)
        with tqdm(total=spec.recipe.steps, desc=spec.name, position=position, unit="step", mininterval=2) as bar:
            for progress in loop:
                bar.update(progress.step - bar.n)
        write(path, spec, state)
        checkpoint.unlink(missing_ok=True)
    return path


def write(path: Path, spec: ModelSpec, state: training.State) -> None:
    """Write a zoo file: the EMA weights in float16, and a summary of the training in the header."""
    write_weights(path, state.ema, spec.json, {
        "losses": training.summarize(state.losses), "seconds": str(round(state.seconds.item())),
        "images_seen": str(spec.recipe.steps * spec.recipe.batch)}, half=True)


if __name__ == "__main__":
    from helpers.keeper import main

    sys.exit(main())
