"""The plane: a density that is known, small models of four kinds that learn it, and the file they are kept in."""

import pytest
import torch
from torch.testing import assert_close

from helpers.chapters import plane as shipped
from helpers.chapters.plane import load_plane, record
from helpers.measure.maps import energy_distance, map_distance, polar_noises
from helpers.models.plane import Stack, draw_runs, plane_density, plane_kinds, train_runs
from helpers.report.map_plots import map_panels
from helpers.samplers import sample

KINDS = list(plane_kinds(1))


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(scope="module")
def density():
    return plane_density()


def test_the_density_has_mean_0_and_variance_1_a_pixel_and_no_symmetry(density):
    mean, covariance = density.moments()
    assert mean.abs().max() < 1e-12 and covariance.trace() == pytest.approx(2)
    x = density.draw(100_000, gen()).flatten(1)
    for turned in (-x, x * torch.tensor([1, -1]), x.flip(1)):
        assert energy_distance(x[:3000], turned[3000:6000]) > 0.01
    assert energy_distance(x[:3000], x[3000:6000]).abs() < 0.003


def test_each_run_of_a_stack_is_a_perceptron_of_its_own():
    stack, x = Stack(3, 2, (1, 1, 2), gen(), width=8, hidden=2), torch.randn(12, 1, 1, 2, generator=gen(1))
    found = stack(x)
    assert found.shape == (12, 1, 1, 2)
    for run in range(3):
        h = x[4 * run:4 * run + 4].flatten(1)
        for k in range(3):
            h = (torch.nn.functional.silu(h) if k else h) @ stack.weights[k][run] + stack.biases[k][run]
        assert_close(found[4 * run:4 * run + 4].flatten(1), h)
    with pytest.raises(ValueError, match="shared among 3 runs"):
        stack(x[:10])


@pytest.mark.parametrize("name", KINDS)
def test_the_models_learn_the_density(density, name):
    """After some hundred steps they draw what is nearer to it than before, and what a Gaussian draws is left behind."""
    images, real = density.draw(50_000, gen()), density.draw(1500, gen(1))[:, 0, 0]
    z = torch.randn(1500, 2, generator=gen(2))

    def off(steps):
        return energy_distance(draw_runs(train_runs(plane_kinds(steps)[name], 2, images), z, 2), real)

    before, after = off(2), off(250)
    assert (after < 0.6 * before).all() and (after < 0.12).all()


def test_a_run_depends_on_its_seed_and_its_runs_differ(density):
    kind, images, z = plane_kinds(20)["VAE"], density.draw(1000, gen()), torch.randn(4, 2, generator=gen(1))
    first, again, other = (draw_runs(train_runs(kind, 2, images, seed), z, 2) for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other) and not torch.equal(first[0], first[1])


def test_what_is_drawn_does_not_depend_on_who_stands_beside():
    model, z = load_plane()["diffusion"], polar_noises(4, 6)
    found = draw_runs(model, z, shipped.RUNS)
    assert found.shape == (shipped.RUNS, 4, 6, 2) and found.dtype == torch.float64
    assert_close(draw_runs(model, z[1:3], shipped.RUNS), found[:, 1:3], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", ["diffusion", "flow matching"])
def test_the_shipped_denoisers_are_near_the_best_one(density, name):
    model, x0 = load_plane()[name], density.draw(4000, gen(3))
    for sigma in (0.1, 0.5, 2.0):
        x = x0 + sigma * torch.randn(x0.shape, generator=gen(4))
        best, found = (((D(x, sigma) - x0) ** 2).mean() for D in (density, model))
        assert 0.98 * best < found < 1.05 * best


def test_the_kept_models_are_those_that_were_trained(tmp_path, density):
    record(tmp_path, runs=2, steps=3)
    found, z = load_plane(tmp_path, runs=2, steps=3), torch.randn(5, 2, generator=gen())
    images = density.draw(shipped.IMAGES, gen())
    for name, model in found.items():
        trained = train_runs(plane_kinds(3)[name], 2, images)
        assert_close(draw_runs(model, z, 2), draw_runs(trained, z, 2), atol=0.02, rtol=0.02)        # float16
        assert model.sampling == trained.sampling and not any(p.requires_grad for p in model.parameters())
    with pytest.raises(ValueError, match="another model.*helpers.chapters.plane"):
        load_plane(tmp_path, runs=2, steps=4)
    (tmp_path / "gan.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="helpers.chapters.plane"):
        load_plane(tmp_path, runs=2, steps=3)


def test_the_exact_flow_does_not_depend_on_the_solver_and_draws_the_density(density):
    grid = polar_noises(40, 60)
    z = grid.view(-1, 1, 1, 2)
    flow, other = (sample(density, z, solver, steps).view(grid.shape) for solver, steps in (("heun", 100), ("dpmpp2m", 400)))
    assert map_distance(flow, other) < 1e-4
    assert energy_distance(flow.view(-1, 2), density.draw(3000, gen())[:, 0, 0]).abs() < 0.004


def test_panels_draw_each_map_under_its_title_and_marks_a_quarter_turn_apart():
    z = polar_noises(10, 12)
    figure = map_panels({"noise": z.numpy(), "a map": 0.5 * z.numpy(), "third": z.numpy()}, columns=2)
    shown = [axis for axis in figure.axes if axis.get_title()]
    assert [axis.get_title() for axis in shown] == ["noise", "a map", "third"] and len(figure.axes) == 4
    points = shown[1].collections[0].get_offsets()
    assert_close(torch.tensor(points.tolist()), (0.5 * z).view(-1, 2), check_dtype=False)
    marks = [line for line in shown[0].lines if line.get_marker() not in ("None", None)]
    angles = torch.tensor([[*line.get_xydata()[0]] for line in marks])
    assert_close(torch.atan2(angles[:, 1], angles[:, 0]).rad2deg() % 360, torch.tensor([0.0, 90, 180, 270]),
                 check_dtype=False, atol=1e-3, rtol=0)
    assert len({line.get_marker() for line in marks}) == 4
