"""Training: the loop learns, resumes bit for bit after a SIGKILL, and stops on what is not finite."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from helpers.models.architectures import MLP, ResidualCNN, UViT
from helpers.models.objectives import EDMObjective
from helpers.models.state import update_ema
from helpers.models.training import Recipe, State, descend, hide, loss_at, train
from helpers.models.unet import UNet

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
    return list(train(state, EDMObjective(), images(), None, recipe, **options))


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.tensors().values(), b.tensors().values()) if x.ndim)


def test_the_loss_falls_and_the_average_follows():
    recipe = dataclasses.replace(RECIPE, steps=300, batch=16)
    state = fresh(recipe)
    losses = [p.loss for p in run(state, recipe)]
    assert sum(losses[-30:]) / 30 < 0.5 * sum(losses[:5]) / 5
    assert state.losses.tolist() == pytest.approx(losses)
    with torch.no_grad():
        averaged = EDMObjective().loss(state.ema, images().repeat(256, 1, 1, 1), None, torch.Generator().manual_seed(5))
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
    loop = train(half, EDMObjective(), images(), None, recipe, tmp_path / "c.safetensors", "key", every=0)
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
for p in train(state, EDMObjective(), images(), None, recipe, Path({path!r}), "key", every=0):
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


def spoiled(what, step):
    """An objective whose loss (or only whose gradient, in the stem) is not finite in one step, and fine in all others."""
    class Objective(EDMObjective):
        def loss(self, network, *args):
            value = super().loss(network, *args)
            if round(args[-1] * RECIPE.steps) != step:
                return value
            return value * math.nan if what == "loss" else value + (0 * network.stem.bias.sum()).sqrt()
    return Objective()


@pytest.mark.parametrize("what", ["loss", "gradient"])
@pytest.mark.parametrize("check_every, saved", [(1, 5), (3, 3), (12, None)])
def test_what_is_not_finite_stops_the_run_and_is_never_saved(tmp_path, what, check_every, saved):
    """Also in a step that nobody looks at: the error names it at the next check, and the last checkpoint is before it."""
    state, path = fresh(), tmp_path / "c.safetensors"
    with pytest.raises(FloatingPointError, match=f"the {what} is nan at step 5") as error:
        list(train(state, spoiled(what, 5), images(), None, RECIPE, path, "key", every=0, check_every=check_every))
    assert str(error.value).endswith(f"the last good state is {path}" if saved else "lower the learning rate")
    assert path.exists() == bool(saved)
    if saved:
        other = fresh(seed=1)
        other.load(path, "key")
        assert other.step == saved and all(t.isfinite().all() for t in other.tensors().values())
    if check_every == 1:
        assert all(t.isfinite().all() for t in state.tensors().values() if t.shape != (12,))


def test_weights_that_are_not_finite_are_never_saved(tmp_path):
    """Loss and gradient of the last step are fine, and the step itself leads out of the numbers."""
    path, state = tmp_path / "c.safetensors", fresh()
    for part in state.optimizer.parts:
        part.register_step_post_hook(lambda *_: state.network.head[2].bias.data.fill_(math.inf))
    with pytest.raises(FloatingPointError, match="network.head.2.bias is not finite after step 0: lower the learning rate$"):
        run(state, checkpoint=path, key="key", every=0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("check_every", [3, 5, 50])
def test_every_loss_is_kept_however_seldom_they_are_looked_at(tmp_path, check_every):
    every, seldom, path = fresh(), fresh(), tmp_path / "c.safetensors"
    run(every)
    seen = run(seldom, check_every=check_every, checkpoint=path, key="key")
    assert torch.equal(seldom.losses, every.losses) and (every.losses > 0.1).all()
    assert [p.step for p in seen] == sorted({*range(check_every, 13, check_every), 12})
    assert [p.loss for p in seen] == [every.losses[p.step - 1] for p in seen]
    again = fresh()
    again.load(path, "key")
    assert torch.equal(again.losses, every.losses)


class NoWaiting(torch.utils._python_dispatch.TorchDispatchMode):
    """Counts what makes a GPU's host wait: numbers that are read from tensors."""

    reads = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.reads += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **(kwargs or {}))


def test_between_checks_the_loop_reads_no_number_from_a_tensor():
    weight, losses = torch.nn.Parameter(torch.ones(3)), torch.zeros(6)
    loop = descend(lambda step: (step + weight).square().sum(), lambda step: weight.grad.zero_(), [weight], losses,
                   check_every=3)
    with NoWaiting() as counter:
        assert next(loop).step == 3
        once = counter.reads
        assert next(loop).step == 6
    assert losses.tolist() == [3, 12, 27, 48, 75, 108] and counter.reads == 2 * once <= 12


