"""A comparison: systems, what each of them draws from the same noises, and how far any two of them agree.

    comparison = Comparison(z, solver="heun", steps=18)
    comparison.add("mine", denoiser)                 # any D(x, sigma, label=None) -> x0_hat
    comparison.rp("mine", "yours")                   # Score

    comparison.rate("mine", "yours")                 # Score: how often one picks the other out of a crowd of strangers

With k classes every noise is drawn under each of them, and agreement is counted class by class. An RP is read against
three others: its *null*, the same two systems on other noises (`rp_null`, or `noise=1` wherever pairs are averaged); the
*linear baseline*, a system and the Gaussian denoiser of the same data (`add_linear`); and the *ceiling*, a system and its
own finer solution (`ceiling`).

The mean RP over many pairs of systems is uncertain because there are few noises *and* few systems, and a system takes part
in many pairs. So both are resampled, whole systems and whole noises, and a pair counts as often as both of its systems
were drawn (Snijders & Borgatti 1999 resample a network's nodes so). Used in every chapter.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from itertools import combinations, product

import torch
from torch import Tensor, nn

from helpers.closed_form import GaussianDenoiser
from helpers.denoiser import DenoiserLike
from helpers.measure.bootstrap import percentile_interval, resampled_counts
from helpers.measure.descriptor import describe
from helpers.measure.identification import (
    IDENTIFIED,
    LEVELS,
    Agreement,
    Criterion,
    by_every_criterion,
    identified,
    rivals,
)
from helpers.measure.scores import THRESHOLD, Score, check_threshold, mae_score, max_similarity, rp_null, rp_score, wilson
from helpers.parallel import JOBS, side_by_side
from helpers.samplers import sample

Name = Hashable
Pair = tuple[Name, Name]
LINEAR = "linear"


class Comparison:
    """Images and descriptors of systems by name, all from the noises z (n, C, H, W).

    descriptor   a network for `describe`, None for the shipped one
    threshold    the similarity above which two images are the same
    strangers    unit descriptors (N, d) of photographs among which images are identified; None: nobody asks for that
    classes      k: every noise is drawn under each of k classes, and images are (n, k, C, H, W), descriptors (n, k, d);
                 None: without labels, images (n, C, H, W), descriptors (n, d)
    sampling     arguments of `sample`, unless a denoiser's own `sampling`, or those given to `add`, say otherwise

    ValueError for a threshold outside [-1, 1], or classes that are not 1 or more.
    """

    def __init__(self, z: Tensor, descriptor: nn.Module | None = None, threshold: float = THRESHOLD,
                 classes: int | None = None, strangers: Tensor | None = None, **sampling):
        check_threshold(threshold)
        if classes is not None and classes < 1:
            raise ValueError(f"classes is 1 or more, or None for images without labels, got {classes}")
        self.z, self.descriptor, self.threshold, self.classes = z, descriptor, threshold, classes
        self.strangers, self.sampling = strangers, sampling
        self.images: dict[Name, Tensor] = {}
        self.features: dict[Name, Tensor] = {}
        self._rivals: dict[Name, tuple[Tensor, Tensor]] = {}

    def draw(self, denoiser: DenoiserLike, z: Tensor | None = None, **sampling) -> Tensor:
        """The images of a denoiser on the CPU, (n, C, H, W) or (n, k, C, H, W); from other noises if z is given."""
        z = self.z if z is None else z
        options = {**self.sampling, **getattr(denoiser, "sampling", {}), **sampling}
        if not self.classes:
            return sample(denoiser, z, **options).cpu()
        label = torch.arange(self.classes, device=z.device).repeat(len(z))
        images = sample(denoiser, z.repeat_interleave(self.classes, 0), label=label, **options)
        return images.unflatten(0, (-1, self.classes)).cpu()

    def describe(self, images: Tensor) -> Tensor:
        """Unit descriptors of images (..., C, H, W): (..., d)."""
        return describe(images.flatten(0, -4), self.descriptor).unflatten(0, images.shape[:-3])

    def put(self, name: Name, images: Tensor) -> None:
        """Images that were made elsewhere from the same noises. ValueError if there are not as many."""
        expected = (len(self.z), self.classes) if self.classes else (len(self.z),)
        if tuple(images.shape[:-3]) != expected:
            raise ValueError(f"{name!r} has images {tuple(images.shape)} for {len(self.z)} noises"
                             + (f" and {self.classes} classes" if self.classes else "") + ": one each, in their order")
        self.images[name], self.features[name] = images, self.describe(images)

    def add(self, name: Name, denoiser: DenoiserLike, **sampling) -> None:
        """A system joins: its images from the comparison's noises, and their descriptors."""
        self.put(name, self.draw(denoiser, **sampling))

    def add_all(self, denoisers: Mapping[Name, DenoiserLike], jobs: int = JOBS,
                first: Callable[[Name], bool] | None = None, **sampling) -> None:
        """Several systems, `jobs` at a time; those for which `first` is true, the slow ones, begin."""
        order = sorted(denoisers, key=lambda name: not first(name)) if first else list(denoisers)
        drawn = side_by_side(lambda name: self.draw(denoisers[name], **sampling), order, jobs)
        found = dict(zip(order, drawn))
        for name in denoisers:
            self.put(name, found[name])

    def add_linear(self, gaussian: GaussianDenoiser, sigma_max: float = 80.0) -> None:
        """The linear baseline joins as "linear": the Gaussian denoiser's images of the same noises, solved exactly."""
        self.put(LINEAR, gaussian.flow(self.z, sigma_max=sigma_max).cpu())

    def ceiling(self, name: Name, denoiser: DenoiserLike, times: int = 3, **sampling) -> Score:
        """RP of a system with its own solution in `times` as many time steps, which joins as "name, finer"."""
        steps = {**self.sampling, **getattr(denoiser, "sampling", {}), **sampling}["steps"]
        self.add(f"{name}, finer", denoiser, **sampling | {"steps": times * steps})
        return self.rp(f"{name}, finer", name)

    def rivals(self, name: Name) -> Tensor:
        """For each of a system's images, the similarity of the stranger that it resembles most: (n,) or (n, k)."""
        if self.strangers is None:
            raise ValueError("nobody can be identified without strangers: give the comparison descriptors of photographs")
        features, (known, found) = self.features[name], self._rivals.get(name, (None, None))
        if known is not features:
            found = rivals(features, self.strangers)
            self._rivals[name] = features, found
        return found

    def hits(self, a: Name, b: Name, noise: int = 0, label: int = 0, at: Criterion | None = None) -> Tensor:
        """How far a's image of noise i (and class c) is b's of noise i + `noise` (and class c + `label`), both cyclic.

        at   a threshold of similarity (None: the comparison's), which is passed or not; or IDENTIFIED, see `identified`
        (n,) or (n, k) float64 in [0, 1]. With shifts of 0 its mean is RP or the identification rate, with others a null.
        """
        def moved(values: Tensor) -> Tensor:
            values = values.roll(-noise, 0)
            return values.roll(-label, 1) if label else values

        similarity = torch.cosine_similarity(self.features[a], moved(self.features[b]), dim=-1)
        if at == IDENTIFIED:
            return identified(similarity, self.rivals(a), moved(self.rivals(b)))
        return (similarity > (self.threshold if at is None else at)).double()

    def same(self, a: Name, b: Name, noise: int = 0, label: int = 0) -> Tensor:
        """Whether the two images are more similar than the threshold: `hits` as bool."""
        return self.hits(a, b, noise, label) > 0

    def share(self, a: Name, b: Name, noise: int = 0, label: int = 0, at: Criterion | None = None) -> Tensor:
        """For each noise, the mean of `hits` over the classes: (n,) float64."""
        return self.hits(a, b, noise, label, at).view(len(self.z), -1).mean(1)

    def rate(self, a: Name, b: Name, noise: int = 0) -> Score:
        """Identification rate of two systems among the strangers, with a bootstrap over noises; with `noise`, its null."""
        return self.mean([(a, b)], noise=noise, at=IDENTIFIED)

    def agreement(self, pairs: Sequence[Pair], baseline: Sequence[Pair] | None = None, noise: int = 1,
                  draws: int = 2000) -> Agreement:
        """How far pairs of systems agree by every criterion, beside other noises and beside the linear baseline.

        baseline   the pairs that are it; None: each of the systems and "linear"
        noise      the shift of noises that makes the null
        """
        names = list(dict.fromkeys(name for pair in pairs for name in pair))
        baseline = across(names, [LINEAR]) if baseline is None else baseline

        def mean(what: str, at: Criterion) -> Score:
            group = baseline if what == "linear" else pairs
            return self.mean(group, minus=baseline if what == "above" else (), noise=noise if what == "null" else 0, at=at,
                             draws=draws)

        return by_every_criterion(mean, self.threshold, self.strangers is not None)

    def rp(self, a: Name, b: Name) -> Score:
        """RP of two systems; without classes Wilson's interval, with classes a bootstrap over noises."""
        if self.classes:
            return self.mean([(a, b)])
        return rp_score(self.features[a], self.features[b], self.threshold)

    def rp_null(self, a: Name, b: Name) -> Score:
        """RP of two systems over different noises: chance."""
        if self.classes:
            return self.mean([(a, b)], noise=1)
        return rp_null(self.features[a], self.features[b], self.threshold)

    def new(self, name: Name, train: Tensor) -> Tensor:
        """Whether a system's images are like none of its training images: (n,) bool, or (n, k). Its mean is GL.

        train   unit descriptors of all N training images, (N, d)
        """
        features = self.features[name]
        nearest, _ = max_similarity(features.flatten(0, -2), train)
        return (nearest <= self.threshold).view(features.shape[:-1])

    def mae(self, a: Name, b: Name, noise: int = 0) -> Score:
        """MAE score of two systems; with `noise` as in `same`, of different noises: chance."""
        return mae_score(self.images[a], self.images[b].roll(-noise, 0))

    def matrix(self, names: Sequence[Name]) -> Tensor:
        """(k, k) float64: identification rate above the diagonal, RP at the threshold of copies below it, NaN on it."""
        found = torch.full((len(names),) * 2, torch.nan, dtype=torch.double)
        for (i, a), (j, b) in combinations(enumerate(names), 2):
            found[i, j], found[j, i] = self.hits(a, b, at=IDENTIFIED).mean(), self.hits(a, b).mean()
        return found

    def short(self, pair: Pair, draws: int = 1000) -> list[Criterion]:
        """The criteria by which one pair is not above its own linear baseline: the interval reaches zero."""
        baseline = across(pair, [LINEAR])
        criteria = [*([IDENTIFIED] if self.strangers is not None else []), *LEVELS]
        return [at for at in criteria if not self.mean([pair], minus=baseline, at=at, draws=draws).low > 0]

    def mean(self, pairs: Sequence[Pair], minus: Sequence[Pair] = (), noise: int = 0, label: int = 0,
             at: Criterion | None = None, draws: int = 2000, seed: int = 0) -> Score:
        """Mean over pairs, less the mean over the pairs `minus`: `mean_over_pairs`. Shifts and criterion as in `hits`."""
        same, other = ({pair: self.share(*pair, noise, label, at) for pair in group} for group in (pairs, minus))
        return mean_over_pairs(same, other, draws, seed)


