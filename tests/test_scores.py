"""Scores against known answers: each by construction, by hand, from published tables, or by simulation."""

import pytest
import torch
from torch.testing import assert_close

from helpers.data import to_float
from helpers.measure.scores import (
    bootstrap_mean,
    exceedance,
    gl_score,
    mae_score,
    max_similarity,
    memorized_fraction,
    nearest_agreement,
    null_similarity,
    rp_null,
    rp_score,
    similarity,
    twins,
    wilson,
)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def unit(n, d=8, seed=0):
    return torch.nn.functional.normalize(torch.randn(n, d, generator=torch.Generator().manual_seed(seed)), dim=1)


# Reproducibility


def test_rp_of_identical_descriptors_is_1_and_of_orthogonal_ones_0():
    f = torch.eye(6)
    assert rp_score(f, f).value == 1
    assert rp_score(f, f.roll(1, dims=0)).value == 0


def test_threshold_is_strict():
    f1, f2 = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.5, 0.75**0.5]])
    m = similarity(f1, f2).item()
    assert rp_score(f1, f2, threshold=m).value == 0
    assert rp_score(f1, f2, threshold=m - 1e-6).value == 1
    assert gl_score(f1, f1, threshold=1.0).value == 1     # M = 1 does not exceed 1


def test_similarity_is_the_cosine_whatever_the_length():
    f1, f2 = unit(50), unit(50, seed=1)
    assert_close(similarity(3 * f1, 0.1 * f2), (f1 * f2).sum(1))


def test_the_exceedance_of_similarities_is_rp_at_every_threshold():
    f1, f2, thresholds = unit(200), unit(200, seed=1), torch.linspace(-1, 1, 9)
    expected = torch.tensor([rp_score(f1, f2, t.item()).value for t in thresholds], dtype=torch.double)
    assert_close(exceedance(similarity(f1, f2), thresholds), expected)


def test_exceedance_by_hand():
    values, thresholds = torch.tensor([0.1, 0.5, 0.5, 0.9]), torch.tensor([0.0, 0.1, 0.5, 0.9])
    assert_close(exceedance(values, thresholds), torch.tensor([1.0, 0.75, 0.25, 0.0], dtype=torch.double))


def test_null_pairs_noise_i_with_i_plus_k():
    f = torch.eye(4)
    assert_close(null_similarity(f, f.roll(1, dims=0), shifts=[1, 2, 4]), torch.tensor([[1.0] * 4, [0.0] * 4]))
    score = rp_null(f, f.roll(1, dims=0), shifts=[1, 2])
    assert score.value == 0.5
    assert score.n == 2                                   # four noises make two independent pairs


def test_null_interval_covers_chance_when_images_collapse_to_few():
    """Two models that draw one of 10 training images at random: by chance, RP is 1/10."""
    generator, covered = torch.Generator().manual_seed(0), 0
    for _ in range(200):
        a, b = torch.eye(10)[torch.randint(10, (2, 100), generator=generator)]
        score = rp_null(a, b)
        covered += score.low <= 0.1 <= score.high
    assert covered >= 190


# Generalization and memorization


def test_gl_of_copies_is_0_and_of_strangers_1():
    train = torch.eye(8)
    assert gl_score(train[[3, 3, 5]], train).value == 0
    assert gl_score(train[6:], train[:6]).value == 1


@pytest.mark.parametrize("chunk", [1, 7, 100, 1000])
def test_max_similarity_does_not_depend_on_chunks(chunk):
    f, train = unit(40), unit(300, seed=1)
    values, index = max_similarity(f, train, chunk)
    expected = (f.double() @ train.double().T).max(dim=1)
    assert_close(values.double(), expected.values, atol=1e-6, rtol=0)
    assert_close(index, expected.indices)


@pytest.mark.parametrize("chunk", [1, 2, 100])
def test_the_first_of_equal_training_images_is_the_nearest(chunk):
    f = torch.eye(4)
    assert max_similarity(f[:2], f[[1, 0, 0, 1]], chunk)[1].tolist() == [1, 0]


def test_copies_of_an_image_that_is_there_twice_escape_the_ratio_test():
    train = torch.rand(3, 1, 2, 2, generator=gen())[[0, 0, 1, 2]]
    assert memorized_fraction(train, train).value == 0.5


def test_ratio_test_by_construction():
    train = torch.zeros(3, 1, 2, 2)
    train[1], train[2] = 0.5, -1.0                        # |y0 - y1| = 1 in the norm of four pixels
    x = torch.full((3, 1, 2, 2), 0.0)
    x[1], x[2] = 0.12, 0.13                               # d1/d2 = 0.12/0.38 = 0.316 and 0.13/0.37 = 0.351
    assert memorized_fraction(x, train).value == pytest.approx(2 / 3)
    assert memorized_fraction(x, train, ratio=0.3).value == pytest.approx(1 / 3)


