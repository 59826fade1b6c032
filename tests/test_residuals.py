"""Residual agreement against closed forms: images made of a baseline, a shared part and parts of their own."""

import pytest
import torch

from helpers.data import to_float
from helpers.measure.residuals import residual_null, residual_share

SHAPE = (400, 1, 8, 8)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def noise(count, scale=0.15, seed=0):
    return scale * torch.randn(count, *SHAPE, generator=gen(seed))


def test_the_share_by_hand():
    b, r1, r2 = torch.zeros(3, 1, 1, 2), torch.tensor([[3, 0], [3, 4], [1, 1]]), torch.tensor([[0, 5], [4, 3], [-2, -2]])
    x1, x2 = (r.view(3, 1, 1, 2) / 10 for r in (r1, r2))
    share = residual_share(x1 + 0.3, x2 + 0.3, b + 0.3, gen())     # (0 + 24 - 4) / sqrt((9 + 25 + 2) (25 + 25 + 8))
    assert share.value == pytest.approx(20 / (36 * 58) ** 0.5, abs=1e-6)


def test_images_that_share_the_baseline_alone_look_alike_and_have_nothing_left():
    b, n1, n2 = noise(3)
    n1, n2 = n1 / 3, n2 / 3
    assert torch.cosine_similarity((b + n1).flatten(1), (b + n2).flatten(1)).mean() > 0.85
    share, null = residual_share(b + n1, b + n2, b, gen()), residual_null(b + n1, b + n2, b, gen())
    assert share.low < 0 < share.high and share.high - share.low < 0.04
    assert null.value == pytest.approx(0, abs=0.01)


@pytest.mark.parametrize("common", [0.5, 1.0, 2.0])
def test_the_share_is_the_energy_in_common(common):
    b, s, n1, n2 = noise(4, scale=0.1)
    x1, x2 = b + common * s + n1, b + common * s + n2
    expected = common**2 / (common**2 + 1)
    share = residual_share(x1, x2, b, gen())
    assert share.value == pytest.approx(expected, abs=0.02) and share.low < expected < share.high and share.n == 400
    assert residual_null(x1, x2, b, gen()).value < 0.02     # none of it through the baseline


@pytest.mark.parametrize("rho", [0.0, 0.5, 0.8])
def test_the_null_is_what_unrelated_images_agree_in_through_the_baseline(rho):
    b, n1, n2 = noise(3)
    x1, x2 = (rho * b + (1 - rho**2) ** 0.5 * n for n in (n1, n2))      # as large as b, correlated with it by rho
    share, null = residual_share(x1, x2, b, gen()), residual_null(x1, x2, b, gen())
    assert null.value == pytest.approx((1 - rho) / 2, abs=0.02)
    assert share.value == pytest.approx(null.value, abs=0.02)


def test_the_null_counts_a_common_mean_residual():
    b, n1, n2 = noise(3, scale=0.1)
    share, null = residual_share(b + n1 - 0.1, b + n2 - 0.1, b, gen()), residual_null(b + n1 - 0.1, b + n2 - 0.1, b, gen())
    assert share.value == pytest.approx(0.5, abs=0.02) and null.value == pytest.approx(0.5, abs=0.02)


def test_equal_and_opposite_residuals():
    b, n = noise(2)
    assert residual_share(b + n, b + n, b, gen()).value == pytest.approx(1)
    assert residual_share(b + n, b - n, b, gen()).value == pytest.approx(-1)


def test_the_share_weighs_by_size():
    b = torch.zeros(2, 1, 1, 2)
    x1, x2 = (torch.tensor(x).view(2, 1, 1, 2) for x in ([[0.1, 0.0], [0.5, 0.0]], [[0.1, 0.0], [0.0, 0.5]]))
    assert residual_share(x1, x2, b, gen()).value == pytest.approx(0.01 / 0.26)


def test_an_overshooting_baseline_does_not_make_models_agree():
    b = torch.where(noise(1)[0] > 0, 1.0, -1.0)
    x1, x2 = b.clone(), b.clone()
    x1[:, :, 0], x2[:, :, 1] = 0, 0                         # each differs from b in a row of its own
    assert residual_share(x1, x2, 1.5 * b, gen()).value == 0


def test_uint8_images_are_read_as_floats():
    x1, x2, b = torch.randint(256, (3, 5, 1, 4, 4), generator=gen(), dtype=torch.uint8)
    for score in (residual_share, residual_null):
        assert score(x1, x2, b, gen()) == score(to_float(x1), to_float(x2), to_float(b), gen())


def test_the_bootstrap_of_the_share_resamples_whole_images():
    b, x1, x2 = noise(3)[:, :50].double()
    r1, r2, generator, shares = (x1 - b).flatten(1), (x2 - b).flatten(1), gen(7), []
    for _ in range(200):
        i = torch.randint(50, (50,), generator=generator)
        shares.append((r1[i] * r2[i]).sum() / (r1[i].square().sum() * r2[i].square().sum()).sqrt())
    low, high = torch.stack(shares).quantile(torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
    share = residual_share(x1, x2, b, gen(7), draws=200)
    assert (share.low, share.high) == pytest.approx((low, high), abs=1e-9)


def test_the_interval_of_the_share_covers_it():
    hits = 0
    for seed in range(60):
        b, s, n1, n2 = 0.2 * torch.randn(4, 60, 1, 3, 3, generator=gen(seed))
        b = torch.zeros_like(b)
        share = residual_share(s + n1, s + n2, b, gen(seed), draws=300)
        hits += share.low <= 0.5 <= share.high
    assert hits >= 51                                       # 95 % of 60 is 57, sd 1.7


def test_residuals_refuse_images_that_do_not_compare():
    x = torch.zeros(3, 1, 2, 2)
    for bad in (x[:2], x[0], x[..., :1]):
        with pytest.raises(ValueError, match="one shape"):
            residual_share(x, x, bad, gen())
    with pytest.raises(ValueError, match="NaN"):
        residual_share(x, x * torch.nan, x, gen())
    with pytest.raises(ValueError, match=r"for \[0, 255\]"):
        residual_null(x + 200, x, x, gen())
    with pytest.raises(ValueError, match="differ from the baseline"):
        residual_share(x, x + 0.1, x, gen())
    with pytest.raises(ValueError, match="two images"):
        residual_share(x[:1] + 0.1, x[:1] + 0.1, x[:1], gen())
