"""Random features under gradient flow: their means against Monte Carlo, their training against small steps of descent."""

import pytest
import torch

from helpers.closed_form.random_features import RandomFeatures, error, learning_curves, weights

LAM = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64)
FEATURES = RandomFeatures(3, 24, sigma=0.4, scale=1.5, seed=3)


def gaussian(n, seed=0):
    return torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * LAM.sqrt()


def monte_carlo(x0, draws):
    g = torch.Generator().manual_seed(1)
    u, v = torch.zeros(24, 24, dtype=torch.float64), torch.zeros(3, 24, dtype=torch.float64)
    for _ in range(draws):
        eps = torch.randn(x0.shape, generator=g, dtype=torch.float64)
        phi = FEATURES(x0 + 0.4 * eps)
        u, v = u + phi.T @ phi / (len(x0) * draws), v + eps.T @ phi / (len(x0) * draws)
    return u, v


def test_the_means_over_the_noise_are_those_of_many_draws():
    x0 = gaussian(5)
    for exact, found in zip(FEATURES.of_images(x0), monte_carlo(x0, 40_000)):
        torch.testing.assert_close(found, exact, rtol=0, atol=0.005)


def test_the_means_over_gaussian_images_are_those_of_many_images():
    for exact, found in zip(FEATURES.of_gaussian(LAM), FEATURES.of_images(gaussian(400_000))):
        torch.testing.assert_close(found, exact, rtol=0, atol=0.002)


def test_the_error_is_the_mean_square_of_what_is_missed():
    x0, a = gaussian(4), torch.randn(3, 24, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    eps = torch.randn(100_000, 4, 3, generator=torch.Generator().manual_seed(6), dtype=torch.float64)
    phi = FEATURES((x0 + 0.4 * eps).flatten(0, 1))
    missed = (phi @ a.T - eps.flatten(0, 1)).square().mean().item()
    assert error(a, FEATURES.of_images(x0)) == pytest.approx(missed, rel=0.01)


def test_the_flow_is_the_limit_of_small_steps_of_gradient_descent():
    u, v = train = FEATURES.of_images(gaussian(6))
    a, step = torch.zeros_like(v), 1e-3
    for _ in range(5000):
        a = a + step * (v - a @ u)                      # minus d/2 times the gradient of L
    torch.testing.assert_close(weights(train, 5.0), a, rtol=0, atol=1e-3 * a.abs().max().item())


def test_curves_are_the_errors_of_the_weights_and_end_in_the_least_squares_solution():
    train, test = FEATURES.of_images(gaussian(6)), FEATURES.of_gaussian(LAM)
    taus = torch.tensor([0.0, 0.7, 30.0, 1e14], dtype=torch.float64)
    known, unseen = learning_curves(train, test, taus)
    for tau, one, other in zip(taus.tolist(), known.tolist(), unseen.tolist()):
        a = weights(train, tau)
        assert one == pytest.approx(error(a, train), rel=1e-6) and other == pytest.approx(error(a, test), rel=1e-6)
    u, v = train
    best = 1 - (v @ torch.linalg.pinv(u, hermitian=True, rtol=1e-12) * v).sum().item() / 3
    assert known[0] == unseen[0] == 1 and known[-1].item() == pytest.approx(best, rel=1e-3)
    assert (known.diff() < 0).all()


def test_no_training_beats_the_gaussian_denoiser_on_gaussian_images():
    """Its error in the noise is lam / (lam + sigma^2) a dimension."""
    test, bound = FEATURES.of_gaussian(LAM), (LAM / (LAM + 0.16)).mean().item()
    endless = learning_curves(test, test, torch.logspace(-1, 6, 15, dtype=torch.float64))[1]
    few = learning_curves(FEATURES.of_images(gaussian(8)), test, torch.logspace(-1, 6, 15, dtype=torch.float64))[1]
    assert bound < endless.min() < few.min() and endless.min().item() == pytest.approx(bound, rel=0.05)


@pytest.mark.parametrize("wrong, words", [
    (lambda: RandomFeatures(0, 4, 0.1, 1.0), "d, p >= 1"), (lambda: RandomFeatures(2, 4, 0.0, 1.0), "positive sigma"),
    (lambda: FEATURES.of_images(torch.zeros(2, 4)), r"\(n, 3\)"),
    (lambda: learning_curves(*[FEATURES.of_gaussian(LAM)] * 2, torch.tensor([-1.0])), "0 or later")])
def test_a_wrong_request_is_one_clear_line(wrong, words):
    with pytest.raises(ValueError, match=words):
        wrong()
