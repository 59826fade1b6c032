"""Words in place of classes: what the layer computes, that it is told like a class, and a reader's own sentences."""

from dataclasses import replace

import pytest
import torch

from helpers.chapters.captioned import captioned, captioned_models, few_captioned
from helpers.chapters.profiles import LAPTOP, PAPER, SMOKE
from helpers.chapters.systems import independent
from helpers.data.captions import embeddings
from helpers.denoiser import NetworkDenoiser
from helpers.models.objectives import EDMObjective
from helpers.models.recipe import Recipe
from helpers.models.state import State
from helpers.models.training import train
from helpers.models.words import Words, reworded
from helpers.zoo.spec import ModelSpec, build
from helpers.zoo.store import load_denoiser, train_model, training_images

TOLD = captioned(ModelSpec(subset_size=16, options=(("multipliers", (1, 2)), ("width", 8)), recipe=Recipe(steps=3, batch=4)),
                 "attributes")
UVIT = captioned(replace(TOLD, network="uvit", conditional=False, captions=None,
                         options=(("depth", 1), ("dim", 16), ("heads", 2))), "attributes")


def spoken(spec: ModelSpec = TOLD) -> NetworkDenoiser:
    """A denoiser of captions whose last layers do not stay zero, so that what it is told matters."""
    network = build(spec)
    with torch.no_grad():
        for p in network.parameters():
            p.add_(0.1 * torch.randn(p.shape, generator=torch.Generator().manual_seed(1)))
    return NetworkDenoiser(network, EDMObjective()).requires_grad_(False).eval()


def test_the_layer_is_affine_in_the_frozen_embedding():
    layer, e = Words("attributes", 540, 6), embeddings()
    centered = (e - e.mean(0)).double()
    expected = centered / centered.square().mean().sqrt() @ layer.linear.weight.double().T + layer.linear.bias
    label = torch.tensor([0, 539, 540, 7])
    out = layer(label)
    assert torch.allclose(out[[0, 1, 3]].double(), expected[label[[0, 1, 3]]], atol=1e-5)
    assert torch.equal(out[2], layer.none) and layer.num_embeddings == 541
    assert set(dict(layer.named_parameters())) == {"linear.weight", "linear.bias", "none"} == set(layer.state_dict())
    assert 0.5 < layer(torch.arange(540)).std() < 2, "it begins as an embedding table does"


def test_a_table_of_another_length_is_refused():
    with pytest.raises(ValueError, match="the table 'attributes' has 540 captions: say classes=540, not 10"):
        Words("attributes", 10, 6)


@pytest.mark.parametrize("spec", [TOLD, UVIT])
def test_no_label_and_the_label_after_the_last_are_the_same(spec):
    denoiser, x = spoken(spec), torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    free, told = denoiser.free_and_told(x, 1.0, torch.tensor([3, 3, 8]))
    assert torch.allclose(free, denoiser(x, 1.0), atol=1e-5)
    assert torch.allclose(told, denoiser(x, 1.0, label=[3, 3, 8]), atol=1e-5)
    assert (told - free).abs().amax((1, 2, 3)).min() > 1e-3


def test_words_of_one_s_own():
    denoiser, x = spoken(), torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    mine = reworded(denoiser, embeddings()[[7, 400]])
    assert mine.classes == 2
    assert torch.allclose(mine(x, 1.0, label=1), denoiser(x, 1.0, label=400), atol=1e-6)
    assert torch.equal(mine(x, 1.0), denoiser(x, 1.0)) and not torch.allclose(mine(x, 1.0, label=0), mine(x, 1.0, label=1))
    assert denoiser.classes == 540, "the model itself stays"
    with pytest.raises(ValueError, match="knows the classes 0 to 1"):
        mine(x, 1.0, label=2)
    with pytest.raises(ValueError, match=r"vectors \(n, 384\) are needed, got \(384,\) for one"):
        reworded(denoiser, embeddings()[7])
    with pytest.raises(ValueError, match="a model that was trained without captions"):
        reworded(spoken(replace(TOLD, captions=None, options=(("classes", 10), ("width", 8)))), embeddings()[:2])


def test_training_moves_the_layer_and_not_the_embeddings():
    network = build(TOLD)
    before, vectors = network.label.linear.weight.detach().clone(), network.label.vectors.clone()
    images, labels = training_images(TOLD)
    state = State(network, TOLD.recipe)
    list(train(state, EDMObjective(), images, labels, replace(TOLD.recipe, steps=3)))
    assert not torch.equal(network.label.linear.weight, before) and torch.equal(network.label.vectors, vectors)


def test_a_model_of_captions_comes_back_from_its_file(tmp_path):
    path = train_model(TOLD, tmp_path, checkpoints=tmp_path / "ck")
    assert path.name.startswith("unet8-attributes-n16-s0-") and ModelSpec.parse(TOLD.json) == TOLD
    denoiser = load_denoiser(TOLD, zoo=tmp_path)
    assert denoiser.classes == 540 and torch.equal(denoiser.network.label.vectors, build(TOLD).label.vectors)


def test_the_labels_of_a_spec_are_its_captions():
    images, labels = training_images(replace(TOLD, withheld=True))
    assert images.shape == (16, 1, 28, 28) and labels.max() > 10
    few, own = training_images(captioned(replace(TOLD, captions=None, options=(("width", 8),)), "unique"))
    assert torch.equal(own, torch.arange(16)) and few.shape == images.shape


@pytest.mark.parametrize("change, message", [
    ({"captions": "odd"}, "unknown captions 'odd': choose from attributes, shuffled, unique"),
    ({"conditional": False}, "to a conditional network"), ({"classes": (1,)}, "all classes of it"),
    ({"options": (("classes", 540), ("width", 8))}, "whose options name the table"),
    ({"dataset": "cifar10"}, "captions describe fashion-mnist"),
    ({"captions": None, "withheld": True}, "withheld is for a model of captions"),
    ({"withheld": 1}, "withheld is True or False: got 1"),
])
def test_specs_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(TOLD, **change)


def test_the_models_of_chapter_9_differ_in_what_they_should():
    many, few = captioned_models(LAPTOP), few_captioned(LAPTOP)
    names = list(many)
    assert all(independent(many[a], many[b]) for a in names for b in names if a < b)
    assert {spec.subset_size for spec in many.values()} == {28_672} and all(spec.withheld for spec in many.values())
    assert {spec.subset_size for spec in few.values()} == {256} and {spec.recipe.seed for spec in few.values()} == {0}
    assert [spec.captions for spec in few.values()] == [None, None, "attributes", "shuffled", "unique"]
    assert all(spec.recipe == replace(LAPTOP.recipe, label_dropout=0.1) for spec in list(few.values())[1:])
    assert len(captioned_models(SMOKE)) == 4
    with pytest.raises(ValueError, match="captions describe fashion-mnist, not cifar10"):
        captioned_models(PAPER)
