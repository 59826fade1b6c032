"""The comparison: who agrees with whom, and how sure a mean over pairs is."""

from collections import Counter
from itertools import product

import numpy as np
import pytest
import torch

from helpers.closed_form import GaussianDenoiser
from helpers.measure.comparison import Comparison, across, mean_over_noises, mean_over_pairs, within
from helpers.measure.descriptor import describe
from helpers.measure.scores import THRESHOLD, gl_score, wilson
from helpers.samplers import sample

SHAPE = (1, 28, 28)


def noise(n=20, seed=0):
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def comparison_of(features, n):
    """A comparison whose descriptors are given: `mean` looks at nothing else."""
    comparison = Comparison(noise(n))
    comparison.features = features
    return comparison


def directions(agree):
    """Descriptors (n, 2) that are e1 where `agree` and e2 elsewhere: equal ones have similarity 1, others 0."""
    return torch.stack([agree.float(), 1 - agree.float()], 1)


def test_a_system_is_sampled_with_its_own_settings_and_scored_with_the_comparison_s():
    z, gaussian = noise(), GaussianDenoiser(torch.zeros(SHAPE), 0.2 * torch.eye(784))
    comparison = Comparison(z, solver="euler", steps=5)
    comparison.add("a", gaussian)
    comparison.add("b", gaussian, steps=7)
    assert torch.equal(comparison.images["a"], sample(gaussian, z, "euler", steps=5))
    assert torch.equal(comparison.images["b"], sample(gaussian, z, "euler", steps=7))

    def one_step(x, sigma, label=None):
        return gaussian(x, sigma)

    one_step.sampling, one_step.strict = {"steps": 1, "solver": "euler", "sigma_max": 3.0}, True
    comparison.add("c", one_step)
    torch.testing.assert_close(comparison.images["c"], gaussian(3.0 * z, 3.0))
    assert comparison.threshold == THRESHOLD and comparison.same("a", "a").all() and comparison.rp("a", "a").value == 1


def test_several_at_a_time_are_the_same_as_one_after_the_other():
    z = noise(6)
    systems = {k: GaussianDenoiser(torch.full(SHAPE, k / 10), 0.1 * torch.eye(784)) for k in range(3)}
    together, alone = Comparison(z, steps=4), Comparison(z, steps=4)
    together.add_all(systems)
    for name, denoiser in systems.items():
        alone.add(name, denoiser)
    assert all(torch.equal(together.images[k], alone.images[k]) for k in systems)


def test_the_matrix_has_identification_above_and_rp_below_the_diagonal():
    comparison = Comparison(noise(10), strangers=describe(noise(5, seed=3)))
    flat = torch.linspace(-0.5, 0.5, 784).view(SHAPE).expand(10, *SHAPE)
    comparison.put("a", flat)
    comparison.put("b", flat + 0.05)
    comparison.put("c", -flat)
    found = comparison.matrix(["a", "b", "c"])
    assert found.diagonal().isnan().all() and found[1, 0] == comparison.rp("a", "b").value
    assert found[0, 1] == comparison.rate("a", "b").value == 1 > found[0, 2] == comparison.rate("a", "c").value


def test_a_pair_is_short_of_its_baseline_where_it_does_not_exceed_it():
    a = directions(torch.ones(60))
    near = torch.nn.functional.normalize(a + torch.tensor([0.0, 1.0]), dim=1)                       # similarity .707
    found = comparison_of({"a": a, "b": near, "linear": directions(torch.zeros(60))}, 60)
    short = found.short(("a", "b"))
    assert short == [0.75, 0.8, 0.85, 0.9]                          # below, a and b pass, and only b with the baseline
    found.features["b"] = a
    assert found.short(("a", "b")) == []


def test_mae_of_other_noises_pairs_noise_i_with_i_plus_k():
    comparison = Comparison(noise(4))
    shades = torch.tensor([-0.9, -0.3, 0.3, 0.9]).view(4, 1, 1, 1).expand(4, *SHAPE)
    comparison.put("a", shades)
    comparison.put("b", shades.roll(1, 0))                        # b draws from noise i + 1 what a draws from noise i
    assert comparison.mae("a", "b").value == 0
    assert comparison.mae("a", "b", noise=1).value == 1 and comparison.mae("a", "b", noise=-1).value == 0


