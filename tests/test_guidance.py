"""guidance.py: a Gaussian prior, whose posterior is known; azula, an independent implementation; errors."""

from functools import cache
from types import SimpleNamespace

import pytest
import torch
from azula.denoise import Denoiser, DiracPosterior
from azula.guidance import DPSSampler, MMPSDenoiser
from azula.noise import VPSchedule

from helpers.closed_form import EmpiricalDenoiser, GaussianDenoiser
from helpers.guidance import DPS, Borrowed, MomentMatching, conjugate_gradients
from helpers.operators import Mask, Pool, gaussian_blur
from helpers.samplers import SOLVERS, sample

SHAPE, EYE = (1, 4, 4), torch.eye(16, dtype=torch.float64)
POOL, MASK, BLUR = Pool(SHAPE, 2), Mask(torch.arange(16).view(4, 4) < 9, "mask"), gaussian_blur(SHAPE, 0.3)
BOTH = pytest.mark.parametrize("a", [POOL, MASK], ids=lambda a: a.name)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@cache
def gaussian_problem(a, noise=0.1):
    """x0 ~ N(mu, C), the k-th variance 1/k, and a measurement y of one x0: prior, y, A as a matrix, and p(x0 | y)."""
    basis, lam = torch.linalg.qr(randn(16, 16))[0], 1 / torch.arange(1, 17, dtype=torch.float64)
    mu, c, matrix = 0.3 * randn(16, seed=1), basis * lam @ basis.T, a(EYE.view(16, *SHAPE)).flatten(1).T
    y = matrix @ (mu + basis @ (lam.sqrt() * randn(16, seed=2))) + noise * randn(len(matrix), seed=3)

    def given(seen, values, stds):
        """Mean (B, 16) and covariance of x0 given values (B, k) = seen x0 + stds eps."""
        gain = c @ seen.T @ torch.linalg.inv(seen @ c @ seen.T + torch.tensor(stds, dtype=c.dtype).square().diag())
        return mu + (values - mu @ seen.T) @ gain.T, c - gain @ seen @ c

    ((mean,), covariance), see = given(matrix, y[None], [noise] * len(y)), torch.linalg.pinv(matrix) @ matrix
    return SimpleNamespace(
        prior=GaussianDenoiser(mu.view(SHAPE), c), posterior=GaussianDenoiser(mean.view(SHAPE), covariance), mean=mean,
        covariance=covariance, y=y.view(1, *a.measured), matrix=matrix, see=see, hide=EYE - see, given=given)


class Network(torch.nn.Module):
    """A small denoiser with weights, classes and a Jacobian that is not symmetric."""

    def __init__(self, seed=0):
        super().__init__()
        self.first, self.last = (torch.nn.Parameter(randn(16, 16, seed=seed + i) / 8) for i in range(2))

    def forward(self, x, sigma, label=None):
        first, scale = self.first.to(x), 1 + torch.as_tensor(sigma, dtype=x.dtype).reshape(-1, 1) ** 2
        rows = x.flatten(1) / scale + (0 if label is None else first[label])
        return (rows + (rows @ first).tanh() @ self.last.to(x)).view_as(x)


NETWORK, EMPIRICAL, Y = Network(), EmpiricalDenoiser(0.4 * randn(6, *SHAPE, seed=7)), randn(3, 1, 2, 2, seed=8)
NONLINEAR = pytest.mark.parametrize("denoiser", [NETWORK, EMPIRICAL], ids=["network", "empirical"])
GUIDED = pytest.mark.parametrize("guide", [
    lambda d, y: DPS(d, POOL, y, 0.5), lambda d, y: MomentMatching(d, POOL, y, 0.2),
    lambda d, y: Borrowed(d, DPS(d, POOL, y, 0.5))], ids=["dps", "moments", "borrowed"])


@pytest.mark.parametrize("a", [POOL, MASK, BLUR], ids=lambda a: a.name)
@pytest.mark.parametrize("sigma", [0.01, 0.3, 2.0, 80.0])
def test_moment_matching_is_the_mean_given_x_and_y(a, sigma):
    """E[x0 | x, y] of the joint Gaussian, if the conjugate gradients go on to their end; nearly, after three steps."""
    g, x, m = gaussian_problem(a), (1 + sigma) * randn(5, *SHAPE, seed=4), gaussian_problem(a).y.numel()
    values = torch.cat([x.flatten(1), g.y.flatten(1).expand(5, m)], 1)
    expected = g.given(torch.cat([EYE, g.matrix]), values, [sigma] * 16 + [0.1] * m)[0].view_as(x)
    exact, few = (MomentMatching(g.prior, a, g.y, 0.1, k)(x, sigma) for k in (m + 4, 3))
    torch.testing.assert_close(exact, expected, rtol=0, atol=1e-9)
    assert (few - expected).norm() < 0.3 * (g.prior(x, sigma) - expected).norm()


