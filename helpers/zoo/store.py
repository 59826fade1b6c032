"""The zoo: from the description of a model to its trained denoiser.

A `ModelSpec` (`spec.py`) says everything that decides a model's weights, and its key names them:
`data/zoo/<name>-<key>.safetensors` holds the EMA weights (float16) and, in its header, the spec, a summary of the training
and the versions. Nothing is unpickled.

Used by every chapter.
"""

import json
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor, nn

from helpers import paths
from helpers.closed_form import EmpiricalDenoiser
from helpers.data import identify, to_float
from helpers.data import load as load_dataset
from helpers.data.arranged import ARRANGED
from helpers.data.captions import training_captions
from helpers.denoiser import NetworkDenoiser
from helpers.leftovers import remove_leftovers
from helpers.models import training
from helpers.models.devices import together
from helpers.models.objectives import ExpectedTarget
from helpers.models.trainable import restrict
from helpers.zoo.drawn import drawn_images
from helpers.zoo.locks import alone
from helpers.zoo.prefixes import stages_of_one_run
from helpers.zoo.progress import show
from helpers.zoo.spec import ModelSpec, build, make_objective
from helpers.zoo.weights import read_weights, write_weights

CHECKPOINTS = paths.CHECKPOINTS


def training_images(spec: ModelSpec, zoo: Path | None = None, device: str | torch.device = "cpu") -> tuple[Tensor, Tensor]:
    """The images of a spec, (N, C, H, W) in [-1, 1], and their labels (N,): all -1 for images that a teacher drew.

    Labels are classes, or with `captions` the numbers of the captions.

    ValueError if its folder has changed since.
    """
    if spec.images and identify(spec.dataset)[1] != spec.images:
        raise ValueError(f"the images in {spec.dataset} are not those that {spec.name} ({spec.key}) was to learn from: "
                         "they were changed meanwhile, run again")
    pool = load_dataset(spec.dataset, "pool")
    if spec.teacher is not None:
        teacher = load_denoiser(find(spec.teacher, zoo), device, zoo, train=False)
        images = drawn_images(spec.teacher, teacher, spec.subset_start + spec.subset_size, tuple(pool.images.shape[1:]))
        return to_float(images[spec.subset_start:]), torch.full((spec.subset_size,), -1)
    if spec.captions is not None:
        numbers, told = training_captions(spec.captions, spec.withheld, spec.subset_size, spec.subset_start)
        return pool[numbers].x0, told
    pool = pool.of_classes(spec.classes) if spec.classes else pool
    pool = ARRANGED[spec.arranged](pool) if spec.arranged else pool
    subset = pool.first(spec.subset_size, spec.subset_start)
    return subset.x0, subset.labels


def path_of(spec: ModelSpec, zoo: Path | None = None) -> Path:
    """Where the model of a spec is, or would be trained to: in this zoo, unless only the shipped one has it."""
    own, shipped = (folder / spec.file for folder in (zoo or paths.ZOO, paths.ZOO))
    return shipped if shipped.exists() and not own.exists() else own


def load_denoiser(spec: ModelSpec, device: str | torch.device = "cpu", zoo: Path | None = None,
                  train: bool = True) -> NetworkDenoiser:
    """The trained denoiser of a spec: from the zoo if it is there, else trained first (or FileNotFoundError).

    ValueError if the file is damaged, or holds another model.
    """
    path = path_of(spec, zoo)
    if not path.exists():
        if not train:
            raise FileNotFoundError(f"{path} is missing: {_hint(path)}")
        train_model(spec, zoo=zoo, device=device)
    objective = make_objective(spec.objective, **dict(spec.objective_options))
    return NetworkDenoiser(_load(path, spec, zoo), objective).requires_grad_(False).eval().to(device)


