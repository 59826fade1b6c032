"""Few-step objectives: the grids, what a pair or a teacher says, and losses of networks whose answer is known."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from helpers.closed_form import GaussianDenoiser
from helpers.denoiser import NetworkDenoiser
from helpers.models.fewstep import Consistency, Distillation
from helpers.models.unet import UNet
from helpers.samplers import karras_sigmas, sample, trajectory
from helpers.zoo.spec import make_objective

SHAPE = (1, 4, 4)
MEAN, LAM = 0.2, 0.3


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def column(sigma):
    return torch.as_tensor(sigma).view(-1, 1, 1, 1)


def as_consistency_network(ends, low=0.002, data=0.5):
    """The network F for which f = ends(x, sigma), a function with ends(x, low) = x: F is free there, and 0."""
    def network(scaled, c_noise, label=None):
        sigma = column((4 * c_noise).exp())
        x, above = scaled * (sigma**2 + data**2).sqrt(), sigma - low
        f = (ends(x, sigma) - data**2 / (above**2 + data**2) * x) * (sigma**2 + data**2).sqrt() / (above * data)
        return torch.where(above < 1e-6, 0.0, f)
    return network


def as_denoising_network(answer, data=0.5):
    """The network F whose EDM-preconditioned output is `answer(x, sigma)`."""
    def network(scaled, c_noise, label=None):
        sigma = column((4 * c_noise).exp())
        total = sigma**2 + data**2
        x = scaled * total.sqrt()
        return (answer(x, sigma) - data**2 / total * x) * total.sqrt() / (sigma * data)
    return network


def grid_of(n, low=0.002, high=80.0):
    """n noise levels from low to high, evenly spaced in sigma^(1/7)."""
    return np.linspace(low ** (1 / 7), high ** (1 / 7), n) ** 7


def test_an_image_without_noise_is_its_own_end():
    """f(x, sigma_min) = x to the last bit, whatever the network says; elsewhere c_skip x + c_out F of the paper."""
    objective, x = Consistency(), torch.randn(3, *SHAPE)
    assert torch.equal(objective.denoise(lambda x, c, label: 100 * x, x, 0.002), x)
    for sigma in (0.01, 0.5, 80.0):
        c_skip = 0.25 / ((sigma - 0.002) ** 2 + 0.25)
        c_out = 0.5 * (sigma - 0.002) / math.sqrt(sigma**2 + 0.25)
        seen = {}
        f = objective.denoise(lambda x, c, label: seen.update(x=x, c=c) or torch.ones_like(x), x, sigma)  # noqa: B023
        torch.testing.assert_close(f, c_skip * x + c_out)
        torch.testing.assert_close(seen["x"], x / math.sqrt(sigma**2 + 0.25))
        torch.testing.assert_close(seen["c"], torch.full((3,), math.log(sigma) / 4))


@pytest.mark.parametrize("first, last", [(10, 160), (10, 1280), (4, 4)])
def test_the_grid_doubles_at_equal_intervals(first, last):
    """N(k) = min(s0 2^floor(k / K'), s1) + 1 with K' = floor(K / (log2(s1 / s0) + 1)): Song & Dhariwal 2024, Sec. 3.4."""
    objective, total = Consistency(first=first, last=last), 4000
    length = total // (int(math.log2(last // first)) + 1)
    expected = [min(first * 2 ** (k // length), last) + 1 for k in range(total)]
    assert [objective.levels(k / total) for k in range(total)] == expected
    assert objective.levels(0.0) == first + 1 and objective.levels(1.0) == last + 1


@pytest.mark.parametrize("progress, n", [(0.0, 11), (0.5, 41), (1.0, 161)])
def test_pairs_are_neighbors_drawn_from_a_log_normal(progress, n):
    """P(i) ~ Phi((ln sigma_{i+1} + 1.1) / 2) - Phi((ln sigma_i + 1.1) / 2); every count within 5 standard deviations."""
    count, grid = 200_000, grid_of(n)
    low, high = Consistency().pairs(count, progress, seeded(1))
    i = np.abs(np.log(low.numpy())[:, None] - np.log(grid)).argmin(1)
    np.testing.assert_allclose(low, grid[i], rtol=1e-5)
    np.testing.assert_allclose(high, grid[i + 1], rtol=1e-5)
    cdf = np.array([0.5 * (1 + math.erf((math.log(sigma) + 1.1) / (2 * math.sqrt(2)))) for sigma in grid])
    p = np.diff(cdf) / np.diff(cdf).sum()
    assert (np.abs(np.bincount(i, minlength=n - 1) - count * p) < 5 * np.sqrt(count * p) + 1).all()


def test_the_consistency_loss_is_zero_for_the_flow_of_one_image():
    """All paths end at the image y, at sigma_min on the line to it: f = y + sigma_min / sigma (x - y)."""
    y = torch.randn(1, *SHAPE)
    objective, x0 = Consistency(), y.expand(500, *SHAPE)
    network = as_consistency_network(lambda x, sigma: y + 0.002 / sigma * (x - y))
    off = as_consistency_network(lambda x, sigma: y + (0.002 / sigma) ** 0.9 * (x - y))
    for progress in (0.0, 0.5, 1.0):
        right, wrong = (objective.loss(n, x0, None, seeded(), progress).item() for n in (network, off))
        assert 0 <= right < 1e-7 and wrong > 1e-4


def test_the_consistency_loss_is_pseudo_huber_and_its_less_noisy_end_a_constant():
    """For f = (1 + w (sigma - sigma_min)) x: value, and gradient in w through the noisier end alone."""
    objective, x0, c = Consistency(), torch.randn(300, *SHAPE), 0.00054 * 4
    w = torch.tensor(0.7, requires_grad=True)
    network = as_consistency_network(lambda x, sigma: (1 + w * (sigma - 0.002)) * x)
    loss = objective.loss(network, x0, None, seeded(), 0.3)
    generator = seeded()
    low, high = (column(sigma) for sigma in objective.pairs(300, 0.3, generator))
    eps = torch.randn(x0.shape, generator=generator)

    def by_hand(constant):
        ends, target = ((1 + v * (s - 0.002)) * (x0 + s * eps) for v, s in ((w, high), (constant, low)))
        distance = ((ends - target).square().sum((1, 2, 3)) + c**2).sqrt() - c
        return (distance / (high - low).flatten()).mean()

    torch.testing.assert_close(loss, by_hand(w), rtol=1e-3, atol=0)
    ours, expected, through_both = (torch.autograd.grad(v, w)[0] for v in (loss, by_hand(w.detach()), by_hand(w)))
    torch.testing.assert_close(ours, expected, rtol=1e-3, atol=0)
    assert (through_both - expected).abs() > 0.1 * expected.abs()


def test_the_consistency_gradient_vanishes_at_the_true_flow_of_a_gaussian():
    """f_a = mu + (sigma / sigma_min)^a sqrt((lam + sigma_min^2) / (lam + sigma^2)) (x - mu) is the flow at a = 0. The loss
    pulls a from either side to a zero that is within 0.015 of it on the coarse grid, within 0.002 on the fine one."""
    x0 = MEAN + math.sqrt(LAM) * torch.randn(20_000, *SHAPE, generator=seeded(2))

    def slope(a, progress):
        a = torch.tensor(a, requires_grad=True)
        network = as_consistency_network(lambda x, sigma: MEAN + (sigma / 0.002) ** a * (
            (LAM + 0.002**2) / (LAM + sigma**2)).sqrt() * (x - MEAN))
        return torch.autograd.grad(Consistency().loss(network, x0, None, seeded(3), progress), a)[0].item()

    for progress, bound in ((0.0, 0.015), (1.0, 0.002)):
        assert slope(-0.05, progress) < slope(-bound, progress) < 0 < slope(bound, progress) < slope(0.05, progress)


def test_the_grids_of_the_rounds_are_nested():
    objective, base = Distillation(steps=4, base=64), karras_sigmas(64)
    assert torch.equal(objective.grid(64), base)
    for steps in (1, 2, 4, 8, 16, 32):
        grid = objective.grid(steps)
        assert torch.equal(grid, objective.grid(2 * steps)[::2])
        assert len(grid) == steps + 1 and grid[0] == 80 and grid[-1] == 0
        student = Distillation(steps=steps, base=64)
        assert student.sampling == {"solver": "euler", "sigmas": tuple(grid.tolist())}


@pytest.mark.parametrize("s, m, t", [(80.0, 20.0, 3.0), (1.0, 0.6, 0.2), (0.5, 0.1, 0.0)])
def test_the_target_of_a_linear_teacher_is_known(s, m, t):
    """For D = a x an Euler step multiplies x by a + (t/s)(1 - a); the student's one step must do what two of these do."""
    a, x = 0.3, torch.randn(4, *SHAPE)
    objective = Distillation().taught_by(lambda x, sigma, label=None: a * x)
    both = (a + m / s * (1 - a)) * (a + t / m * (1 - a))
    d = objective.target(x, *(torch.full((4, 1, 1, 1), v) for v in (s, m, t)), None)
    torch.testing.assert_close(d, (both - t / s) / (1 - t / s) * x)
    torch.testing.assert_close(d + t / s * (x - d), both * x)


def test_one_step_toward_the_target_lands_where_the_sampler_takes_the_teacher():
    """Each student step of the grid, with the label handed on, against two Euler steps by `sample`."""
    labels = []
    ideal = GaussianDenoiser(torch.linspace(-0.5, 0.5, 16).view(SHAPE), torch.diag(torch.linspace(0.01, 0.6, 16)))

    def teacher(x, sigma, label=None):
        labels.append(label)
        return ideal(x, sigma) + 0.1 * column(label)

    objective, z, label = Distillation(steps=4, base=16).taught_by(teacher), torch.randn(3, *SHAPE), torch.tensor([0, 1, 2])
    grid = objective.student.grid(8)
    for s, m, t in zip(grid[::2], grid[1::2], grid[2::2]):
        d = objective.target(s.float() * z, *(torch.full((3, 1, 1, 1), v) for v in (s, m, t)), label)
        path = trajectory(teacher, z, solver="euler", sigmas=sorted({s.item(), m.item(), t.item(), 0.0})[::-1], label=label)
        landed = list(path)[2].x
        torch.testing.assert_close(d + (t / s).float() * (s.float() * z - d), landed, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(given, label) for given in labels)


def test_the_distillation_loss_is_the_error_of_the_network_s_output():
    """With EDM's weight 1 / c_out^2, a student that is right but for a constant 0.1 in F loses 0.01 at every noise level."""
    a, x0 = 0.3, torch.randn(200, *SHAPE)
    objective = Distillation(steps=2, base=8).taught_by(lambda x, sigma, label=None: a * x)
    grid = objective.student.grid(4)
    steps = {s.item(): (m.item(), t.item()) for s, m, t in zip(grid[::2], grid[1::2], grid[2::2])}
    seen = set()

    def answer(x, sigma):
        out = torch.empty_like(x)
        for i, s in enumerate(sigma.flatten().tolist()):
            s = min(steps, key=lambda level: abs(level - s))  # noqa: B023
            m, t = steps[s]
            out[i] = ((a + m / s * (1 - a)) * (a + t / m * (1 - a)) - t / s) / (1 - t / s) * x[i]
            seen.add(s)
        return out

    right = as_denoising_network(answer)
    assert objective.loss(right, x0, None, seeded()) < 1e-6
    assert seen == set(steps)                                                  # every step of the student is trained
    off = objective.loss(lambda x, c, label: right(x, c) + 0.1, x0, None, seeded())
    assert off.item() == pytest.approx(0.01, rel=1e-3)


def test_a_network_for_few_steps_refuses_others():
    network, z = UNet(width=8, multipliers=(1, 2)), torch.randn(2, 1, 8, 8)
    one, four = NetworkDenoiser(network, Consistency()), NetworkDenoiser(network, Distillation(steps=4, base=16))
    torch.testing.assert_close(sample(one, z, **one.sampling), one(80 * z, 80.0))
    sample(four, z, **four.sampling)
    for denoiser, wrong in ((one, {}), (one, {"solver": "euler", "steps": 1, "sigma_max": 40.0}),
                            (one, {"solver": "euler", "steps": 2}), (four, {"solver": "euler", "steps": 4}), (four, {}),
                            (four, four.sampling | {"solver": "heun"})):
        with pytest.raises(ValueError, match="trained for one way of sampling"):
            sample(denoiser, z, **wrong)


def test_a_lesson_has_the_student_s_options_and_the_options_hold_no_network():
    """A frozen value compares and hashes by its options; the teacher, a module with weights, is the lesson's."""
    student, network = Distillation(steps=2, base=8), torch.nn.Linear(1, 1)
    lesson = student.taught_by(network)
    assert lesson.teacher is network and lesson.student is student and lesson.strict
    assert lesson.sampling == student.sampling and lesson.denoise == student.denoise
    assert hash(student) == hash(Distillation(steps=2, base=8)) and "teacher" not in dataclasses.asdict(student)


def test_distillation_without_a_teacher_or_a_fitting_grid_is_an_error():
    with pytest.raises(ValueError, match="needs a teacher: give the spec an init_from"):
        Distillation().loss(lambda x, c, label: x, torch.randn(2, *SHAPE), None, seeded())
    for steps, base in ((0, 64), (3, 64), (64, 64), (4, 12)):
        with pytest.raises(ValueError, match=f"2 \\* steps must divide base = {base}, got {steps}"):
            make_objective("distillation", steps=steps, base=base)


@pytest.mark.parametrize("first, last", [(10, 100), (10, 5), (1, 8)])
def test_a_grid_that_does_not_double_is_refused(first, last):
    with pytest.raises(ValueError, match="doubled some times"):
        Consistency(first=first, last=last)
