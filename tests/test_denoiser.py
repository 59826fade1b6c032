"""denoiser.py: wrapped denoisers keep their traits; labels, floating types, sigma = 0 and devices, of every kind."""

import pytest
import torch

from helpers.closed_form import EmpiricalDenoiser, GaussianDenoiser
from helpers.denoiser import Counted, Denoiser, NetworkDenoiser, Wrapper, denoising_error, resident
from helpers.guidance import DPS, Borrowed, ClassifierFreeGuidance, MomentMatching
from helpers.measure.alignment import Rotated
from helpers.models.fewstep import Consistency, Distillation
from helpers.models.unet import UNet
from helpers.operators import Pool
from helpers.samplers import SOLVERS, sample
from helpers.zoo.spec import make_objective

SHAPE = (1, 8, 8)
HALVES = [torch.float16, torch.bfloat16]


def randn(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def network(objective="edm", classes=0, seed=0):
    """A denoiser whose small U-Net says something, though it has learned nothing."""
    objective = make_objective(objective) if isinstance(objective, str) else objective
    net = UNet(width=8, multipliers=(1, 2), classes=classes)
    with torch.no_grad():
        for i, p in enumerate(net.parameters()):
            p.copy_(0.2 * randn(*p.shape, seed=100 * seed + i))
    return NetworkDenoiser(net.eval(), objective).requires_grad_(False)


def empirical(labels=None):
    return EmpiricalDenoiser(0.5 * randn(12, *SHAPE), labels)


def gaussian():
    return GaussianDenoiser(0.1 * randn(*SHAPE), torch.diag(torch.linspace(0.01, 0.5, 64)))


POOL = Pool(SHAPE, 2)
Y = 0.3 * randn(1, 1, 4, 4, seed=9)
DENOISERS = {
    "network": network, "gaussian": gaussian, "empirical": empirical,
    "dps": lambda: DPS(network(), POOL, Y, 0.1), "moments": lambda: MomentMatching(network(), POOL, Y, 0.2),
    "dps of empirical": lambda: DPS(empirical(), POOL, Y, 0.1),
    "cfg": lambda: ClassifierFreeGuidance(network(classes=3), 2.0),
    "rotated": lambda: Rotated(network(), torch.eye(4), 4), "counted": lambda: Counted(gaussian()),
}
EVERY = pytest.mark.parametrize("make", DENOISERS.values(), ids=DENOISERS)
WRAPPERS = {
    "wrapper": Wrapper, "counted": Counted, "cfg": lambda d: ClassifierFreeGuidance(d, 2.0),
    "dps": lambda d: DPS(d, POOL, Y), "moments": lambda d: MomentMatching(d, POOL, Y, 0.2),
    "borrowed": lambda d: Borrowed(d, DPS(network(classes=10), POOL, Y)), "rotated": lambda d: Rotated(d, torch.eye(4), 4),
    "twice": lambda d: Counted(DPS(d, POOL, Y)),
}
WRAPPED = pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)


@WRAPPED
@pytest.mark.parametrize("objective", [Consistency(), Distillation(steps=4, base=64)], ids=["consistency", "distillation"])
def test_a_wrapped_few_step_model_refuses_other_steps(wrap, objective):
    inner, z = network(objective, classes=10), randn(3, *SHAPE)
    denoiser = wrap(inner)
    assert denoiser.strict and inner.sampling.items() <= denoiser.sampling.items()
    with pytest.raises(ValueError, match=r"^this denoiser was trained for one way of sampling, .* not solver='heun'"):
        sample(denoiser, z, solver="heun", steps=18)
    assert sample(denoiser, z, **denoiser.sampling).shape == z.shape


@WRAPPED
def test_a_wrapped_denoiser_of_ten_classes_refuses_an_eleventh(wrap):
    denoiser, z = wrap(network(classes=10)), randn(3, *SHAPE)
    assert denoiser.classes == 10
    for label in (10, [0, 3, 10], torch.tensor([0, -1, 3])):
        with pytest.raises(ValueError, match="^this denoiser knows the classes 0 to 9, got labels from"):
            sample(denoiser, z, label=label, batch=None)
    assert sample(denoiser, z, "euler", 2, label=9, batch=None).shape == z.shape


