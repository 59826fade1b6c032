"""Chapter 9's models: networks that are told what a picture shows in words, and controls whose words say nothing of it.

    many images   "unet", "unet-seed", "uvit": all but those that WITHHELD describes, each with its own caption; "shuffled":
                  the same images, each with another one's caption
    few images    those of chapter 2, told nothing, the class, their captions, shuffled ones, or captions that no other has

The first four share no seed with each other, so that no pair saw the images in the same order.
"""

from dataclasses import replace

from helpers.chapters.conditional import DROPOUT, conditional
from helpers.chapters.profile import Profile
from helpers.chapters.systems import systems
from helpers.data.captions import KINDS_OF_CAPTION, TEMPLATES, UNIQUE
from helpers.zoo import ModelSpec

CAPTIONS = 90 * len(TEMPLATES)


def captioned(spec: ModelSpec, captions: str, withheld: bool = False) -> ModelSpec:
    """The same model, told a caption of every image but for one in ten."""
    table, count = ("unique", UNIQUE) if captions == "unique" else ("attributes", CAPTIONS)
    return replace(spec, conditional=True, captions=captions, withheld=withheld,
                   options=tuple(sorted((*spec.options, ("classes", count), ("words", table)))),
                   recipe=replace(spec.recipe, label_dropout=DROPOUT))


def with_seed(spec: ModelSpec, seed: int) -> ModelSpec:
    """The same model from another seed."""
    return replace(spec, recipe=replace(spec.recipe, seed=seed))


def few_size(profile: Profile) -> int:
    """How many images the controls of copying learn from."""
    return min(profile.few[0], UNIQUE)


def captioned_models(profile: Profile) -> dict[str, ModelSpec]:
    """Models of many images, seven eighths of the pool. ValueError for a dataset that has no captions."""
    if profile.dataset != "fashion-mnist":
        raise ValueError(f"captions describe fashion-mnist, not {profile.dataset}: chapter 9 needs profile laptop or smoke")
    size, (seed, other) = profile.sizes[-1] * 7 // 8, profile.seeds
    unet = profile.model(profile.widths[0], size, seed)
    uvit = replace(systems(profile)["uvit"].spec, subset_size=size)
    return {"unet": captioned(unet, "attributes", True), "unet-seed": captioned(with_seed(unet, other), "attributes", True),
            "uvit": captioned(with_seed(uvit, other + 1), "attributes", True),
            "shuffled": captioned(with_seed(unet, other + 2), "shuffled", True)}


def few_captioned(profile: Profile) -> dict[str, ModelSpec]:
    """Models of few images by what they are told: nothing or the class (chapter 2's and 3's), or captions of three kinds."""
    bare = profile.model(profile.widths[0], few_size(profile), profile.seeds[0])
    return {"nothing": bare, "class": conditional(bare), **{kind: captioned(bare, kind) for kind in KINDS_OF_CAPTION}}
