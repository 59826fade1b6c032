"""What is no data set, image, score, recipe, network or spec: each is refused before the work, and told apart."""

from math import inf, nan

import pytest
import torch

from helpers.data import as_x0, load, to_float, to_uint8
from helpers.data.captions import captions, embeddings
from helpers.data.dataset import permutation
from helpers.data.parity import groups_of, images_of_rule
from helpers.measure.bootstrap import wilson
from helpers.measure.clocks import onset
from helpers.measure.descriptor import describe, load_descriptor
from helpers.measure.maps import energy_distance, map_distance, mean_over_runs, optimal_transport, polar_noises
from helpers.measure.scores import bootstrap_mean, gl_score, mae_score, memorized_fraction, rp_null, rp_score
from helpers.measure.transition import crossing
from helpers.models.architectures import MLP, UViT
from helpers.models.objectives import EDMObjective
from helpers.models.training import Recipe, State, train
from helpers.models.unet import UNet
from helpers.zoo.spec import ModelSpec, build, make_objective
from helpers.zoo.store import find

gen = torch.Generator().manual_seed(0)
x0 = torch.rand(12, 1, 8, 8, generator=gen) * 2 - 1
z, f = torch.randn(5, 1, 8, 8, generator=gen), torch.nn.functional.normalize(torch.randn(6, 16, generator=gen), dim=1)
R = Recipe(steps=2, batch=4, warmup=1)
NET = State(MLP(size=8, width=8, blocks=1), R), EDMObjective()