@WRAPPED
def test_a_bare_function_has_no_traits_and_can_be_wrapped(wrap):
    denoiser = wrap(lambda x, sigma, label=None: x / (1 + sigma**2))
    assert not denoiser.strict and denoiser.classes is None and set(denoiser.sampling) <= {"batch"}


def test_a_denoiser_that_does_not_say_how_it_denoises():
    with pytest.raises(NotImplementedError, match="Denoiser does not say how"):
        Denoiser()(randn(1, *SHAPE), 1.0)


def test_a_label_for_whoever_has_no_classes_is_an_error():
    x = randn(2, *SHAPE)
    for denoiser in (network(), empirical(), Counted(network()), ClassifierFreeGuidance(network(), 1.0)):
        for call in (lambda d=denoiser: d(x, 1.0, label=1), lambda d=denoiser: sample(d, x, label=torch.tensor([0, 1]))):
            with pytest.raises(ValueError, match="^this denoiser was trained without classes: leave label out$"):
                call()
    for wrong in (3, [0, 5]):
        with pytest.raises(ValueError, match="^this denoiser knows the classes 0 to 2, got"):
            network(classes=3)(x, 1.0, wrong)            # 3 is this network's own "no label"


@pytest.mark.parametrize("wrap", [lambda d: d, Counted, lambda d: ClassifierFreeGuidance(d, 2.0)],
                         ids=["alone", "counted", "cfg"])
@pytest.mark.parametrize("make", [lambda: network(classes=3), lambda: empirical(torch.arange(12) % 3)],
                         ids=["network", "empirical"])
def test_labels_are_a_tensor_a_list_or_one_number_for_all(wrap, make):
    denoiser, z = wrap(make()), randn(3, *SHAPE)
    two, mixed = torch.tensor([2, 2, 2]), torch.tensor([2, 0, 1])
    for ask in (lambda c: denoiser(z, 1.0, label=c), lambda c: sample(denoiser, z, "euler", 3, label=c)):
        assert all(torch.equal(ask(c), ask(two)) for c in (2, torch.tensor(2), [2, 2, 2], two.int()))
        assert torch.equal(ask((2, 0, 1)), ask(mixed)) and not torch.equal(ask(mixed), ask(two))
    for wrong, message in ((2.5, "whole numbers"), (torch.zeros(3), "whole numbers, .* got torch.float32"), ("cat", "whole"),
                           ([0, 1], r"each of the 3 images, or be one for all, got \(2,\)"), ([[0, 1, 2]], r"got \(1, 3\)"),
                           ([0, None, 1], "whole"), (torch.ones(3) > 0, "got torch.bool")):
        for call in (denoiser, sample):
            with pytest.raises(ValueError, match=f"^label must .*{message}"):
                sample(denoiser, z, label=wrong) if call is sample else denoiser(z, 1.0, label=wrong)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float64, *HALVES])
def test_noise_of_any_floating_type(make, dtype):
    """The answer is in x's type, and that of float32 up to the digits that x has."""
    denoiser, x = make(), randn(3, *SHAPE).to(dtype)
    tolerance = max(20 * torch.finfo(dtype).eps, 1e-4)      # float32 solves for guidance to 4e-5 on some CPUs
    for sigma in (0.05, 1.0, 80.0):
        answer, expected = denoiser(sigma * x, sigma), denoiser((sigma * x).float(), sigma)
        assert answer.dtype == dtype
        torch.testing.assert_close(answer.float(), expected, rtol=tolerance, atol=tolerance)


@EVERY
@pytest.mark.parametrize("dtype", [torch.float64, *HALVES])
def test_images_come_in_the_noises_type(make, dtype):
    denoiser, z = make(), randn(3, *SHAPE)
    single, images = (sample(denoiser, x, steps=6, batch=None) for x in (z, z.to(dtype)))
    assert images.dtype == dtype and images.isfinite().all()
    # Bfloat16 keeps 8 bits of a noise of 80: what is left are images of the same kind, not the same images.
    loose = {torch.float64: 1e-3, torch.float16: 0.2}.get(dtype, 1.0) * single.norm()
    assert (images.float() - single).norm() < loose


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("solver", SOLVERS)
def test_every_solver_takes_half_precision(solver, dtype):
    generator = torch.Generator().manual_seed(0)
    images = sample(network(), randn(2, *SHAPE).to(dtype), solver, generator=generator)
    assert images.dtype == dtype and images.isfinite().all()


