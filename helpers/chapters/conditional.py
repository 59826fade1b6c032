"""Chapter 3's models: chapter 1's, told the class of every image but for one in ten, and the classifier.

A network that learns with its label hidden now and then (`Recipe.label_dropout`) is two denoisers in one: D(x, sigma, c)
and, without a label, D(x, sigma). `guidance.ClassifierFreeGuidance` goes from one through the other.
"""

from dataclasses import replace

from helpers.chapters.profile import Profile
from helpers.chapters.systems import systems
from helpers.zoo import ModelSpec

CLASSES = 10
DROPOUT = 0.1


def conditional(spec: ModelSpec) -> ModelSpec:
    """The same model, told the class of every image but for one in ten."""
    return replace(spec, conditional=True, options=tuple(sorted((*spec.options, ("classes", CLASSES)))),
                   recipe=replace(spec.recipe, label_dropout=DROPOUT))


def unconditional_models(profile: Profile) -> dict[str, ModelSpec]:
    """Models of the whole pool that know no classes, some of chapter 1's: two widths, two seeds, U-ViT, DDPM."""
    found = systems(profile)
    return {name: found[name].spec for name in ("unet", "unet-seed", "unet-wide", "uvit", "ddpm")}


def conditional_models(profile: Profile) -> dict[str, ModelSpec]:
    """Chapter 3's models: those of `unconditional_models`, conditional; two seeds on fewer images; the classifier."""
    found = {name: conditional(spec) for name, spec in unconditional_models(profile).items()}
    few = {name: conditional(spec) for name, spec in few_unconditional(profile).items()}
    return found | few | {"classifier": classifier(profile)}


def few_unconditional(profile: Profile) -> dict[str, ModelSpec]:
    """Two seeds of the small U-Net on fewer images: "256", "256-seed", ..."""
    return {f"{n}{suffix}": profile.model(profile.widths[0], n, seed) for n in profile.few
            for seed, suffix in zip(profile.seeds, ("", "-seed"))}


def classifier(profile: Profile) -> ModelSpec:
    """The classifier, trained on the whole pool."""
    options = {"image_channels": dict(profile.options).get("image_channels", 1), "width": 2 * profile.widths[0]}
    return ModelSpec(dataset=profile.dataset, subset_size=profile.sizes[-1], network="classifier", conditional=True,
                     options=tuple(sorted({**options, "classes": CLASSES}.items())), objective="classes",
                     recipe=profile.classifier)
