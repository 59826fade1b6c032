"""Two small networks at a time: each on one core is faster than one after the other on both.

torch lets go of Python's lock while it computes, so threads are enough. Used by `measure/comparison.py` and by chapters.
"""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import torch

JOBS = 2


def side_by_side(function: Callable, items: Iterable, jobs: int = JOBS) -> list:
    """[function(item) for item in items], `jobs` of them at a time with one torch thread each; their order is kept.

    An error in one is raised here. With `jobs` = 1 nothing is changed, also not the number of threads.
    """
    if jobs == 1:
        return [function(item) for item in items]
    threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(jobs, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(function, items))
    finally:
        # What the pool's threads set is what every thread that starts later would begin with.
        torch.set_num_threads(threads)
