"""time_steps.py: even in the kernel's own time, from sigma_max to sigma_min, whatever the kernel."""

import pytest
import torch
from torch.testing import assert_close

from helpers.kernels import KERNELS, kernel
from helpers.samplers import own_sigmas


@pytest.mark.parametrize("name", KERNELS)
def test_they_fall_from_sigma_max_to_sigma_min_and_then_to_0(name):
    sigmas = own_sigmas(name, 7, sigma_min=0.01)
    assert len(sigmas) == 8 and all(s > t for s, t in zip(sigmas, sigmas[1:])) and sigmas[-1] == 0
    assert sigmas[0] == pytest.approx(kernel(name).sigma_max, rel=1e-12) and sigmas[-2] == pytest.approx(0.01, rel=1e-9)


@pytest.mark.parametrize("name", ["vp", "sub-vp", "flow", "ddpm"])
def test_they_are_even_in_the_kernels_own_time(name):
    times = kernel(name).t(torch.tensor(own_sigmas(name, 9)[:-1], dtype=torch.double))
    assert_close(times.diff(), times.diff().mean().expand(8), rtol=1e-6, atol=0)


def test_those_of_flow_matching_are_the_textbook_formula():
    """sigma = t / (1 - t), t even from 80/81 to 0.002/1.002."""
    first, last = 80 / 81, 0.002 / 1.002
    times = [first + i / 4 * (last - first) for i in range(5)]
    assert own_sigmas("flow", 5)[:-1] == pytest.approx([t / (1 - t) for t in times], rel=1e-9)


def test_those_of_ve_fall_by_one_factor():
    sigmas = torch.tensor(own_sigmas("ve", 11)[:-1], dtype=torch.double)
    factor = (0.002 / 100) ** (1 / 10)
    assert_close((sigmas[1:] / sigmas[:-1]).log(), torch.full((10,), factor).double().log(), rtol=2e-3, atol=0)


def test_one_step_is_refused():
    with pytest.raises(ValueError, match="2 steps or more, not 1"):
        own_sigmas("vp", 1)
    with pytest.raises(ValueError, match="unknown kernel"):
        own_sigmas("cosine", 4)
