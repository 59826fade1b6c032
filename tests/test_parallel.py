"""Side by side: the same results in the same order, errors not lost."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import torch

from helpers.parallel import side_by_side


def test_order_and_values_are_those_of_a_loop():
    matrix = torch.randn(60, 60, generator=torch.Generator().manual_seed(0))

    def power(k):
        return torch.linalg.matrix_power(matrix, k)

    for jobs in (1, 3):
        assert all(torch.equal(a, power(k)) for k, a in zip(range(1, 9), side_by_side(power, range(1, 9), jobs)))


def test_they_really_run_at_the_same_time_and_the_caller_keeps_its_threads():
    before, barrier = torch.get_num_threads(), threading.Barrier(2, timeout=10)
    assert side_by_side(lambda i: barrier.wait() is not None, [0, 1]) == [True, True]
    assert torch.get_num_threads() == before


def test_an_error_is_raised():
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda x: 1 / x, [1, 0, 2])


def in_a_new_thread(function):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result()


@pytest.mark.parametrize("function", [abs, lambda x: 1 / 0], ids=["", "error"])
def test_threads_that_start_later_begin_with_as_many_as_before(function):
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        with suppress(ZeroDivisionError):
            side_by_side(function, [1, 2])
        assert torch.get_num_threads() == in_a_new_thread(torch.get_num_threads) == 3
    finally:
        torch.set_num_threads(before)
