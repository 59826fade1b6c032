"""Specs: keys that old weights rely on, the way back from a header, and what the names in a spec mean."""

import dataclasses
import hashlib
import json

import pytest
import torch
from PIL import Image
from safetensors import safe_open

from helpers import paths
from helpers.chapters.models import all_models, chapter_models
from helpers.chapters.profiles import PROFILES
from helpers.kernels import kernel
from helpers.models.classifier import Classifier
from helpers.models.gan_vae import GeneratorPair
from helpers.models.objectives import EDMObjective
from helpers.models.training import Recipe
from helpers.zoo.spec import NETWORKS, OBJECTIVES, ModelSpec, build, make_objective

SPEC = ModelSpec(subset_size=16, options=(("multipliers", (1, 2)), ("width", 8)), recipe=Recipe(steps=3, batch=4))
replace = dataclasses.replace
TUNED = replace(SPEC, options=(("classes", 10), *SPEC.options), conditional=True, classes=(5, 7),
                init_from="68d6e949fb25", trainable="lora", recipe=replace(SPEC.recipe, label_dropout=0.1))
TOLD = replace(SPEC, options=(("classes", 540), ("words", "attributes"), *SPEC.options), conditional=True,
               captions="attributes")


def test_the_key_depends_on_everything_and_on_nothing_else(tmp_path):
    assert SPEC.key == replace(SPEC).key
    recipe = SPEC.recipe

    def other(value):
        return "none" if value == "cosine" else value + 1 if isinstance(value, int) else (value + 1) / 2

    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    Image.new("L", (8, 8), 1).save(tmp_path / "b.png")
    others = [replace(SPEC, subset_size=17), replace(SPEC, subset_start=1), replace(SPEC, options=(("width", 8),)),
              replace(SPEC, dataset="cifar10"), replace(SPEC, dataset=str(tmp_path)),
              replace(SPEC, network="cnn"), replace(SPEC, objective="vp"),
              replace(SPEC, objective_options=(("p_mean", -0.4),)), replace(SPEC, conditional=True),
              replace(SPEC, init_from="68d6e949fb25"), replace(SPEC, trainable="head"), replace(SPEC, initial_seed=0),
              replace(SPEC, classes=(0,)), replace(SPEC, classes=(0, 1)), replace(SPEC, teacher="68d6e949fb25"),
              TOLD, replace(TOLD, captions="shuffled"), replace(TOLD, withheld=True), replace(SPEC, arranged="by-pc2"),
              *(replace(SPEC, recipe=replace(recipe, **{field.name: other(getattr(recipe, field.name))}))
                for field in dataclasses.fields(recipe) if field.name != "bf16"),
              replace(SPEC, recipe=replace(recipe, bf16=False))]
    assert len({spec.key for spec in [SPEC, *others]}) == len(others) + 1
    changed = {name for spec in others for name in dataclasses.asdict(SPEC) if getattr(spec, name) != getattr(SPEC, name)}
    assert changed == set(dataclasses.asdict(SPEC))


def test_old_keys_stay():
    """Pinned: a change orphans the shipped weights. The JSON of the first weights had no field that came later."""
    assert SPEC.key == "68d6e949fb25"
    recipe = {"steps": 3, "batch": 4, "rate": 3e-3, "muon": 0.0, "warmup": 200, "beta2": 0.99, "ema": 0.1, "bf16": True,
              "seed": 0}
    fields = {"dataset": "fashion-mnist", "subset_start": 0, "subset_size": 16, "network": "unet",
              "options": [["multipliers", [1, 2]], ["width", 8]], "objective": "edm", "objective_options": [],
              "conditional": False, "recipe": recipe, "init_from": None, "trainable": "all"}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    assert SPEC.json == text and hashlib.sha256(text.encode()).hexdigest()[:12] == SPEC.key
    assert ModelSpec.parse(text) == SPEC


def test_a_later_field_enters_the_key_only_where_it_differs_from_its_default():
    same = [replace(SPEC, initial_seed=None), replace(SPEC, classes=()),
            replace(SPEC, recipe=replace(SPEC.recipe, beta1=0.9, label_dropout=0.0))]
    assert {spec.json for spec in same} == {SPEC.json}
    assert json.loads(replace(SPEC, initial_seed=0).json) == json.loads(SPEC.json) | {"initial_seed": 0}
    assert json.loads(replace(SPEC, classes=(3, 1)).json) == json.loads(SPEC.json) | {"classes": [3, 1]}
    for change in ({"beta1": 0.0}, {"label_dropout": 0.1}):
        changed = json.loads(replace(SPEC, recipe=replace(SPEC.recipe, **change)).json)
        assert changed["recipe"] == json.loads(SPEC.json)["recipe"] | change


