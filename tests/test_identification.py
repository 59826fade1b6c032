"""Identification: against a loop over strangers, at chance, and as a criterion among others."""

import math

import pytest
import torch

from helpers.measure.comparison import Comparison
from helpers.measure.identification import IDENTIFIED, LEVELS, beyond_linear, chance_rate, identified, rivals


def unit(*shape, seed=0):
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def crowd(features, strangers, n, classes=None):
    comparison = Comparison(torch.zeros(n, 1, 2, 2), strangers=strangers, classes=classes)
    comparison.features = features
    return comparison


def test_it_is_the_loop_over_strangers():
    a, b, s = unit(12, 3, seed=1), unit(12, 3, seed=2), unit(4, 3, seed=3)
    hits = identified((a * b).sum(1), rivals(a, s), rivals(b, s))
    for i in range(12):
        first = all(a[i] @ b[i] > a[i] @ k for k in s)
        second = all(a[i] @ b[i] > b[i] @ k for k in s)
        assert hits[i] == (first + second) / 2
    assert 0 < hits.mean() < 1


def test_one_more_stranger_is_identified_once_in_n_plus_one():
    n, count = 9, 40_000
    hits = torch.cat([identified((a * b).sum(1), rivals(a, s), rivals(b, s)) for a, b, s in (
        (unit(400, 4, seed=3 * k), unit(400, 4, seed=3 * k + 1), unit(n, 4, seed=3 * k + 2)) for k in range(count // 400))])
    rate = chance_rate(n)
    assert rate == 0.1 and abs(hits.mean() - rate) < 4 * math.sqrt(rate / 100)  # 100 crowds: the draws are not independent


def test_equal_images_are_identified_and_a_photograph_of_the_crowd_is_not():
    s = unit(50, 8)
    a = unit(6, 8, seed=1)
    assert (identified(torch.ones(6), rivals(a, s), rivals(a, s)) == 1).all()
    member = s[:6]                              # its own photograph is in the crowd: nobody can be strictly nearer
    assert (identified((member * member).sum(1), rivals(member, s), rivals(member, s)) == 0).all()


@pytest.mark.parametrize("classes", [None, 3])
def test_the_comparison_counts_every_criterion(classes):
    n, shape = 40, (40, 8) if classes is None else (40, 3, 8)
    a, s = unit(*shape, seed=1), unit(30, 8)
    near = torch.nn.functional.normalize(a + 0.1 * unit(*shape, seed=2), dim=-1)
    far = torch.nn.functional.normalize(a + 1.2 * unit(*shape, seed=4), dim=-1)
    comparison = crowd({"a": a, "b": near, "linear": far}, s, n, classes)
    found = comparison.agreement([("a", "b")])
    assert found.rate.value == comparison.rate("a", "b").value > 0.9 and found.null.value < 0.3
    assert found.headline == IDENTIFIED and list(found.above) == [IDENTIFIED, *LEVELS] and not found.short
    copies = torch.cosine_similarity(a, near, -1) > .88
    assert found.copy.value == comparison.share("a", "b").mean() == copies.double().mean()
    shifted = comparison.hits("a", "b", noise=1, at=IDENTIFIED)
    expected = identified((a * near.roll(-1, 0)).sum(-1), rivals(a, s), rivals(near.roll(-1, 0), s))
    assert torch.equal(shifted, expected)
    t, rp, null, linear = found.curve
    assert t == [*LEVELS[:-1], .88, LEVELS[-1]] and [x.value for x in rp] == sorted((x.value for x in rp), reverse=True)
    assert linear[0].value == found.linear[.6].value and len(null) == len(t)
    comparison.features["b"] = -a               # other images under the same name: nothing old is remembered
    assert comparison.rate("a", "b").value == 0


def test_a_pair_that_is_its_own_baseline_is_short_of_it_everywhere():
    a, b = unit(30, 8, seed=1), unit(30, 8, seed=2)
    found = crowd({"a": a, "b": a, "c": b}, None, 30).agreement([("a", "b")], baseline=[("a", "b")])
    assert found.short == list(LEVELS) and found.headline == 0.88
    with pytest.raises(ValueError, match="without strangers"):
        crowd({"a": a, "b": a}, None, 30).rate("a", "b")


def test_what_is_agreed_on_beyond_the_linear_part():
    assert beyond_linear(torch.tensor([0.9, 0.7]), torch.tensor([0.6])) == pytest.approx(0.5)
    assert beyond_linear(torch.ones(3), torch.zeros(2)) == 1 and beyond_linear(torch.zeros(3), torch.zeros(2)) == 0
