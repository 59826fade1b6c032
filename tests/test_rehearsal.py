"""rehearsal.py: every kind of model of profile paper takes a step on a reader's images; what it computes is counted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from helpers.chapters.models import all_models
from helpers.chapters.profiles import PAPER, SMOKE
from helpers.models.training import Recipe, State, train
from helpers.zoo import __main__ as commands
from helpers.zoo.rehearsal import kinds, rehearse
from helpers.zoo.spec import ModelSpec, build, make_objective

# One width and one round: a wider U-Net, and a later round, take the same steps.
DRY = replace(PAPER, widths=(64, 64), systems=replace(PAPER.systems, rounds=(4,)))


@pytest.fixture
def folder(tmp_path):
    """Twelve 32x32 color images, of no class."""
    for i, pixels in enumerate(np.random.default_rng(0).integers(0, 255, (12, 32, 32, 3), dtype=np.uint8)):
        Image.fromarray(pixels).save(tmp_path / f"{i}.png")
    return tmp_path


def test_every_kind_of_model_of_profile_paper_takes_a_step(folder, monkeypatch, capsys):
    monkeypatch.setattr(commands, "find_profile", lambda name: DRY)
    assert commands.main(["rehearse", "--profile", "paper", "--images", str(folder)]) == 0
    lines, wanted = capsys.readouterr().out.splitlines(), kinds(all_models(DRY))
    assert len(lines) == len(wanted) > 25
    assert {spec.network for spec in wanted} == {"unet", "classifier", "cnn", "uvit", "mlp", "multistage", "pair"}
    assert {spec.network for spec in wanted} == {spec.network for spec in all_models(PAPER)}
    assert all(line.startswith(spec.name) and "loss" in line for line, spec in zip(lines, wanted))


def test_what_fails_is_a_line_each_and_exit_code_1(folder, monkeypatch, capsys):
    monkeypatch.setattr(commands, "find_profile", lambda name: SMOKE)
    good = ModelSpec(options=(("width", 4),), recipe=Recipe(steps=5))
    bad = replace(good, options=(("image_channels", 3), ("width", 4)))
    monkeypatch.setattr(commands, "all_models", lambda profile: [bad, good])
    assert commands.main(["rehearse", "--images", str(folder)]) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"error: {bad.name}: ") and len(captured.err.splitlines()) == 1
    assert captured.out.startswith(good.name) and len(captured.out.splitlines()) == 1


@pytest.mark.parametrize("words", [["rehearse", "--steps", "0"], ["train", "--images", "photos"]])
def test_wrong_usage(words, capsys):
    with pytest.raises(SystemExit) as end:
        commands.main(words)
    assert end.value.code == 2 and "error: --" in capsys.readouterr().err


def test_a_kind_differs_in_more_than_seed_images_and_steps():
    spec = ModelSpec(options=(("width", 4),))
    same = [spec, replace(spec, recipe=replace(spec.recipe, seed=1, steps=7)), replace(spec, subset_size=9)]
    other = [replace(spec, options=(("width", 8),)), replace(spec, objective="vp")]
    assert kinds([*same, *other]) == {spec: same, other[0]: [other[0]], other[1]: [other[1]]}


def test_the_count_is_that_of_torchs_counter_and_the_step_that_of_the_loop():
    images = torch.rand(6, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1
    spec = ModelSpec(options=(("width", 8),), recipe=Recipe(steps=2, batch=3))
    network = build(spec)
    with FlopCounterMode(display=False) as counter:
        losses = [p.loss for p in train(State(network, spec.recipe), make_objective("edm"), images, None, spec.recipe)]
    found = rehearse(spec, images, torch.zeros(6), steps=2, batch=3)
    assert found.losses == losses and found.training == counter.get_total_flops() / 6 > 0
    assert found.parameters == sum(p.numel() for p in network.parameters())
    assert 2 < found.training / found.forward < 3.1          # back costs twice what forward does, but for the first layer
