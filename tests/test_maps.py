"""maps.py: distances of maps that are known, turns that are known, and the cheapest of all assignments."""

from itertools import permutations

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from helpers.measure.bootstrap import Score
from helpers.measure.maps import (
    between_runs,
    distance_by_noise,
    energy_distance,
    map_distance,
    mean_over_runs,
    optimal_transport,
    polar_noises,
    swirl,
    turned_distance,
)

Z = polar_noises(24, 48)


def bent(z):
    """A map without a symmetry."""
    return torch.stack([z[..., 0] + 0.3 * z[..., 1] ** 2, 0.6 * z[..., 1] + 0.2 * z[..., 0] ** 3], -1)


def turn(z, angle, mirror=False):
    c, s = torch.tensor(angle).cos(), torch.tensor(angle).sin()
    z = z * torch.tensor([1.0, -1.0]) if mirror else z
    return torch.stack([c * z[..., 0] - s * z[..., 1], s * z[..., 0] + c * z[..., 1]], -1)


def test_the_grid_holds_equal_shares_of_the_normal_law():
    z = polar_noises(200, 16)
    assert z.shape == (200, 16, 2)
    rows = z.flatten(0, 1)
    assert_close(rows.mean(0), torch.zeros(2).double(), atol=1e-12, rtol=0)
    assert_close(rows.T @ rows / len(rows), torch.eye(2).double(), atol=0.01, rtol=0)
    within = (rows.norm(dim=1) < 1).double().mean()
    assert within == pytest.approx(1 - np.exp(-0.5), abs=0.005)


def test_the_distance_is_0_for_one_map_and_1_for_what_has_nothing_to_do_with_each_other():
    assert map_distance(bent(Z), bent(Z)) == 0
    g = torch.Generator().manual_seed(0)
    free = bent(Z).flatten(0, 1)[torch.randperm(Z.shape[0] * Z.shape[1], generator=g)].view(Z.shape)
    assert map_distance(bent(Z), free) == pytest.approx(1, abs=0.06)
    assert map_distance(bent(Z), -bent(Z)) > 1


def test_the_distance_by_hand():
    """|f - g|^2 over the mean of |f(z) - g(z')|^2 over all pairs of noises, by loops."""
    f, g = bent(Z[::6, ::6]).reshape(-1, 2).numpy(), turn(bent(Z), 0.4)[::6, ::6].reshape(-1, 2).numpy() + 0.3
    other = np.mean([[((a - b) ** 2).sum() for b in g] for a in f])
    shape = Z[::6, ::6].shape
    found = distance_by_noise(*(torch.from_numpy(m.copy()).view(shape) for m in (f, g)))
    assert_close(found, torch.from_numpy(((f - g) ** 2).sum(1) / other))


@pytest.mark.parametrize("steps, mirror", [(0, False), (17, False), (0, True), (29, True)])
def test_a_turn_of_the_noises_is_found_and_undone(steps, mirror):
    g = bent(turn(Z, 2 * np.pi * steps / 48, mirror))
    assert turned_distance(bent(Z), g) < 1e-12
    assert (map_distance(bent(Z), g) < 1e-12) == (steps == 0 and not mirror)


def test_a_turn_never_makes_it_worse_and_runs_are_taken_pair_by_pair():
    f = torch.stack([bent(Z), turn(bent(Z), 0.5), swirl(bent(Z))])
    assert (turned_distance(f, bent(Z)) <= map_distance(f, bent(Z))).all()
    assert_close(turned_distance(f, bent(Z))[1], turned_distance(turn(bent(Z), 0.5), bent(Z)))


def test_a_swirl_draws_the_same_pictures_by_another_map_that_no_turn_undoes():
    f = bent(Z)
    g = swirl(f)
    for ring, other in zip(f, g):
        assert sorted(ring.tolist()) == sorted(other.tolist())
    assert map_distance(f, g) > 0.5 and turned_distance(f, g) > 0.25


def test_distances_between_runs_are_those_of_pairs():
    maps = torch.stack([bent(Z), swirl(bent(Z)), turn(bent(Z), 0.3)])
    matrix = between_runs(maps)
    assert_close(matrix, matrix.T)
    assert matrix.diagonal().eq(0).all() and matrix[1, 2] == map_distance(maps[1], maps[2])


def test_a_mean_over_pairs_of_runs_and_its_interval():
    matrix = torch.tensor([[0, 1, 2, 6.0], [1, 0, 3, 6], [2, 3, 0, 6], [6, 6, 6, 0]])
    score = mean_over_runs(matrix, 0)
    assert score.value == pytest.approx(4) and score.n == 4
    assert score.low == pytest.approx(1) and score.high == pytest.approx(6)      # of two runs only, now and then
    same = mean_over_runs(2 * (1 - torch.eye(5)), 0)
    assert same == Score(pytest.approx(2), pytest.approx(2), pytest.approx(2), 5)
    assert mean_over_runs(matrix + 99 * torch.eye(4), 0) == score                # a run with itself says nothing
    for bad in (torch.zeros(2, 2), torch.zeros(3, 4)):
        with pytest.raises(ValueError, match="square matrix of 3 runs or more"):
            mean_over_runs(bad, 0)


def test_energy_distances_of_points_by_hand_and_of_normal_laws():
    x, y = torch.tensor([[0.0, 0], [1, 0]]), torch.tensor([[0.0, 0], [0, 2], [0, 4]])
    cross = (0 + 2 + 4 + 1 + 5**0.5 + 17**0.5) / 6
    assert energy_distance(x, y).item() == pytest.approx(2 * cross - 1 - 8 / 3)
    g = torch.Generator().manual_seed(0)
    a, b, c = torch.randn(3, 2500, 2, generator=g)
    assert abs(energy_distance(a, b)) < 0.005 and energy_distance(a, c + 0.5) > 0.1
    assert_close(energy_distance(torch.stack([a, b]), c)[1], energy_distance(b, c))


def test_optimal_transport_is_the_cheapest_of_all_assignments():
    g = torch.Generator().manual_seed(0)
    z, f = torch.randn(2, 2, 3, 2, generator=g)
    rows, pictures = z.view(-1, 2), f.view(-1, 2)
    least = min((rows - pictures[list(order)]).square().sum().item() for order in permutations(range(6)))
    found = optimal_transport(z, f)
    assert (found - z).square().sum().item() == pytest.approx(least, rel=1e-6)
    assert_close(found.view(-1, 2).sort(0).values, pictures.double().sort(0).values)


def test_a_gradient_of_a_convex_function_is_its_own_optimal_map_and_a_turn_is_not():
    matrix = torch.tensor([[1.2, 0.4], [0.4, 0.5]], dtype=torch.float64)
    f = Z @ matrix + 1
    assert torch.equal(optimal_transport(Z, f), f)
    assert map_distance(optimal_transport(Z, turn(f, 1.0)), turn(f, 1.0)) > 0.05
