"""samplers.py: the contract of sample(), whatever the solver. What the solvers compute is in test_solvers.py."""

import math

import numpy as np
import pytest
import torch

from helpers.closed_form import GaussianDenoiser
from helpers.denoiser import Counted, NetworkDenoiser
from helpers.models.fewstep import Consistency, Distillation
from helpers.models.objectives import EDMObjective
from helpers.models.unet import UNet
from helpers.samplers import SOLVERS, karras_sigmas, nfe, sample, trajectory

STOCHASTIC = [name for name, solver in SOLVERS.items() if solver.stochastic]
FIXED = [name for name, solver in SOLVERS.items() if solver.evaluations is not None]


def noise(n=5, shape=(1, 2, 3), seed=1, dtype=torch.float64):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def bend(x, sigma, label=None):
    """A nonlinear denoiser, so that agreement is not special to linear ones."""
    return torch.tanh(1.3 * x / math.sqrt(1 + sigma**2)) + 0.1 * math.sin(sigma)


def randomness(solver, seed=0):
    return {"generator": torch.Generator().manual_seed(seed)} if solver in STOCHASTIC else {}


def test_karras_sigmas():
    sigmas = karras_sigmas(18)
    assert sigmas.dtype == torch.float64 and sigmas[0] == 80 and sigmas[-2] == 0.002 and sigmas[-1] == 0
    published = [80, 57.6, 40.8, 28.4, 19.4, 12.9, 8.4, 5.3, 3.3, 1.9, 1.1, 0.59, 0.30, 0.14, 0.06, 0.023, 0.0075]
    np.testing.assert_allclose(sigmas[:-2], published, rtol=0.08)
    i = np.arange(7)
    reference = (5 ** (1 / 3) + i / 6 * (0.1 ** (1 / 3) - 5 ** (1 / 3))) ** 3
    np.testing.assert_allclose(karras_sigmas(7, 0.1, 5, 3)[:-1], reference, rtol=1e-14)
    assert karras_sigmas(1).tolist() == [80, 0]
    for bad in ({"steps": 0}, {"sigma_min": 0}, {"sigma_min": 90}, {"sigma_max": math.inf}):
        with pytest.raises(ValueError, match="need whole steps >= 1, 0 < sigma_min < sigma_max"):
            karras_sigmas(**bad)


@pytest.mark.parametrize("steps", [1, 2, 18])
@pytest.mark.parametrize("solver", FIXED)
def test_counts_evaluations_and_ends_with_a_euler_step(solver, steps):
    seen = []

    def counting(x, sigma, label=None):
        seen.append((sigma, torch.is_grad_enabled(), bend(x, sigma)))
        return seen[-1][2]

    result = sample(counting, noise(), solver, steps, **randomness(solver))
    assert len(seen) == nfe(solver, steps)
    assert all(isinstance(sigma, float) and not grad for sigma, grad, _ in seen)
    assert torch.equal(result, seen[-1][2])


@pytest.mark.parametrize("solver", SOLVERS)
def test_deterministic_and_leaves_its_input_alone(solver):
    z = noise(dtype=torch.float32)
    kept, state = z.clone(), torch.get_rng_state()
    first = sample(bend, z, solver, **randomness(solver))
    assert torch.equal(first, sample(bend, z, solver, **randomness(solver)))
    assert torch.equal(z, kept) and torch.equal(torch.get_rng_state(), state)
    assert first.dtype == torch.float32 and first.shape == z.shape and first.device == z.device
    if solver in STOCHASTIC:
        assert not torch.equal(first, sample(bend, z, solver, **randomness(solver, seed=1)))


@pytest.mark.parametrize("solver", SOLVERS)
def test_batches_do_not_change_the_result(solver):
    z, label = noise(7), torch.arange(7)

    def labeled(x, sigma, label=None):
        return bend(x, sigma) + 0.1 * label[:, None, None, None]

    whole = sample(labeled, z, solver, label=label, batch=None, **randomness(solver))
    for batch in (1, 3, 7, 100):
        torch.testing.assert_close(sample(labeled, z, solver, label=label, batch=batch, **randomness(solver)), whole)


def test_trajectory_holds_what_the_denoiser_saw():
    z = noise()
    path = list(trajectory(bend, z, "dpmpp2m", 6))
    assert [step.sigma for step in path] == karras_sigmas(6).tolist()
    assert torch.equal(path[0].x, 80 * z)
    assert all(torch.equal(step.denoised, bend(step.x, step.sigma)) for step in path[:-1])
    assert torch.equal(path[-1].x, sample(bend, z, "dpmpp2m", 6))


def test_no_grad_does_not_leak_and_can_be_overridden():
    def guided(x, sigma, label=None):
        with torch.enable_grad():
            x = x.detach().requires_grad_()
            return x - torch.autograd.grad((x**2).sum() / 2, x)[0] * 0.5

    path = trajectory(guided, noise(), "euler", 3)
    next(path)
    assert torch.is_grad_enabled()
    assert not sample(guided, noise(), "euler", 3).requires_grad


