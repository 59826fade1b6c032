"""The oracle velocity against its own formula in float64, and the effective number of images against a plain softmax."""

import pytest
import torch

from helpers.closed_form import EmpiricalDenoiser
from helpers.closed_form.oracle import effective_number, noise_of, time_of, velocity

SHAPE = (1, 6, 5)


def cloud(n, seed=0, shape=SHAPE):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def flow_point(images, t, n=8):
    """x_t = t y + (1 - t) eps, and what is behind it."""
    eps = torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(1))
    return t * images[:n] + (1 - t) * eps


@pytest.mark.parametrize("t", [0.02, 0.1, 0.3, 0.6, 0.9, 0.98])
def test_the_oracle_velocity_is_the_posterior_mean_of_the_velocity(t):
    """u = sum_i g_i (y_i - x) / (1 - t), distances by subtraction, in float64: equal to 1e-5 of its size."""
    images = cloud(150)
    x = flow_point(images, t)
    rows, y = x.double().flatten(1), images.double().flatten(1)
    g = (-(rows[:, None] - t * y).square().sum(2) / (2 * (1 - t) ** 2)).softmax(1)
    expected = (g @ y - rows) / (1 - t)
    found = velocity(EmpiricalDenoiser(images), x, t).double().flatten(1)
    assert ((found - expected).norm(dim=1) / expected.norm(dim=1)).max() < 1e-5


def test_with_one_image_the_velocity_points_to_it_and_arrives():
    """x + (1 - t) u = y whatever t and x are; Euler's steps with u from t to 1 end on the image."""
    images = cloud(1)
    for t in (0.1, 0.5, 0.9):
        x = flow_point(images, t, n=1)
        torch.testing.assert_close(x + (1 - t) * velocity(EmpiricalDenoiser(images), x, t), images, atol=1e-6, rtol=0)


def test_times_and_noise_levels_are_each_other_s_inverse():
    for t in (0.05, 0.5, 0.95):
        assert time_of(noise_of(t)) == pytest.approx(t)
    assert noise_of(0.5) == 1


@pytest.mark.parametrize("t", [0.0, 1.0, -0.1, 2.0])
def test_a_time_outside_is_refused(t):
    with pytest.raises(ValueError, match="between 0"):
        velocity(EmpiricalDenoiser(cloud(3)), cloud(2), t)


@pytest.mark.parametrize("sigma", [0.01, 0.5, 1.0, 3.0, 100.0])
def test_the_effective_number_is_the_exponential_of_the_entropy(sigma):
    images = cloud(90)
    x = images[:6] + sigma * torch.randn(6, *SHAPE, generator=torch.Generator().manual_seed(2))
    w = (-torch.cdist(x.double().flatten(1), images.double().flatten(1)).square() / (2 * sigma**2)).softmax(1)
    expected = torch.special.entr(w).sum(1).exp()
    found = effective_number(EmpiricalDenoiser(images, chunk=32), x, sigma)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-9)


def test_the_effective_number_goes_from_one_to_all_and_counts_twins():
    images = torch.cat([cloud(20), cloud(20)])                        # every image twice
    denoiser = EmpiricalDenoiser(images)
    assert effective_number(denoiser, images[:4], 0.05).tolist() == pytest.approx([2.0] * 4)
    assert effective_number(denoiser, 1e5 * cloud(3, seed=4), 1e5).tolist() == pytest.approx([40.0] * 3, rel=1e-3)


def test_within_a_class_only_its_images_count():
    denoiser = EmpiricalDenoiser(cloud(30), torch.arange(30) % 3)
    found = effective_number(denoiser, cloud(2, seed=5), 1e6, label=1)
    assert found.tolist() == pytest.approx([10.0, 10.0], rel=1e-6)