def _load(path: Path, spec: ModelSpec, zoo: Path | None) -> nn.Module:
    """The network of a spec with the weights of a file; what was not trained is not in it, and is the parent's."""
    stored, header = read(path, spec)
    weights = {name: tensor.float() for name, tensor in stored.items()}
    if spec.trainable == "all":
        network = build(spec)
        network.load_state_dict(weights)
        return network
    if header.get("parent", now := _parent_hash(spec, zoo)) != now:
        raise ValueError(f"{path.name} goes with other weights of its parent {spec.init_from} than the zoo has now, "
                         f"which was trained again: {_hint(path)}")
    network = _restricted(_parent(spec, zoo).network, spec)
    learned = {name for name, p in network.named_parameters() if p.requires_grad}
    if learned != weights.keys():
        raise ValueError(f"{path.name} does not hold what {spec.trainable!r} trains: {_hint(path)}")
    network.load_state_dict(network.state_dict() | weights)
    return network


def _restricted(network: nn.Module, spec: ModelSpec) -> nn.Module:
    """The network with only what the spec trains left to learn; what that adds is drawn from the recipe's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.recipe.seed)
        return restrict(network, spec.trainable)


def _parent(spec: ModelSpec, zoo: Path | None, device: str | torch.device = "cpu") -> NetworkDenoiser:
    """The trained model that a spec starts from."""
    return load_denoiser(find(spec.init_from, zoo), device, zoo, train=False)


def _parent_hash(spec: ModelSpec, zoo: Path | None) -> str:
    """The hash of the weights that the spec's parent has now."""
    return read(path_of(find(spec.init_from, zoo), zoo))[1]["sha256"]