def test_a_mean_of_pairs_and_its_contrast_have_known_values():
    n = 4000
    g = torch.Generator().manual_seed(0)
    a, b, c = (torch.rand(n, generator=g) < p for p in (1.0, 0.7, 0.4))
    comparison = comparison_of({"a": directions(a), "b": directions(b), "c": directions(c)}, n)
    mean = comparison.mean([("a", "b")])
    assert mean.value == pytest.approx(0.7, abs=0.02) and mean.low < 0.7 < mean.high
    assert mean.high - mean.low == pytest.approx(4 * (0.7 * 0.3 / n) ** 0.5, rel=0.1)           # one pair: noises alone
    contrast = comparison.mean([("a", "b")], minus=[("a", "c")])
    assert contrast.value == pytest.approx(0.3, abs=0.02) and contrast.low > 0.25


def test_few_systems_make_the_interval_wider_than_many_noises_would():
    n, g = 2000, torch.Generator().manual_seed(1)
    rates = (0.9, 0.8, 0.3, 0.85)
    comparison = comparison_of({k: directions(torch.rand(n, generator=g) < r) for k, r in enumerate(rates)}, n)
    pairs = within(range(4))
    score = comparison.mean(pairs)
    assert score.value == pytest.approx(torch.stack([comparison.same(*p) for p in pairs]).double().mean().item())
    assert score.high - score.low > 0.2 and score.low < score.value < score.high


def test_images_are_new_where_they_are_like_no_training_image_and_gl_is_their_share():
    comparison = comparison_of({"a": torch.eye(4)[[0, 1, 2, 3, 0]]}, 5)
    train = torch.eye(4)[:2]
    found = comparison.new("a", train)
    assert found.tolist() == [False, False, True, True, False]
    assert found.double().mean() == gl_score(comparison.features["a"], train).value
    comparison.features["labeled"] = torch.eye(4)[[0, 1, 2, 3, 0, 0]].view(3, 2, 4)                  # two classes
    assert comparison.new("labeled", torch.eye(4)[:1]).tolist() == [[False, True], [True, True], [False, False]]
    comparison.threshold = 1.0
    assert comparison.new("a", torch.eye(4)).all()                                                  # as like as t: new


def test_a_mean_over_noises_has_the_interval_of_a_mean():
    values = torch.randn(4000, generator=torch.Generator().manual_seed(0), dtype=torch.double) + 0.3
    score = mean_over_noises(values)
    assert score.value == pytest.approx(values.mean().item()) and score.n == 4000
    assert score.high - score.low == pytest.approx(2 * 1.96 * values.std().item() / 4000**0.5, rel=0.1)
    assert mean_over_noises(torch.ones(50)) == wilson(1.0, 50)


def test_pairs():
    assert within("abc") == [("a", "b"), ("a", "c"), ("b", "c")]
    assert across("ab", "bc") == [("a", "b"), ("a", "c"), ("b", "c")]


def test_errors():
    comparison = Comparison(noise(4))
    with pytest.raises(ValueError, match="for 4 noises: one each"):
        comparison.put("a", noise(3))
    with pytest.raises(ValueError, match="no pairs"):
        comparison.mean([])
    for empty in ({}, None):
        with pytest.raises(ValueError, match="no pairs to average over"):
            mean_over_pairs({}, empty)


def shares(*rates, n=60, seed=0):
    """For each rate, whether n noises agree, at random: (n,) bool."""
    g = torch.Generator().manual_seed(seed)
    return [torch.rand(n, generator=g) < rate for rate in rates]


def test_a_comparison_s_mean_is_that_of_its_hits():
    n = 40
    comparison = comparison_of({name: directions(agree) for name, agree in zip("abcd", shares(0.9, 0.6, 0.3, 0.5, n=n))}, n)
    pairs, other = within("abc"), across("ab", "d")
    hits, minus = ({pair: comparison.same(*pair) for pair in some} for some in (pairs, other))
    assert mean_over_pairs(hits) == comparison.mean(pairs) == mean_over_pairs({p: h.double() for p, h in hits.items()})
    assert mean_over_pairs(hits, minus) == comparison.mean(pairs, minus=other)
    assert mean_over_pairs(hits, minus, draws=50, seed=3) == comparison.mean(pairs, other, draws=50, seed=3)
    assert mean_over_pairs(hits, seed=3) != mean_over_pairs(hits)


