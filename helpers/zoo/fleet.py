"""The zoo's keeper: lists, trains and verifies the models of a profile. `python -m helpers.zoo` is its command line."""

import json
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path

import torch

from helpers import paths
from helpers.zoo.store import ModelSpec, read, train_model


def _train_alone(spec: ModelSpec, zoo: Path, device: str, position: int) -> str:
    torch.set_num_threads(1)
    return train_model(spec, zoo, device, position=position).name


def train_all(specs: list[ModelSpec], jobs: int, zoo: Path = paths.ZOO, device: str = "cpu") -> list[str]:
    """Train what is missing, `jobs` processes of one thread each, in the given order, but none before the model that it
    starts from; the files' names."""
    todo, running, bars = [spec for spec in specs if not (zoo / spec.file).exists()], {}, list(range(jobs))
    names = [spec.file for spec in todo]
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        while todo or running:
            unfinished = {spec.key for spec in todo} | {spec.key for spec, _ in running.values()}
            for spec in [spec for spec in todo if spec.init_from not in unfinished][:len(bars)]:
                todo.remove(spec)
                bar = bars.pop(0)
                running[pool.submit(_train_alone, spec, zoo, device, bar)] = spec, bar
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                bars.append(running.pop(future)[1])
                future.result()
    return names


def verify(specs: list[ModelSpec], zoo: Path = paths.ZOO, others: frozenset[str] = frozenset()) -> list[str]:
    """One line for each thing that is wrong: missing, damaged, or a file that no spec names."""
    problems = []
    for spec in specs:
        try:
            read(zoo / spec.file, spec)
        except (ValueError, OSError) as error:
            problems.append(str(error))
    named = {spec.file for spec in specs} | others
    extra = [p.name for p in sorted(zoo.glob("*.safetensors")) if p.name not in named]
    return problems + [f"{name} is no model of this profile" for name in extra]


def core_hours(specs: list[ModelSpec], zoo: Path = paths.ZOO) -> float:
    """What training the models took, in hours of one core, from their headers."""
    return sum(int(read(zoo / spec.file)[1]["seconds"]) for spec in specs) / 3600


def table(specs: list[ModelSpec], zoo: Path = paths.ZOO) -> str:
    """The models as a Markdown table: name, steps, parameters, images seen, minutes of one core, last loss."""
    rows = ["| model | steps | parameters | images seen | core-minutes | loss at the end |", "|---|---|---|---|---|---|"]
    for spec in specs:
        if not (zoo / spec.file).exists():
            rows.append(f"| {spec.name} ({spec.key}) | not trained | | | | |")
            continue
        header = read(zoo / spec.file, spec)[1]
        rows.append(f"| {spec.name} ({spec.key}) | {spec.recipe.steps:,} | {int(header['parameters']):,} "
                    f"| {int(header['images_seen']):,} | {int(header['seconds']) / 60:.1f} "
                    f"| {json.loads(header['losses'])[-1]:.3g} |")
    return "\n".join(rows)
