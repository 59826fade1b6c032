"""Local machines: against float64 brute force, one pixel and one window at a time, and against the optimal denoiser."""

import pytest
import torch

from helpers.closed_form import (
    EmpiricalDenoiser,
    EquivariantDenoiser,
    GaussianDenoiser,
    LocalDenoiser,
    MaskDenoiser,
    PatchDenoiser,
)
from helpers.closed_form.local import covariance_mask
from helpers.samplers import sample

SIGMAS = [0.02, 0.3, 2.0, 20.0]
SHAPE = (1, 7, 6)


def picture_like(n, shape=SHAPE):
    """uint8 images of low rank."""
    g = torch.Generator().manual_seed(0)
    d = shape[1] * shape[2]
    latent = torch.randn(n, 6, generator=g) @ torch.randn(6, d, generator=g) / 3
    return (255 * (3 * latent).sigmoid()).round().to(torch.uint8).view(n, *shape)


def to_float(images):
    return images.float() / 127.5 - 1


def noisy(images, sigma, n=12):
    g = torch.Generator().manual_seed(1)
    return images[:n] + sigma * torch.randn(images[:n].shape, generator=g)


@pytest.fixture(scope="module")
def images():
    return to_float(picture_like(40))


def mean_of(energy, values, sigma):
    """sum_i w_i values_i with w = softmax(-energy / 2 sigma^2), float64."""
    w = (-(energy - energy.min()) / (2 * sigma**2)).exp()
    return (w / w.sum() @ values).item()


