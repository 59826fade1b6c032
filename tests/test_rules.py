"""Images that obey a rule, many small networks in one, and what is counted of them."""

import json

import pytest
import torch
from torch.nn import functional as F

from helpers.chapters.rules import COUNTS, Plan, read, record, train
from helpers.data.parity import are_among, groups_of, groups_right, images_of_rule, possible
from helpers.models.ensemble import Ensemble

TINY = Plan(groups=(2, 6), sizes=(4, 8), seeds=(0, 1), steps=32, batch=4, width=8, samples=6)


def draw(count, group, seed=0):
    return images_of_rule(count, group, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("group", [2, 3, 4, 6, 9, 36])
def test_images_obey_their_rule_and_differ(group):
    images = draw(300, group)
    assert images.shape == (300, 1, 6, 6) and set(images.unique().tolist()) == {-1.0, 1.0}
    assert (groups_right(images, group) == 36 // group).all() and len(images.flatten(1).unique(dim=0)) == 300
    flipped = images.clone()
    flipped[:, 0, 0, 0] *= -1
    assert (groups_right(flipped, group) == 36 // group - 1).all()


def test_the_rule_of_pairs_is_a_covariance_and_that_of_more_is_none():
    for group, known in ((2, 1.0), (3, 0.0), (6, 0.0)):
        x = draw(20_000, group).flatten(1)
        covariance = x.T @ x / len(x)
        assert covariance[0, 1].item() == pytest.approx(known, abs=0.03)
        assert (covariance - torch.eye(36)).abs()[0, 2:].max() < 0.04


def test_there_are_as_many_images_as_the_formula_says():
    assert [possible(group) for group in (2, 3, 4, 6, 36)] == [2**18, 2**24, 2**27, 2**30, 2**35]
    assert possible(1) == 1 and draw(1, 1).eq(1).all()
    with pytest.raises(ValueError, match="only 1 images obey"):
        draw(2, 1)
    for wrong in (0, 5, 37):
        with pytest.raises(ValueError, match="divides 36"):
            groups_of(wrong)


def test_a_copy_has_the_signs_of_a_known_image():
    known = draw(20, 3)
    assert are_among(known[:5] * 0.3 + 0.1, known).all() and not are_among(draw(200, 3, 1), known).any()
    assert not are_among(-known, known).any()


def test_each_network_of_an_ensemble_is_an_mlp_of_its_own():
    network = Ensemble(3, 36, 8, 2, torch.Generator().manual_seed(0))
    torch.nn.init.normal_(network.weights[-1])
    x, c_noise = draw(12, 2), torch.linspace(-1, 1, 12)
    found = network(x, c_noise).chunk(3)
    for k in range(3):
        phase = c_noise.chunk(3)[k][:, None] * network.frequencies
        h = torch.cat([x.chunk(3)[k].flatten(1), phase.sin(), phase.cos()], 1)
        weights = [(w[k].T, b[k, 0]) for w, b in zip(network.weights, network.biases)]
        h = F.silu(F.linear(h, *weights[0]))
        for layer in weights[1:-1]:
            h = h + F.silu(F.linear(h, *layer))
        torch.testing.assert_close(found[k].flatten(1), F.linear(h, *weights[-1]), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match="3 networks need as many equal parts of a batch, got 10"):
        network(x[:10], c_noise[:10])


def test_what_is_counted_can_be_read_again(tmp_path):
    record(TINY, tmp_path / "rules.json")
    plan, runs = read(tmp_path / "rules.json")
    assert plan == TINY and plan.looks == [16, 23, 32]
    assert set(runs) == {(group, n, seed) for group in (2, 6) for n in (4, 8) for seed in (0, 1)}
    for run in json.loads((tmp_path / "rules.json").read_text())["runs"][:4]:
        assert run == next(r for r in train(TINY, 2) if (r["n"], r["seed"]) == (run["n"], run["seed"]))
    for (group, _, _), counts in runs.items():
        copies, valid, right = (counts[name] for name in COUNTS)
        assert len(copies) == 3 and (copies + valid <= 6).all() and (right <= (6 - copies) * 36 // group).all()
        assert (valid * 36 // group <= right).all()


def test_networks_of_few_images_end_in_copies():
    plan = Plan(groups=(2,), sizes=(4,), seeds=(0,), steps=724, batch=16, width=256, samples=32)
    [run] = train(plan, 2)
    assert run["copies"][0] < 4 and run["copies"][-1] > 26