def test_hits_may_be_shares():
    n, whole = 200, torch.stack(shares(0.2, 0.5, 0.8, 0.3, n=200)).double()
    score = mean_over_pairs({("a", "b"): whole.mean(0)})
    assert score.value == pytest.approx(whole.mean().item()) and score.n == n
    sigma = (whole.mean(0).var(correction=0) / n).sqrt().item()
    assert score.high - score.low == pytest.approx(2 * 1.96 * sigma, rel=0.1)          # one pair: noises alone
    assert score.low < score.value < score.high


def test_a_difference_takes_the_same_noises_on_both_sides():
    """Hits that differ by a constant differ by it in every draw, whichever noises it holds: no width at all."""
    base = torch.stack(shares(0.5, 0.5, 0.5)).double().mean(0) / 2
    score = mean_over_pairs({("a", "b"): base + 0.25}, {("a", "c"): base})
    assert (score.value, score.low, score.high) == pytest.approx((0.25,) * 3)
    apart = mean_over_pairs({("a", "b"): base + 0.25}, {("a", "c"): base.roll(7)})
    assert apart.value == pytest.approx(0.25) and apart.high - apart.low > 0.05


def test_the_same_hits_on_both_sides_differ_by_nothing_and_a_difference_may_be_negative():
    a, b = shares(0.9, 0.2)
    same = mean_over_pairs({("a", "b"): a}, {("a", "b"): a})
    assert (same.value, same.low, same.high) == (0, 0, 0)
    forth, back = mean_over_pairs({(1, 2): a}, {(3, 4): b}), mean_over_pairs({(3, 4): b}, {(1, 2): a})
    assert forth.low > 0 > back.high and forth.value == pytest.approx(-back.value)


def every_draw(rates, minus):
    """Values of a mean of constant rates {pair: rate}, less those of `minus`, over all ways to draw systems."""
    names = sorted({name for pair in (*rates, *minus) for name in pair})

    def mean(some, drawn):
        weights = [drawn[a] * drawn[b] for a, b in some]
        return np.dot(weights, list(some.values())) / sum(weights) if sum(weights) else np.nan

    found = [mean(rates, drawn) - (mean(minus, drawn) if minus else 0)
             for drawn in map(Counter, product(names, repeat=len(names)))]
    return np.array(found)[np.isfinite(found)]


@pytest.mark.parametrize("rates, minus", [
    ({"ab": 0.9, "ac": 0.5, "ad": 0.1}, {}),                                    # a takes part in all of them
    ({"ab": 0.9, "ac": 0.5, "bc": 0.4, "de": 0.1}, {}),
    ({"ab": 0.9, "ac": 0.7}, {"ad": 0.4, "bd": 0.1})])                          # systems on both sides
def test_a_system_is_drawn_for_all_of_its_pairs_at_once(rates, minus):
    """With rates that are the same for all noises, the interval comes from drawing systems: here, of every draw."""
    first, second = ({tuple(pair): torch.full((5,), rate) for pair, rate in some.items()} for some in (rates, minus))
    score, exact = mean_over_pairs(first, second, draws=20_000), every_draw(rates, minus)
    assert score.low == pytest.approx(np.quantile(exact, 0.025), abs=0.01)
    assert score.high == pytest.approx(np.quantile(exact, 0.975), abs=0.01)
    assert score.high - score.low > 0.2


def test_where_all_values_agree_the_interval_is_wilson_s_and_for_a_difference_the_value():
    assert mean_over_pairs({("a", "b"): torch.ones(30), ("a", "c"): torch.ones(30)}) == wilson(1.0, 30)
    assert mean_over_pairs({("a", "b"): torch.zeros(30, dtype=torch.bool)}) == wilson(0.0, 30)
    equal = mean_over_pairs({("a", "b"): torch.ones(30)}, {("a", "c"): torch.ones(30)})
    assert (equal.value, equal.low, equal.high) == (0, 0, 0)
    below = mean_over_pairs({("a", "b"): torch.full((30,), -1.0)})                     # a difference taken before
    assert (below.value, below.low, below.high) == (-1, -1, -1)


def of_class(x, sigma, label=None):
    """A flat image whose gray says the class."""
    return (label.float() / 10).view(-1, 1, 1, 1).expand_as(x) + 0 * x