@BOTH
def test_sampling_moment_matching_gives_the_posterior_exactly(a):
    """The map from z to the image is affine: what it makes of 0 and of the basis is its mean and covariance."""
    g, z = gaussian_problem(a), torch.cat([torch.zeros(1, 16), EYE]).view(17, *SHAPE)
    guided = MomentMatching(g.prior, a, g.y, 0.1, len(g.matrix))
    coarse, x = (sample(guided, z, "heun", steps, sigma_max=300.0, batch=None) for steps in (20, 40))
    error, coarse_error = ((found - g.posterior.flow(z, 300.0)).abs().max() for found in (x, coarse))
    assert error < min(0.01, coarse_error / 3)                              # heun is of order 2
    rows = (x[1:] - x[0]).flatten(1)                                        # 300 moves the mean by |mean| / 300
    torch.testing.assert_close(x[0].flatten(), g.mean, rtol=0, atol=0.01)
    torch.testing.assert_close(rows.T @ rows, g.covariance, rtol=0, atol=0.01)


def test_samples_of_moment_matching_have_the_posteriors_moments():
    """In every entry, within 5 standard errors, and 0.02 for the 18 steps of the solver."""
    g, n = gaussian_problem(POOL), 2000
    x = sample(MomentMatching(g.prior, POOL, g.y, 0.1, 4), randn(n, *SHAPE, seed=5), batch=None).flatten(1)
    c, v = g.covariance, g.covariance.diag()
    assert ((x.mean(0) - g.mean).abs() < 5 * (v / n).sqrt() + 0.02).all()
    assert ((x.T.cov() - c).abs() < 5 * ((v.outer(v) + c**2) / n).sqrt() + 0.02).all()


@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_goes_as_it_goes_with_the_posteriors_own_denoiser(solver):
    g, z, steps = gaussian_problem(POOL), randn(3, *SHAPE, seed=5), 2 if solver == "rk45" else 8
    images = [sample(d, z, solver, steps=steps, batch=None, generator=torch.Generator().manual_seed(0))
              for d in (MomentMatching(g.prior, POOL, g.y.expand(3, -1, -1, -1), 0.1, 4), g.posterior)]
    torch.testing.assert_close(*images, rtol=0, atol=1e-6)


@cache
def dps(a, strength, n=400, steps=18):
    """Images by DPS, (n, 16), from the same z; |y - A x| of their mean; the mean of their |y - A x|."""
    g = gaussian_problem(a)
    x = sample(DPS(g.prior, a, g.y, strength), randn(n, *SHAPE, seed=6), steps=steps, batch=None).flatten(1)
    return x, *((g.y.flatten() - rows @ g.matrix.T).norm(dim=1).mean() for rows in (x.mean(0)[None], x))


def spread(a, strength, part, noise=0.1):
    """Variance of DPS's images where A sees or hides, over that of the posterior for a measurement of such a noise."""
    g = gaussian_problem(a, noise)
    return (vars(g)[part] @ dps(a, strength)[0].T.cov()).trace() / (vars(g)[part] @ g.covariance).trace()


@BOTH
def test_dps_right_the_mean_goes_to_the_data_and_the_hidden_part_is_about_the_posteriors(a):
    g, weak, good = gaussian_problem(a), dps(a, 0.1)[1], dps(a, 0.3)[1]
    assert good < 0.6 * weak and weak < 0.8 * (g.y - a(g.prior.mean[None])).norm()
    for strength in (0.3, 1.0):
        error = g.hide @ (dps(a, strength)[0].mean(0) - g.mean)
        assert error.norm() < 0.5 * (g.hide @ g.covariance).trace().sqrt() and 1 < spread(a, strength, "hide") < 1.6


@pytest.mark.parametrize(("a", "between"), [(POOL, 1.0), (MASK, 0.3)], ids=["sr2", "mask"])
def test_dps_wrong_the_strength_and_not_the_noise_decides_how_much_the_observed_part_varies(a, between):
    """A weak one: several times too much. A strong one: more, as it jumps across the data. Between: it depends."""
    assert spread(a, 0.1, "see") > 4 and spread(a, 10.0, "see") > 10
    assert spread(a, between, "see", noise=0.02) > 4 and spread(a, between, "see", noise=0.5) < 0.2


