"""Partial fine-tuning: what goes on learning, what stays to the last bit, the low-rank addition's start and rank."""

import copy
import dataclasses

import pytest
import torch
from torch.nn import functional as F

from helpers.models.architectures import MLP, ResidualCNN
from helpers.models.layers import SelfAttention
from helpers.models.objectives import EDMObjective
from helpers.models.trainable import RANK, restrict
from helpers.models.training import Recipe, State, train
from helpers.models.unet import UNet

RECIPE = Recipe(steps=4, batch=4, warmup=1)
PARTS = ["all", "attention", "bias-norm", "lora", "last1", "last2", "last3", "last4"]


def parent():
    """A U-Net with attention at its lower resolution; layers start at zero, so every weight is drawn as if trained."""
    network = UNet(width=8, multipliers=(1, 2), attention=(False, True))
    generator = torch.Generator().manual_seed(0)
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.1, generator=generator)
    return network


def restricted(trainable):
    torch.manual_seed(1)
    return restrict(parent(), trainable)


def expected(network, trainable):
    """The parameters that should learn, found through the modules that own them."""
    if trainable == "all":
        return list(network.parameters())
    if trainable == "attention":
        return [p for m in network.modules() if isinstance(m, SelfAttention) for p in m.parameters()]
    if trainable == "bias-norm":
        norms = [p for m in network.modules() if isinstance(m, torch.nn.GroupNorm) for p in m.parameters()]
        return norms + [m.bias for m in network.modules() if isinstance(m, torch.nn.Conv2d | torch.nn.Linear)]
    if trainable == "lora":
        return [p for layer in inner(network) for p in layer.parametrizations.weight[0].parameters()]
    last = int(trainable[-1])
    modules = [network.head, *network.up[:last], *([network.middle] if last > 2 else [])]
    return [p for m in modules for p in m.parameters()]


def inner(network):
    """Convolutions and linear layers of the levels, but not those that read the embedding."""
    levels = [*network.down, network.middle, *network.up]
    embeddings = {id(block.emb) for level in levels for block in level.blocks}
    return [m for level in levels for m in level.modules()
            if isinstance(m, torch.nn.Conv2d | torch.nn.Linear) and id(m) not in embeddings]


def steps(state, recipe=RECIPE, **options):
    """The loop of a few steps on random images."""
    images = torch.randn(8, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    return train(state, EDMObjective(), images, None, recipe, **options)


def trained(network, recipe=RECIPE, **options):
    state = State(network, recipe)
    list(steps(state, recipe, **options))
    return state


def output(network):
    x = torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(3))
    return network(x, torch.tensor([-0.5, 0.0, 0.5]))


@pytest.mark.parametrize("trainable", PARTS)
def test_exactly_the_named_part_learns(trainable):
    network = restricted(trainable)
    learns = {id(p) for p in network.parameters() if p.requires_grad}
    assert learns == {id(p) for p in expected(network, trainable)} and learns


@pytest.mark.parametrize("trainable", PARTS)
def test_training_moves_the_named_part_and_leaves_the_rest_bit_for_bit(trainable):
    network, before = restricted(trainable), parent().state_dict()
    start = copy.deepcopy(network.state_dict())
    learns = {name for name, p in network.named_parameters() if p.requires_grad}
    state = trained(network)
    for part in (state.network, state.ema):
        after = part.state_dict()
        assert {name for name in after if not torch.equal(after[name], start[name])} == learns
        for name in after.keys() - learns:
            assert torch.equal(after[name], before[name.replace("parametrizations.weight.original", "weight")])


@pytest.mark.parametrize("trainable", PARTS)
def test_the_start_is_the_parent(trainable):
    assert torch.equal(output(restricted(trainable)), output(parent()))


def test_one_more_level_than_there_are_adds_the_middle_and_further_ones_nothing():
    sizes = [sum(p.numel() for p in restricted(f"last{k}").parameters() if p.requires_grad) for k in (1, 2, 3, 4)]
    assert sizes[0] < sizes[1] < sizes[2] == sizes[3]


