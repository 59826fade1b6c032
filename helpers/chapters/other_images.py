"""Chapter 10's models: the small U-Net of chapter 2 on the second data set, a few, some and all of its images, two seeds,
and beside them chapter 2's own of as many clothes."""

from dataclasses import replace

from helpers.chapters.profile import Profile
from helpers.data.attributes import DATASET as CAPTIONED
from helpers.data.glyphs import HELD_OUT
from helpers.data.sources import POOL_SIZES
from helpers.measure.scores import GLYPH_THRESHOLD
from helpers.zoo import ModelSpec

DATASET = "glyphs"


def on_glyphs(profile: Profile) -> Profile:
    """The profile with the second data set: three numbers of images, the second spread one's fourfold in the middle.

    On the laptop 64, 512 and 16,384: where chapter 2's two widths copy, where they agree least, and all there are.
    """
    if profile.dataset == DATASET:
        return profile
    if profile.dataset != CAPTIONED:
        raise ValueError(f"chapter 10 sets {DATASET} beside clothes, not beside {profile.dataset}: give it profile laptop "
                         "or smoke")
    fits = [n for n in profile.sizes if n <= POOL_SIZES[DATASET]]
    sizes = tuple(dict.fromkeys((fits[min(1, len(fits) - 1)], fits[len(fits) // 2], fits[-1])))
    return replace(on_clothes(profile), dataset=DATASET, sizes=sizes, threshold=GLYPH_THRESHOLD)


def on_clothes(profile: Profile) -> Profile:
    """The profile with as many held-out images as there are characters, among which pictures are identified."""
    return replace(profile, held_out=min(profile.held_out, HELD_OUT))


def glyph_models(profile: Profile) -> dict[tuple[int, int], ModelSpec]:
    """Chapter 10's networks of characters by (N, training seed)."""
    return _by_size(on_glyphs(profile))


def clothes_models(profile: Profile) -> dict[tuple[int, int], ModelSpec]:
    """Those of as many clothes, which are chapter 2's."""
    return _by_size(replace(on_glyphs(profile), dataset=CAPTIONED))


def _by_size(profile: Profile) -> dict[tuple[int, int], ModelSpec]:
    return {(n, seed): profile.model(profile.widths[0], n, seed) for n in profile.sizes for seed in profile.seeds}