def test_errors_say_what_to_do():
    with pytest.raises(ValueError, match="unknown solver 'ddim'; known: euler, heun, .*, rk45, ancestral, churn"):
        sample(bend, noise(), "ddim")
    with pytest.raises(ValueError, match="'ancestral' is stochastic: pass generator"):
        sample(bend, noise(), "ancestral")
    with pytest.raises(ValueError, match=r"one entry for each of the 5 images, or be one for all, got \(2,\)"):
        sample(bend, noise(), label=torch.zeros(2).long())
    with pytest.raises(TypeError):
        sample(bend, noise(), "heun", s_churn=1)
    with pytest.raises(ValueError, match="'rk45' is adaptive: count the calls of the denoiser"):
        nfe("rk45")


@pytest.mark.parametrize("solver", SOLVERS)
def test_steps_default_to_the_solvers_own(solver):
    own = 2 if solver == "rk45" else 18
    assert len(list(trajectory(bend, noise(), solver, **randomness(solver)))) == own + 1
    expected = sample(bend, noise(), solver, own, **randomness(solver))
    assert torch.equal(sample(bend, noise(), solver, **randomness(solver)), expected)


def test_rk45_ends_with_a_euler_step():
    answers = []

    def remembering(x, sigma, label=None):
        answers.append(bend(x, sigma))
        return answers[-1]

    start, _, image = trajectory(remembering, noise(), "rk45")
    assert torch.equal(image.x, answers[-1]) and torch.equal(start.denoised, answers[0])


@pytest.mark.parametrize("solver", SOLVERS)
def test_sigmas_are_the_noise_levels(solver):
    sigmas = karras_sigmas(5, 0.01, 20)
    expected = sample(bend, noise(), solver, 5, sigma_min=0.01, sigma_max=20, **randomness(solver))
    for given in (sigmas, sigmas.tolist(), tuple(sigmas.tolist())):
        assert torch.equal(sample(bend, noise(), solver, sigmas=given, **randomness(solver)), expected)
    # Given with other time steps, they win.
    assert torch.equal(sample(bend, noise(), solver, 9, sigma_max=3, sigmas=sigmas, **randomness(solver)), expected)
    assert torch.equal(next(trajectory(bend, noise(), solver, sigmas=[7, 1, 0], **randomness(solver))).x, 7 * noise())


@pytest.mark.parametrize(("sigmas", "shown"), [
    ([], r"\(\)"), ([0.0], r"\(0\)"), ([80, 1], r"\(80, 1\)"), ([1, 80, 0], r"\(1, 80, 0\)"), ([5, 5, 0], r"\(5, 5, 0\)"),
    ([5, -1, 0], r"\(5, -1, 0\)"), ([5, 0, 0], r"\(5, 0, 0\)"), ([math.inf, 5, 0], r"\(inf, 5, 0\)"),
    ([math.nan, 5, 0], r"\(nan, 5, 0\)"), (range(9), r"\(0, 1, \.\.\., 7, 8\)"),
])
def test_bad_sigmas(sigmas, shown):
    with pytest.raises(ValueError, match=f"two or more noise levels that fall to a last one of 0, got {shown}$"):
        sample(bend, noise(), sigmas=sigmas)


def fitted(objective):
    """A network that says nothing, as this objective's denoiser."""
    return NetworkDenoiser(lambda x, c_noise, label=None: torch.zeros_like(x), objective)


def test_a_consistency_model_takes_its_one_step_alone():
    denoiser, z = fitted(Consistency()), noise()
    image = sample(denoiser, z, **denoiser.sampling)
    assert torch.equal(image, sample(denoiser, z, "euler", sigmas=[80, 0]))      # the same, in other words
    with pytest.raises(ValueError, match=r"one way of sampling, solver='euler', steps=1, sigma_max=80: "
                                         r"use sample\(denoiser, z, \*\*denoiser.sampling\), not solver='heun', steps=18$"):
        sample(denoiser, z)
    for asked in ({"solver": "euler"}, {"solver": "rk45"}, {"solver": "euler", "steps": 1, "sigma_max": 40},
                  {"solver": "heun", "steps": 1}, {"solver": "euler", "sigmas": [80, 1, 0]}):
        with pytest.raises(ValueError, match="trained for one way of sampling"):
            sample(denoiser, z, **asked)


