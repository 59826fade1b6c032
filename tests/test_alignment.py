"""Alignment against rotations that are known because the tests made them; and with nothing to find."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from helpers.denoiser import NetworkDenoiser
from helpers.measure.alignment import Rotated, align, generator_of, latent_regression, misfit, procrustes, turned
from helpers.models.gan_vae import GAN, Generator, GeneratorPair, latent_of
from helpers.samplers import sample


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def orthogonal(k, seed=0, det=None, dtype=torch.float):
    q = torch.linalg.qr(torch.randn(k, k, generator=gen(seed)).double())[0]
    if det is not None and torch.linalg.det(q).sign() != det:
        q[0] *= -1
    return q.to(dtype)


class Toy(nn.Module):
    """u (B, 8) -> images (B, 1, 8, 8): two layers with a strong bend, and no symmetry."""

    def __init__(self, seed, k=8):
        super().__init__()
        g = gen(seed)
        self.a = nn.Parameter(1.5 * torch.randn(k, 48, generator=g) / k**0.5)
        self.b = nn.Parameter(torch.randn(48, generator=g))
        self.c = nn.Parameter(torch.randn(48, 64, generator=g) / 48**0.5)

    def forward(self, u):
        return ((u @ self.a + self.b).tanh() @ self.c).view(-1, 1, 8, 8)


def agreement(first, second, q, seed=99, n=500):
    """Correlation of G1(u) with G2(Q u), about the mean image of each; on latents that nothing else has seen."""
    u = torch.randn(n, len(q), generator=gen(seed))
    with torch.no_grad():
        x, y = first(u).flatten(1), second(u @ q.T).flatten(1)
    return torch.cosine_similarity((x - x.mean(0)).flatten(), (y - y.mean(0)).flatten(), dim=0).item()


# Procrustes


@pytest.mark.parametrize("det", [1, -1])
def test_procrustes_recovers_a_rotation_and_a_reflection(det):
    q, u = orthogonal(6, det=det, dtype=torch.double), torch.randn(50, 6, generator=gen(1)).double()
    assert torch.linalg.det(q).sign() == det
    assert_close(procrustes(u, u @ q.T), q, atol=1e-12, rtol=0)


def test_procrustes_is_the_polar_factor_in_the_type_of_its_points():
    u, v = torch.randn(2, 40, 16, generator=gen(3))
    w, _, vh = torch.linalg.svd(v.double().T @ u.double())
    assert_close(procrustes(u, v), (w @ vh).float(), atol=1e-6, rtol=0)
    assert procrustes(u, v).dtype == torch.float and procrustes(u.requires_grad_(), v).requires_grad is False


def test_procrustes_beats_every_other_orthogonal_matrix_where_none_fits():
    u, v = torch.randn(2, 30, 5, generator=gen(2)).double()
    q = procrustes(u, v)
    assert_close(q @ q.T, torch.eye(5).double())
    least = (u @ q.T - v).norm()
    for seed in range(20):
        a = torch.randn(5, 5, generator=gen(seed)).double()
        near = torch.matrix_exp(0.1 * (a - a.T)) @ q
        assert least < (u @ near.T - v).norm() and least < (u @ orthogonal(5, seed, dtype=torch.double).T - v).norm()


def test_procrustes_in_the_plane_is_the_mean_angle():
    angles = torch.tensor([0.3, 0.4, 0.5]).double()        # unit vectors turned by these angles: turn by their mean
    u = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-0.6, 0.8]]).double()
    v = torch.stack([torch.stack([t.cos() * p[0] - t.sin() * p[1], t.sin() * p[0] + t.cos() * p[1]])
                     for t, p in zip(angles, u, strict=True)])
    q = procrustes(u, v)
    assert torch.atan2(q[1, 0], q[0, 0]).item() == pytest.approx(0.4) and torch.linalg.det(q) > 0


def test_procrustes_refuses_points_that_do_not_pair():
    u = torch.randn(5, 3, generator=gen())
    for v in (u[:4], u[:, :2], u[0]):
        with pytest.raises(ValueError, match="one shape"):
            procrustes(u, v)
    with pytest.raises(ValueError, match="NaN"):
        procrustes(u, u * torch.nan)


# From images to latents


def test_latent_regression_inverts_a_linear_generator():
    u, maps = torch.randn(200, 5, generator=gen()), torch.randn(5, 36, generator=gen(1))
    images = (u @ maps + 3).view(-1, 1, 6, 6)
    assert_close(latent_regression(images, u, ridge=1e-10)(images), u, atol=1e-4, rtol=0)


def test_latent_regression_is_ridge_regression():
    u, images = torch.randn(40, 2, generator=gen()).double(), torch.randn(40, 1, 3, 3, generator=gen(1)).double()
    x, y = images.flatten(1), u - u.mean(0)
    x = x - x.mean(0)
    penalty = (0.5 * x.square().sum() / 9).sqrt() * torch.eye(9).double()      # as nine more rows of least squares
    weights = torch.linalg.lstsq(torch.cat([x, penalty]), torch.cat([y, torch.zeros(9, 2).double()])).solution
    assert_close(latent_regression(images, u, ridge=0.5)(images), x @ weights + u.mean(0))


# Alignment


@pytest.mark.parametrize("det", [1, -1])
def test_align_recovers_a_known_rotation(det):
    first, q = Toy(0), orthogonal(8, seed=3, det=det)

    def second(u):
        return first(u @ q)                                # Q^T u

    found = align(first, second, 8, gen())
    assert_close(found, q, atol=0.02, rtol=0)
    assert agreement(first, second, torch.eye(8)) < 0.3 and agreement(first, second, found) > 0.999


def test_align_recovers_a_rotation_of_the_books_generator():
    torch.manual_seed(0)
    first, q = Generator(latent=16, width=4, size=12, image_channels=1), orthogonal(16, seed=4)
    found = align(first, lambda u: first(u @ q), 16, gen(), n=1024, steps=80)
    assert_close(found, q, atol=0.05, rtol=0)


def test_descent_finds_what_the_regression_misses():
    first, q = Toy(0), orthogonal(8, seed=3)
    u = torch.randn(2000, 8, generator=gen(5))

    def second(u):
        return first(u @ q)

    with torch.no_grad():
        guess = procrustes(u, latent_regression(second(u), u)(first(u)))
    assert misfit(first, second, align(first, second, 8, gen()), u) < 0.01 * misfit(first, second, guess, u)


def test_align_finds_little_between_unrelated_generators():
    first, second = Toy(0), Toy(1)
    found = align(first, second, 8, gen())
    assert_close(found @ found.T, torch.eye(8), atol=1e-5, rtol=0)
    assert agreement(first, second, torch.eye(8)) < agreement(first, second, found) < 0.5


def test_align_is_never_worse_than_the_identity_on_the_latents_it_chooses_on():
    first, second = Toy(0), Toy(1)
    for seed, rate in enumerate([5.0, 1e3, 1e30]):      # descent that goes astray, and that breaks down
        found = align(first, second, 8, gen(seed), n=10, held_out=32, steps=4, rate=rate, restarts=0)
        held_out = torch.randn(42, 8, generator=gen(seed))[10:]
        assert misfit(first, second, found, held_out) <= misfit(first, second, torch.eye(8), held_out)
    assert torch.equal(align(first, first, 8, gen(), n=10, steps=4), torch.eye(8))


def test_align_repeats_itself_and_leaves_the_generators_alone():
    first, second = Toy(0), Toy(1)
    one, two = (align(first, second, 8, gen(6), n=256, steps=8) for _ in range(2))
    assert torch.equal(one, two)
    assert all(p.grad is None for p in [*first.parameters(), *second.parameters()])


def test_align_works_inside_no_grad():
    q = orthogonal(8, seed=3)
    with torch.no_grad():
        assert_close(align(Toy(0), lambda u: Toy(0)(u @ q), 8, gen()), q, atol=0.02, rtol=0)


def test_align_refuses_images_that_do_not_compare():
    with pytest.raises(ValueError, match="one shape"):
        align(Toy(0), lambda u: Toy(1)(u)[..., :4], 8, gen(), n=16)
    with pytest.raises(ValueError, match="finite"):
        align(Toy(0), lambda u: Toy(1)(u) * torch.nan, 8, gen(), n=16)


# The turned denoiser


def one_shot(seed=0, latent=6):
    torch.manual_seed(seed)
    return NetworkDenoiser(GeneratorPair(latent=latent, width=2, size=8), GAN()).eval()


def test_a_turned_denoiser_is_the_generator_at_q_u():
    denoiser, q, z = one_shot(), orthogonal(6), torch.randn(5, 1, 8, 8, generator=gen())
    before = z.clone()
    turned = Rotated(denoiser, q, 6)
    with torch.no_grad():
        expected = denoiser.network.generator(latent_of(z, 6) @ q.T)
    assert_close(sample(turned, z, **turned.sampling), expected)
    assert torch.equal(z, before)


def test_a_turned_denoiser_leaves_the_other_pixels_and_the_label():
    def denoiser(x, sigma, label=None):
        return sigma * x + label.view(-1, 1, 1, 1)

    q, x, label = orthogonal(6), torch.randn(2, 1, 4, 4, generator=gen()), torch.tensor([5.0, 7.0])
    y = (Rotated(denoiser, q, 6)(x, 2.0, label=label) - label.view(-1, 1, 1, 1)).flatten(1) / 2
    assert_close(y[:, 6:], x.flatten(1)[:, 6:])
    assert_close(y[:, :6], x.flatten(1)[:, :6] @ q.T)


def test_a_turned_denoiser_is_sampled_like_the_one_it_came_from():
    denoiser = one_shot()
    turned = Rotated(denoiser, torch.eye(6), 6)
    z = torch.randn(3, 1, 8, 8, generator=gen())
    assert turned.strict and turned.sampling == denoiser.sampling
    assert_close(sample(turned, z, **turned.sampling), sample(denoiser, z, **denoiser.sampling))
    with pytest.raises(ValueError, match="one way of sampling"):
        sample(turned, z, solver="heun")


def test_turning_back_undoes_turning():
    denoiser, q = one_shot(), orthogonal(6, seed=2)
    x = torch.randn(3, 1, 8, 8, generator=gen())
    with torch.no_grad():
        assert_close(Rotated(Rotated(denoiser, q, 6), q.T, 6)(x, 1.0), denoiser(x, 1.0))


@pytest.mark.parametrize("q", [torch.eye(5), 2 * torch.eye(6), torch.ones(6, 6)])
def test_only_an_orthogonal_matrix_turns(q):
    with pytest.raises(ValueError, match="orthogonal"):
        Rotated(one_shot(), q, 6)


def test_the_generator_of_a_turned_denoiser_draws_what_the_denoiser_draws():
    denoiser, first, second = one_shot(), orthogonal(6), orthogonal(6, seed=2)
    twice, u = Rotated(Rotated(denoiser, first, 6), second, 6), torch.randn(4, 6, generator=gen())
    z = torch.cat([u, torch.zeros(4, 58)], 1).view(4, 1, 8, 8)
    with torch.no_grad():
        assert_close(generator_of(twice)(u), denoiser.network.generator(u @ second.T @ first.T))
        assert_close(generator_of(twice)(u), sample(twice, z, **twice.sampling))


def test_turned_finds_back_what_was_turned():
    denoiser = one_shot(seed=3)
    away, z = Rotated(denoiser, orthogonal(6, seed=5), 6), torch.randn(64, 1, 8, 8, generator=gen(9))
    back = turned(denoiser, away, 6, gen(), n=512, held_out=128, restarts=2)
    with torch.no_grad():
        goal, before, after = (sample(D, z, **denoiser.sampling) for D in (denoiser, away, back))
    assert (after - goal).square().mean() < 0.05 * (before - goal).square().mean()


def test_only_a_generator_can_be_turned():
    with pytest.raises(ValueError, match="only a GAN or a VAE"):
        generator_of(nn.Identity())