def window(side, at, k):
    return slice(max(0, at - k // 2), min(side, at + k // 2 + 1))


def brute_local(x, y, sigma, k):
    """The local machine's answer to one x (H, W) from y (N, H, W)."""
    answer = torch.empty_like(x)
    for i in range(x.shape[0]):
        for j in range(x.shape[1]):
            part = (..., window(x.shape[0], i, k), window(x.shape[1], j, k))
            answer[i, j] = mean_of((x[part] - y[part]).square().sum((1, 2)), y[:, i, j], sigma)
    return answer


def brute_patch(x, y, sigma, k):
    total, count = torch.zeros_like(x), torch.zeros_like(x)
    for i in range(x.shape[0] - k + 1):
        for j in range(x.shape[1] - k + 1):
            part = (..., slice(i, i + k), slice(j, j + k))
            energy = (x[part] - y[part]).square().sum((1, 2))
            w = (-(energy - energy.min()) / (2 * sigma**2)).exp()
            total[part] += torch.einsum("n,nhw->hw", w / w.sum(), y[part])
            count[part] += 1
    return total / count


def brute_equivariant(x, y, sigma, k):
    """Every pixel against every place of every image where the border cuts the window in the same way."""
    (height, width), r = x.shape, k // 2
    answer = torch.empty_like(x)

    def cut(at, side):
        return min(at, r), min(side - 1 - at, r)

    for i in range(height):
        for j in range(width):
            mine, energies, values = x[window(height, i, k), window(width, j, k)], [], []
            for a in range(height):
                for b in range(width):
                    if cut(a, height) == cut(i, height) and cut(b, width) == cut(j, width):
                        theirs = y[:, window(height, a, k), window(width, b, k)]
                        energies.append((mine - theirs).square().sum((1, 2)))
                        values.append(y[:, a, b])
            answer[i, j] = mean_of(torch.cat(energies), torch.cat(values), sigma)
    return answer


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("machine, brute", [(LocalDenoiser, brute_local), (PatchDenoiser, brute_patch),
                                            (EquivariantDenoiser, brute_equivariant)])
def test_a_machine_equals_brute_force(images, machine, brute, k, sigma):
    x = noisy(images, sigma, n=3)
    expected = torch.stack([brute(one.double(), images[:, 0].double(), sigma, k) for one in x[:, 0]])
    torch.testing.assert_close(machine(images, k)(x, sigma)[:, 0].double(), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("sigma", SIGMAS)
@pytest.mark.parametrize("share", [0.01, 0.3])
def test_the_covariance_mask_machine_equals_brute_force(images, sigma, share):
    gaussian = GaussianDenoiser.fit(images)
    rows = images.flatten(1).double()
    covariance = (rows - rows.mean(0)).T @ (rows - rows.mean(0)) / len(rows)
    filter = torch.linalg.solve(covariance + sigma**2 * torch.eye(42), covariance)
    tied = (filter / filter.diagonal()[:, None]).abs()
    x, answer = noisy(images, sigma, n=3), torch.empty(3, 42, dtype=torch.double)
    for b, one in enumerate(x.flatten(1).double()):
        for m in range(42):
            counts = tied[:, m] >= share * tied.max()
            answer[b, m] = mean_of((one - rows)[:, counts].square().sum(1), rows[:, m], sigma)
    assert 42 < (tied >= share * tied.max()).sum() < 42 * 42
    found = MaskDenoiser(images, gaussian, share)(x, sigma).flatten(1).double()
    torch.testing.assert_close(found, answer, atol=2e-5, rtol=0)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_a_window_that_holds_the_image_gives_the_optimal_denoiser(sigma):
    images = to_float(picture_like(60, (1, 8, 8)))
    x, optimal = noisy(images, sigma), EmpiricalDenoiser(images)
    machines = [LocalDenoiser(images, 15), PatchDenoiser(images, 8), EquivariantDenoiser(images, 15),
                MaskDenoiser(images, GaussianDenoiser.fit(images), share=0.0)]
    for machine in machines:
        torch.testing.assert_close(machine(x, sigma), optimal(x, sigma), atol=2e-5, rtol=0)


def test_a_window_may_change_with_the_noise_level_and_every_image_has_its_own(images):
    machine, x = LocalDenoiser(images, lambda sigma: 3 if sigma < 1 else 5), noisy(images, 1.0, n=2)
    small, large = (LocalDenoiser(images, k) for k in (3, 5))
    both = torch.stack([small(x[:1], 0.5)[0], large(x[1:], 2.0)[0]])
    torch.testing.assert_close(machine(x, torch.tensor([0.5, 2.0])), both)
    equivariant = EquivariantDenoiser(images, lambda sigma: 3 if sigma < 1 else 5)
    torch.testing.assert_close(equivariant(x, torch.tensor([0.5, 2.0]))[1:], EquivariantDenoiser(images, 5)(x[1:], 2.0))


def test_a_shuffle_of_the_pixels_is_seen_by_windows_and_not_by_the_covariance(images):
    """P^-1 D_P P = D for the mask, whatever the order of the pixels; a window of the grid is another one afterwards."""
    order = torch.randperm(42, generator=torch.Generator().manual_seed(0))
    x = noisy(images, 0.5, n=4)

    def shuffled(t, order=order):
        return t.flatten(1)[:, order].view_as(t)

    there = shuffled(images)
    mask, again = (MaskDenoiser(y, GaussianDenoiser.fit(y), 0.2) for y in (images, there))
    torch.testing.assert_close(again(shuffled(x), 0.5), shuffled(mask(x, 0.5)), atol=1e-4, rtol=0)
    local = LocalDenoiser(there, 3)(shuffled(x), 0.5)
    assert (local - shuffled(LocalDenoiser(images, 3)(x, 0.5))).abs().max() > 0.05


def test_the_equivariant_machine_forgets_where_a_patch_was():
    """A bright dot that training images have in one place is denoised in another: away from the border, and there alone."""
    images = -torch.ones(1, 1, 12, 12)
    images[0, 0, 4, 4] = 1.0
    moved = images.roll((3, 2), (2, 3))
    assert LocalDenoiser(images, 3)(moved, 0.1)[0, 0, 7, 6] < -0.9
    torch.testing.assert_close(EquivariantDenoiser(images, 3)(moved, 0.1), moved, atol=1e-4, rtol=0)


def test_any_sampler_takes_a_machine_and_its_images_are_new(images):
    z = torch.randn(5, *SHAPE, generator=torch.Generator().manual_seed(0))
    for machine in (LocalDenoiser(images, 3), PatchDenoiser(images, 3), EquivariantDenoiser(images, 3)):
        x = sample(machine, z, solver="euler", steps=12)
        assert torch.cdist(x.flatten(1), images.flatten(1)).amin() > 0.5 and x.abs().max() < 1.01
    x = sample(EmpiricalDenoiser(images), z, solver="euler", steps=12)
    assert torch.cdist(x.flatten(1), images.flatten(1)).amin(1).amax() < 0.01


def test_uint8_images_are_those_in_minus_1_to_1(images):
    raw = picture_like(40)
    x = noisy(images, 0.3, n=2)
    for machine in (LocalDenoiser, PatchDenoiser, EquivariantDenoiser):
        torch.testing.assert_close(machine(raw, 3)(x, 0.3), machine(images, 3)(x, 0.3), atol=1e-6, rtol=0)


def test_pixels_that_never_vary_count_for_themselves_alone():
    images = to_float(picture_like(20, (1, 4, 4)))
    images[:, 0, 0] = -1.0
    mask = covariance_mask(GaussianDenoiser.fit(images), 0.5, 0.005)
    assert mask[:4, :4].equal(torch.eye(4, dtype=torch.bool)) and not mask[:4, 4:].any()


@pytest.mark.parametrize("make, words", [
    (lambda y: LocalDenoiser(y, 4)(y, 1.0), "odd whole number"),
    (lambda y: LocalDenoiser(y, 2.5)(y, 1.0), "odd whole number"),
    (lambda y: PatchDenoiser(y, 0)(y, 1.0), "whole number of pixels"),
    (lambda y: EquivariantDenoiser(y, lambda sigma: -1)(y, 1.0), "odd whole number"),
    (lambda y: LocalDenoiser(y, 3)(y[:2], torch.ones(3)), "one for each of the 2 images"),
    (lambda y: LocalDenoiser(y, 3)(y[:, :, :2], 1.0), "x must be"),
    (lambda y: MaskDenoiser(y, GaussianDenoiser.fit(y[:, :, :3])), "their own Gaussian"),
    (lambda y: MaskDenoiser(y, GaussianDenoiser.fit(y), 2.0), r"in \[0, 1\]"),
])
def test_a_wrong_request_is_one_clear_line(images, make, words):
    with pytest.raises(ValueError, match=words) as error:
        make(images)
    assert "\n" not in str(error.value)
