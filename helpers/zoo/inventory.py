"""What the zoo holds: which models are there and whole, and what they cost."""

import json
from pathlib import Path

from helpers import paths
from helpers.zoo.prefixes import by_run
from helpers.zoo.spec import ModelSpec
from helpers.zoo.store import path_of, read


def damaged(specs: list[ModelSpec], zoo: Path = paths.ZOO) -> list[str]:
    """One line for each file that is there and cannot be used: what is wrong with it, and what to do."""
    return [problem for spec in specs if path_of(spec, zoo).exists() and (problem := _problem(spec, zoo))]


def verify(specs: list[ModelSpec], zoo: Path = paths.ZOO, others: frozenset[str] = frozenset()) -> list[str]:
    """One line for each thing that is wrong: missing, damaged, or a file that no spec names, nor `others`."""
    problems = [problem for spec in specs if (problem := _problem(spec, zoo))]
    named = {spec.file for spec in specs} | others
    extra = [p.name for p in sorted(zoo.glob("*.safetensors")) if p.name not in named]
    return problems + [f"{name} is no model of this profile" for name in extra]


def _problem(spec: ModelSpec, zoo: Path) -> str | None:
    try:
        read(path_of(spec, zoo), spec)
    except (ValueError, OSError) as error:
        return str(error)
    return None


def core_hours(specs: list[ModelSpec], zoo: Path = paths.ZOO) -> float:
    """What training the models took, in hours of one core, from their headers; of stages of a run the last has it all."""
    return sum(int(read(path_of(stages[-1], zoo))[1]["seconds"]) for stages in by_run(specs)) / 3600


def stored_parameters(spec: ModelSpec, zoo: Path = paths.ZOO) -> int:
    """How many numbers the file of a model holds: those that went on learning, for one that was trained in part."""
    return sum(tensor.numel() for tensor in read(path_of(spec, zoo), spec)[0].values())


def table(specs: list[ModelSpec], zoo: Path = paths.ZOO) -> str:
    """The models as a Markdown table: name, steps, parameters, images seen, minutes of one core, last loss.

    A model that is missing or damaged has a row that says so.
    """
    rows = ["| model | steps | parameters | images seen | core-minutes | loss at the end |", "|---|---|---|---|---|---|"]
    return "\n".join([*rows, *(_row(spec, zoo) for spec in specs)])


def _row(spec: ModelSpec, zoo: Path) -> str:
    name = f"| {spec.name} ({spec.key})"
    try:
        header = read(path_of(spec, zoo), spec)[1]
    except FileNotFoundError:
        return f"{name} | not trained | | | | |"
    except (ValueError, OSError):
        return f"{name} | damaged | | | | |"
    return (f"{name} | {spec.recipe.steps:,} | {int(header['parameters']):,} | {int(header['images_seen']):,} "
            f"| {int(header['seconds']) / 60:.1f} | {json.loads(header['losses'])[-1]:.3g} |")