def test_damaged_and_foreign_checkpoints(tmp_path):
    path, state = tmp_path / "c.safetensors", fresh()
    run(state, checkpoint=path, key="mine")
    with pytest.raises(ValueError, match="another run"):
        fresh().load(path, "yours")
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        fresh().load(path, "mine")


def test_learning_rate_warms_up_and_falls_to_nothing():
    """(k + 1) / warmup up to step warmup - 1, whose factor is the first whole one, times half a cosine."""
    recipe = Recipe(steps=1000, warmup=100)
    for step, warm in ((0, 0.01), (1, 0.02), (49, 0.5), (98, 0.99), (99, 1.0), (100, 1.0), (500, 1.0), (999, 1.0)):
        assert recipe.rate_factor(step) == pytest.approx(warm * math.cos(math.pi * step / 2000) ** 2, rel=1e-9)
    assert Recipe(steps=4, warmup=0).rate_factor(0) == 1.0
    assert recipe.rate_factor(500) == pytest.approx(0.5) and recipe.rate_factor(999) < 3e-6


def test_every_step_is_taken_at_its_own_rate():
    state = fresh()
    for p in train(state, EDMObjective(), images(), None, RECIPE):
        for part, peak in zip(state.optimizer.parts, (3e-3, 0.02)):
            assert part.param_groups[0]["lr"] == pytest.approx(peak * RECIPE.rate_factor(p.step - 1))


class Quadratic(torch.nn.Module):
    """A matrix for Muon and a bias for Adam."""

    outer: set[str] = set()

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(3, 2)


class Drawing:
    """A loss that multiplies the images by a number from the global generator, as dropout would; keeps number and mode."""

    def __init__(self):
        self.drawn, self.modes = [], []

    def loss(self, network, x0, label, generator, progress=0.0):
        self.drawn.append(torch.rand(()).item())
        self.modes.append(network.training)
        return ((self.drawn[-1] * network.layer(x0.flatten(1)) - 1) ** 2).mean()


def test_a_run_is_adam_and_muon_and_the_average_by_hand():
    """Against torch's optimizers at the rates of each step, no weight decay, and the average as its equation says."""
    recipe = Recipe(steps=5, batch=4, rate=0.1, muon=0.2, warmup=2, beta1=0.5, beta2=0.7, ema=0.3, bf16=False, seed=4)
    torch.manual_seed(0)
    state, data, objective = State(Quadratic(), recipe), torch.randn(9, 1, 1, 3), Drawing()
    weight, bias = (p.detach().clone().requires_grad_() for p in state.network.layer.parameters())
    average = [weight, bias]
    state.network.eval()
    list(train(state, objective, data, None, recipe))
    adam, muon = torch.optim.Adam([bias], betas=(0.5, 0.7)), torch.optim.Muon([weight], weight_decay=0.0)
    for step in range(5):
        index = torch.randint(9, (4,), generator=torch.Generator().manual_seed(4 * 1_000_003 + step))
        ((objective.drawn[step] * (data[index].flatten(1) @ weight.T + bias) - 1) ** 2).mean().backward()
        for optimizer, rate in ((adam, 0.1), (muon, 0.2)):
            optimizer.param_groups[0]["lr"] = rate * recipe.rate_factor(step)
            optimizer.step()
            optimizer.zero_grad()
        beta = (1 - 1 / (step + 1)) ** (1 / 0.3 - 1)
        average = [(beta * a + (1 - beta) * w).detach() for a, w in zip(average, (weight, bias))]
    for ours, expected in zip(state.network.layer.parameters(), (weight, bias)):
        torch.testing.assert_close(ours, expected)
    for ours, expected in zip(state.ema.layer.parameters(), average):
        torch.testing.assert_close(ours, expected)
    assert objective.modes == [True] * 5                                       # dropout is on, whatever came before


def test_what_the_global_generator_gives_in_a_step_depends_on_seed_and_step_alone():
    def drawn(seed, before):
        recipe, objective = Recipe(steps=6, batch=2, bf16=False, seed=seed), Drawing()
        state = State(Quadratic(), recipe)
        torch.manual_seed(before)
        list(train(state, objective, torch.ones(2, 1, 1, 3), None, recipe))
        return objective.drawn

    first, other = drawn(0, before=1), drawn(1, before=1)
    assert first == drawn(0, before=2) and len({*first, *other}) == 12