def test_ratio_test_reads_uint8_and_floats_alike():
    train = torch.randint(0, 256, (20, 1, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert memorized_fraction(train[:5], train).value == 1
    assert memorized_fraction(train[:5] / 127.5 - 1, train).value == 1
    assert memorized_fraction(train[:5], train[5:]).value == 0


def test_the_nearest_training_image_agrees_by_construction():
    train = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 4, 4)
    a, b = (torch.tensor(shades).view(4, 1, 1, 1).expand(4, 1, 4, 4)
            for shades in ([-0.9, -0.6, 0.4, 0.6], [-0.6, -0.4, -0.4, 0.9]))
    score = nearest_agreement(a, b, train)                # nearest: 0, 0, 1, 2 and 0, 1, 1, 2
    assert score == wilson(3 / 4, 4) and nearest_agreement(b, a, train) == score
    assert nearest_agreement(a, a, train[:1]).value == 1
    grays = [((x + 1) * 127.5).round().to(torch.uint8) for x in (a, b, train)]
    assert nearest_agreement(*grays).value == 3 / 4


def test_mae_boundary_is_strict_and_on_255():
    a = torch.full((2, 1, 4, 4), 100, dtype=torch.uint8)
    b = a + torch.tensor([15, 14], dtype=torch.uint8).view(2, 1, 1, 1)
    assert mae_score(a, b).value == 0.5
    assert mae_score(b, a).value == 0.5                   # no wrap-around of uint8 differences
    assert mae_score(a / 127.5 - 1, b).value == 0.5       # floats are quantized back to the same pixels


# Several pairs


def test_bootstrap_of_constant_values_is_wilson():
    assert bootstrap_mean(torch.ones(3, 50), torch.Generator()) == wilson(1.0, 50)


def test_bootstrap_is_seeded_and_matches_the_binomial_error_for_one_pair():
    hits = (torch.arange(400) < 100).float()[None]
    first, again = (bootstrap_mean(hits, torch.Generator().manual_seed(1)) for _ in range(2))
    assert first == again and first.value == 0.25 and first.n == 400
    half = 1.96 * (0.25 * 0.75 / 400) ** 0.5
    assert (first.high - first.low) / 2 == pytest.approx(half, rel=0.08)


@pytest.mark.parametrize("k, n", [(1, 40), (5, 30)])
def test_bootstrap_resamples_whole_rows_and_whole_columns(k, n):
    values, generator, means = torch.rand(k, n, generator=torch.Generator().manual_seed(2)).double(), gen(7), []
    for _ in range(300):
        pairs, noises = torch.randint(k, (k,), generator=generator), torch.randint(n, (n,), generator=generator)
        means.append(values[pairs].mean(dim=0)[noises].mean())
    low, high = torch.stack(means).quantile(torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
    score = bootstrap_mean(values, gen(7), draws=300)
    assert (score.value, score.low, score.high) == pytest.approx((values.mean().item(), low, high), abs=1e-12)


def test_bootstrap_draws_2000_times():
    values = torch.rand(2, 30, generator=gen())
    assert bootstrap_mean(values, gen(1)) == bootstrap_mean(values, gen(1), draws=2000)


def test_bootstrap_sees_the_spread_between_pairs_that_wilson_does_not():
    rates = torch.tensor([0.2, 0.4, 0.6, 0.8])[:, None]
    hits = (torch.rand(4, 1000, generator=torch.Generator().manual_seed(0)) < rates).float()
    score, naive = bootstrap_mean(hits, torch.Generator().manual_seed(0)), wilson(hits.mean().item(), 4000)
    assert score.high - score.low > 10 * (naive.high - naive.low)


def test_bootstrap_covers_the_truth_with_eight_pairs():
    generator, covered = torch.Generator().manual_seed(0), 0
    for _ in range(150):
        effects = 0.3 * torch.randn(8, 1, generator=generator) + torch.randn(1, 60, generator=generator)
        score = bootstrap_mean(effects, generator, draws=300)
        covered += score.low <= 0 <= score.high
    assert covered / 150 > 0.88


# Errors


@pytest.mark.parametrize("call, message", [
    (lambda: rp_score(unit(3), unit(4)), "as many descriptors"),
    (lambda: rp_score(unit(3), unit(3, d=9)), "equal d"),
    (lambda: rp_score(unit(0), unit(0)), "empty"),
    (lambda: rp_score(unit(3) * torch.nan, unit(3)), "NaN"),
    (lambda: gl_score(unit(3), unit(0)), "empty"),
    (lambda: rp_null(unit(1), unit(1)), "two noises"),
    (lambda: memorized_fraction(torch.zeros(2, 1, 4, 4), torch.zeros(1, 1, 4, 4)), "two training images"),
    (lambda: nearest_agreement(torch.zeros(2, 1, 4, 4), torch.zeros(3, 1, 4, 4), torch.zeros(1, 1, 4, 4)), "one shape"),
    (lambda: mae_score(torch.zeros(2, 1, 4, 4), torch.zeros(3, 1, 4, 4)), "one shape"),
    (lambda: mae_score(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), threshold=0), "gray levels"),
    (lambda: mae_score(torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 4, 4), threshold=256), "gray levels"),
    (lambda: memorized_fraction(torch.zeros(2, 1, 4, 4), torch.zeros(3, 1, 4, 4), ratio=3), r"in \(0, 1\], got 3"),
    (lambda: twins(unit(1)), "two descriptors"),
    (lambda: exceedance(torch.empty(0), torch.zeros(1)), "got 0 values"),
    (lambda: exceedance(torch.tensor([torch.nan]), torch.zeros(1)), "without NaN"),
    (lambda: exceedance(torch.zeros(1), torch.tensor([torch.nan])), "without NaN"),
    (lambda: max_similarity(unit(3) * torch.nan, unit(3)), "NaN"),
    (lambda: bootstrap_mean(torch.zeros(3), torch.Generator()), "pairs, noises"),
    (lambda: bootstrap_mean(torch.tensor([[0.5, torch.nan]]), torch.Generator()), "NaN"),
])
def test_errors_are_one_clear_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("call", [max_similarity, gl_score, lambda f, train: gl_score(train, f), lambda f, train: twins(f)])
def test_products_of_rows_that_are_no_unit_vectors_are_no_similarities(call):
    f = unit(6)
    call(1.0009 * f, f)                                   # rounding is no reason
    f[3] *= 1.002
    with pytest.raises(ValueError, match="lengths from 1 to 1.002: divide every row by its length"):
        call(f, unit(9))
    f[3] *= 0.996
    with pytest.raises(ValueError, match="lengths from 0.998 to 1:"):
        call(f, unit(9))


