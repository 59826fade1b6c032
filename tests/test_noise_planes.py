"""The noise plane against true slerp and exact corners; cells and their agreement against partitions known by hand."""

import pytest
import torch
from torch.testing import assert_close

from helpers.measure.noise_planes import agreement_over_triples, cell_null, cells, partition, plane

SHAPE = (1, 28, 28)


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def corners(norm=None, seed=0, shape=SHAPE):
    z = torch.randn(3, *shape, generator=gen(seed))
    return z if norm is None else norm * z / z.flatten(1).norm(dim=1).view(3, 1, 1, 1)


def barycentric(ticks):
    a, b = (t.flatten() for t in torch.meshgrid(ticks, ticks, indexing="ij"))
    return torch.stack([1 - a - b, a, b], dim=1)


# The plane


def test_the_linear_plane_is_the_papers_formula():
    z, ticks = corners().double(), torch.linspace(-0.1, 1.1, 5).double()
    grid = plane(z, ticks).view(5, 5, *SHAPE)
    for i, a in enumerate(ticks):
        for j, b in enumerate(ticks):
            assert_close(grid[i, j], a * (z[1] - z[0]) + b * (z[2] - z[0]) + z[0])


@pytest.mark.parametrize("how", ["linear", "slerp"])
def test_the_corners_are_kept_to_the_last_bit(how):
    z, ticks = corners(), torch.tensor([-0.1, 0.0, 0.5, 1.0])
    grid = plane(z, ticks, how).view(4, 4, *SHAPE)
    assert grid.dtype == z.dtype
    for corner, (i, j) in zip(z, [(1, 1), (3, 1), (1, 3)], strict=True):
        assert torch.equal(grid[i, j], corner)


def test_the_linear_plane_loses_the_norm_of_noise_and_slerp_keeps_it():
    z, third = corners(norm=28.0), torch.tensor([1 / 3])
    assert plane(z, third).norm() == pytest.approx(28 / 3**0.5, rel=0.05)
    points = plane(z, torch.linspace(-0.1, 1.1, 13), "slerp")
    assert_close(points.flatten(1).norm(dim=1), torch.full((169,), 28.0))


def test_slerp_of_gaussian_noise_has_the_norm_of_gaussian_noise():
    norms = plane(corners(seed=3), torch.linspace(0, 0.5, 6), "slerp").flatten(1).norm(dim=1)
    assert ((norms / 28 - 1).abs() < 0.08).all()           # sqrt(784) = 28, sd 0.7


@pytest.mark.parametrize("i, j", [(0, 1), (0, 2), (1, 2)])
@pytest.mark.parametrize("norm", [None, 5.0])
def test_edges_are_shoemakes_slerp_up_to_parametrization(i, j, norm):
    z = corners(norm, shape=(1, 2, 2)).double()            # in so few dimensions the angles are far from 90 degrees
    cosine = torch.cosine_similarity(z[i].flatten(), z[j].flatten(), dim=0)
    w = cosine.acos()
    assert cosine.abs() > 0.05
    for t in (0.1, 0.35, 0.5, 0.8):
        p, q = ((1 - t) * w).sin() / w.sin(), (t * w).sin() / w.sin()
        weights = torch.zeros(3).double()
        weights[i], weights[j] = p / (p + q), q / (p + q)
        ticks = weights[1:]                                # a and b: the point (0, 1) of the 2 x 2 grid
        assert_close(plane(z, ticks, "slerp").view(2, 2, 1, 2, 2)[0, 1], p * z[i] + q * z[j])


def test_slerp_is_the_linear_plane_stretched():
    z, ticks = corners(), torch.linspace(-0.1, 1.1, 7)
    directions = [plane(z, ticks, how).flatten(1) for how in ("linear", "slerp")]
    assert_close(torch.cosine_similarity(*directions), torch.ones(49))


def test_plane_refuses_what_it_cannot_mix():
    z, ticks = corners(), torch.tensor([0.0, 0.5])
    for bad_z, bad_ticks in [(z[:2], ticks), (z[0], ticks), (z, ticks[None]), (z, ticks[:0])]:
        with pytest.raises(ValueError, match="plane needs noises"):
            plane(bad_z, bad_ticks)
    with pytest.raises(ValueError, match="unknown mixture 'nlerp'"):
        plane(z, ticks, "nlerp")
    with pytest.raises(ValueError, match="opposite"):
        plane(torch.stack([z[0], -z[0], z[1]]), ticks, "slerp")


# Cells


def test_cells_of_a_map_that_keeps_angles_are_those_of_the_largest_weight():
    ticks = torch.linspace(-0.1, 1.1, 10).double()
    z = torch.eye(3, 4).double().view(3, 1, 2, 2)          # orthogonal corners, and the identity for model and descriptor
    f = torch.nn.functional.normalize(plane(z, ticks, "slerp").flatten(1), dim=1)
    similarity, index = cells(f, z.flatten(1))
    c = barycentric(ticks)
    assert torch.equal(index, c.argmax(dim=1))
    assert_close(similarity, c.amax(dim=1) / c.norm(dim=1))


