"""Training: the loop learns, resumes bit for bit after a SIGKILL, and stops on a loss that is not finite."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from helpers.models.architectures import MLP, ResidualCNN, UViT
from helpers.models.networks import UNet
from helpers.models.objectives import EDM
from helpers.models.training import Recipe, State, hide, train, update_ema

RECIPE = Recipe(steps=12, batch=8, warmup=3, muon=0.02)
CONDITIONAL = {
    "unet": lambda: UNet(width=8, multipliers=(1, 2), classes=10),
    "cnn": lambda: ResidualCNN(width=8, blocks=1, classes=10),
    "uvit": lambda: UViT(size=8, patch=2, dim=16, depth=1, heads=2, classes=10),
    "mlp": lambda: MLP(size=8, width=16, blocks=1, classes=10)}


def images():
    """Two images, so that a short run learns something."""
    return torch.linspace(-1, 1, 8).expand(2, 1, 8, 8) * torch.tensor([1.0, -1.0]).view(2, 1, 1, 1)


def fresh(recipe=RECIPE, seed=0):
    torch.manual_seed(seed)
    return State(UNet(width=8, multipliers=(1, 2)), recipe)


def run(state, recipe=RECIPE, **options):
    return list(train(state, EDM(), images(), None, recipe, **options))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.tensors().values(), b.tensors().values()) if x.ndim)


def test_the_loss_falls_and_the_average_follows():
    recipe = dataclasses.replace(RECIPE, steps=300, batch=16)
    state = fresh(recipe)
    losses = [p.loss for p in run(state, recipe)]
    assert sum(losses[-30:]) / 30 < 0.5 * sum(losses[:5]) / 5
    assert state.losses.tolist() == pytest.approx(losses)
    with torch.no_grad():
        averaged = EDM(stratified=True).loss(state.ema, images().repeat(64, 1, 1, 1), None, torch.Generator().manual_seed(5))
    assert averaged < 0.6 * sum(losses[:5]) / 5


def test_same_seed_same_weights_other_seed_other_weights():
    a, b, c = fresh(), fresh(), fresh()
    run(a), run(b), run(c, dataclasses.replace(RECIPE, seed=1))
    assert torch.equal(a.ema.stem.weight, b.ema.stem.weight)
    assert not torch.equal(a.ema.stem.weight, c.ema.stem.weight)


@pytest.mark.parametrize("muon", [0.0, 0.02])
def test_a_stopped_run_goes_on_bit_for_bit(tmp_path, muon):
    recipe = dataclasses.replace(RECIPE, muon=muon)
    whole, half, rest = (fresh(recipe) for _ in range(3))
    run(whole, recipe)
    loop = train(half, EDM(), images(), None, recipe, tmp_path / "c.safetensors", "key", every=0)
    for progress in loop:
        if progress.step == 5:
            loop.close()
    steps = [p.step for p in run(rest, recipe, checkpoint=tmp_path / "c.safetensors", key="key")]
    assert steps[0] == 6 and steps[-1] == 12
    for part in ("network", "ema"):
        for x, y in zip(getattr(whole, part).parameters(), getattr(rest, part).parameters()):
            assert torch.equal(x, y)


SCRIPT = """
import sys, torch; from pathlib import Path
sys.path.insert(0, {tests!r}); torch.set_num_threads(1)
from test_training import *
recipe = dataclasses.replace(RECIPE, steps=60)
state = fresh(recipe)
for p in train(state, EDM(), images(), None, recipe, Path({path!r}), "key", every=0):
    print(p.step, flush=True)
