"""Chapter 7's models of a plane: four kinds, a few runs of each, trained once and shipped.

Their weights are in `data/plane`, a file a kind; `python -m helpers.chapters.plane` trains them again, in about three
minutes on one core.
"""

from pathlib import Path

import torch

from helpers import paths
from helpers.denoiser import NetworkDenoiser
from helpers.models.plane import Kind, plane_density, plane_kinds, train_runs
from helpers.zoo.weights import read_weights, write_weights

FOLDER = paths.ROOT / "data" / "plane"
RUNS, STEPS, IMAGES = 4, 8000, 2**18


def _file(name: str, folder: Path) -> Path:
    return folder / f"{name.lower().replace(' ', '-')}.safetensors"


def _spec(kind: Kind, runs: int) -> str:
    return f"{runs} runs, {kind.objective}, {kind.recipe}"


def record(folder: Path = FOLDER, runs: int = RUNS, steps: int = STEPS) -> None:
    """Train `runs` models of each kind on pictures of the density, and write their averaged weights in float16."""
    images = plane_density().draw(IMAGES, torch.Generator().manual_seed(0))
    for name, kind in plane_kinds(steps).items():
        network = train_runs(kind, runs, images).network
        write_weights(_file(name, folder), network, _spec(kind, runs), {}, half=True)


def load_plane(folder: Path = FOLDER, runs: int = RUNS, steps: int = STEPS) -> dict[str, NetworkDenoiser]:
    """The trained models by the name of their kind, each `runs` in one; `draw_runs` samples them.

    FileNotFoundError if a file is missing, ValueError if it is damaged or holds others than these.
    """
    found = {}
    for name, kind in plane_kinds(steps).items():
        hint = "train it again with python -m helpers.chapters.plane"
        weights, _ = read_weights(_file(name, folder), _spec(kind, runs), hint)
        network = kind.network(runs, torch.Generator())
        network.load_state_dict({key: tensor.float() for key, tensor in weights.items()})
        found[name] = kind.denoiser(network)
    return found


if __name__ == "__main__":
    record()
