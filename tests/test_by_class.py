"""One noise under every class: what is compared with what, against plain loops, and which image is where."""

from itertools import product

import pytest
import torch

from helpers.measure.by_class import best_other, between, crossed, of_class, unrelated
from helpers.measure.comparison import Comparison
from helpers.measure.identification import IDENTIFIED

SHAPES = [(2, 3), (3, 3), (4, 3), (7, 3), (2, 10)]             # (noises, classes): fewer noises than classes, too


def gen(seed=0):
    return torch.Generator().manual_seed(seed)


def units(*shape, seed=0):
    """Random unit vectors, double, so that sums in any order are on the same side of a threshold."""
    f = torch.randn(*shape, 5, generator=gen(seed), dtype=torch.double)
    return f / f.norm(dim=-1, keepdim=True)


def test_descriptors_that_do_not_pair_are_an_error():
    with pytest.raises(ValueError, match="needs two noises or more"):
        unrelated(units(1, 3))
    for free, bound in ((units(1), units(4, 3)), (units(4), units(1, 3)), (units(4), units(4)), (units(4, 3), units(4, 3))):
        with pytest.raises(ValueError, match=r"need descriptors \(n, d\) and \(n, k, d\)"):
            between(free, bound)                               # one would be taken for all


def test_descriptors_that_make_no_similarity_are_an_error():
    f, long = units(4, 3), 2 * units(4, 3)
    for call in (lambda: between(units(4), long), lambda: between(2 * units(4), f)):
        with pytest.raises(ValueError, match="lengths from .* to 2:"):
            call()


def test_labels_that_are_no_class_are_an_error():
    values = torch.rand(3, 4)
    for label in ([0, 1, 4], [-1, 0, 1], [0, 1]):
        for pick in (of_class, best_other):
            with pytest.raises(ValueError, match="a label from 0 to 3 for each of 3 rows"):
                pick(values, torch.tensor(label))
    with pytest.raises(ValueError, match="one class has no other"):
        best_other(values[:, :1], torch.zeros(3, dtype=torch.long))


@pytest.mark.parametrize("n, k", [(1, 3), *SHAPES])
def test_between_compares_an_image_with_its_own_noise_under_every_class(n, k):
    free, bound = units(n), units(n, k, seed=1)
    expected = [[(free[i] * bound[i, c]).sum().item() for c in range(k)] for i in range(n)]
    torch.testing.assert_close(between(free, bound), torch.tensor(expected, dtype=torch.double))


@pytest.mark.parametrize("n, k", SHAPES)
def test_unrelated_takes_later_noises_one_a_class(n, k):
    free, bound = units(n), units(n, k, seed=1)
    expected = [[(free[i] * bound[(i + 1 + c % (n - 1)) % n, c]).sum().item() for c in range(k)] for i in range(n)]
    torch.testing.assert_close(between(free, unrelated(bound)), torch.tensor(expected, dtype=torch.double))
    values = torch.arange(n * k).view(n, k)                    # of what is a number for each image, too
    assert torch.equal(unrelated(values), unrelated(values[..., None]).squeeze(2))


@pytest.mark.parametrize("n, k", SHAPES)
def test_unrelated_is_never_the_same_noise_and_with_enough_noises_another_for_each_class(n, k):
    """The image of noise j under class c resembles each free one by (j k + c) / (n k), so that products tell pairs."""
    cosines = torch.arange(n * k, dtype=torch.double).view(n, k) / (n * k)
    free, bound = torch.tensor([[1.0, 0.0]]).double().expand(n, 2), torch.stack([cosines, (1 - cosines**2).sqrt()], dim=2)
    found = (between(free, unrelated(bound)) * n * k).round()
    noises, classes = (found // k).int().tolist(), (found % k).int().tolist()
    assert classes == [list(range(k))] * n
    assert all(i not in row for i, row in enumerate(noises))
    assert {len(set(row)) for row in noises} == {min(k, n - 1)}


def test_of_class_and_best_other_part_a_row_into_its_class_and_the_rest():
    values, label = torch.tensor([[0.9, 0.1, 0.3], [0.2, 0.4, -0.5], [-0.3, -0.2, -0.1]]), torch.tensor([0, 2, 1])
    kept = values.clone()
    torch.testing.assert_close(of_class(values, label), torch.tensor([0.9, -0.5, -0.2]))
    assert best_other(values, label).tolist() == [2, 1, 2]
    both = torch.maximum(of_class(values, label), of_class(values, best_other(values, label)))
    assert torch.equal(both, values.amax(1)) and torch.equal(values, kept)


def test_crossed_hits_are_those_of_every_two_classes():
    """Against one similarity at a time, by a threshold and by identification."""
    generator = torch.Generator().manual_seed(3)
    strangers = torch.nn.functional.normalize(torch.randn(5, 4, generator=generator), dim=1)
    comparison = Comparison(torch.zeros(3, 1, 2, 2), classes=4, strangers=strangers, threshold=0.2)
    for name in "ab":
        comparison.features[name] = torch.nn.functional.normalize(torch.randn(3, 4, 4, generator=generator), dim=-1)
    a, b = comparison.features["a"], comparison.features["b"]
    found, ranked = crossed(comparison, "a", "b"), crossed(comparison, "a", "b", IDENTIFIED)
    for i, c, d in product(range(3), range(4), range(4)):
        m = a[i, c] @ b[i, d]
        wins = [float(m > (x @ strangers.T).max()) for x in (a[i, c], b[i, d])]
        assert found[i, c, d] == float(m > 0.2) and ranked[i, c, d] == sum(wins) / 2