@pytest.mark.parametrize("name", sorted(PROFILES))
def test_a_spec_comes_back_from_its_json(name):
    for spec in [*all_models(PROFILES[name]), replace(SPEC, initial_seed=0), replace(SPEC, init_from="0" * 12), TUNED,
                 replace(SPEC, network="multistage", options=(("bounds", (-0.5, 0.0, 0.5)), ("width", 8))),
                 replace(SPEC, options=(("attention", (False, True)), ("nested", ((1, 2), (3,)))))]:
        back = ModelSpec.parse(spec.json)
        assert back == spec and hash(back) == hash(spec) and back.file == spec.file


def test_every_shipped_model_is_named_by_the_spec_in_its_header():
    files = sorted(p for p in paths.ZOO.glob("*.safetensors") if not p.name.startswith("descriptor"))
    for path in files:
        with safe_open(path, "pt") as file:
            text = file.metadata()["spec"]
        assert ModelSpec.parse(text).json == text and ModelSpec.parse(text).file == path.name
    assert len(files) >= 24


@pytest.mark.parametrize("chapter", [1, 2])
def test_the_first_chapters_models_keep_their_files(chapter):
    files = {spec.file for spec in chapter_models(PROFILES["laptop"], chapter)}
    assert files and files <= {path.name for path in paths.ZOO.iterdir()}


def test_a_file_s_name_says_what_is_in_it():
    """Network and width, objective unless EDM, condition, classes, subset, seeds, part, key: old names stay."""
    assert SPEC.file == "unet8-n16-s0-68d6e949fb25.safetensors"
    for spec, name in [
            (replace(SPEC, subset_start=32, recipe=replace(SPEC.recipe, seed=3)), "unet8-n16from32-s3"),
            (replace(SPEC, objective="sub-vp"), "unet8-sub-vp-n16-s0"),
            (replace(SPEC, initial_seed=0, recipe=replace(SPEC.recipe, seed=2)), "unet8-n16-s2i0"),
            (replace(SPEC, network="uvit", options=(("dim", 16),)), "uvit-n16-s0"),
            (replace(SPEC, network="pair", options=(("width", 4),), objective="gan"), "pair4-gan-n16-s0"),
            (TUNED, "unet8-conditional-c57-n16-s0-lora"),
            (replace(TUNED, conditional=False, trainable="all"), "unet8-c57-n16-s0"),
            (replace(SPEC, objective="vp", trainable="last2"), "unet8-vp-n16-s0-last2"),
            (replace(TUNED, classes=(), objective="vp", trainable="all"), "unet8-vp-conditional-n16-s0"),
            (replace(TUNED, classes=(), network="classifier", objective="classes", trainable="all"),
             "classifier8-classes-n16-s0")]:
        assert spec.name == name and spec.file == f"{name}-{spec.key}.safetensors"


def test_the_initial_weights_depend_on_the_seed_and_leave_the_global_generator_alone():
    torch.manual_seed(3)
    expected = torch.rand(1)
    torch.manual_seed(3)
    a, b = build(SPEC), build(replace(SPEC, recipe=replace(SPEC.recipe, seed=1)))
    assert torch.equal(torch.rand(1), expected)
    assert not torch.equal(a.stem.weight, b.stem.weight) and torch.equal(a.stem.weight, build(SPEC).stem.weight)


def test_the_initial_seed_overrides_the_recipe_s():
    def stem(seed, initial_seed):
        return build(replace(SPEC, recipe=replace(SPEC.recipe, seed=seed), initial_seed=initial_seed)).stem.weight

    assert torch.equal(stem(2, 0), stem(0, None)) and torch.equal(stem(0, 2), stem(2, None))
    assert torch.equal(stem(1, 0), stem(2, 0)) and not torch.equal(stem(2, 0), stem(2, None))


def test_every_name_builds_what_it_says():
    sizes = {"unet": {"width": 8}, "cnn": {"width": 8, "blocks": 1}, "uvit": {"dim": 16, "depth": 1, "heads": 2},
             "mlp": {"width": 16}, "multistage": {"width": 8, "bounds": (0.0,)}, "pair": {"width": 4, "latent": 8},
             "classifier": {"width": 8}}
    assert set(sizes) == set(NETWORKS)
    for name, options in sizes.items():
        network = build(replace(SPEC, network=name, options=tuple(sorted(options.items()))))
        assert type(network) is NETWORKS[name] and isinstance(network.outer, set)
        x = torch.randn(2, 1, 28, 28)
        y = network.generator(x.flatten(1)[:, :8]) if isinstance(network, GeneratorPair) else network(x, torch.zeros(2))
        assert y.shape == ((2, 10) if isinstance(network, Classifier) else x.shape)