@BOTH
def test_dps_wrong_the_last_step_passes_the_data(a):
    """By all of zeta |A A^T|, however near they are; many steps before it do not help."""
    overshoot = 3.0 * torch.linalg.matrix_norm(gaussian_problem(a).matrix, 2) ** 2
    assert 0.75 * overshoot < dps(a, 3.0, n=20, steps=100)[2] < 1.1 * overshoot


def test_the_number_of_steps_of_dps_does_not_matter_while_they_are_short():
    g, z = gaussian_problem(POOL), randn(20, *SHAPE, seed=6)
    coarse, middle, fine = (sample(DPS(g.prior, POOL, g.y, 0.03), z, "euler", n, batch=None) for n in (25, 50, 100))
    assert (middle - fine).norm() < min(0.6 * (coarse - middle).norm(), 0.05 * fine.norm())      # Euler's order, 1


def azulas(denoiser):
    """Our denoiser with azula's interface: x_t = alpha x, in the coordinates that preserve variance."""
    theirs, vp = Denoiser(), VPSchedule(alpha_min=0.02, sigma_min=0.0)
    theirs.schedule = vp
    theirs.forward = lambda x_t, t: DiracPosterior(denoiser(x_t / vp.alpha(t), vp.sigma(t) / vp.alpha(t)))
    return theirs


@NONLINEAR
@pytest.mark.parametrize("t", [0.3, 0.5, 0.8])
def test_dps_is_azulas_step(denoiser, t):
    """A step from t to s adds -zeta grad_{x_t}, in x: -zeta sqrt((1 + sigma_t^2) (1 + sigma_s^2)) grad_x."""
    theirs, x, y, zeta, t = azulas(denoiser), randn(1, *SHAPE), Y[:1], 0.7, torch.tensor(t, dtype=torch.float64)
    (alpha, std), ours = theirs.schedule(t), DPS(denoiser, POOL, y, zeta)
    for s in (t / 2, t - 1e-6):
        (alpha_s, std_s), steps = theirs.schedule(s), []
        for strength in (zeta, 0.0):
            torch.manual_seed(0)
            steps.append(DPSSampler(theirs, y, POOL, strength).step(alpha * x, t, s) / alpha_s)
        added, factor = steps[0] - steps[1], ((1 + (std / alpha) ** 2) * (1 + (std_s / alpha_s) ** 2)).sqrt()
        torch.testing.assert_close(added, -zeta * factor * ours.gradient(x, std / alpha)[1], rtol=1e-9, atol=1e-9)
    # If the step is short this is D_y - D, of which ours takes 1 - sigma_s / sigma_t.
    torch.testing.assert_close(added, ours(x, std / alpha) - denoiser(x, std / alpha), rtol=1e-4, atol=1e-6)
    assert added.norm() > 0.01


@pytest.mark.filterwarnings("ignore:.torch.jit.script")
@NONLINEAR
@pytest.mark.parametrize(("t", "iterations"), [(0.3, 1), (0.3, 3), (0.8, 1), (0.8, 3)])
def test_moment_matching_is_azulas(denoiser, t, iterations):
    x, t, theirs = randn(3, *SHAPE), torch.tensor(t, dtype=torch.float64), azulas(denoiser)
    alpha, std = theirs.schedule(t)
    guided = MMPSDenoiser(theirs, Y.flatten(1), lambda x: POOL(x).flatten(1), lambda v: 0.2**2 * v, "cg", iterations)
    ours = MomentMatching(denoiser, POOL, Y, 0.2, iterations)(x, std / alpha)
    torch.testing.assert_close(guided(alpha * x, t).mean, ours, rtol=1e-9, atol=1e-9)
    assert (ours - denoiser(x, std / alpha)).norm() > 0.01


@NONLINEAR
def test_the_gradient_is_that_of_finite_differences(denoiser):
    x, h, gradient = randn(3, *SHAPE), 1e-5, DPS(denoiser, POOL, Y).gradient(randn(3, *SHAPE), 1.5)[1]
    for axis in EYE.view(16, *SHAPE):
        up, down = ((Y - POOL(denoiser(x + move * axis, 1.5))).flatten(1).norm(dim=1) for move in (h, -h))
        torch.testing.assert_close((up - down) / (2 * h), (gradient * axis).flatten(1).sum(1), rtol=1e-5, atol=1e-7)


@GUIDED
@NONLINEAR
def test_images_that_are_guided_together_do_not_influence_each_other(guide, denoiser):
    x, sigma = randn(3, *SHAPE), torch.tensor([0.5, 1.0, 30.0], dtype=torch.float64)
    alone = [guide(denoiser, Y[i:i + 1])(x[i:i + 1], sigma[i].item()) for i in range(3)]
    torch.testing.assert_close(guide(denoiser, Y)(x, sigma), torch.cat(alone), rtol=1e-10, atol=1e-10)


