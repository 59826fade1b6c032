"""All numbers of an audit: copies, agreement, denoising errors. Nothing is printed or drawn here."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from helpers.audit.rulers import Ruler
from helpers.audit.subjects import Subject
from helpers.closed_form import EmpiricalDenoiser, GaussianDenoiser, nearest_images
from helpers.data import as_x0
from helpers.denoiser import Denoiser, denoising_error
from helpers.measure.bootstrap import Score
from helpers.measure.comparison import LINEAR, Comparison
from helpers.measure.descriptor import describe
from helpers.measure.scores import THRESHOLD, gl_score, memorized_fraction
from helpers.noise import initial_noise

SIGMAS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
WIDEST = 4096           # pixels times channels up to which all of a covariance is decomposed
FEWER = 2048            # images that the linear baseline of larger ones is fitted to
FINER = 3               # times as many time steps as the samples: the ceiling


@dataclass(frozen=True)
class Copies:
    """How far a model's samples are training images: by the 1/3 test, and by the descriptor (None: no threshold is known).

    memorized, control   share of samples that are copies, and of held-out images that would count as such
    gl, ceiling          GL of the samples, and of held-out images
    distance, index      (n, k) to the nearest training images, in pixels, and which they are
    """

    memorized: Score
    control: Score
    gl: Score | None
    ceiling: Score | None
    distance: Tensor
    index: Tensor


@dataclass(frozen=True)
class Agreement:
    """How often two systems draw the same image: identification rate, and RP (None: no threshold is known)."""

    identified: Score
    rp: Score | None


@dataclass(frozen=True)
class Errors:
    """Mean squared denoising errors per pixel at some sigmas, each (S,): of the model, and of the best that is known."""

    sigmas: list[float]
    train: Tensor           # the model, on its training images
    optimal: Tensor         # the optimal denoiser of the training images, there
    held_out: Tensor        # the model, on held-out images
    gaussian: Tensor        # the Gaussian denoiser of the training images, there


@dataclass(frozen=True)
class Audit:
    """What was measured of one or two models; `agreement` is in the order in which a table shows it."""

    subjects: list[Subject]
    ruler: Ruler
    held_out: Tensor
    comparison: Comparison
    copies: dict[str, Copies]
    agreement: dict[str, Agreement]
    errors: dict[str, Errors] = field(default_factory=dict)


def audit(subjects: list[Subject], held_out: Tensor, held_out_labels: Tensor, ruler: Ruler, samples: int = 256,
          steps: int = 18, solver: str = "heun", seed: int = 0, device: str = "cpu") -> Audit:
    """Everything about one or two models whose training images have one shape.

    held_out   (M, C, H, W) images that no model has seen: strangers to identify among, and controls of everything

    ValueError for models of different images, fewer than two samples, or held-out images of another shape.
    """
    shapes = {tuple(x.shape[1:]) for x in (*(s.images for s in subjects), held_out)}
    if len(shapes) > 1 or samples < 2 or len(held_out) < 2:
        raise ValueError("an audit needs images of one size, 2 samples and 2 held-out images or more: got "
                         f"{sorted(shapes)}, {samples} and {len(held_out)}")
    z = initial_noise(range(samples), tuple(held_out.shape[1:]), seed, device)
    strangers = describe(held_out, ruler.descriptor)
    threshold = THRESHOLD if ruler.threshold is None else ruler.threshold
    comparison = Comparison(z, ruler.descriptor, threshold, strangers=strangers, solver=solver, steps=steps)
    for subject in subjects:
        comparison.add(subject.name, subject.denoiser, **subject.turns(samples))
    copies = {s.name: _copies(s, comparison, held_out, strangers, ruler) for s in subjects}
    closed = {s.name: (EmpiricalDenoiser(s.images), fit_linear(s.images)) for s in subjects}
    agreement = _agreement(subjects, comparison, closed[subjects[0].name][1], ruler)
    errors = {s.name: _errors(s, held_out[:samples], held_out_labels[:samples], *closed[s.name], seed, device)
              for s in subjects if not s.denoiser.strict}
    return Audit(subjects, ruler, held_out, comparison, copies, agreement, errors)


class LowRankGaussian(GaussianDenoiser):
    """`GaussianDenoiser.fit` of fewer images (N, C, H, W) than they have pixels, from their N x N products."""

    def __init__(self, images: Tensor):
        super(GaussianDenoiser, self).__init__()
        rows = as_x0(images).flatten(1).double()
        mean = rows.mean(0)
        _, singular, basis = torch.linalg.svd(rows - mean, full_matrices=False)
        self.register_buffer("mean", mean.view(images.shape[1:]))
        self.register_buffer("lam", singular**2 / len(images))
        self.register_buffer("basis", basis.T.contiguous())


def fit_linear(images: Tensor) -> GaussianDenoiser:
    """The Gaussian denoiser of images (N, C, H, W); of large ones, of the first 2,048."""
    if images[0].numel() <= WIDEST:
        return GaussianDenoiser.fit(images)
    return LowRankGaussian(images[:FEWER])


def _copies(subject: Subject, comparison: Comparison, held_out: Tensor, strangers: Tensor, ruler: Ruler) -> Copies:
    samples = comparison.images[subject.name]
    control = memorized_fraction(as_x0(held_out[:len(samples)]), subject.images)
    distance, index = nearest_images(as_x0(samples), subject.images, k=min(3, len(subject.images)))
    gl = ceiling = None
    if ruler.threshold is not None:
        train = describe(subject.images, ruler.descriptor)
        gl, ceiling = (gl_score(f, train, ruler.threshold)
                       for f in (comparison.features[subject.name], strangers[:len(samples)]))
    return Copies(memorized_fraction(samples, subject.images), control, gl, ceiling, distance, index)


def _agreement(subjects: list[Subject], comparison: Comparison, gaussian: GaussianDenoiser,
               ruler: Ruler) -> dict[str, Agreement]:
    """Pairs of the models, of a model and the linear baseline, of a model and its finer solution."""
    first, *others = subjects
    comparison.put(LINEAR, gaussian.flow(comparison.z.cpu(), float(first.denoiser.sampling.get("sigma_max", 80.0))))

    def agree(a: str, b: str, noise: int = 0) -> Agreement:
        rp = None if ruler.threshold is None else comparison.rp_null(a, b) if noise else comparison.rp(a, b)
        return Agreement(comparison.rate(a, b, noise), rp)

    found = {}
    for other in others:
        found[f"{first.name} and {other.name}"] = agree(first.name, other.name)
    last = subjects[-1].name
    found[f"null: {first.name} and {last}, other noises"] = agree(first.name, last, 1)
    for s in subjects:
        found[f"linear baseline: {s.name} and the Gaussian denoiser"] = agree(s.name, LINEAR)
    if not first.denoiser.strict:                   # trained for one way of sampling: it has no finer solution
        comparison.ceiling(first.name, first.denoiser, FINER, **first.turns(len(comparison.z)))
        found[f"ceiling: {first.name} and its solution in {FINER} times as many steps"] = agree(
            first.name, f"{first.name}, finer")
    return found


def _errors(subject: Subject, held_out: Tensor, labels: Tensor, optimal: Denoiser, gaussian: Denoiser, seed: int,
            device: str) -> Errors:
    low, high = (subject.denoiser.sampling.get(name, other) for name, other in (("sigma_min", 0.002), ("sigma_max", 80.0)))
    sigmas = [sigma for sigma in SIGMAS if low <= sigma <= high]
    n = len(held_out)
    train, held_out = as_x0(subject.images[:n]), as_x0(held_out)

    def error(denoiser: Denoiser, x0: Tensor, **told: Tensor) -> Tensor:
        return denoising_error(denoiser, x0, sigmas, seed, **told).cpu()

    return Errors(sigmas, error(subject.denoiser, train.to(device), **subject.told(subject.labels[:n])),
                  error(optimal, train), error(subject.denoiser, held_out.to(device), **subject.told(labels)),
                  error(gaussian, held_out))
