"""The lineup: who agrees with whom, and how sure a mean over pairs is."""

import pytest
import torch

from helpers.closed_form import GaussianDenoiser
from helpers.lineup import Lineup, across, within
from helpers.samplers import sample
from helpers.scores import THRESHOLD

SHAPE = (1, 28, 28)


def noise(n=20, seed=0):
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(seed))


def lineup_of(features, n):
    """A lineup whose descriptors are given: `mean` looks at nothing else."""
    lineup = Lineup(noise(n))
    lineup.features = features
    return lineup


def directions(agree):
    """Descriptors (n, 2) that are e1 where `agree` and e2 elsewhere: equal ones have similarity 1, others 0."""
    return torch.stack([agree.float(), 1 - agree.float()], 1)


def test_a_system_is_sampled_with_its_own_settings_and_scored_with_the_lineup_s():
    z, gaussian = noise(), GaussianDenoiser(torch.zeros(SHAPE), 0.2 * torch.eye(784))
    lineup = Lineup(z, solver="euler", steps=5)
    lineup.add("a", gaussian)
    lineup.add("b", gaussian, steps=7)
    assert torch.equal(lineup.images["a"], sample(gaussian, z, "euler", steps=5))
    assert torch.equal(lineup.images["b"], sample(gaussian, z, "euler", steps=7))

    def one_step(x, sigma, label=None):
        return gaussian(x, sigma)

    one_step.sampling, one_step.strict = {"steps": 1, "solver": "euler", "sigma_max": 3.0}, True
    lineup.add("c", one_step)
    torch.testing.assert_close(lineup.images["c"], gaussian(3.0 * z, 3.0))
    assert lineup.threshold == THRESHOLD and lineup.same("a", "a").all() and lineup.rp("a", "a").value == 1


def test_several_at_a_time_are_the_same_as_one_after_the_other():
    z = noise(6)
    systems = {k: GaussianDenoiser(torch.full(SHAPE, k / 10), 0.1 * torch.eye(784)) for k in range(3)}
    together, alone = Lineup(z, steps=4), Lineup(z, steps=4)
    together.add_all(systems)
    for name, denoiser in systems.items():
        alone.add(name, denoiser)
    assert all(torch.equal(together.images[k], alone.images[k]) for k in systems)


def test_the_matrix_has_rp_above_and_mae_below_the_diagonal():
    lineup = Lineup(noise(10))
    flat = torch.linspace(-0.5, 0.5, 784).view(SHAPE).expand(10, *SHAPE)
    lineup.put("a", flat)
    lineup.put("b", flat + 0.05)                              # 6 gray levels: within MAE's 15
    lineup.put("c", -flat)
    found = lineup.matrix(["a", "b", "c"])
    assert found.diagonal().isnan().all()
    assert found[0, 1] == lineup.rp("a", "b").value and found[1, 0] == 1 and found[2, 0] == 0


def test_a_mean_of_pairs_and_its_contrast_have_known_values():
    n = 4000
    g = torch.Generator().manual_seed(0)
    a, b, c = (torch.rand(n, generator=g) < p for p in (1.0, 0.7, 0.4))
    lineup = lineup_of({"a": directions(a), "b": directions(b), "c": directions(c)}, n)
    mean = lineup.mean([("a", "b")])
    assert mean.value == pytest.approx(0.7, abs=0.02) and mean.low < 0.7 < mean.high
    assert mean.high - mean.low == pytest.approx(4 * (0.7 * 0.3 / n) ** 0.5, rel=0.1)           # one pair: noises alone
    contrast = lineup.mean([("a", "b")], minus=[("a", "c")])
    assert contrast.value == pytest.approx(0.3, abs=0.02) and contrast.low > 0.25


def test_few_systems_make_the_interval_wider_than_many_noises_would():
    n, g = 2000, torch.Generator().manual_seed(1)
    rates = (0.9, 0.8, 0.3, 0.85)
    lineup = lineup_of({k: directions(torch.rand(n, generator=g) < r) for k, r in enumerate(rates)}, n)
    pairs = within(range(4))
    score = lineup.mean(pairs)
    assert score.value == pytest.approx(torch.stack([lineup.same(*p) for p in pairs]).double().mean().item())
    assert score.high - score.low > 0.2 and score.low < score.value < score.high


def test_pairs():
    assert within("abc") == [("a", "b"), ("a", "c"), ("b", "c")]
    assert across("ab", "bc") == [("a", "b"), ("a", "c"), ("b", "c")]


def test_errors():
    lineup = Lineup(noise(4))
    with pytest.raises(ValueError, match="3 images for 4 noises"):
        lineup.put("a", noise(3))
    with pytest.raises(ValueError, match="no pairs"):
        lineup.mean([])
