"""One process trains a model at a time; others wait, and say so. Used by the zoo."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from helpers.zoo.progress import say
from helpers.zoo.spec import ModelSpec


@contextmanager
def alone(lock: Path, spec: ModelSpec) -> Iterator[None]:
    """Holds the lock of a model, which the system frees when its owner dies; says so if it has to wait."""
    lock = FileLock(lock)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        say(f"waiting for another process that trains {spec.name} ({spec.key}) ...")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
