"""What runs on a worker of a Dask cluster: the training of one model (see `cluster.py`)."""

import getpass
import hashlib
import math
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from helpers import paths
from helpers.models.training import Progress
from helpers.zoo.progress import EVERY
from helpers.zoo.spec import ModelSpec
from helpers.zoo.store import train_stages

Files = dict[str, bytes]


@cache
def versions() -> dict[str, str]:
    """What must be the same on all machines for equal weights: Python, torch, distributed, and this package's code.

    Asked once: a worker goes on with the code that it began with, also when somebody changes the files.
    """
    import distributed

    code = hashlib.sha256()
    for path in sorted((paths.ROOT / "helpers").rglob("*.py")):
        code.update(path.read_bytes())
    return {"python": ".".join(platform.python_version_tuple()[:2]), "torch": torch.__version__.partition("+")[0],
            "distributed": distributed.__version__, "helpers": f"(code {code.hexdigest()[:8]})"}


def require_versions(theirs: dict[str, str], ours: dict[str, str], who: str) -> None:
    """RuntimeError with what to do if `who` has other versions than ours."""
    if other := [f"{name} {theirs[name]} and not {ours[name]}" for name in theirs if theirs[name] != ours[name]]:
        raise RuntimeError(f"{who} has {', '.join(other)}: install the same version there as here, and start it again")


def same(name: str, data: bytes) -> tuple[str, bytes]:
    """A file that tasks need, as a task: sent once, and again if the worker that has it dies."""
    return name, data


def _folder(key: str, checkpoints: Path | None) -> Path:
    """Where a run works: a folder of its own, since what is left half written in a folder is known by a process's number,
    and another machine's processes have other numbers."""
    return (checkpoints or paths.CHECKPOINTS) / "cluster" / key


def train_run(specs: list[str], parents: list[tuple[str, bytes]], ours: dict[str, str], place: str, topic: str, device: str,
              checkpoints: Path | None, every: float) -> Files:
    """Train the stages of one run, from a checkpoint if one is there, and return their files."""
    from distributed import get_worker

    worker = get_worker()
    require_versions(versions(), ours, f"the worker at {worker.address}")
    if worker.state.nthreads > 1:
        raise RuntimeError(f"the worker at {worker.address} has {worker.state.nthreads} threads, and a model needs a "
                           "process of its own: start it with --nthreads 1, and more of them with --nworkers")
    run = [ModelSpec.parse(text) for text in specs]
    folder = _folder(run[-1].key, checkpoints)
    torch.set_num_threads(1)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, data in parents:
            (folder / name).write_bytes(data)
        with own_device(device) as device:
            files = train_stages(run, folder, device, every, checkpoints=folder / "checkpoint",
                                 watch=_reporter(worker, place, run[-1].recipe.steps, topic))
        return {path.name: path.read_bytes() for path in files}
    except (FloatingPointError, OSError, RuntimeError, ValueError) as error:
        raise RuntimeError(f"{str(error).partition(chr(10))[0]} (on the worker at {worker.address})") from error


def _reporter(worker, place: str, steps: int, topic: str) -> Callable[[Progress], None]:
    """Tells the client how far the training is, at first and then each minute; ends it when nobody waits for it here."""
    from distributed import Reschedule, Status

    key, told = worker.get_current_task(), -math.inf

    def watch(progress: Progress) -> None:
        nonlocal told
        task = worker.state.tasks.get(key)
        unwanted = task is None or task.state == "cancelled"             # the client has gone, or somebody pressed Ctrl-C
        if unwanted or worker.status not in (Status.running, Status.paused):     # or this worker was told to end
            raise Reschedule
        if time.monotonic() - told >= EVERY:
            worker.log_event(topic, f"{place}, step {progress.step:,} of {steps:,}, loss {progress.loss:.3g}, "
                                    f"on {worker.name}")
            told = time.monotonic()

    return watch


@contextmanager
def own_device(device: str) -> Iterator[str]:
    """The device; for "cuda", a GPU of this machine that no other worker has. RuntimeError if there is none."""
    with ExitStack() as stack:
        if device == "cuda":
            device = f"cuda:{_free_gpu(stack)}"
        yield device


def _free_gpu(stack: ExitStack) -> int:
    for k in range(torch.cuda.device_count()):
        name = f"zoo-{getpass.getuser()}-{torch.cuda.get_device_properties(k).uuid}.lock"
        try:
            stack.enter_context(FileLock(Path(tempfile.gettempdir()) / name).acquire(timeout=0))
            return k
        except Timeout:
            continue
    raise RuntimeError(f"no GPU is free ({torch.cuda.device_count()} in all): start no more workers than there are GPUs")


def forget(key: str, checkpoints: Path | None) -> None:
    """The client has the finished files: what they were made in can go."""
    shutil.rmtree(_folder(key, checkpoints), ignore_errors=True)