def test_the_corners_lie_in_their_own_cells():
    f = torch.nn.functional.normalize(torch.randn(3, 8, generator=gen()), dim=1)
    similarity, index = cells(f, f)
    assert index.tolist() == [0, 1, 2]
    assert_close(similarity, torch.ones(3))


def test_cells_need_three_corners():
    with pytest.raises(ValueError, match="three descriptors"):
        cells(torch.eye(4), torch.eye(4))
    with pytest.raises(ValueError, match="equal d"):
        cells(torch.eye(4), torch.eye(3))


# Agreement


def test_agreement_over_three_triples_spans_them():
    a = torch.zeros(3, 10, dtype=torch.long)
    b = (torch.arange(10) < torch.tensor([1, 3, 8])[:, None]).long()
    score = agreement_over_triples(a, b, gen())            # agreements .9, .7, .2: all of one triple comes up 1 time in 27
    assert score.value == pytest.approx(0.6) and score.n == 3
    assert score.low == pytest.approx(0.2) and score.high == pytest.approx(0.9)


def test_agreement_over_triples_does_not_depend_on_the_fineness_of_the_grid():
    a, b = torch.randint(3, (2, 12, 30), generator=gen())
    coarse, fine = (agreement_over_triples(a.repeat(1, k), b.repeat(1, k), gen(1)) for k in (1, 5))
    assert (coarse.low, coarse.high) == pytest.approx((fine.low, fine.high))


def test_agreement_over_triples_of_several_pairs_of_models():
    a, b = torch.randint(3, (2, 4, 6, 50), generator=gen())
    score = agreement_over_triples(a, b, gen())
    assert score.value == pytest.approx((a == b).double().mean().item()) and score.n == 6
    assert score.low < score.value < score.high


def test_the_null_pairs_every_two_different_triples_and_jackknifes_them():
    a, b = torch.randint(3, (2, 5, 40), generator=gen(2))

    def average(keep):
        return torch.tensor([(a[i] == b[j]).double().mean() for i in keep for j in keep if i != j]).mean().item()

    score, without = cell_null(a, b), [average([i for i in range(5) if i != t]) for t in range(5)]
    half = 1.959964 * (4 / 5 * sum((w - average(range(5))) ** 2 for w in without)) ** 0.5
    assert score.value == pytest.approx(average(range(5))) and score.n == 5
    assert (score.low, score.high) == pytest.approx((score.value - half, score.value + half))


def test_the_null_does_not_see_what_models_share_within_a_triple():
    a = torch.randint(3, (40, 60), generator=gen(3))       # two models that agree fully, on partitions without any order
    null = cell_null(a, a)
    assert agreement_over_triples(a, a, gen()).value == 1
    assert null.low < 1 / 3 < null.high and null.high - null.low < 0.05


def test_the_interval_of_the_null_stays_a_share():
    a, b = torch.zeros(2, 4, 5, dtype=torch.long)
    b[0] = 1                                               # one triple of four disagrees with all
    high, low = cell_null(a, b), cell_null(a, 1 - b)
    assert high.value == 0.75 and high.high == 1 and low.value == 0.25 and low.low == 0


def test_the_null_of_one_partition_for_all_triples_is_full_agreement():
    a = barycentric(torch.linspace(-0.1, 1.1, 7)).argmax(dim=1).expand(6, -1)
    null = cell_null(a, a)
    assert null.value == null.high == 1 and null.low < 0.5     # Wilson's, for three pairs of triples


def test_the_null_covers_its_expectation_about_19_times_in_20():
    g, hits = gen(4), 0
    p = torch.tensor([0.5, 0.3, 0.2])
    for _ in range(300):                                   # within a triple all points share a cell, the worst case
        a, b = (torch.multinomial(p, 10, replacement=True, generator=g)[:, None].expand(10, 5) for _ in range(2))
        null = cell_null(a, b)
        hits += null.low <= p.square().sum().item() <= null.high
    assert 0.88 <= hits / 300 <= 1


def test_agreements_refuse_cells_that_do_not_pair():
    a = torch.zeros(4, 9, dtype=torch.long)
    with pytest.raises(ValueError, match=r"both \(T, n\)"):
        cell_null(a[0], a[0])
    with pytest.raises(ValueError, match="cells of two models"):
        agreement_over_triples(a, a[:3], gen())
    with pytest.raises(ValueError, match="one triple has no spread"):
        agreement_over_triples(a[:1], a[:1], gen())
    with pytest.raises(ValueError, match="three triples"):
        cell_null(a[:2], a[:2])


def test_the_partition_of_a_model_that_draws_its_noise_is_the_nearest_corner():
    z, ticks = torch.stack([corners(seed=k) for k in range(4)]), torch.linspace(-0.1, 1.1, 6)
    asked = []

    def draw(noises):
        asked.append(len(noises))
        return noises

    def describe(images):
        return torch.nn.functional.normalize(images.flatten(1), dim=1)

    values, index = partition(draw, describe, z, ticks, "slerp")
    assert values.shape == index.shape == (4, 36) and asked == [39] * 4
    c = barycentric(ticks)
    clear = c.topk(2).values.diff().abs()[:, 0] > 0.2                  # away from the borders
    assert torch.equal(index[:, clear], c.argmax(1)[clear].expand(4, -1))
    assert values.min() > 0.3 and values.max() <= 1 + 1e-6