@pytest.mark.parametrize("options", [SPEC.options, (("classes", 0), *SPEC.options)])
def test_a_conditional_network_without_a_number_of_classes_is_a_clear_error(options):
    with pytest.raises(ValueError) as error:
        build(replace(SPEC, options=options, conditional=True))
    assert str(error.value) == ("unet8-conditional-n16-s0 is conditional, but its options do not say how many classes "
                                "its network knows")
    assert build(TUNED).classes == 10


def test_objectives_by_name():
    assert make_objective("edm", p_mean=-0.4) == EDMObjective(p_mean=-0.4)
    for name in ("vp", "sub-vp", "ve", "flow", "ddpm"):
        objective = make_objective(name)
        assert objective.kernel == name and objective.predict == ("velocity" if name == "flow" else "eps")
        assert objective.discrete == (name == "ddpm") and objective.geometric == (name == "ve")
    assert kernel("ve").sigma(make_objective("ve").t_min).item() == pytest.approx(0.01)        # Song et al. 2021, App. C
    assert [name for name in OBJECTIVES if getattr(make_objective(name), "strict", False)] == [
        "consistency", "distillation", "gan", "vae"]


def test_unknown_names_list_the_known():
    with pytest.raises(ValueError, match="unknown network 'unett': choose from unet, cnn, .*, pair, classifier"):
        replace(SPEC, network="unett")
    with pytest.raises(ValueError, match="unknown objective 'emd': choose from edm, vp, .*, gan, vae, classes"):
        make_objective("emd")
    with pytest.raises(ValueError, match="unknown objective 'emd': choose from edm"):
        replace(SPEC, objective="emd")
    with pytest.raises(ValueError, match="network 'unet' has no option depth, wide; it has .*width"):
        build(replace(SPEC, options={"wide": 3, "depth": 1}))
    with pytest.raises(ValueError, match="objective 'vp' has no option p_mean; it has .*predict"):
        make_objective("vp", p_mean=0.0)


@pytest.mark.parametrize("change, message", [
    ({"subset_size": 0}, "subset_size: a whole number of 1 or more is needed, got 0"),
    ({"subset_size": 16.0}, "subset_size: a whole number of 1 or more is needed, got 16.0"),
    ({"subset_size": True}, "subset_size: a whole number of 1 or more is needed, got True"),
    ({"subset_start": -1}, "subset_start: a whole number of 0 or more is needed, got -1"),
    ({"initial_seed": 1.5}, "initial_seed: a whole number of .* got 1.5"),
    ({"classes": (3, -1)}, "classes: a whole number of 0 or more is needed, got -1"),
    ({"classes": (3, 3)}, "each of the classes is named once"),
    ({"init_from": "*"}, "init_from is the key of a model, 12 hexadecimal digits: got '\\*'"),
    ({"init_from": SPEC.file}, "init_from is the key of a model"),
    ({"options": (("width", 8), ("width", 9))}, "options are pairs of a name and a value, each name once"),
    ({"objective_options": ("p_mean", 1.0)}, "objective_options are pairs of a name and a value"),
    ({"objective_options": {"p_mean": float("nan")}}, "a spec holds texts, finite numbers"),
    ({"options": {"width": torch.tensor(8)}}, "a spec holds texts, finite numbers")])
def test_values_that_make_no_sense_are_one_clear_line(change, message):
    with pytest.raises(ValueError, match=f"^{message}") as error:
        replace(SPEC, **change)
    assert "\n" not in str(error.value)


def test_one_model_has_one_key_however_its_options_are_written():
    for options in ({"width": 8, "multipliers": [1, 2]}, (("width", 8), ("multipliers", (1, 2))), [["multipliers", (1, 2)],
                                                                                            ["width", 8]]):
        other = replace(SPEC, options=options, classes=[])
        assert other == SPEC and hash(other) == hash(SPEC) and other.key == SPEC.key


def test_a_part_without_a_parent_is_an_error():
    with pytest.raises(ValueError, match="init_from names no parent"):
        build(dataclasses.replace(SPEC, trainable="attention"))