def test_a_low_rank_layer_is_the_layer_with_b_a_added_to_its_matrix():
    network = restricted("lora")
    layer = network.middle.blocks[0].conv1
    low, weight = layer.parametrizations.weight[0], parent().middle.blocks[0].conv1.weight
    torch.nn.init.normal_(low.up)
    x = torch.randn(2, 16, 5, 5)
    moved = torch.einsum("or,rn->on", low.up, low.down).reshape(16, 16, 3, 3)
    torch.testing.assert_close(layer(x), F.conv2d(x, weight + moved, layer.bias, padding=1), rtol=1e-4, atol=1e-4)


def test_what_low_rank_training_adds_has_that_rank():
    layers = inner(trained(restricted("lora")).network)
    assert len(layers) == 19
    for layer in layers:
        added = (layer.weight - layer.parametrizations.weight.original).flatten(1)
        sizes = torch.linalg.svdvals(added.double())
        assert sizes[0] > 1e-4 and (sizes[RANK:] < 1e-3 * sizes[0]).all()


@pytest.mark.parametrize("trainable", ["lora", "attention"])
def test_a_copy_is_equal_and_lives_on_its_own(trainable):
    network = trained(restricted(trainable)).network
    twin, y = copy.deepcopy(network), output(network)
    assert torch.equal(output(twin), y)
    assert [p.requires_grad for p in twin.parameters()] == [p.requires_grad for p in network.parameters()]
    with torch.no_grad():
        for p in twin.parameters():
            p.add_(0.1)
    assert torch.equal(output(network), y) and not torch.equal(output(twin), y)


@pytest.mark.parametrize("trainable, muon", [("attention", 0.0), ("attention", 0.02), ("lora", 0.0), ("lora", 0.02)])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, trainable, muon):
    recipe = dataclasses.replace(RECIPE, muon=muon)
    checkpoint = {"checkpoint": tmp_path / "c.safetensors", "key": "key"}
    whole = trained(restricted(trainable), recipe)
    loop = steps(State(restricted(trainable), recipe), recipe, every=0, **checkpoint)
    for progress in loop:
        if progress.step == 2:
            loop.close()
    rest = trained(restricted(trainable), recipe, **checkpoint)
    for part in ("network", "ema"):
        for a, b in zip(getattr(whole, part).parameters(), getattr(rest, part).parameters()):
            assert torch.equal(a, b)


@pytest.mark.parametrize("trainable", ["attention", "bias-norm", "lora", "last2"])
def test_muon_takes_the_matrices_of_a_part_and_adam_low_rank_factors_and_the_rest(trainable):
    network = restricted(trainable)
    learns = {name for name, p in network.named_parameters() if p.requires_grad}
    start = copy.deepcopy(network.state_dict())
    state = trained(network, dataclasses.replace(RECIPE, muon=0.02))
    after = state.network.state_dict()
    assert {name for name in after if not torch.equal(after[name], start[name])} == learns
    parts = [type(part).__name__ for part in state.optimizer.parts]
    assert parts == (["Adam"] if trainable in ("bias-norm", "lora") else ["Adam", "Muon"])
    assert "parametrizations" not in UNet.outer                                # other networks do not hear of it


@pytest.mark.parametrize("network, trainable, message", [
    (UNet(width=8), "head", "unknown part 'head': choose from all, attention, bias-norm, lora, last1, last2, ..."),
    (UNet(width=8), "last0", "unknown part 'last0': choose from all, attention, bias-norm, lora, last1, last2, ..."),
    (ResidualCNN(width=8), "attention", "ResidualCNN has no 'attention' part to train"),
    (MLP(width=8), "last1", "MLP has no 'last1' part to train")])
def test_what_cannot_be_trained_is_one_clear_line(network, trainable, message):
    with pytest.raises(ValueError) as error:
        restrict(network, trainable)
    assert str(error.value) == message