def test_borrowed_is_one_models_image_and_anothers_gradient():
    x, lender = randn(3, *SHAPE), DPS(NETWORK, POOL, Y, 0.5)
    assert torch.equal(Borrowed(NETWORK, lender)(x, 0.8), lender(x, 0.8))
    added = Borrowed(EMPIRICAL, lender)(x, 0.8) - EMPIRICAL(x, 0.8)
    torch.testing.assert_close(added, lender(x, 0.8) - NETWORK(x, 0.8))


@GUIDED
@pytest.mark.parametrize("solver", ["euler", "heun", "dpmpp3m"])
def test_sampling_hands_the_label_on_keeps_the_type_and_leaves_no_gradient(guide, solver):
    z, label, seen, network = randn(3, *SHAPE), torch.tensor([0, 1, 2]), [], Network()
    network.register_forward_pre_hook(lambda _, args, kwargs: seen.append(kwargs["label"]), with_kwargs=True)
    guided = guide(network, Y)
    double, single = (sample(guided, x, solver, steps=6, label=label, **guided.sampling) for x in (z, z.float()))
    torch.testing.assert_close(single, double.float(), rtol=1e-3, atol=1e-3)
    assert double.dtype == torch.float64 and seen and all(torch.equal(given, label) for given in seen)
    assert not any(x.requires_grad for x in (single, guided(z, 1.0), z)) and network.first.grad is None


@GUIDED
def test_more_measurements_than_fit_a_batch_are_sampled_together(guide):
    y, z = randn(300, 1, 2, 2, seed=8), randn(300, *SHAPE)
    guided, alone = guide(NETWORK, y), guide(NETWORK, y[299:])
    images = sample(guided, z, "euler", 2, **guided.sampling)
    torch.testing.assert_close(images[299:], sample(alone, z[299:], "euler", 2, **alone.sampling))


def test_errors_say_what_is_wrong_in_one_line():
    for call, message in (
        (lambda: DPS(NETWORK, POOL, randn(3, 1, 4, 4)), r"a measure.* by this .* \(n, 1, 2, 2\), got \(3, 1, 4, 4\)"),
        (lambda: DPS(NETWORK, MASK, randn(9)), r"a measurement by this operator is \(n, 9\), got \(9,\)"),
        (lambda: sample(DPS(NETWORK, POOL, Y[[0] * 300]), randn(300, *SHAPE)), "300 .* 256 .* with batch=None"),
        (lambda: DPS(NETWORK, POOL, Y / 0), "a measurement must be finite, got NaN or infinity"),
        (lambda: DPS(NETWORK, POOL, Y, 0.0), "the guidance strength must be positive, got 0.0"),
        (lambda: MomentMatching(NETWORK, POOL, Y, 0.0), "need noise > 0 and iterations >= 1, got 0.0 and 3"),
        (lambda: MomentMatching(NETWORK, POOL, Y, 0.1, 0), "need noise > 0 and iterations >= 1, got 0.1 and 0"),
    ):
        with pytest.raises(ValueError, match=rf"^{message}\Z"):
            call()


@pytest.mark.parametrize("dim", [1, 4, 9])
def test_conjugate_gradients_solve_rows_by_themselves_in_as_many_steps_as_there_are_dimensions(dim):
    factor, b = randn(3, dim, dim, seed=9), randn(3, dim, seed=10)
    m = factor @ factor.mT / dim + 0.1 * torch.eye(dim, dtype=torch.float64)       # a matrix for each row
    for steps in (dim, dim + 5):
        v = conjugate_gradients(lambda v: (m @ v[..., None])[..., 0], b, steps)
        torch.testing.assert_close(v, torch.linalg.solve(m, b))


def test_conjugate_gradients_stand_still_where_nothing_is_to_do_or_the_matrix_is_not_positive():
    """Zeros; a negative matrix; one that is negative in the second direction, where the first step stays; 0."""
    b = torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 1.0], [1.0, 1.0]])
    diagonal = torch.tensor([[1.0, 1.0], [-1.0, -2.0], [1.0, -0.1], [0.0, 0.0]])
    first, many = (conjugate_gradients(lambda v: diagonal * v, b, steps) for steps in (1, 7))
    torch.testing.assert_close(first, torch.tensor([[0.0, 0.0], [0.0, 0.0], [10 / 3.9, 5 / 3.9], [0.0, 0.0]]))
    assert torch.equal(first, many)
