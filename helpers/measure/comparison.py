"""A lineup: systems, what each of them draws from the same noises, and how far any two of them agree.

    lineup = Lineup(z, solver="heun", steps=18)
    lineup.add("mine", denoiser)                 # any D(x, sigma, label=None) -> x0_hat
    lineup.rp("mine", "yours")                   # Score

The mean RP over many pairs of systems is uncertain because there are few noises *and* few systems, and a system takes part
in many pairs. So both are resampled, whole systems and whole noises, and a pair counts as often as both of its systems
were drawn (Snijders & Borgatti 1999 resample a network's nodes so). Used in chapter 1.
"""

from collections.abc import Hashable, Mapping, Sequence
from itertools import combinations, product

import torch
from torch import Tensor, nn

from helpers.data import to_uint8
from helpers.denoiser import DenoiserLike
from helpers.measure.descriptor import describe
from helpers.measure.scores import THRESHOLD, Score, mae_score, rp_null, rp_score, similarity, wilson
from helpers.parallel import JOBS, side_by_side
from helpers.samplers import sample

Name = Hashable
Pair = tuple[Name, Name]


class Lineup:
    """Images and descriptors of systems by name, all from the noises z (n, C, H, W).

    descriptor   a network for `describe`, None for the shipped one
    threshold    the similarity above which two images are the same
    sampling     arguments of `sample`, unless a denoiser's own `sampling`, or those given to `add`, say otherwise
    """

    def __init__(self, z: Tensor, descriptor: nn.Module | None = None, threshold: float = THRESHOLD, **sampling):
        self.z, self.descriptor, self.threshold, self.sampling = z, descriptor, threshold, sampling
        self.images: dict[Name, Tensor] = {}
        self.features: dict[Name, Tensor] = {}

    def draw(self, denoiser: DenoiserLike, **sampling) -> Tensor:
        """The images of a denoiser, (n, C, H, W) on the CPU."""
        options = {**self.sampling, **getattr(denoiser, "sampling", {}), **sampling}
        return sample(denoiser, self.z, **options).cpu()

    def put(self, name: Name, images: Tensor) -> None:
        """Images that were made elsewhere from the same noises. ValueError if there are not as many."""
        if len(images) != len(self.z):
            raise ValueError(f"{name!r} has {len(images)} images for {len(self.z)} noises: one each, in their order")
        self.images[name], self.features[name] = images, describe(images, self.descriptor)

    def add(self, name: Name, denoiser: DenoiserLike, **sampling) -> None:
        """A system joins: its images from the lineup's noises, and their descriptors."""
        self.put(name, self.draw(denoiser, **sampling))

    def add_all(self, denoisers: Mapping[Name, DenoiserLike], jobs: int = JOBS, **sampling) -> None:
        """Several systems, `jobs` at a time."""
        drawn = side_by_side(lambda denoiser: self.draw(denoiser, **sampling), denoisers.values(), jobs)
        for name, images in zip(denoisers, drawn):
            self.put(name, images)

    def same(self, a: Name, b: Name) -> Tensor:
        """For each noise, whether two systems draw the same picture: (n,) bool."""
        return similarity(self.features[a], self.features[b]) > self.threshold

    def rp(self, a: Name, b: Name) -> Score:
        """RP of two systems."""
        return rp_score(self.features[a], self.features[b], self.threshold)

    def null(self, a: Name, b: Name) -> Score:
        """RP of two systems over different noises: chance."""
        return rp_null(self.features[a], self.features[b], self.threshold)

    def mae(self, a: Name, b: Name) -> Score:
        """MAE score of two systems."""
        return mae_score(to_uint8(self.images[a]), to_uint8(self.images[b]))

    def matrix(self, names: Sequence[Name]) -> Tensor:
        """(k, k) float64: RP above the diagonal, MAE score below it, NaN on it, as in the paper's Fig. 6."""
        found = torch.full((len(names),) * 2, torch.nan, dtype=torch.double)
        for (i, a), (j, b) in combinations(enumerate(names), 2):
            found[i, j], found[j, i] = self.rp(a, b).value, self.mae(a, b).value
        return found

    def mean(self, pairs: Sequence[Pair], minus: Sequence[Pair] = (), draws: int = 2000, seed: int = 0) -> Score:
        """Mean RP over pairs, less the mean RP over the pairs `minus`: `mean_over_pairs`."""
        same, other = ({pair: self.same(*pair) for pair in group} for group in (pairs, minus))
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
    systems, noises = _resample(len(names), draws, seed), _resample(n, draws, seed + 1)
    rates = values @ noises.T / n                                                                   # (pairs, draws)
    i, j = (torch.tensor([names.index(pair[side]) for pair in every]) for side in (0, 1))
    weights = (systems[:, i] * systems[:, j]).T                                                     # (pairs, draws)

    def difference(rates: Tensor, weights: Tensor) -> Tensor:
        means = [(rates[p] * weights[p]).sum(0) / weights[p].sum(0) for p in parts]
        return means[0] - means[1] if minus else means[0]

    value = difference(values.mean(1), torch.ones(len(every), dtype=torch.double)).item()
    found = difference(rates, weights)
    found = found[found.isfinite()]                          # a draw may hold no pair at all: it says nothing
    if not minus and values.amin() == values.amax() and 0 <= value <= 1:
        return wilson(value, n)
    low, high = found.quantile(found.new_tensor([0.025, 0.975])).tolist()
    return Score(value, min(low, value), max(high, value), n)


def _resample(count: int, draws: int, seed: int) -> Tensor:
    """How often each of `count` things is drawn when `count` are drawn with replacement: (draws, count) float64."""
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(count, (draws, count), generator=generator)
    return torch.zeros(draws, count, dtype=torch.double).scatter_add_(1, index, torch.ones(draws, count).double())


def within(names: Sequence[Name]) -> list[Pair]:
    """All pairs of different names."""
    return list(combinations(names, 2))


def across(first: Sequence[Name], second: Sequence[Name]) -> list[Pair]:
    """All pairs of a name of one group and a name of the other."""
    return [pair for pair in product(first, second) if pair[0] != pair[1]]
