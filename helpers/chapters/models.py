"""Which models each chapter of a profile uses, so that the zoo can train them before any chapter runs."""

from helpers.chapters.captioned import captioned_models, few_captioned
from helpers.chapters.conditional import classifier, conditional_models, few_unconditional, unconditional_models
from helpers.chapters.finetuning import finetuning_models
from helpers.chapters.later_work import agreement_models, oracle_models, stages, targets
from helpers.chapters.other_images import clothes_models, glyph_models
from helpers.chapters.profile import Profile
from helpers.chapters.systems import systems
from helpers.chapters.two_clocks import clock_models
from helpers.chapters.two_regimes import half_trained, students, two_regimes
from helpers.data.attributes import DATASET as CAPTIONED
from helpers.zoo import ModelSpec


def inverse_models(profile: Profile) -> dict[str, ModelSpec]:
    """Chapter 4's models, which are some of chapter 1's: U-Nets (two seeds, two widths), U-ViTs and plain CNNs."""
    names = ("unet", "unet-seed", "unet-wide", "uvit", "uvit-seed", "cnn", "cnn-seed")
    found = systems(profile)
    return {name: found[name].spec for name in names}


def chapter_models(profile: Profile, chapter: int) -> list[ModelSpec]:
    """The models that one chapter of the profile uses, parents before what starts from them."""
    if chapter == 1:
        return [system.spec for system in systems(profile).values()]
    if chapter == 3:
        return [*unconditional_models(profile).values(), *few_unconditional(profile).values(),
                *conditional_models(profile).values()]
    if chapter == 4:
        return list(inverse_models(profile).values())
    if chapter == 5:
        return [*finetuning_models(profile).values(), classifier(profile)]
    if chapter == 6:
        return list(clock_models(profile).values())
    if chapter == 7:
        return list(agreement_models(profile).values())
    if chapter == 8:
        return [*oracle_models(profile).values(), *targets(profile).values(), *stages(profile).values()]
    if chapter == 9:
        return [*few_captioned(profile).values(), *captioned_models(profile).values(), classifier(profile)]
    if chapter == 10:
        return [*glyph_models(profile).values(), *clothes_models(profile).values()]
    return [*two_regimes(profile).values(), *half_trained(profile).values(), *students(profile).values(),
            classifier(profile)]


def all_models(profile: Profile) -> list[ModelSpec]:
    """Every model that some chapter of the profile uses, once; chapters 9 and 10 are for the dataset that has captions: one
    needs them, the other sets another one beside it."""
    chapters = (2, 1, 3, 4, 5, 6, 7, 8, *([9, 10] if profile.dataset == CAPTIONED else []))
    return list(dict.fromkeys(spec for chapter in chapters for spec in chapter_models(profile, chapter)))