@pytest.mark.parametrize("capability, bf16, kind", [
    ("AVX2", True, torch.float32), ("AVX512", True, torch.bfloat16), ("AVX512", False, torch.float32)])
def test_a_processor_that_only_imitates_bfloat16_computes_in_float32(monkeypatch, capability, bf16, kind):
    class Product:
        def loss(self, network, x0, label, generator, progress=0.0):
            return network.layer(x0.flatten(1)).float().sum() if network.layer(x0.flatten(1)).dtype is kind else math.nan

    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    loss = loss_at(0, Quadratic(), Product(), torch.ones(2, 1, 1, 3), None, Recipe(steps=6, batch=2, bf16=bf16))
    assert math.isfinite(loss)


def test_the_recipe_s_defaults_are_the_book_s():
    assert Recipe(steps=7) == Recipe(steps=7, batch=64, rate=3e-3, muon=0.0, warmup=200, beta1=0.9, beta2=0.99, ema=0.1,
                                     bf16=True, seed=0, label_dropout=0.0)


def test_two_seeds_share_no_step():
    """With seed + step, seed 1 would take in step k the batch and the noise of seed 0 in step k + 1."""
    seeds = [{Recipe(steps=20_000, seed=seed).seed_at(step) for step in range(20_000)} for seed in (0, 1, 2, 1000)]
    assert len(set().union(*seeds)) == 4 * 20_000
    batches = [heard(None, seed=seed)[0].view(50, 40).unique(dim=0) for seed in (0, 1, 2)]
    assert len(torch.cat(batches).unique(dim=0)) == 150


@pytest.mark.parametrize("options, said", [
    ({"steps": 0}, "steps must be a whole number of 1 or more, got 0"), ({"steps": 1.5}, "of 1 or more, got 1.5"),
    ({"batch": 0}, "batch must be a whole number of 1 or more, got 0"), ({"batch": -3}, "got -3"),
    ({"warmup": -1}, "warmup must be a whole number of 0 or more, got -1"),
    ({"seed": 1.5}, "seed must be a whole number, got 1.5"), ({"rate": 0.0}, "rate must be above 0, got 0.0"),
    ({"rate": math.nan}, "rate must be above 0, got nan"),
    ({"rate": math.inf}, "rate must be above 0, got inf"), ({"muon": -0.1}, "muon must be 0 or more, got -0.1"),
    ({"beta1": 1.0}, "beta1 must be from 0 to below 1"), ({"beta2": -0.1}, "beta2 must be from 0 to below 1"),
    ({"ema": 0.0}, "ema must be between 0 and 1, got 0.0"), ({"ema": 1.0}, "ema must be between 0 and 1, got 1.0"),
    ({"label_dropout": 1.1}, "label_dropout must be from 0 to 1, got 1.1")])
def test_recipes_that_make_no_sense_are_refused_in_one_line(options, said):
    with pytest.raises(ValueError) as error:
        Recipe(**{"steps": 10} | options)
    assert str(error.value).startswith(f"a recipe's {next(iter(options))} must be") and said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("data, said", [
    (torch.zeros(0, 1, 8, 8), r"N >= 1.*got \(0, 1, 8, 8\)"), (torch.zeros(2, 8, 8), r"got \(2, 8, 8\)"),
    (torch.zeros(2, 1, 8, 8, dtype=torch.uint8), "floats in .*to_float.*torch.uint8"),
    (torch.full((2, 1, 8, 8), 255.0), "got values up to 255"), (torch.full((2, 1, 8, 8), math.nan), "got values up to nan")])
def test_images_that_cannot_be_learned_from_are_refused(data, said):
    with pytest.raises(ValueError, match=said):
        next(train(fresh(), EDMObjective(), data, None, RECIPE))


@pytest.mark.parametrize("labels, said", [
    (torch.tensor([0, 10]), "from 0 to 9 .*from 0 to 10$"), (torch.tensor([-1, 3]), "from -1 to 3$"),
    (torch.tensor([1, 2, 3]), r"\(3,\) of torch.int64 for 2 images"), (torch.tensor([0.0, 1.0]), "torch.float32")])
def test_labels_that_the_network_does_not_know_are_refused(labels, said):
    with pytest.raises(ValueError, match=said):
        next(train(State(CONDITIONAL["unet"](), RECIPE), EDMObjective(), images(), labels, RECIPE))


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
