"""Conditional models: guidance against its equation and a closed form, what hidden labels teach, the model lists."""

import dataclasses

import pytest
import torch

from helpers import paths
from helpers.chapters.conditional import (
    classifier,
    conditional,
    conditional_models,
    unconditional_models,
)
from helpers.chapters.profiles import LAPTOP, PROFILES, SMOKE
from helpers.denoiser import Counted, NetworkDenoiser
from helpers.guidance import ClassifierFreeGuidance
from helpers.models.architectures import MLP
from helpers.models.objectives import EDMObjective
from helpers.models.training import Recipe, State, train
from helpers.models.unet import UNet
from helpers.samplers import sample
from helpers.zoo.spec import build, make_objective

VARIANCE, MEAN = 0.04, 0.3
LABEL = torch.tensor([0, 4, 9])


def gaussian(x, sigma, label=None, mean=None):
    """x0 ~ N(m, VARIANCE I), closed form: m is c / 10 for class c and MEAN without a label, unless it is given."""
    if mean is None:
        mean = MEAN if label is None else label.view(-1, 1, 1, 1) / 10
    return mean + VARIANCE / (VARIANCE + sigma**2) * (x - mean)


def network_denoiser():
    """A conditional U-Net with every weight drawn, so that labels matter."""
    network, generator = UNet(width=8, multipliers=(1, 2), classes=10), torch.Generator().manual_seed(0)
    for p in network.parameters():
        torch.nn.init.normal_(p, std=0.2, generator=generator)
    return NetworkDenoiser(network, EDMObjective()).requires_grad_(False).eval()


