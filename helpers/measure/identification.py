"""Identification: does an image pick its partner out of a crowd?

RP asks whether two images are more similar than a threshold, and the answer hangs on the threshold. Identification asks
what biometrics asks (rank-1 identification against a gallery): model A draws a from a noise, model B draws b from the same
noise, and s_1 ... s_N are *strangers*, N photographs that no model has seen. The noise is a hit if

    M(a, b) > max_k M(a, s_k)

averaged over both directions, so that a noise scores 0, 1/2 or 1. There is no threshold: a common garment, which many
photographs resemble, has to be met more exactly than a rare one, and the maximum over N puts it on the footing of GL. If
b were one more stranger, the rate would be 1 / (N + 1); so N is always quoted. Used by every chapter that compares images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from helpers.measure.bootstrap import Score
from helpers.measure.scores import max_similarity

IDENTIFIED = "identified"                                # a criterion beside those of thresholds
LEVELS = (0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9)          # the thresholds at which an agreement has to hold
Criterion = float | str


def rivals(features: Tensor, strangers: Tensor) -> Tensor:
    """max_k M(x, s_k): unit descriptors (..., d) of images, (N, d) of the strangers -> (...)."""
    return max_similarity(features.flatten(0, -2), strangers)[0].view(features.shape[:-1])


def identified(similarity: Tensor, rivals_a: Tensor, rivals_b: Tensor) -> Tensor:
    """0, 1/2 or 1 for each pair of images: in how many directions it beats every stranger. All of one shape, float64.

    similarity   M(a, b)
    rivals_a     max_k M(a, s_k), of `rivals`; rivals_b the same for b
    """
    return ((similarity > rivals_a).double() + (similarity > rivals_b).double()) / 2


def chance_rate(strangers: int) -> float:
    """1 / (N + 1): how often one of N + 1 exchangeable images is the nearest."""
    return 1 / (strangers + 1)


def beyond_linear(similarity: Tensor, linear: Tensor) -> Tensor:
    """(mean M - mean M_linear) / (1 - mean M_linear): the part of what mean and covariance leave open that is agreed on.

    similarity (n,) of two systems, linear (m,) of systems and the Gaussian map; 1 for equal images, 0 for no more than it.
    """
    base = linear.double().mean()
    return (similarity.double().mean() - base) / (1 - base)


@dataclass(frozen=True)
class Agreement:
    """How far some pairs of systems agree, by every criterion.

    rates, nulls, linear   criterion: the pairs' mean; that of other noises; that of the systems and the Gaussian map
    above                  criterion: the pairs' mean less the linear baseline's, taken noise by noise
    headline               the criterion that a table quotes: identification, or a threshold where there are no strangers
    copy                   RP at `threshold`, where two images are copies of each other
    """

    rates: dict[Criterion, Score]
    nulls: dict[Criterion, Score]
    linear: dict[Criterion, Score]
    above: dict[Criterion, Score]
    headline: Criterion
    threshold: float

    @property
    def rate(self) -> Score:
        return self.rates[self.headline]

    @property
    def null(self) -> Score:
        return self.nulls[self.headline]

    @property
    def baseline(self) -> Score:
        return self.linear[self.headline]

    @property
    def copy(self) -> Score:
        return self.rates[self.threshold]

    @property
    def short(self) -> list[Criterion]:
        """The criteria by which the pairs are not above the linear baseline."""
        return [criterion for criterion, score in self.above.items() if not score.low > 0]

    @property
    def curve(self) -> tuple[list[float], list[Score], list[Score], list[Score]]:
        """RP(t) over the thresholds t: t, the pairs, other noises, the linear baseline."""
        at = sorted(c for c in self.rates if c != IDENTIFIED)
        return at, *([scores[c] for c in at] for scores in (self.rates, self.nulls, self.linear))


def by_every_criterion(mean: Callable[..., Score], threshold: float, strangers: bool,
                       levels: Sequence[float] = LEVELS) -> Agreement:
    """An `Agreement`, from `mean(what, criterion)` with what = "pairs", "null", "linear" or "above".

    strangers   whether there are any, and the the criteria include identification
    """
    criteria = [*([IDENTIFIED] if strangers else []), *levels]
    every = dict.fromkeys([*criteria, threshold])
    rates, nulls, linear = ({c: mean(what, c) for c in every} for what in ("pairs", "null", "linear"))
    return Agreement(rates, nulls, linear, {c: mean("above", c) for c in criteria}, criteria[0] if strangers else threshold,
                     threshold)