def test_a_function_that_answers_in_another_type_does_not_change_that_of_the_images():
    wide = sample(lambda x, sigma, label=None: x.double() / (1 + sigma**2), randn(2, *SHAPE), "euler", 4)
    assert wide.dtype == torch.float32


@EVERY
def test_without_noise_an_answer_is_finite(make):
    denoiser, x = make(), 0.3 * randn(3, *SHAPE)
    for sigma in (0, 0.0, torch.zeros(3)):
        assert denoiser(x, sigma).isfinite().all()


@pytest.mark.parametrize("objective", ["edm", "vp", "sub-vp", "ve", "flow", "ddpm", Consistency(), Distillation()], ids=str)
def test_without_noise_every_objective_answers_and_all_but_consistency_with_the_image(objective):
    denoiser, x = network(objective), 0.3 * randn(3, *SHAPE)
    for dtype in (torch.float32, torch.float64, torch.float16):
        clean = denoiser(x.to(dtype), 0.0)
        assert clean.isfinite().all()
        atol = 0.02 if isinstance(objective, Consistency) else 2e-3 if dtype == torch.float16 else 1e-4
        torch.testing.assert_close(clean.float(), x, rtol=0, atol=atol)
    assert (denoiser(x, 1.0) - x).abs().max() > 0.1


@EVERY
def test_denoisers_move(make):
    """To "meta", a device that has shapes and no numbers: an operation between it and the CPU is an error."""
    denoiser, x = make().to("meta"), torch.randn(3, *SHAPE, device="meta")
    assert all(t.device.type == "meta" for t in (*denoiser.buffers(), *denoiser.parameters()))
    assert denoiser(x, 1.0).device.type == "meta" and denoiser(x, 1.0).shape == x.shape


def test_what_is_left_on_the_cpu_is_copied_once_and_again_if_it_changes():
    model, x = gaussian(), torch.randn(1, *SHAPE, device="meta")
    first = resident(model, "basis", x)
    assert first.device.type == "meta" and resident(model, "basis", x) is first
    assert resident(model, "basis", torch.zeros(1)) is model.basis
    model.basis = torch.zeros(64, 3, dtype=torch.float64)
    assert resident(model, "basis", x).shape == (64, 3)


def test_labels_of_an_empirical_denoiser_move_with_it():
    denoiser, x = empirical(torch.arange(12) % 3).to("meta"), torch.randn(3, *SHAPE, device="meta")
    assert denoiser.labels.device.type == "meta" and denoiser(x, 1.0, label=2).shape == x.shape


@EVERY
def test_an_empty_batch_gives_no_images(make):
    for solver in ("heun", "rk45"):
        assert sample(make(), randn(0, *SHAPE), solver).shape == (0, *SHAPE)
    assert make()(randn(0, *SHAPE), 1.0).shape == (0, *SHAPE)


def test_sigma_is_a_number_or_one_an_image():
    x = randn(3, *SHAPE)
    for make in DENOISERS.values():
        several = make()(x, torch.tensor([0.1, 1.0, 10.0]))
        alone = [make()(x[i:i + 1], s) for i, s in enumerate((0.1, 1.0, 10.0))]
        torch.testing.assert_close(several, torch.cat(alone), rtol=1e-4, atol=1e-4)
        with pytest.raises(ValueError, match="one number or one"):
            make()(x, torch.ones(2))


def test_denoising_error_is_the_mean_over_pixels_and_needs_images():
    x0, sigmas = randn(5, *SHAPE, seed=3), [0.5, 2.0]
    nothing, all_of_it = (denoising_error(d, x0, sigmas, batch=2) for d in (lambda x, s: x, lambda x, s: 0 * x))
    generator = torch.Generator().manual_seed(0)
    eps = torch.cat([torch.randn(n, *SHAPE, generator=generator) for n in (2, 2, 1)])
    torch.testing.assert_close(nothing / torch.tensor(sigmas) ** 2, (eps**2).mean().expand(2))
    torch.testing.assert_close(all_of_it, (x0**2).mean().expand(2))
    told = network(classes=3)
    assert torch.equal(denoising_error(told, x0, sigmas, label=1), denoising_error(told, x0, sigmas, label=[1] * 5))
    with pytest.raises(ValueError, match="give at least one"):
        denoising_error(network(), x0[:0], sigmas)
