"""Training the zoo on several machines: models as tasks of a Dask scheduler, parents before what starts from them.

    dask scheduler                                            once, on any machine
    dask worker tcp://host:8786 --nthreads 1 --nworkers 4     on each machine, started in the project's environment
    make zoo SCHEDULER=tcp://host:8786                        here

Each machine has the same version of this package and of its requirements, with the extra `cluster`, and the profile's
images. The zoo need not be shared: a task is sent the weights of the model's parents and returns the finished files, which
the client checks and writes. What must be shared is the folder of checkpoints (`--checkpoints FOLDER`, a path that all
workers have), if a model whose worker died is to go on elsewhere; where it is not, the model is begun anew, and its weights
are the same. On a CPU a worker trains one model in one thread, as a local process does, so that the weights are bit-equal;
with device "cuda" each takes a GPU that no other worker of its machine has.
"""

import importlib.util
import logging
import os
import pydoc
import warnings
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from helpers import paths
from helpers.zoo.inventory import damaged
from helpers.zoo.prefixes import by_run
from helpers.zoo.progress import say
from helpers.zoo.spec import ModelSpec
from helpers.zoo.store import find, path_of, read
from helpers.zoo.worker import Files, forget, require_versions, same, train_run, versions

INSTALL = "a cluster is reached with the package distributed, which is not installed: pip install 'distributed==2026.8.0'"
Run = tuple[ModelSpec, ...]


def train_on_cluster(specs: list[ModelSpec], scheduler: str, zoo: Path = paths.ZOO, device: str = "cpu",
                     checkpoints: Path | None = None, every: float = 60.0, patience: float = 10.0) -> list[str]:
    """Train what is missing on the workers of the scheduler at this address, none before the model that it starts from;
    the files' names. A line on stderr says when a model begins or goes on, how far it is each minute, and when it is done.

    checkpoints   a folder that all workers have; None: each package's own data/local/checkpoints
    every         seconds between two checkpoints of a model
    patience      seconds in which the scheduler has to answer
    Whatever ends this process ends the trainings at their last checkpoints. ValueError if a file that is there is damaged,
    ImportError without distributed, OSError if no scheduler answers, RuntimeError for the first model that fails, for
    workers of another version, or if the scheduler is lost.
    """
    if importlib.util.find_spec("distributed") is None:
        raise ImportError(INSTALL)
    if problems := damaged(specs, zoo):
        raise ValueError("; ".join(problems))
    todo = [spec for spec in specs if not path_of(spec, zoo).exists()]
    if todo:
        with _connected(scheduler, patience) as client:
            _train_in_order(client, todo, zoo, (device, checkpoints, every))
    return [spec.file for spec in todo]


@contextmanager
def _connected(address: str, patience: float) -> Iterator:
    """A client of the scheduler, whose trouble is told in a line."""
    from distributed import Client

    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)   # pages of what is one line here
    try:
        with warnings.catch_warnings(action="ignore"):                   # other versions: `require_versions` says it
            client = Client(address, timeout=patience, set_as_default=False)
    except (OSError, ValueError) as error:
        raise OSError(f"no Dask scheduler answers at {address}: start one with `dask scheduler`, or check the address "
                      "(tcp://host:8786) and that this machine may reach it") from error
    with client:
        theirs = client.get_versions()["scheduler"]["packages"]
        require_versions({name: theirs.get(name) for name in ("distributed",)}, versions(), f"the scheduler at {address}")
        if not client.scheduler_info(n_workers=-1)["workers"]:
            say(f"waiting for workers: start some with `dask worker {address} --nthreads 1`")
            client.wait_for_workers(1)
        # A worker that is sent a function that it does not have would die, and the next one with it.
        found = client.run(pydoc.locate, f"{train_run.__module__}.{train_run.__name__}", on_error="return")
        if without := [worker for worker, function in found.items() if not callable(function)]:
            raise RuntimeError(f"the worker at {without[0]} cannot import this package: install it and its requirements "
                               "there, and start the worker in that environment")
        yield client


def _train_in_order(client, todo: list[ModelSpec], zoo: Path, how: tuple) -> None:
    """Submit each run when the zoo has its parents. (Not as dependencies within Dask: a worker's death would take a parent's
    weights with it, to be trained again.)"""
    from distributed import as_completed

    waiting, running, sent, topic = by_run(todo), {}, {}, f"zoo-{uuid4()}"
    client.subscribe_topic(topic, lambda event: say(event[1]))
    done = as_completed(loop=client.loop)
    while waiting or running:
        unfinished = {spec.key for run in [*waiting, *running.values()] for spec in run}
        for run in [run for run in waiting if not run[0].parents & unfinished]:
            waiting.remove(run)
            for path in parents_of(run[0], zoo):
                sent[path.name] = sent.get(path.name) or client.submit(same, path.name, path.read_bytes(), pure=False)
            parents = [sent[path.name] for path in parents_of(run[0], zoo)]
            place = f"{todo.index(run[-1]) + 1} of {len(todo)} models: {run[-1].name}"
            future = client.submit(train_run, [spec.json for spec in run], parents, versions(), place, topic, *how,
                                   key=f"{run[-1].name}-{run[-1].key}-{uuid4()}")
            running[future] = run
            done.add(future)
        _keep(future := next(done), run := running.pop(future), zoo)
        client.run(forget, run[-1].key, how[1], on_error="ignore")
        say(f"{todo.index(run[-1]) + 1} of {len(todo)} models: {run[-1].name} is done")


def parents_of(spec: ModelSpec, zoo: Path) -> list[Path]:
    """The files without which a model cannot be trained: of its parents, and of what these are only a part of."""
    found = []
    for parent in (find(key, zoo) for key in sorted(spec.parents)):
        found += [path_of(parent, zoo), *(parents_of(parent, zoo) if parent.trainable != "all" else [])]
    return list(dict.fromkeys(found))


def _keep(future, run: Run, zoo: Path) -> None:
    """Write the files of a finished run into the zoo; RuntimeError in one line if it failed."""
    from distributed import KilledWorker

    try:
        files: Files = future.result()
    except KilledWorker as error:
        raise RuntimeError(f"{run[-1].name}: several workers died with it (out of memory?): see their logs, and run "
                           "again to go on") from error
    except (CancelledError, OSError) as error:
        raise RuntimeError("the scheduler was lost: start it and its workers, and run again to go on") from error
    except Exception as error:                                           # any that a worker may raise, sent here
        raise RuntimeError(f"{run[-1].name}: {str(error).partition(chr(10))[0]}") from error
    zoo.mkdir(parents=True, exist_ok=True)
    for spec in run:
        temporary = zoo / f"{Path(spec.file).stem}.{os.getpid()}.tmp"
        try:
            temporary.write_bytes(files[spec.file])
            os.replace(temporary, zoo / spec.file)
        finally:
            temporary.unlink(missing_ok=True)
        read(zoo / spec.file, spec)