@pytest.mark.parametrize("score", [rp_score, rp_null, gl_score])
@pytest.mark.parametrize("threshold", [-1.01, 1.01, 15, torch.nan])
def test_thresholds_are_similarities(score, threshold):
    score(unit(4), unit(4), threshold=1.0), score(unit(4), unit(4), threshold=-1.0)
    with pytest.raises(ValueError, match="a threshold of similarity is in"):
        score(unit(4), unit(4), threshold=threshold)


def spoiled(value):
    images = torch.zeros(2, 1, 4, 4)
    images[1, 0, 2, 2] = value
    return images


@pytest.mark.parametrize("bad, message", [(spoiled(torch.nan), "NaN or infinity"), (spoiled(-torch.inf), "NaN or infinity"),
                                          (spoiled(200.0), r"for \[0, 255\]"), (spoiled(3).long(), "uint8")])
@pytest.mark.parametrize("score", [mae_score, lambda x, y: mae_score(y, x), memorized_fraction,
                                   lambda x, y: memorized_fraction(y, x), lambda x, y: nearest_agreement(x, y, y),
                                   lambda x, y: nearest_agreement(y, x, y), lambda x, y: nearest_agreement(y, y, x)])
def test_pixels_that_are_no_image_are_an_error(score, bad, message):
    with pytest.raises(ValueError, match=message) as error:
        score(bad, torch.zeros(2, 1, 4, 4))
    assert "\n" not in str(error.value)


def test_uint8_and_float_images_mix():
    x1, train = torch.randint(0, 256, (2, 40, 1, 4, 4), dtype=torch.uint8, generator=gen())
    x2 = (x1.int() + torch.arange(40).view(-1, 1, 1, 1)).clamp(max=255).to(torch.uint8)
    assert 0 < mae_score(x1, x2).value < 1
    for score in (mae_score, memorized_fraction, lambda a, b: nearest_agreement(a, b, train),
                  lambda a, b: nearest_agreement(a, x2, b)):
        expected = score(x1, x2)
        for mixed in ((to_float(x1), x2), (x1, to_float(x2)), (to_float(x1), to_float(x2))):
            assert score(*mixed) == expected


def test_twins_finds_the_nearest_other_image_whatever_the_chunk():
    f = torch.nn.functional.normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    f[7] = f[31]
    values, index = twins(f)
    assert (index[7], index[31]) == (31, 7) and values[7] == pytest.approx(1, abs=1e-6)
    gram = (f @ f.T).fill_diagonal_(-2)
    assert torch.equal(index, gram.argmax(1))
    assert torch.equal(twins(f, chunk=13)[1], index)