def test_with_classes_every_noise_is_drawn_under_each_and_counted_class_by_class():
    comparison = Comparison(noise(4), classes=3, solver="euler", steps=2)
    comparison.add("a", of_class)
    assert comparison.images["a"].shape == (4, 3, *SHAPE) and comparison.features["a"].shape[:2] == (4, 3)
    torch.testing.assert_close(comparison.images["a"][:, :, 0, 0, 0], torch.tensor([[0.0, 0.1, 0.2]]).expand(4, 3))
    g = torch.Generator().manual_seed(0)
    first, second = (torch.nn.functional.normalize(torch.randn(4, 3, 2, generator=g), dim=-1) for _ in range(2))
    comparison.features |= {"b": first, "c": second}
    comparison.threshold = 0.5
    for shift in (0, 1), (1, 0), (0, 0):
        expected = [[(first[i, c] @ second[(i + shift[0]) % 4, (c + shift[1]) % 3]).item() > 0.5 for c in range(3)]
                    for i in range(4)]
        assert comparison.same("b", "c", *shift).tolist() == expected
        assert comparison.share("b", "c", *shift).tolist() == pytest.approx(np.mean(expected, axis=1))
    assert comparison.rp("b", "c").value == pytest.approx(comparison.share("b", "c").mean().item())
    with pytest.raises(ValueError, match="4 noises and 3 classes"):
        comparison.put("d", torch.zeros(4, 2, *SHAPE))


def test_all_classes_of_a_noise_start_from_that_noise():
    seen, z = [], noise(3)

    def remembering(x, sigma, label=None):
        seen.append(x / sigma)
        return of_class(x, sigma, label)

    Comparison(z, classes=4, solver="euler", steps=1, sigma_max=10.0, batch=5).draw(remembering)
    torch.testing.assert_close(torch.cat(seen).unflatten(0, (3, 4)), z[:, None].expand(3, 4, *SHAPE))


def test_a_denoiser_that_knows_fewer_classes_is_an_error():
    def three(x, sigma, label=None):
        return of_class(x, sigma, label)

    three.classes = 3
    assert Comparison(noise(2), classes=3, steps=2).draw(three).shape == (2, 3, *SHAPE)
    with pytest.raises(ValueError, match="knows the classes 0 to 2, got labels from 0 to 3"):
        Comparison(noise(2), classes=4, steps=2).draw(three)


def test_the_descriptor_of_noise_i_under_class_c_is_that_of_its_image():
    comparison, images = Comparison(noise(3), classes=4), noise(12).clamp(-1, 1).unflatten(0, (3, 4))
    comparison.put("a", images)
    for i, c in product(range(3), range(4)):
        torch.testing.assert_close(comparison.features["a"][i, c], describe(images[i, c][None])[0])


def test_a_similarity_of_the_threshold_is_not_above_it():
    comparison = comparison_of({"a": torch.eye(3).expand(4, 3, 3)}, 4)     # every noise: another direction for each class
    comparison.classes, comparison.threshold = 3, 1.0
    assert not comparison.same("a", "a").any()
    comparison.threshold = 0.0
    assert comparison.same("a", "a", noise=1).all() and not comparison.same("a", "a", label=1).any()


def test_thresholds_and_classes_that_make_no_sense_are_an_error():
    with pytest.raises(ValueError, match=r"in \[-1, 1\], got 15"):
        Comparison(noise(2), threshold=15, classes=3)
    with pytest.raises(ValueError, match="classes is 1 or more, or None for images without labels, got 0"):
        Comparison(noise(2), classes=0)


def test_baseline_ceiling_and_slow_systems():
    gaussian = GaussianDenoiser(torch.zeros(SHAPE), 0.2 * torch.eye(784))
    comparison, begun = Comparison(noise(4), solver="euler", steps=4), []

    def slow(x, sigma, label=None):
        begun.append("slow")
        return gaussian(x, sigma)

    def fast(x, sigma, label=None):
        begun.append("fast")
        return gaussian(x, sigma)

    comparison.add_all({"fast": fast, "slow": slow}, jobs=1, first=lambda name: name == "slow")
    assert begun[0] == "slow" and list(comparison.images) == ["fast", "slow"]
    comparison.add_linear(gaussian)
    torch.testing.assert_close(comparison.images["linear"], gaussian.flow(comparison.z, 80.0))
    assert comparison.ceiling("fast", fast).n == 4
    torch.testing.assert_close(comparison.images["fast, finer"], sample(gaussian, comparison.z, "euler", steps=12))
