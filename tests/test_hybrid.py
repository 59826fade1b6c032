"""Hybrids: their two ends are the two denoisers, and a handover at a node is what the grid says."""

import pytest
import torch

from helpers.closed_form import EmpiricalDenoiser, GaussianDenoiser
from helpers.samplers import karras_sigmas, sample
from helpers.samplers.hybrid import hybrids, nearest_nodes

SHAPE = (1, 4, 4)
GRID = karras_sigmas(12).tolist()


@pytest.fixture
def parts():
    images = torch.randn(30, *SHAPE, generator=torch.Generator().manual_seed(0)).clamp(-1, 1)
    z = torch.randn(9, *SHAPE, generator=torch.Generator().manual_seed(1))
    return EmpiricalDenoiser(images), GaussianDenoiser.fit(images), z


@pytest.mark.parametrize("solver", ["euler", "heun", "dpmpp2m"])
def test_the_ends_are_the_two_denoisers_alone(parts, solver):
    first, second, z = parts
    found = hybrids(first, second, z, [0, 12], GRID, solver)
    assert torch.equal(found[12], sample(first, z, solver, sigmas=GRID))
    torch.testing.assert_close(found[0], sample(second, z, solver, sigmas=GRID))


@pytest.mark.parametrize("solver", ["euler", "heun"])
def test_a_denoiser_that_hands_over_to_itself_draws_its_own_picture(parts, solver):
    first, _, z = parts
    alone = sample(first, z, solver, sigmas=GRID)
    for images in hybrids(first, first, z, range(13), GRID, solver).values():
        torch.testing.assert_close(images, alone, atol=1e-4, rtol=0)


def test_the_second_sees_the_node_and_all_below_and_the_first_what_is_above(parts):
    """With Euler, whose steps ask once, at their upper end."""
    asked = {"first": [], "second": []}

    def noting(name):
        def denoiser(x, sigma, label=None):
            asked[name].append(sigma)
            return x
        return denoiser

    hybrids(noting("first"), noting("second"), parts[2], [5], GRID, "euler")
    assert asked["second"] == GRID[5:-1] and asked["first"] == GRID[:6]


def test_nodes_are_found_by_their_noise_level_and_only_those_of_the_grid_are_taken(parts):
    assert nearest_nodes([GRID[3] * 1.01, GRID[7] * 0.99, GRID[7]], GRID) == [3, 7]
    first, second, z = parts
    for node in (-1, 13):
        with pytest.raises(ValueError, match="nodes 0 to 12"):
            hybrids(first, second, z, [node], GRID)
