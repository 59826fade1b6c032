"""closed_form.py: against float64 oracles written by subtraction, against brute force, and against identities."""

import math

import numpy as np
import pytest
import torch

from helpers.closed_form import EmpiricalDenoiser, GaussianDenoiser, nearest_images
from helpers.samplers import sample

SIGMAS = [1e-3, 3e-3, 1e-2, 0.1, 0.5, 1.0, 3.0, 10.0, 80.0, 1e3]


def picture_like(n, shape=(1, 28, 28), seed=0):
    """uint8 images of low rank, the second half near twins of the first, so that several share a posterior."""
    rng = np.random.default_rng(seed)
    d = math.prod(shape)
    latent = rng.standard_normal((n, 6)) @ rng.standard_normal((6, d)) / 3
    latent[n // 2:] = latent[:n - n // 2] + 0.02 * rng.standard_normal((n - n // 2, d))
    return torch.from_numpy((255 / (1 + np.exp(-3 * latent))).round().astype(np.uint8)).view(n, *shape)


def to_float(images):
    return images.float() / 127.5 - 1 if images.dtype == torch.uint8 else images


def oracle(x, images, sigma):
    """Theorem 1 in float64: distances by subtraction, one image at a time."""
    x, y = x.double().flatten(1).numpy(), images.double().flatten(1).numpy()
    logits = -np.stack([((row - y) ** 2).sum(1) for row in x]) / (2 * sigma**2)
    w = np.exp(logits - logits.max(1, keepdims=True))
    w /= w.sum(1, keepdims=True)
    return torch.from_numpy(w @ y), w


def relative_error(result, expected):
    result, expected = result.double().flatten(1), expected.flatten(1)
    return ((result - expected).norm(dim=1) / expected.norm(dim=1)).max()


def noisy(images, sigma, n=12, seed=1):
    g = torch.Generator().manual_seed(seed)
    x0 = to_float(images)[torch.randint(len(images), (n,), generator=g)]
    return x0 + sigma * torch.randn(x0.shape, generator=g)


@pytest.mark.parametrize("sigma", SIGMAS)
def test_empirical_equals_the_oracle(sigma):
    images = to_float(picture_like(701))
    x = noisy(images, sigma)
    assert relative_error(EmpiricalDenoiser(images, chunk=128)(x, sigma), oracle(x, images, sigma)[0]) < 1e-5


def halfway(images, sigma, n=8):
    """x between an image and its twin, noisy across their difference only: at every sigma both have equal weight."""
    a, b = images[:n].flatten(1), images[len(images) // 2:][:n].flatten(1)
    axis = torch.nn.functional.normalize(a - b)
    eps = torch.randn(a.shape, generator=torch.Generator().manual_seed(2))
    eps -= (eps * axis).sum(1, keepdim=True) * axis
    return ((a + b) / 2 + sigma * eps).view_as(images[:n])


@pytest.mark.parametrize("sigma", SIGMAS)
def test_empirical_where_two_images_share_the_posterior(sigma):
    """Here an error in the exponent shows directly in the weights."""
    images = to_float(picture_like(300))
    x = halfway(images, sigma)
    assert relative_error(EmpiricalDenoiser(images, chunk=77)(x, sigma), oracle(x, images, sigma)[0]) < 1e-5


@pytest.mark.parametrize("sigma", [1e-3, 1.0, 1e3])
def test_empirical_far_from_the_data(sigma):
    """Mismatched noise levels, and an x that no noise level explains, must neither overflow nor lose the digits."""
    images = to_float(picture_like(200))
    for x in (noisy(images, 80.0), 1e4 * torch.ones(2, 1, 28, 28), torch.zeros(2, 1, 28, 28)):
        result = EmpiricalDenoiser(images, chunk=64)(x, sigma)
        assert result.isfinite().all() and relative_error(result, oracle(x, images, sigma)[0]) < 1e-5


def test_float32_distances_would_fail_these_tests():
    sigma, images = 0.01, to_float(picture_like(300))
    x = halfway(images, sigma)
    a, b = x.flatten(1), images.flatten(1)
    squared = a.square().sum(1, keepdim=True) + b.square().sum(1) - 2 * a @ b.T
    assert relative_error((-squared / (2 * sigma**2)).softmax(1) @ b, oracle(x, images, sigma)[0]) > 1e-5


@pytest.mark.parametrize("sigma", [1e-3, 0.3, 4.0, 80.0])
def test_chunks_order_and_type_of_the_images_do_not_matter(sigma):
    images = picture_like(333)
    x = noisy(images, sigma)
    whole = EmpiricalDenoiser(images, chunk=10_000)(x, sigma)
    order = torch.randperm(333, generator=torch.Generator().manual_seed(0))
    for other in (EmpiricalDenoiser(images, chunk=1), EmpiricalDenoiser(images, chunk=100),
                  EmpiricalDenoiser(images[order], chunk=50), EmpiricalDenoiser(to_float(images))):
        torch.testing.assert_close(other(x, sigma), whole, rtol=1e-5, atol=1e-5)


def test_memory_does_not_grow_with_the_images():
    """The largest tensor made during a call is a chunk's, however many images there are."""
    largest = {}

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            out = func(*args, **(kwargs or {}))
            fresh = isinstance(out, torch.Tensor) and not func.is_view
            largest[n] = max(largest[n], out.numel() if fresh else 0)
            return out

    for n in (192, 640):
        model, x = EmpiricalDenoiser(picture_like(n), chunk=64), torch.randn(4, 1, 28, 28)
        largest[n] = 0
        with Watch():
            model(x, 1.0)
    assert largest[192] == largest[640] == 64 * 784


def test_empirical_limits():
    images = to_float(picture_like(100))
    model, x = EmpiricalDenoiser(images), torch.randn(6, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    nearest = nearest_images(x, images)[1][:, 0]
    for sigma in (1e-3, 0.0):
        torch.testing.assert_close(model(x, sigma), images[nearest], rtol=0, atol=1e-6)
    torch.testing.assert_close(model(x, 1e6), images.mean(0).expand(6, 1, 28, 28), rtol=0, atol=1e-5)
    torch.testing.assert_close(EmpiricalDenoiser(images[:1])(x, 2.0), images[:1].expand(6, 1, 28, 28))


def test_duplicates_count_twice():
    images = to_float(picture_like(3, (1, 2, 2)))
    x = torch.zeros(1, 1, 2, 2)
    twice = EmpiricalDenoiser(torch.cat([images, images[:1]]), chunk=2)(x, 1.0)
    w = oracle(x, images, 1.0)[1][0] * [2, 1, 1]
    expected = torch.from_numpy(w / w.sum()) @ images.double().flatten(1)
    torch.testing.assert_close(twice.double().flatten(), expected)


def test_sigma_per_image():
    images = picture_like(50, (1, 8, 8))
    model, x, sigma = EmpiricalDenoiser(images), torch.randn(3, 1, 8, 8), torch.tensor([0.1, 3.0, 40.0])
    for one in (model, GaussianDenoiser.fit(images)):
        expected = torch.cat([one(x[i:i + 1], s.item()) for i, s in enumerate(sigma)])
        torch.testing.assert_close(one(x, sigma), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="one for each of the 3 images, got 2"):
        model(x, sigma[:2])


@pytest.mark.parametrize("sigma", [1e-3, 1.0, 80.0])
def test_labels_restrict_the_images(sigma):
    images, labels = picture_like(120), torch.arange(120) // 40
    x, label = noisy(images, sigma, 6), torch.tensor([0, 1, 2, 2, 1, 0])
    result = EmpiricalDenoiser(images, labels, chunk=32)(x, sigma, label)
    for c in range(3):
        alone = EmpiricalDenoiser(images[labels == c])(x[label == c], sigma)
        torch.testing.assert_close(result[label == c], alone, rtol=1e-5, atol=1e-6)


def test_jacobian_is_the_posterior_covariance():
    """dD/dx = Cov[x0 | x] / sigma^2, so the guided denoisers may differentiate through it."""
    images, sigma = torch.randn(9, 1, 2, 2, dtype=torch.float64), 0.8
    x = torch.randn(1, 1, 2, 2, dtype=torch.float64)
    model = EmpiricalDenoiser(images, chunk=4)
    jacobian = torch.autograd.functional.jacobian(lambda u: model(u, sigma).flatten(), x).view(4, 4)
    w, y = torch.from_numpy(oracle(x, images, sigma)[1][0]), images.flatten(1)
    centered = y - w @ y
    torch.testing.assert_close(jacobian, (centered * w[:, None]).T @ centered / sigma**2)


def test_nearest_images():
    images = picture_like(401)
    x = torch.cat([noisy(images, 0.2, 20), to_float(images[300:303])])
    exact = (x.double().flatten(1)[:, None] - (images.double().flatten(1) / 127.5 - 1)[None]).norm(dim=2)
    expected, order = exact.sort(dim=1)
    distance, index = nearest_images(x, images, k=3, chunk=50)
    torch.testing.assert_close(distance, expected[:, :3], rtol=1e-12, atol=1e-12)
    assert torch.equal(index, order[:, :3])
    copies, where = nearest_images(to_float(images).double()[[5, 400]], to_float(images))
    assert copies[:, 0].tolist() == [0, 0] and where[:, 0].tolist() == [5, 400]
    assert nearest_images(x[:0], images)[0].shape == (0, 2)
    assert nearest_images(x, images[:3], k=3, chunk=1)[1].sort(1)[0].tolist() == [[0, 1, 2]] * 23


def random_gaussian(shape=(1, 2, 3), seed=0, rank=None):
    g = torch.Generator().manual_seed(seed)
    d = math.prod(shape)
    factor = torch.randn(d, rank or d, generator=g, dtype=torch.float64)
    mean = torch.randn(shape, generator=g, dtype=torch.float64)
    return GaussianDenoiser(mean, factor @ factor.T / d), mean, factor @ factor.T / d


@pytest.mark.parametrize("sigma", [1e-3, 0.5, 80.0, 1e3])
def test_gaussian_is_the_conditional_expectation(sigma):
    """E[x0 | x] of the joint Gaussian of (x0, x), by solving with C + sigma^2 I."""
    model, mean, cov = random_gaussian()
    x = mean + (1 + sigma) * torch.randn(5, 1, 2, 3, dtype=torch.float64)
    noisy_cov = cov + sigma**2 * torch.eye(6, dtype=torch.float64)
    expected = mean.flatten() + torch.linalg.solve(noisy_cov, (x - mean).flatten(1).T).T @ cov
    torch.testing.assert_close(model(x, sigma).flatten(1), expected, rtol=1e-7, atol=1e-7)
    torch.testing.assert_close(model(x.float(), sigma), model(x, sigma).float(), rtol=1e-4, atol=1e-4)


def test_gaussian_fit_takes_the_moments_of_the_images():
    images = picture_like(90, (3, 4, 4))
    model = GaussianDenoiser.fit(images, chunk=40)
    rows = images.flatten(1).numpy() / 127.5 - 1
    np.testing.assert_allclose(model.mean.flatten(), rows.mean(0), atol=1e-12)
    np.testing.assert_allclose((model.basis * model.lam) @ model.basis.T, np.cov(rows.T, bias=True), atol=1e-12)


def test_gaussian_limits_with_fewer_images_than_pixels():
    images = to_float(picture_like(10, (1, 16, 16)))
    model, x = GaussianDenoiser.fit(images), torch.randn(4, 1, 16, 16)
    torch.testing.assert_close(model(images, 0.0), images, rtol=0, atol=1e-4)
    torch.testing.assert_close(model(x, 1e6), images.mean(0).expand(4, 1, 16, 16), rtol=0, atol=1e-4)
    assert model.flow(x, 80.0).isfinite().all()


def test_score_identity():
    """(D(x, sigma) - x) / sigma^2 = grad log p(x; sigma) (Tweedie), p from torch's own normal distribution."""
    model, mean, cov = random_gaussian(seed=1)
    sigma, x = 0.7, torch.randn(4, 1, 2, 3, dtype=torch.float64, requires_grad=True)
    p = torch.distributions.MultivariateNormal(mean.flatten(), cov + sigma**2 * torch.eye(6, dtype=torch.float64))
    score = torch.autograd.grad(p.log_prob(x.flatten(1)).sum(), x)[0]
    torch.testing.assert_close((model(x, sigma) - x) / sigma**2, score)


def test_flow_solves_the_ode():
    """Runge-Kutta 4 on dx/dlog(sigma) = x - D(x, sigma), thousands of steps, as the independent solution."""
    model, mean, cov = random_gaussian(seed=4)
    z = torch.randn(3, 1, 2, 3, dtype=torch.float64)
    top, low, n = 80.0, 0.01, 2000
    h, x = math.log(low / top) / n, 80.0 * z.flatten(1)
    eye, mu = torch.eye(6, dtype=torch.float64), mean.flatten()

    def slope(x, log_sigma):
        var = math.exp(2 * log_sigma)
        return (x - mu) @ (var * torch.linalg.inv(cov + var * eye))

    for i in range(n):
        at = math.log(top) + i * h
        k1 = slope(x, at)
        k2 = slope(x + h / 2 * k1, at + h / 2)
        k3 = slope(x + h / 2 * k2, at + h / 2)
        x = x + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(x + h * k3, at + h))
    torch.testing.assert_close(model.flow(z, top, low).flatten(1), x, rtol=1e-8, atol=1e-8)
    torch.testing.assert_close(model.flow(z, 80.0, 80.0), 80.0 * z)


def test_errors_say_what_is_wrong():
    images, x = picture_like(4), torch.zeros(2, 1, 28, 28)
    for call, message in (
        (lambda: EmpiricalDenoiser(images[:0]), r"N >= 1, got \(0, 1, 28, 28\)"),
        (lambda: EmpiricalDenoiser(images[0]), r"must be \(N, C, H, W\)"),
        (lambda: EmpiricalDenoiser(images.long()), "must be uint8"),
        (lambda: EmpiricalDenoiser(images, torch.zeros(3)), r"labels must be \(4,\)"),
        (lambda: EmpiricalDenoiser(images, chunk=0), "chunk must be at least 1"),
        (lambda: EmpiricalDenoiser(images)(x[:, :, :5], 1.0), r"x must be \(B, 1, 28, 28\), got \(2, 1, 5, 28\)"),
        (lambda: EmpiricalDenoiser(images)(x, 1.0, torch.zeros(2).long()), "without classes: leave label out"),
        (lambda: EmpiricalDenoiser(images, torch.arange(4))(x, 1.0, torch.tensor([0, 7])), "classes 0 to 3, got .* 0 to 7"),
        (lambda: EmpiricalDenoiser(images, torch.zeros(4)), "labels must be whole numbers, 0 to k-1 .* got torch.float32"),
        (lambda: EmpiricalDenoiser(images, torch.tensor([0, 1, 1, 3])), r"an image for each .* got \[0, 1, 3\]"),
        (lambda: EmpiricalDenoiser(images)(x.long(), 1.0), "x must be floats, got torch.int64"),
        (lambda: nearest_images(x, images, k=5), "k must be from 1 to 4"),
        (lambda: GaussianDenoiser(torch.zeros(1, 2, 2), torch.eye(3)), "covariance"),
        (lambda: GaussianDenoiser.fit(images[:0]), "N >= 1"),
        (lambda: random_gaussian()[0](x, 1.0), "x must be"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


@pytest.mark.parametrize("sigma", [0.002, 0.05, 0.5, 5.0])
def test_the_gradient_of_the_empirical_denoiser_is_the_posterior_covariance(sigma):
    """J = Cov_w(y) / sigma^2, from the weights themselves in float64; where one image is certain, J is 0."""
    images, generator = picture_like(50), torch.Generator().manual_seed(0)
    rows = images.flatten(1).double() / 127.5 - 1
    x = (images[:3].float() / 127.5 - 1 + sigma * torch.randn(3, 1, 28, 28, generator=generator)).requires_grad_()
    g = torch.randn(3, 1, 28, 28, generator=generator)
    (found,) = torch.autograd.grad(EmpiricalDenoiser(images, chunk=7)(x, sigma), x, g)
    w = (-torch.cdist(x.detach().flatten(1).double(), rows) ** 2 / (2 * sigma**2)).softmax(1)       # (3, 50)
    centered = rows - (w @ rows)[:, None]                                                           # (3, 50, 784)
    expected = (w * (centered @ g.flatten(1).double()[:, :, None])[..., 0])[:, None] @ centered / sigma**2
    torch.testing.assert_close(found.flatten(1).double(), expected[:, 0], atol=1e-3, rtol=1e-3)


def tiny():
    """Nine images of four pixels, x between them, in float64, and their labels."""
    generator = torch.Generator().manual_seed(0)
    images, x = (torch.randn(n, 1, 2, 2, dtype=torch.float64, generator=generator) for n in (9, 3))
    return EmpiricalDenoiser(images, torch.arange(9) % 3, chunk=4), x


@pytest.mark.parametrize("sigma", [0.8, torch.tensor([0.5, 0.8, 2.0])], ids=["number", "one an image"])
@pytest.mark.parametrize("label", [None, torch.tensor([2, 0, 1])], ids=["unlabeled", "labeled"])
def test_torch_func_gives_the_gradient_of_autograd(sigma, label):
    model, x = tiny()

    def ask(x):
        return model(x, sigma, label)

    full = torch.autograd.functional.jacobian(ask, x)
    g = torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    pulled = torch.einsum("bchw,bchwnijk->nijk", g, full)
    torch.testing.assert_close(torch.func.vjp(ask, x)[1](g)[0], pulled)
    torch.testing.assert_close(torch.func.grad(lambda x: (g * ask(x)).sum())(x), pulled)
    torch.testing.assert_close(torch.func.jvp(ask, (x,), (g,))[1], torch.einsum("bchwnijk,nijk->bchw", full, g))
    for jacobian in (torch.func.jacrev, torch.func.jacfwd):
        torch.testing.assert_close(jacobian(ask)(x), full)


@pytest.mark.parametrize("shared", [True, False])
def test_vmap_joins_the_batch(shared):
    """Over x, over sigma, over both, over x that has several images; and over gradients of single ones."""
    model, x = tiny()
    sigmas = torch.tensor([0.5, 0.8, 2.0], dtype=x.dtype)
    if shared:
        found = torch.func.vmap(lambda s: model(x, s))(sigmas)
        torch.testing.assert_close(found, torch.stack([model(x, s.item()) for s in sigmas]))
        pairs = torch.stack([x[:2], x[1:]])
        torch.testing.assert_close(torch.func.vmap(lambda u: model(u, sigmas[:2]))(pairs),
                                   torch.stack([model(u, sigmas[:2]) for u in pairs]))
    else:
        one = torch.func.vmap(lambda u, s: model(u[None], s)[0])
        torch.testing.assert_close(one(x, sigmas), model(x, sigmas))
        single = torch.func.vmap(torch.func.grad(lambda u, s: model(u[None], s).square().sum()))
        u = x.clone().requires_grad_()
        torch.testing.assert_close(single(x, sigmas), torch.autograd.grad(model(u, sigmas).square().sum(), u)[0])


def test_a_second_derivative_is_an_error():
    model, x = tiny()
    for second in (lambda: torch.func.hessian(lambda u: model(u, 1.0).square().sum())(x),
                   lambda: torch.func.grad(lambda v: torch.func.grad(lambda u: model(u, 1.0).sum())(v).sum())(x)):
        with pytest.raises(RuntimeError, match="^an empirical denoiser is differentiable once"):
            second()


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_numbers_that_are_not_finite_are_an_error(bad):
    images, x = to_float(picture_like(6, (1, 2, 2))), torch.zeros(2, 1, 2, 2)
    broken, eye = images.clone(), torch.eye(4)
    broken[4, 0, 1, 0] = bad
    for call, name in (
        (lambda: EmpiricalDenoiser(broken), "images"), (lambda: GaussianDenoiser.fit(broken), "images"),
        (lambda: nearest_images(x, broken), "images"), (lambda: nearest_images(broken, images), "x"),
        (lambda: GaussianDenoiser(broken[4], eye), "mean"), (lambda: GaussianDenoiser(images[0], bad * eye), "covariance"),
    ):
        with pytest.raises(ValueError, match=f"^{name} must be finite, got NaN or infinity$"):
            call()


def test_a_covariance_is_symmetric_and_not_negative():
    mean, skew = torch.zeros(1, 2, 2), torch.eye(4)
    skew[0, 1] = 0.5
    for covariance, message in ((skew, "must be symmetric"), (-torch.eye(4), "semidefinite, got an eigenvalue of -1")):
        with pytest.raises(ValueError, match=message):
            GaussianDenoiser(mean, covariance)
    assert GaussianDenoiser(mean, torch.zeros(4, 4))(mean[None] + 1, 1.0).abs().max() == 0


def test_labels_say_the_classes_so_that_sampling_checks_them():
    images, labels = picture_like(30, (1, 4, 4)), torch.arange(30) % 3
    model, z = EmpiricalDenoiser(images, labels), torch.randn(4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert model.classes == 3 and EmpiricalDenoiser(images).classes == 0
    distance, index = nearest_images(sample(model, z, label=[2, 0, 1, 2]), images)
    assert labels[index[:, 0]].tolist() == [2, 0, 1, 2] and distance[:, 0].max() < 0.01
    with pytest.raises(ValueError, match="^this denoiser knows the classes 0 to 2, got labels from 3 to 3$"):
        sample(model, z, label=3)
