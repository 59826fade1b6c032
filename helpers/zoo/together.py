"""Training models one after another, each on all devices of this machine: one process a device, started by torchrun.

    torchrun --nproc-per-node 4 -m helpers.zoo train --profile paper

The first process trains as it would alone, with its locks, checkpoints and files. Each other one reads the same, writes
nothing, and computes its share of the batches (see `models/devices.py`). If one ends with an error, torchrun ends all.
"""

import json
import os
import time
from pathlib import Path

import torch.distributed as dist

from helpers.models.devices import hear, tell, together
from helpers.models.training import train
from helpers.zoo.prefixes import by_run
from helpers.zoo.spec import ModelSpec
from helpers.zoo.store import begin, path_of, train_stages

GRACE = 2.0             # seconds: torchrun sees within one that a process has ended


def started_by_torchrun() -> bool:
    """Whether this process is one of several that train together."""
    return dist.is_torchelastic_launched() and int(os.environ["WORLD_SIZE"]) > 1


def is_first() -> bool:
    """Whether this process is the first of those that train together, or alone."""
    return not started_by_torchrun() or os.environ["RANK"] == "0"


def let_the_first_speak() -> None:
    """Before an error is told: what befalls all is told by the first, whose end ends this process here."""
    if not is_first():
        time.sleep(GRACE)


def train_together(specs: list[ModelSpec], zoo: Path, device: str, checkpoints: Path, every: float = 60.0) -> list[str]:
    """The first process: train what is missing, none before the model that it starts from; the files' names.

    ValueError if the processes do not divide a batch. RuntimeError if another process has ended; run again to go on.
    """
    todo = [spec for spec in specs if not path_of(spec, zoo).exists()]
    runs = by_run(todo)
    try:
        while runs:
            unfinished = {spec.key for run in runs for spec in run}
            run = next(run for run in runs if not run[0].parents & unfinished)
            runs.remove(run)
            train_stages(list(run), zoo, device, every, place=f"{todo.index(run[-1]) + 1} of {len(todo)}",
                         checkpoints=checkpoints)
        tell(None)
    except RuntimeError as error:
        if isinstance(error, dist.DistError) or "gloo" in str(error):
            raise RuntimeError("a process that trains with this one has ended: run again to go on") from error
        raise
    dist.destroy_process_group()            # not after an error: it may wait for processes that wait for this one
    return [spec.file for spec in todo]


def follow(zoo: Path, device: str, checkpoints: Path) -> None:
    """Any other process: train along whatever the first one tells, until there is nothing more."""
    while (told := hear()) is not None:
        spec, step, check_every = json.loads(told)
        _train_along(ModelSpec.parse(spec), step, check_every, zoo, device, checkpoints)
    dist.destroy_process_group()


def _train_along(spec: ModelSpec, step: int, check_every: int, zoo: Path, device: str, checkpoints: Path) -> None:
    """The training that the first process has begun at this step; it writes no checkpoint before all have taken a step."""
    state, objective, images, labels = begin(spec, zoo, device)
    if step:
        state.load(checkpoints / f"{spec.key}.safetensors", spec.key)
    for _ in train(state, together(objective, state.network), images, labels, spec.recipe, check_every=check_every):
        pass