def find(key: str, zoo: Path | None = None) -> ModelSpec:
    """The spec of the zoo's model with this key, from its header.

    FileNotFoundError if the zoo has none; ValueError if the file of that name holds another model: what starts from it
    would be made of two models that do not belong together.
    """
    folders = (zoo or paths.ZOO, paths.ZOO)
    path = next((path for folder in folders for path in sorted(folder.glob(f"*-{key}.safetensors"))), None)
    if path is None:
        raise FileNotFoundError(f"the zoo has no model {key}, from which another one starts: train it first with "
                                f"{_command(zoo or paths.ZOO)}")
    header = read(path)[1]
    try:
        spec = ModelSpec.parse(header["spec"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path.name} names no model in its header ({error}): {_hint(path)}") from error
    if spec.key != key:
        raise ValueError(f"{path.name} holds another model than its name says, {spec.name} ({spec.key}): {_hint(path)}")
    return spec


def read(path: Path, spec: ModelSpec | None = None) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the header of a zoo file, checked. ValueError if it is damaged or not the model that `spec` names."""
    return read_weights(path, spec.json if spec else None, _hint(path))


def _command(zoo: Path) -> str:
    """What a reader types to train the models of a zoo."""
    return "`make zoo`" if zoo == paths.ZOO else "`make zoo` (ARGS=\"--profile NAME\" for another profile's models)"


def _hint(path: Path) -> str:
    """What to do about a file that is missing, damaged or out of place; git has those of the shipped zoo alone."""
    restore = f"restore it (`git checkout -- data/zoo/{path.name}`), or " if path.parent == paths.ZOO else ""
    again = f"delete {path} and train it again" if path.exists() else "train it"
    return f"{restore}{again} with {_command(path.parent)}"


def train_model(spec: ModelSpec, zoo: Path | None = None, device: str | torch.device = "cpu", every: float = 60.0,
                position: int = 0, place: str = "", checkpoints: Path | None = None) -> Path:
    """Train a spec into the zoo and return its file; resumes from a checkpoint; waits while another process trains it.

    every             seconds between two checkpoints, which are kept in the folder `checkpoints` until the run is done
    position, place   see `progress.show`
    """
    return train_stages([spec], zoo, device, every, position, place, checkpoints)[0]


def train_stages(specs: list[ModelSpec], zoo: Path | None = None, device: str | torch.device = "cpu", every: float = 60.0,
                 position: int = 0, place: str = "", checkpoints: Path | None = None,
                 watch: Callable[[training.Progress], None] | None = None) -> list[Path]:
    """Train specs that are stages of one run, which differ in `recipe.steps` alone, in that run; their files, fewest steps
    first. The rest is as for `train_model`. ValueError if they are not stages of one run (see `prefixes.py`).

    watch   is told of each step; what it raises ends the training at the last checkpoint
    """
    stages = stages_of_one_run(specs)
    files = [path_of(spec, zoo) for spec in stages]
    todo = {spec: path for spec, path in zip(stages, files) if not path.exists()}
    if not todo:
        return files
    longest = max(todo, key=lambda spec: spec.recipe.steps)
    checkpoint = (checkpoints or CHECKPOINTS) / f"{longest.key}.safetensors"
    for folder in {checkpoint.parent, todo[longest].parent}:
        folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(folder)
    with alone(checkpoint.with_suffix(".lock"), longest):
        _train_missing({spec: path for spec, path in todo.items() if not path.exists()}, zoo, device, checkpoint, every,
                       position, place, watch)
    return files


def _train_missing(stages: dict[ModelSpec, Path], zoo: Path | None, device: str | torch.device, checkpoint: Path,
                   every: float, position: int, place: str, watch: Callable[[training.Progress], None] | None) -> None:
    """One run that writes the file of each stage when it has taken that many steps."""
    if not stages:
        return
    spec = max(stages, key=lambda spec: spec.recipe.steps)
    state, objective, images, labels = begin(spec, zoo, device)
    ends = {stage.recipe.steps: stage for stage in stages}

    def keep() -> None:
        if stage := ends.get(state.step):
            write(stages[stage], stage, state)

    if checkpoint.exists():
        state.load(checkpoint, spec.key)
        if state.step > min(ends):                 # killed after a checkpoint beyond a stage whose file is gone: begin again
            checkpoint.unlink()
            return _train_missing(stages, zoo, device, checkpoint, every, position, place, watch)
        keep()                                     # killed after the checkpoint and before the file
    check_every = 1 if images.device.type == "cpu" else math.gcd(50, *ends)
    if state.step < spec.recipe.steps:
        objective = together(objective, state.network, json.dumps([spec.json, state.step, check_every]))
    loop = training.train(state, objective, images, labels, spec.recipe, checkpoint, spec.key, every, check_every)
    show(_after_each(loop, keep, watch), spec.name, spec.recipe.steps, position, place)
    checkpoint.unlink(missing_ok=True)


def _after_each(loop: Iterator[training.Progress], then: Callable[[], None],
                watch: Callable[[training.Progress], None] | None) -> Iterator[training.Progress]:
    """The loop, with something done after each of its steps, and somebody told."""
    for progress in loop:
        then()
        if watch is not None:
            watch(progress)
        yield progress


def begin(spec: ModelSpec, zoo: Path | None, device: str | torch.device) -> tuple[
        training.State, object, Tensor, Tensor | None]:
    """What a run begins with: its state before the first step, its objective, its images and, if they matter, labels."""
    images, labels = (t.to(device) for t in training_images(spec, zoo, device))
    labels = labels if spec.conditional else None
    network, objective = _start(spec, zoo, device)
    if isinstance(objective, ExpectedTarget):
        objective = objective.of(EmpiricalDenoiser(images, labels))
    return training.State(network, spec.recipe), objective, images, labels


def _start(spec: ModelSpec, zoo: Path | None, device: str | torch.device) -> tuple[nn.Module, object]:
    """The network before its first step and its objective: with `init_from`, the parent's weights, and it teaches."""
    network, objective = build(spec), make_objective(spec.objective, **dict(spec.objective_options))
    if spec.init_from is not None:
        parent = _parent(spec, zoo, device)
        network.load_state_dict(parent.network.state_dict())
        if spec.objective == "distillation":
            objective = objective.taught_by(parent)
    return _restricted(network, spec).to(device), objective


def write(path: Path, spec: ModelSpec, state: training.State) -> None:
    """Write a zoo file: the EMA weights in float16, only what was trained; the header sums up the training.

    A partly trained model's header has the hash of the parent's weights: it is right on top of these alone.
    """
    learned = {name for name, p in state.network.named_parameters() if p.requires_grad}
    parent = {} if spec.trainable == "all" else {"parent": _parent_hash(spec, path.parent)}
    write_weights(path, state.ema, spec.json, {
        "losses": training.summarize(state.losses[:spec.recipe.steps]), "seconds": str(round(state.seconds.item())),
        "images_seen": str(spec.recipe.steps * spec.recipe.batch), **parent}, half=True,
        only=None if spec.trainable == "all" else learned)