def mean_over_pairs(hits: Mapping[Pair, Tensor], minus: Mapping[Pair, Tensor] | None = None, draws: int = 2000,
                    seed: int = 0) -> Score:
    """The mean over pairs of systems, less the mean over the pairs `minus`, with a bootstrap over systems and noises.

    hits   pair: (n,), for each noise whether the two agree, or in which share of cases, in [0, 1]
    """
    if not hits:
        raise ValueError("no pairs to average over")
    every = [*hits, *(minus or {})]
    names = list(dict.fromkeys(name for pair in every for name in pair))
    values = torch.stack([*hits.values(), *(minus or {}).values()]).double()                        # (pairs, n)
    n, parts = values.shape[1], [slice(0, len(hits)), slice(len(hits), None)][:1 + bool(minus)]
    systems, noises = resampled_counts(len(names), draws, seed), resampled_counts(n, draws, seed + 1)
    rates = values @ noises.T / n                                                                   # (pairs, draws)
    i, j = (torch.tensor([names.index(pair[side]) for pair in every]) for side in (0, 1))
    weights = (systems[:, i] * systems[:, j]).T                                                     # (pairs, draws)

    def difference(rates: Tensor, weights: Tensor) -> Tensor:
        means = [(rates[p] * weights[p]).sum(0) / weights[p].sum(0) for p in parts]
        return means[0] - means[1] if minus else means[0]

    value = difference(values.mean(1), torch.ones(len(every), dtype=torch.double)).item()
    if not minus and values.amin() == values.amax() and 0 <= value <= 1:
        return wilson(value, n)
    low, high = percentile_interval(difference(rates, weights))     # a draw may hold no pair at all: it says nothing
    return Score(value, min(low, value), max(high, value), n)


def mean_over_noises(values: Tensor) -> Score:
    """The mean of values (n,), one for each noise, with a bootstrap over noises alone: `mean_over_pairs` of one pair.

    What the values average over, sizes or systems, is taken as it is: the interval says nothing of others.
    """
    return mean_over_pairs({("one", "other"): values})


def within(names: Sequence[Name]) -> list[Pair]:
    """All pairs of different names."""
    return list(combinations(names, 2))


def across(first: Sequence[Name], second: Sequence[Name]) -> list[Pair]:
    """All pairs of a name of one group and a name of the other."""
    return [pair for pair in product(first, second) if pair[0] != pair[1]]
