"""Scores: do two images agree, is an image new, and how sure are we?

With S the copy-detection descriptor (`descriptor.py`; unit vectors) and M(x1, x2) = <S(x1), S(x2)>, the paper defines

    RP  = P( M(x1, x2) > t )              reproducibility: x1, x2 from the same noise by two models
    GL  = 1 - P( max_i M(x, y_i) > t )    generalization: x a sample, y_i all training images of its model
    MAE = P( mean |x1 - x2| < 15 )        pixels on [0, 255]

each an empirical fraction over noises, with t = 0.6 for SSCD. A fraction over n noises comes with Wilson's interval, a
mean over several pairs of models with a bootstrap over pairs and noises, both at 95 %. How large RP is by chance is
`rp_null`'s answer; what t means is that of `calibration.py`. Used by every chapter that compares images.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from helpers.closed_form import nearest_images
from helpers.data import as_x0
from helpers.measure.bootstrap import DRAWS, Score, crossed_counts, percentile_interval, wilson
from helpers.measure.descriptor import quantized

# The smallest t on a grid of 0.01 at which >= 95 % of the held-out images count as new against the whole pool (2^15),
# <= 0.1 % of unrelated pairs count as copies, and >= 95 % of each kind of edited copy are found: `calibration.py`.
THRESHOLD = 0.88
GLYPH_THRESHOLD = 0.83                     # by the same rule, of the characters' descriptor: chapter 10 repeats the choice
SSCD_THRESHOLD = 0.6                       # the paper's, for the published descriptor


def _proportion(hits: Tensor) -> Score:
    return wilson(hits.double().mean().item(), len(hits))


def _check_features(f1: Tensor, f2: Tensor, paired: bool) -> None:
    if f1.ndim != 2 or f2.ndim != 2 or f1.shape[1] != f2.shape[1]:
        raise ValueError(f"descriptors must be (n, d) with equal d, got {tuple(f1.shape)} and {tuple(f2.shape)}")
    if paired and len(f1) != len(f2):
        raise ValueError(f"paired scores need as many descriptors on both sides, got {len(f1)} and {len(f2)}")
    if not len(f1) or not len(f2):
        raise ValueError("no descriptors to compare: one side is empty")
    if not (f1.isfinite().all() and f2.isfinite().all()):
        raise ValueError("descriptors hold NaN or infinity: the sampler that made the images has failed")


def check_unit(*features: Tensor) -> None:
    """ValueError unless all rows (..., d) have length 1 within 1e-3: the product of others is no similarity."""
    for f in features:
        length = f.norm(dim=-1)
        if not ((length - 1).abs() <= 1e-3).all():
            raise ValueError(f"descriptors must be unit vectors, these have lengths from {length.amin().item():.4g} to "
                             f"{length.amax().item():.4g}: divide every row by its length")


def check_threshold(threshold: float) -> None:
    """ValueError unless the threshold is one of similarities, in [-1, 1]."""
    if not -1 <= threshold <= 1:
        raise ValueError(f"a threshold of similarity is in [-1, 1], got {threshold}")


# Reproducibility

SHIFTS = (1, 2, 3, 5, 8, 13, 21, 34)    # any set will do: noises are independent, so their order means nothing


def similarity(f1: Tensor, f2: Tensor) -> Tensor:
    """M_i = <f1_i, f2_i> / (|f1_i| |f2_i|): descriptors (n, d), (n, d) -> (n,). ValueError if they do not pair."""
    _check_features(f1, f2, paired=True)
    return torch.cosine_similarity(f1, f2, dim=1)


def rp_score(f1: Tensor, f2: Tensor, threshold: float = THRESHOLD) -> Score:
    """RP = P( M(x1, x2) > t ), strictly; descriptors (n, d) of two models' images from the same n noises.

    ValueError unless they pair and t is in [-1, 1].
    """
    check_threshold(threshold)
    return _proportion(similarity(f1, f2) > threshold)


def exceedance(values: Tensor, thresholds: Tensor) -> Tensor:
    """P( value > t ) for every t: values of any shape, thresholds (T,) -> (T,) float64, falling in t.

    ValueError for no values, and for NaN.
    """
    if not values.numel() or values.isnan().any() or thresholds.isnan().any():
        raise ValueError(f"exceedance needs values and thresholds without NaN, got {values.numel()} values")
    ordered = values.flatten().sort().values
    below = torch.searchsorted(ordered, thresholds.to(ordered), right=True)                         # values <= t
    return 1 - below.double() / len(ordered)


def null_similarity(f1: Tensor, f2: Tensor, shifts: Sequence[int] = SHIFTS) -> Tensor:
    """M between the images of *different* noises, i and i + k (cyclic), for every shift k -> (shifts, n).

    Shifts that are multiples of n would pair a noise with itself and are left out; n >= 2, else ValueError.
    """
    usable = [k for k in shifts if k % max(len(f2), 1)]
    if not usable:
        raise ValueError(f"the null needs two noises and a shift that is no multiple of n, got n = {len(f2)}")
    return torch.stack([similarity(f1, f2.roll(-k, dims=0)) for k in usable])


def rp_null(f1: Tensor, f2: Tensor, threshold: float = THRESHOLD, shifts: Sequence[int] = SHIFTS) -> Score:
    """The RP of chance: the same two models, different noises, averaged over cyclic shifts.

    The interval counts n // 2 pairs however many shifts there are. A pair consumes two noises, and with h(i, j) the
    indicator of pair (i, j), the variance of such an average is at most 2 Var(h) / n to leading order (Hoeffding 1948).
    """
    check_threshold(threshold)
    value = (null_similarity(f1, f2, shifts) > threshold).double().mean().item()
    return wilson(value, len(f1) // 2)


# Generalization


def max_similarity(features: Tensor, train_features: Tensor, chunk: int = 4096) -> tuple[Tensor, Tensor]:
    """max_i M(x, y_i) and its i: unit descriptors (n, d), (N, d) -> (n,), (n,). The first i among equals.

    ValueError unless the descriptors are unit vectors with equal d.
    """
    _check_features(features, train_features, paired=False)
    check_unit(features, train_features)
    values = features.new_full((len(features),), -torch.inf)
    index = torch.zeros(len(features), dtype=torch.long, device=features.device)
    for start in range(0, len(train_features), chunk):
        best, where = (features @ train_features[start:start + chunk].T).max(dim=1)
        index = torch.where(best > values, where + start, index)
        values = torch.maximum(best, values)
    return values, index


def twins(features: Tensor, chunk: int = 2048) -> tuple[Tensor, Tensor]:
    """The nearest *other* image of a set: unit descriptors (N, d) -> max_{j != i} M(y_i, y_j) (N,) and its j (N,).

    ValueError unless N >= 2 and the descriptors are unit vectors.
    """
    _check_features(features, features, paired=True)
    check_unit(features)
    if len(features) < 2:
        raise ValueError("one image has no other: twins needs two descriptors or more")
    found = []
    for start in range(0, len(features), chunk):
        part = features[start:start + chunk] @ features.T                                           # (chunk, N)
        part[torch.arange(len(part)), start + torch.arange(len(part))] = -torch.inf
        found.append(part.max(dim=1))
    return torch.cat([f.values for f in found]), torch.cat([f.indices for f in found])


def gl_score(features: Tensor, train_features: Tensor, threshold: float = THRESHOLD) -> Score:
    """GL = 1 - P( max_i M(x, y_i) > t ): unit descriptors of n samples (n, d), of all N training images (N, d)."""
    check_threshold(threshold)
    return _proportion(max_similarity(features, train_features)[0] <= threshold)


# Pixels


def memorized_fraction(images: Tensor, train_images: Tensor, ratio: float = 1 / 3) -> Score:
    """P( d1 < ratio * d2 ), d1 <= d2 the distances in pixel space to the two nearest training images.

    images (n, C, H, W), train_images (N, C, H, W), uint8 or in [-1, 1]. Yoon et al. 2023; 1/3 as in Gu et al. 2023 and
    Bonnaire et al. 2025. Copies of an image that the training set holds twice (d1 ~ d2) escape it. ValueError if N < 2,
    for a ratio outside (0, 1], and for what is no image.
    """
    if not 0 < ratio <= 1:
        raise ValueError(f"the ratio of the nearest distance to the next is in (0, 1], got {ratio}")
    if len(train_images) < 2 or not len(images):
        raise ValueError(f"the ratio test needs two training images and a sample: {len(train_images)}, {len(images)}")
    d, _ = nearest_images(as_x0(images), train_images, k=2)                                       # (n, 2)
    return _proportion(d[:, 0] < ratio * d[:, 1])


def nearest_agreement(images1: Tensor, images2: Tensor, train_images: Tensor) -> Score:
    """P( argmin_i |x1 - y_i| = argmin_i |x2 - y_i| ): do two images lie nearest to the same training image, in pixel space?

    images (n, C, H, W) from the same n noises, train_images (N, C, H, W), uint8 or in [-1, 1]. Chance is about 1 / N or
    more. ValueError if the two do not pair, and for what is no image.
    """
    if images1.shape != images2.shape or not len(images1):
        raise ValueError(f"two image sets of one shape are needed, got {tuple(images1.shape)} and {tuple(images2.shape)}")
    (_, i), (_, j) = (nearest_images(as_x0(x), train_images, k=1) for x in (images1, images2))
    return _proportion(i[:, 0] == j[:, 0])


def mae_score(x1: Tensor, x2: Tensor, threshold: float = 15.0) -> Score:
    """P( mean |x1 - x2| < 15 ) on [0, 255]: images (n, C, H, W), uint8, or in [-1, 1] and then quantized as for RP.

    ValueError for sets of two shapes, for what is no image, and for a threshold outside (0, 255].
    """
    if x1.shape != x2.shape or not x1.numel():
        raise ValueError(f"mae_score needs two image sets of one shape, got {tuple(x1.shape)} and {tuple(x2.shape)}")
    if not 0 < threshold <= 255:
        raise ValueError(f"a threshold of gray levels is in (0, 255], got {threshold}")
    x1, x2 = quantized(x1).double(), quantized(x2).double()
    return _proportion((x1 - x2).abs().flatten(1).mean(dim=1) < threshold)


# Several pairs of models


def bootstrap_mean(values: Tensor, generator: torch.Generator, draws: int = DRAWS) -> Score:
    """The mean of values (k pairs of models, n noises) with a bootstrap over pairs *and* noises: 2.5 and 97.5 %.

    Pairs of models share their noises, so both are resampled, whole rows and whole columns (Owen 2007). With few pairs
    it is too narrow, by a factor of about sqrt((k - 1) / k) in the spread between pairs. Where all values agree it is
    Wilson's for n. ValueError for another shape, NaN or infinity.
    """
    if values.ndim != 2 or not values.numel():
        raise ValueError(f"values must be (pairs, noises) and not empty, got {tuple(values.shape)}")
    if not values.isfinite().all():
        raise ValueError("values hold NaN or infinity: they have no mean")
    values, (k, n) = values.double(), values.shape
    mean = values.mean().item()
    if values.amin() == values.amax() and 0 <= mean <= 1:
        return wilson(mean, n)
    pairs, noises = (counts.to(values.device) for counts in crossed_counts((k, n), draws, generator))
    low, high = percentile_interval((pairs @ values * noises).sum(1) / (k * n))                      # (draws,)
    return Score(mean, low, high, n)