"""


def test_killed_at_any_moment_it_ends_with_the_same_weights(tmp_path):
    def start(path):
        code = SCRIPT.format(tests=os.path.dirname(__file__), path=str(path))
        return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)

    killed, whole = tmp_path / "killed.safetensors", tmp_path / "whole.safetensors"
    for stop_after in (7, 23):
        process = start(killed)
        for line in process.stdout:
            if int(line) >= stop_after:
                break
        time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    for path in (killed, whole):
        process = start(path)
        assert process.communicate()[0].split()[-1] == "60" and process.returncode == 0
    recipe = dataclasses.replace(RECIPE, steps=60)
    states = fresh(recipe, 1), fresh(recipe, 2)
    for state, path in zip(states, (killed, whole)):
        state.load(path, "key")
    assert same(*states)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_state(tmp_path):
    class Bad(EDM):
        def loss(self, *args):
            self.__dict__["calls"] = self.__dict__.get("calls", 0) + 1
            return super().loss(*args) * (float("nan") if self.calls == 6 else 1.0)

    state, path = fresh(), tmp_path / "c.safetensors"
    with pytest.raises(FloatingPointError, match="loss is nan at step 5.*last good state"):
        list(train(state, Bad(), images(), None, RECIPE, path, "key", every=0))
    other = fresh(seed=1)
    other.load(path, "key")
    assert other.step == 5 and all(t.isfinite().all() for t in other.tensors().values())


def test_damaged_and_foreign_checkpoints(tmp_path):
    path, state = tmp_path / "c.safetensors", fresh()
    run(state, checkpoint=path, key="mine")
    with pytest.raises(ValueError, match="another run"):
        fresh().load(path, "yours")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        fresh().load(path, "mine")


def test_learning_rate_warms_up_and_falls_to_nothing():
    recipe = Recipe(steps=1000, warmup=100)
    factors = [recipe.rate_factor(step) for step in (0, 49, 99, 499, 999)]
    assert factors == pytest.approx([0.01, 0.5, 0.976, 0.502, 0.0], abs=0.02)


def test_ema_reaches_back_over_a_fraction_of_the_run():
    """Of w_k = k the average after K steps is K (g + 1)/(g + 2) with g + 1 = 1/r - 1: the profile's first moment."""
    ema, network = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    for step in range(1, 2001):
        torch.nn.init.constant_(network.weight, step)
        update_ema(ema, network, step, length=0.1)
    assert ema.weight.item() == pytest.approx(2000 * 9 / 10, rel=2e-3)


def test_without_label_dropout_labels_stay_and_no_random_number_is_drawn():
    labels, generator = torch.arange(10), torch.Generator().manual_seed(0)
    before = generator.get_state()
    assert torch.equal(hide(labels, 0.0, CONDITIONAL["mlp"](), generator), torch.arange(10))
    assert torch.equal(generator.get_state(), before)


@pytest.mark.parametrize("probability", [0.1, 0.5, 1.0])
def test_as_many_labels_are_hidden_as_asked_for_and_the_others_stay(probability):
    labels, network = torch.arange(20_000) % 10, CONDITIONAL["mlp"]()
    found = hide(labels, probability, network, torch.Generator().manual_seed(0))
    hidden = found == network.classes
    assert hidden.float().mean().item() == pytest.approx(probability, abs=0.015)          # four standard deviations
    assert torch.equal(found[~hidden], labels[~hidden]) and torch.equal(labels, torch.arange(20_000) % 10)


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_hidden_label_is_no_label_to_any_network(name):
    network, generator = CONDITIONAL[name](), torch.Generator().manual_seed(0)
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.2, generator=generator)
    x, c = torch.randn(4, 1, 8, 8, generator=generator), torch.rand(4, generator=generator)
    labels = torch.tensor([0, 3, 6, 9])
    hidden = hide(labels, 1.0, network, generator)
    assert network.classes == 10 and hidden.tolist() == [10] * 4
    assert torch.equal(network(x, c, hidden), network(x, c))
    assert (network(x, c, labels) - network(x, c)).flatten(1).abs().amax(1).min() > 1e-5


class Listening:
    """An objective that keeps the images and labels it is given."""

    def __init__(self):
        self.images, self.labels = [], []

    def loss(self, network, x0, label, generator, progress=0.0):
        self.images.append(x0.flatten())
        self.labels.append(label)
        return 0 * network.weight.sum()


def heard(labels, **options):
    """All images and labels of a run whose images are the numbers from 0 to 9."""
    recipe, network, objective = Recipe(steps=50, batch=40, **options), torch.nn.Linear(1, 1), Listening()
    network.classes = 10
    list(train(State(network, recipe), objective, torch.arange(10.0).view(10, 1, 1, 1), labels, recipe))
    return torch.cat(objective.images), objective.labels


def test_the_loop_hides_labels_of_the_right_images_anew_in_every_step():
    images, labels = heard(torch.arange(10), label_dropout=0.3)
    hidden = torch.stack(labels) == 10
    assert hidden.float().mean().item() == pytest.approx(0.3, abs=0.04)
    assert torch.equal(torch.cat(labels)[~hidden.flatten()], images[~hidden.flatten()].long())
    assert len(hidden.unique(dim=0)) == 50


def test_label_dropout_leaves_the_choice_of_images_and_a_model_without_labels_alone():
    images, labels = heard(torch.arange(10))
    assert torch.equal(torch.cat(labels), images.long())
    assert torch.equal(heard(torch.arange(10), label_dropout=0.3)[0], images)
    assert torch.equal(heard(None, label_dropout=0.3)[0], images) and set(heard(None, label_dropout=0.3)[1]) == {None}