def noisy(seed=0):
    return torch.randn(3, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def differences(a, b):
    return {f.name for f in dataclasses.fields(a) if getattr(a, f.name) != getattr(b, f.name)}


def test_strength_one_is_conditional_and_strength_zero_unconditional():
    denoiser, x = network_denoiser(), noisy()
    with_label, free = denoiser(x, 0.7, label=LABEL), denoiser(x, 0.7)
    torch.testing.assert_close(ClassifierFreeGuidance(denoiser, 1)(x, 0.7, label=LABEL), with_label)
    torch.testing.assert_close(ClassifierFreeGuidance(denoiser, 0)(x, 0.7, label=LABEL), free)
    assert (with_label - free).abs().max() > 1e-2


def test_a_network_is_asked_once_for_both_and_needs_a_class_for_none():
    denoiser, x = network_denoiser(), noisy()
    batches = []
    denoiser.network.register_forward_pre_hook(lambda module, args: batches.append(len(args[0])))
    for sigma in (0.7, torch.tensor([0.5, 1.0, 2.0])):
        free, told = denoiser.free_and_told(x, sigma, LABEL)
        assert batches == [6]
        torch.testing.assert_close(free, denoiser(x, sigma))
        torch.testing.assert_close(told, denoiser(x, sigma, label=LABEL))
        batches.clear()
    denoiser.classes = None
    with pytest.raises(ValueError, match="no label for none"):
        denoiser.free_and_told(x, 0.7, LABEL)


@pytest.mark.parametrize("strength", [0.25, 0.5, 1.5, 4.0])
def test_guidance_goes_on_in_a_straight_line(strength):
    denoiser, x = network_denoiser(), noisy()
    free, way = denoiser(x, 0.7), denoiser(x, 0.7, label=LABEL) - denoiser(x, 0.7)
    torch.testing.assert_close(ClassifierFreeGuidance(denoiser, strength)(x, 0.7, label=LABEL), free + strength * way)


@pytest.mark.parametrize("strength", [0, 1, 3.0])
def test_without_a_label_guidance_is_the_unconditional_denoiser_at_its_cost(strength):
    counted, x = Counted(network_denoiser()), noisy()
    guided = ClassifierFreeGuidance(counted, strength)
    assert torch.equal(guided(x, 0.7), counted.denoiser(x, 0.7)) and counted.calls == 1
    guided(x, 0.7, label=LABEL)
    assert counted.calls == 3


def test_a_negative_strength_is_an_error():
    with pytest.raises(ValueError, match=r"at least 0 \(1: conditional, 0: unconditional\), got -0.5"):
        ClassifierFreeGuidance(gaussian, -0.5)


@pytest.mark.parametrize("strength", [0.0, 0.5, 1.0, 2.5])
def test_guided_samples_of_gaussian_classes_are_those_of_a_gaussian_further_on(strength):
    """Of N(m, V) and N(m_c, V) the guided denoiser is that of N(m + w (m_c - m), V): the same images."""
    further = MEAN + strength * (LABEL.view(-1, 1, 1, 1) / 10 - MEAN)

    def closed_form(x, sigma, label=None):
        return gaussian(x, sigma, mean=further)

    images = sample(ClassifierFreeGuidance(gaussian, strength), noisy(), steps=8, label=LABEL)
    torch.testing.assert_close(images, sample(closed_form, noisy(), steps=8), rtol=1e-4, atol=1e-4)


def test_a_batch_s_images_keep_their_own_labels():
    guided = ClassifierFreeGuidance(network_denoiser(), 2.0)
    together, two = (sample(guided, noisy(), steps=3, label=LABEL, batch=batch) for batch in (3, 2))
    torch.testing.assert_close(together, two, rtol=1e-3, atol=1e-4)
    other = sample(guided, noisy(), steps=3, label=torch.tensor([0, 4, 8]))
    moved = (other - together).abs().amax((1, 2, 3))
    assert (moved[:2] < 1e-3).all() and moved[2] > 1e-2


def test_a_guided_denoiser_is_sampled_as_the_one_it_guides():
    def one_step(x, sigma, label=None):
        return gaussian(x, sigma, label)

    one_step.sampling, one_step.strict = {"steps": 1, "solver": "euler"}, True
    guided = ClassifierFreeGuidance(one_step, 2.0)
    assert sample(guided, noisy(), label=LABEL, **guided.sampling).shape == noisy().shape
    with pytest.raises(ValueError, match="trained for one way of sampling"):
        sample(guided, noisy(), label=LABEL, steps=2)


def test_a_network_whose_labels_are_hidden_now_and_then_is_two_denoisers():
    """Two classes, all dark and all bright. At high noise it draws the class's image, without a label their mean."""
    torch.manual_seed(0)
    recipe = Recipe(steps=200, batch=32, rate=1e-2, warmup=10, label_dropout=0.3)
    network, bright = MLP(size=4, width=32, blocks=1, classes=2), torch.tensor([-0.5, 0.5])
    state, labels = State(network, recipe), torch.arange(2).repeat(8)
    list(train(state, EDMObjective(p_mean=2.0), bright[labels].view(-1, 1, 1, 1).expand(-1, 1, 4, 4), labels, recipe))
    denoiser = NetworkDenoiser(state.ema.eval(), EDMObjective(p_mean=2.0))
    x, c = 20 * torch.randn(64, 1, 4, 4), torch.arange(2).repeat(32)
    with torch.no_grad():
        found = {w: ClassifierFreeGuidance(denoiser, w)(x, 20.0, label=c).mean((1, 2, 3)) for w in (0, 1, 2)}
    for w, answers in found.items():
        means = torch.stack([answers[c == k].mean() for k in (0, 1)])
        assert means.tolist() == pytest.approx((w * bright).tolist(), abs=0.15)


def test_a_model_becomes_conditional_and_nothing_else():
    spec = LAPTOP.model(16, 2**8, seed=1)
    told = conditional(spec)
    assert differences(told, spec) == {"conditional", "options", "recipe"} and told.conditional
    assert dict(told.options) == dict(spec.options) | {"classes": 10} and list(told.options) == sorted(told.options)
    assert told.recipe == dataclasses.replace(spec.recipe, label_dropout=0.1)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_every_unconditional_model_has_a_conditional_partner(name):
    profile = PROFILES[name]
    free, told = unconditional_models(profile), conditional_models(profile)
    assert {key: conditional(spec) for key, spec in free.items()} == {key: told[key] for key in free}
    few = {f"{n}{seed}" for n in profile.few for seed in ("", "-seed")}
    assert set(told) == set(free) | few | {"classifier"}
    assert len({spec.key for spec in [*free.values(), *told.values()]}) == len(free) + len(told)
    for n in profile.few:
        assert (told[f"{n}"].subset_size, told[f"{n}"].recipe.seed) == (n, profile.seeds[0])
        assert (told[f"{n}-seed"].subset_size, told[f"{n}-seed"].recipe.seed) == (n, profile.seeds[1])


def test_the_unconditional_models_are_among_the_shipped():
    assert all((paths.ZOO / spec.file).exists() for spec in unconditional_models(LAPTOP).values())


def test_the_conditional_models_of_the_smoke_profile_can_be_built_and_told_a_class():
    for name, spec in conditional_models(SMOKE).items():
        network, x = build(spec), torch.randn(2, 1, 28, 28)
        y = network(x, torch.zeros(2), torch.tensor([3, 10]))
        assert network.classes == 10 and y.shape == ((2, 10) if name == "classifier" else x.shape)


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_the_classifier_sees_the_whole_pool_and_every_label(name):
    spec = classifier(PROFILES[name])
    assert spec.subset_size == PROFILES[name].sizes[-1] and spec.dataset == PROFILES[name].dataset
    assert spec.conditional and spec.recipe.label_dropout == 0 and dict(spec.options)["classes"] == 10
    assert make_objective(spec.objective).shift == 2
