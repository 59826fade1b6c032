"""Training many models at once: one process a model, parents before what starts from them.

A worker ends with the process that started it, however that one ends: it holds one end of a pipe whose other end is closed
by the kernel when its owner dies. What a worker loses then is what came after its last checkpoint.
"""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from tqdm import tqdm

from helpers import paths
from helpers.zoo.inventory import damaged
from helpers.zoo.prefixes import by_run
from helpers.zoo.spec import ModelSpec
from helpers.zoo.store import path_of, train_stages


def default_jobs(device: str) -> int:
    """How many models to train at once: one a GPU, or one a core that this process may use."""
    if torch.device(device).type == "cuda":
        return max(1, torch.cuda.device_count())
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def require_jobs(jobs: int) -> int:
    """The number of processes; ValueError if it is less than 1."""
    if jobs < 1:
        raise ValueError(f"jobs must be 1 or more, so many models are trained at once: got {jobs}")
    return jobs


def train_all(specs: list[ModelSpec], jobs: int, zoo: Path = paths.ZOO, device: str = "cpu",
              checkpoints: Path = paths.CHECKPOINTS, every: float = 60.0) -> list[str]:
    """Train what is missing, `jobs` processes of one thread each, in the given order, but none before the model that it
    starts from; the files' names. Each writes a checkpoint every `every` seconds.

    ValueError for fewer jobs than one, or if a file that is there is damaged: nothing is trained then. The first model
    that fails ends the others at their last checkpoints, and its error is raised here.
    """
    require_jobs(jobs)
    if problems := damaged(specs, zoo):
        raise ValueError("; ".join(problems))
    todo = [spec for spec in specs if not path_of(spec, zoo).exists()]
    if not todo:
        return []
    context = get_context("spawn")
    watched, alive = context.Pipe(duplex=False)
    pool = ProcessPoolExecutor(min(jobs, len(todo)), context, initializer=_tie, initargs=(watched,))
    try:
        _train_in_order(pool, todo, min(jobs, len(todo)), (zoo, device, checkpoints, every))
    except BrokenProcessPool as error:
        raise RuntimeError("a process that trained a model was killed (out of memory? try fewer --jobs): "
                           "run again to go on") from error
    finally:
        alive.close()                                    # ends the workers that still train, if something went wrong
        pool.shutdown(cancel_futures=True)
    return [spec.file for spec in todo]


def _train_in_order(pool: ProcessPoolExecutor, specs: list[ModelSpec], jobs: int, where: tuple) -> None:
    runs = by_run(specs)
    todo, running, free = list(runs), {}, list(range(jobs))
    while todo or running:
        unfinished = {spec.key for stages in [*todo, *(run for run, _ in running.values())] for spec in stages}
        for stages in [stages for stages in todo if not stages[0].parents & unfinished][:len(free)]:
            todo.remove(stages)
            slot, place = free.pop(0), f"{specs.index(stages[-1]) + 1} of {len(specs)}"
            with _interrupts_held():                     # the first call starts the workers, which inherit this
                running[pool.submit(_train_alone, stages, *where, slot, place)] = stages, slot
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            free.append(running.pop(future)[1])
            future.result()


def _train_alone(stages: tuple[ModelSpec, ...], zoo: Path, device: str, checkpoints: Path, every: float, slot: int,
                 place: str) -> None:
    """Train one model, or the stages of one run, in this process.

    slot   which GPU, if there are several, and which line of the terminal
    """
    torch.set_num_threads(1)
    if device == "cuda":
        device = f"cuda:{slot % torch.cuda.device_count()}"
    train_stages(list(stages), zoo, device, every, position=slot, place=place, checkpoints=checkpoints)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits for the end of the block; a process that is started inside never hears of it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _tie(watched: Connection) -> None:
    """Let this worker end when the other end of the pipe closes.

    tqdm's own lock is a semaphore that nobody would clear away then, and of which Python would complain.
    """
    tqdm.set_lock(threading.RLock())

    def watch() -> None:
        watched.poll(None)                               # nothing is ever sent: this returns when the other end is closed
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
