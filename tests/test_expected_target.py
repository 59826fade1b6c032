"""The expected target: the oracle has no error under it, and the gradient is the usual one on average, with less spread."""

import dataclasses

import pytest
import torch

from helpers.closed_form import EmpiricalDenoiser
from helpers.models.objectives import EDMObjective
from helpers.models.recipe import Recipe
from helpers.zoo import ModelSpec, store
from helpers.zoo.spec import make_objective

SHAPE = (1, 4, 4)
FOUR = torch.randn(4, *SHAPE, generator=torch.Generator().manual_seed(1)).clamp(-1, 1)
ORACLE = EmpiricalDenoiser(FOUR)


def as_network(denoiser):
    """The network whose preconditioned output is the denoiser, sigma_data = 0.5."""
    def network(scaled, c_noise, label=None):
        s = (4 * c_noise).exp().view(-1, 1, 1, 1)
        total = s**2 + 0.25
        x = scaled * total.sqrt()
        return (denoiser(x, s.flatten()) - 0.25 / total * x) * total.sqrt() / (s * 0.5)
    return network


def slope(objective, seed, batch=64):
    """d loss / d b of a network that adds a picture b to all its answers, at b = 0: (1, 4, 4)."""
    b = torch.zeros(SHAPE, requires_grad=True)
    generator = torch.Generator().manual_seed(seed)
    x0 = FOUR[torch.randint(4, (batch,), generator=generator)]
    objective.loss(lambda x, c, label: b.expand_as(x), x0, None, generator).backward()
    return b.grad


def test_the_oracle_answers_without_error_where_the_usual_target_leaves_one():
    x0 = FOUR.repeat(64, 1, 1, 1)
    losses = [objective.loss(as_network(ORACLE), x0, None, torch.Generator().manual_seed(0)).item()
              for objective in (make_objective("edm-expected").of(ORACLE), EDMObjective())]
    assert losses[0] < 1e-8 and losses[1] > 0.05


def test_the_gradient_is_the_same_on_average_and_spreads_less():
    levels = {"p_mean": 1.0, "p_std": 0.5}                            # at which several of the four are possible
    expected, usual = (torch.stack([slope(objective, seed) for seed in range(400)])
                       for objective in (make_objective("edm-expected", **levels).of(ORACLE), EDMObjective(**levels)))
    error = (usual.var(0) / 400).sqrt()
    assert ((expected.mean(0) - usual.mean(0)).abs() < 4 * error).all()
    assert expected.var(0).mean() < 0.7 * usual.var(0).mean()


def test_bfloat16_stays_out_of_the_target():
    objective, x = make_objective("edm-expected").of(ORACLE), torch.randn(3, *SHAPE)
    sigma = torch.tensor([0.3, 1.0, 3.0])
    exact = objective.target(x, x, sigma, None)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(objective.target(x, x, sigma, None), exact) and not exact.requires_grad


def test_without_images_there_is_no_target():
    with pytest.raises(ValueError, match="ask `of` for the objective"):
        make_objective("edm-expected").loss(lambda x, c, label: x, FOUR, None, torch.Generator())


def test_the_zoo_trains_on_the_mean_over_the_spec_s_own_images(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(store, "EmpiricalDenoiser", lambda images, labels: seen.append(images) or EmpiricalDenoiser(images))
    spec = ModelSpec(subset_size=6, subset_start=3, options={"width": 8, "multipliers": (1,)}, objective="edm-expected",
                     objective_options={"p_mean": 1.0},
                     recipe=Recipe(steps=4, batch=4, warmup=0))
    store.train_model(spec, tmp_path, checkpoints=tmp_path)
    assert len(seen) == 1 and torch.equal(seen[0], store.training_images(spec)[0])
    usual = dataclasses.replace(spec, objective="edm")
    first, second = (store.load_denoiser(s, zoo=tmp_path)(FOUR.repeat(1, 1, 2, 2), 2.0) for s in (spec, usual))
    assert not torch.allclose(first, second, atol=1e-4)
