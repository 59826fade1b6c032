"""Side by side: the same results in the same order, errors not lost."""

import threading

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