def test_a_distilled_student_takes_its_own_noise_levels():
    denoiser, z = fitted(Distillation(steps=4, base=64)), noise()
    sigmas = denoiser.sampling["sigmas"]
    assert torch.equal(sample(denoiser, z, **denoiser.sampling), sample(denoiser, z, "euler", sigmas=list(sigmas)))
    with pytest.raises(ValueError, match=r"solver='euler', sigmas=\(80, .*, 0\): use .*, not sigmas=\(80, .*, 0\)$"):
        sample(denoiser, z, "euler", 4)
    assert sample(fitted(EDMObjective()), z, "euler", 3).shape == z.shape      # whoever is not strict takes what comes


def test_counted_counts_batches_and_changes_nothing():
    model, z = GaussianDenoiser(torch.zeros(1, 2, 3), torch.eye(6)), noise()
    counted = Counted(model)
    assert torch.equal(sample(counted, z, "heun", steps=6), sample(model, z, "heun", steps=6))
    assert counted.calls == nfe("heun", 6)
    sample(counted, z, "euler", steps=3, batch=2)
    assert counted.calls == nfe("heun", 6) + 3 * 3                      # five noises are three batches


def conditional(classes):
    """A denoiser whose network says how many classes it was told apart."""
    def network(x, c_noise, label=None):
        return torch.zeros_like(x) if label is None else label.to(x).view(-1, 1, 1, 1).expand_as(x)

    network.classes = classes
    return NetworkDenoiser(network, EDMObjective())


@pytest.mark.parametrize("label, shown", [([0, 1, 2, 3, 0], "0 to 3"), ([-1, 0, 1, 2, 2], "-1 to 2"),
                                          ([3, 3, 3, 3, 3], "3 to 3"), ([9, -5, 0, 0, 0], "-5 to 9")])
def test_a_class_that_the_denoiser_does_not_know_is_an_error_that_names_those_it_does(label, shown):
    for run in (sample, lambda *args, **options: next(trajectory(*args, **options))):
        with pytest.raises(ValueError, match=f"^this denoiser knows the classes 0 to 2, got labels from {shown}$"):
            run(conditional(3), noise(), label=torch.tensor(label))


def test_every_class_that_the_denoiser_knows_is_taken_and_so_is_none():
    denoiser, z, label = conditional(3), noise(), torch.tensor([0, 1, 2, 2, 0])
    assert denoiser.classes == 3
    told, free = (sample(denoiser, z, steps=3, **options) for options in ({"label": label}, {}))
    moved = (told - free).flatten(1).mean(1)
    assert torch.equal(moved == 0, label == 0) and moved[2] > moved[1] > 0
    assert sample(denoiser, z[:0], steps=3, label=label[:0]).shape == z[:0].shape


def test_a_label_for_a_network_that_was_trained_without_classes_is_an_error():
    for denoiser in (NetworkDenoiser(UNet(width=8, multipliers=(1,)), EDMObjective()), conditional(0)):
        assert denoiser.classes == 0
        with pytest.raises(ValueError, match="^this denoiser was trained without classes: leave label out$"):
            sample(denoiser, noise(), label=torch.zeros(5, dtype=torch.long))
    assert NetworkDenoiser(UNet(width=8, multipliers=(1,), classes=4), EDMObjective()).classes == 4
    assert sample(conditional(0), noise(), steps=2).shape == noise().shape


def test_a_denoiser_that_does_not_say_how_many_classes_it_knows_takes_any():
    seen, label = [], torch.tensor([-7, 0, 3, 99, 12345])

    def remembering(x, sigma, label=None):
        seen.append(label)
        return bend(x, sigma)

    sample(remembering, noise(), "euler", 2, label=label)
    assert len(seen) == 2 and all(torch.equal(got, label) for got in seen)
    silent = fitted(EDMObjective())                                   # neither does a network that is a plain function
    assert silent.classes is None and sample(silent, noise(), steps=2, label=label).shape == noise().shape


@pytest.mark.parametrize(("z", "message"), [
    (noise()[0], r"^z must be floats \(B, C, H, W\), got torch.float64 \(1, 2, 3\): one noise is z\[None\]$"),
    (noise().long(), "^z must be floats"), (noise().flatten(1), "^z must be floats"),
    (noise() * math.nan, "^z holds NaN or infinity$"), (torch.cat([noise(), noise() / 0]), "^z holds NaN or infinity$"),
])
def test_a_noise_that_is_none_is_an_error(z, message):
    for run in (sample, lambda *args: next(trajectory(*args))):
        with pytest.raises(ValueError, match=message):
            run(bend, z)


@pytest.mark.parametrize("batch", [0, -3, 2.5, "all"])
def test_a_batch_is_a_number_of_images(batch):
    with pytest.raises(ValueError, match=f"^batch must be at least 1, or None for all images at once, got {batch!r}$"):
        sample(bend, noise(), batch=batch)


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_noise_gives_no_image_and_asks_nobody(solver):
    def never(x, sigma, label=None):
        raise AssertionError("nobody is to be asked about no images")

    assert sample(never, noise()[:0], solver, label=2, **randomness(solver)).shape == (0, 1, 2, 3)