# What is called, and a part of what it says: (kind, call, words).
HOSTILE = [
    ("data", lambda: load("palm"), "unknown dataset 'palm'"),
    ("data", lambda: load("fashion-mnist", "tests"), "unknown split 'tests'"),
    ("data", lambda: load("fashion-mnist", size=0), "fashion-mnist has images of one size"),
    ("data", lambda: load("fashion-mnist", channels=2), "fashion-mnist has images of one size"),
    ("data", lambda: load("/nowhere/at/all"), "unknown dataset '/nowhere/at/all'"),
    ("data", lambda: load("fashion-mnist").first(0), "fashion-mnist has 60000 images"),
    ("data", lambda: load("fashion-mnist").first(10**9), "fashion-mnist has 60000 images"),
    ("data", lambda: load("fashion-mnist").first(-1), "fashion-mnist has 60000 images"),
    ("data", lambda: load("fashion-mnist").first(5, -1), "fashion-mnist has 60000 images"),
    ("data", lambda: load("fashion-mnist").of_classes([11]), "fashion-mnist has no class [11]"),
    ("data", lambda: load("fashion-mnist").of_classes([]), "images of no class were asked for"),
    ("data", lambda: to_float(x0), "to_float reads uint8 in 0..255"),
    ("data", lambda: to_uint8(x0 * nan), "NaN is no gray level"),
    ("data", lambda: to_uint8((x0 * 100).byte()), "to_uint8 reads floats in [-1, 1]"),
    ("data", lambda: as_x0(x0.double() * inf), "images must be finite"),
    ("data", lambda: as_x0(x0.long()), "images must be uint8 or floats in [-1, 1], not"),
    ("data", lambda: as_x0("x"), "images must be a tensor"),
    ("data", lambda: permutation(-1), "a permutation has a length of 0 or more"),
    ("data", lambda: load(""), "a dataset has a name"),
    ("data", lambda: load(None), "a dataset has a name"),
    ("captions", lambda: captions("palm"), "unknown table of captions 'palm'"),
    ("captions", lambda: embeddings("palm"), "unknown table of captions 'palm'"),
    ("parity", lambda: images_of_rule(4, 5, gen), "a group's size divides 36"),
    ("parity", lambda: images_of_rule(-1, 2, gen), "at least one image must be asked for"),
    ("parity", lambda: groups_of(7), "a group's size divides 36"),
    ("score", lambda: rp_score(f, f[:2]), "paired scores need as many descriptors on both sides"),
    ("score", lambda: rp_score(f, f, threshold=1.5), "a threshold of similarity is in [-1, 1]"),
    ("score", lambda: rp_score(f, f, threshold=nan), "a threshold of similarity is in [-1, 1]"),
    ("score", lambda: rp_score(f[:0], f[:0]), "no descriptors to compare"),
    ("score", lambda: gl_score(f, f[:0]), "no descriptors to compare"),
    ("score", lambda: gl_score(f, f[:, :3]), "descriptors must be"),
    ("score", lambda: gl_score(f * nan, f), "descriptors hold NaN or infinity"),
    ("score", lambda: rp_null(f[:1], f[:1]), "the null needs two noises and a shift that is no"),
    ("score", lambda: memorized_fraction(z, x0[:1]), "the ratio test needs two training images and a"),
    ("score", lambda: memorized_fraction(z, x0, ratio=0.0), "the ratio of the nearest distance to the next is in"),
    ("score", lambda: memorized_fraction(z, x0, ratio=2.0), "the ratio of the nearest distance to the next is in"),
    ("score", lambda: mae_score(x0, x0[:2]), "mae_score needs two image sets of one shape"),
    ("score", lambda: mae_score(x0, x0, threshold=-1.0), "a threshold of gray levels is in"),
    ("score", lambda: bootstrap_mean(torch.zeros(0), gen), "values must be"),
    ("score", lambda: bootstrap_mean(torch.zeros(2, 3, 4), gen), "values must be"),
    ("score", lambda: wilson(1.5, 10), "a proportion needs n >= 1 and a fraction in [0, 1]"),
    ("score", lambda: wilson(0.5, 0), "a proportion needs n >= 1 and a fraction in [0, 1]"),
    ("score", lambda: describe(z), "the shipped descriptor reads images"),
    ("score", lambda: describe(x0.repeat(1, 1, 7, 7)[:, :, :27, :27]), "the shipped descriptor reads images"),
    ("score", lambda: describe(x0 * 255), "the shipped descriptor reads images"),
    ("score", lambda: load_descriptor("/nowhere.safetensors"), "/nowhere.safetensors is missing"),
    ("score", lambda: crossing([1, 2], [0.1]), "one value for each size"),
    ("clock", lambda: onset([1, 2], [0.1], 0.5), "a clock needs positive, rising times and a value"),
    ("clock", lambda: onset([2, 1], [0.1, 0.9], 0.5), "a clock needs positive, rising times and a value"),
    ("map", lambda: polar_noises(0, 4), "a grid has at least one ring and one angle"),
    ("map", lambda: map_distance(torch.zeros(2, 3, 2), torch.zeros(3, 2, 2)), "maps must be on one grid"),
    ("map", lambda: mean_over_runs(torch.zeros(2, 2), 0), "a bootstrap over pairs needs a square matrix of 3"),
    ("map", lambda: energy_distance(torch.zeros(1, 2), torch.zeros(1, 2)),
     "an energy distance needs two samples of each, or"),
    ("map", lambda: optimal_transport(torch.zeros(2, 3, 2), torch.zeros(3, 3, 2)), "a map has a picture for each noise"),
    ("training", lambda: Recipe(steps=0), "a recipe's steps must be a whole number of 1 or more"),
    ("training", lambda: Recipe(steps=10, batch=0), "a recipe's batch must be a whole number of 1 or more"),
    ("training", lambda: Recipe(steps=10, rate=-1.0), "a recipe's rate must be above 0"),
    ("training", lambda: Recipe(steps=10, rate=nan), "a recipe's rate must be above 0"),
    ("training", lambda: list(train(*NET, x0[:0], None, R)), "training needs images"),
    ("training", lambda: list(train(*NET, x0.byte(), None, R)), "training needs images"),
    ("training", lambda: list(train(*NET, x0, torch.zeros(3).long(), R)),
     "learns without classes"),
    ("training", lambda: list(train(*NET, x0[:, :, :4], None, R)), "this network reads images"),
    ("training", lambda: list(train(*NET, x0 * 200, None, R)), "training needs images in [-1, 1] without NaN"),
    ("network", lambda: UNet(width=0), "width must be a whole number of 1 or more"),
    ("network", lambda: UNet(width=8, multipliers=()), "levels must be a whole number of 1 or more"),
    ("network", lambda: UViT(size=8, patch=3, dim=16, depth=1, heads=2),
     "patch must divide size and heads must divide dim"),
    ("network", lambda: UViT(size=8, patch=2, dim=15, depth=1, heads=2),
     "patch must divide size and heads must divide dim"),
    ("network", lambda: MLP(size=8, width=-1, blocks=1), "width must be a whole number of 1 or more"),
    ("spec", lambda: ModelSpec.parse("not json"), "this describes no model"),
    ("spec", lambda: ModelSpec.parse("{}"), "this describes no model"),
    ("spec", lambda: ModelSpec.parse('{"name": "x", "palm": 1}'), "this describes no model"),
    ("spec", lambda: ModelSpec.parse("[]"), "this describes no model"),
    ("spec", lambda: build(ModelSpec(network="palm")), "unknown network 'palm'"),
    ("spec", lambda: ModelSpec(subset_size=0), "subset_size: a whole number of 1 or more"),
    ("spec", lambda: ModelSpec(subset_size=-5), "subset_size: a whole number of 1 or more"),
    ("spec", lambda: make_objective("palm"), "unknown objective 'palm'"),
    ("spec", lambda: find("nokey"), "the zoo has no model nokey, from which another one"),
]


@pytest.mark.parametrize("call, words", [pytest.param(call, words, id=f"{kind} {k}") for k, (kind, call, words) in
                                         enumerate(HOSTILE)])
def test_it_is_refused_in_one_line_that_says_what_is_wrong(call, words):
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        call()
    assert words in str(error.value) and "\n" not in str(error.value) and len(str(error.value)) < 400
