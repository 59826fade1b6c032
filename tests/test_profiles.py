"""Profiles hold all sizes, so that a reader's own is one replacement or a short file; and the chapter's desk."""

from dataclasses import replace

import pytest
import torch

from helpers.chapters.chapter import Chapter
from helpers.chapters.models import all_models, chapter_models
from helpers.chapters.profiles import LAPTOP, PROFILES, SMOKE, find_profile
from helpers.measure.scores import Score
from helpers.report.verdicts import contrast


@pytest.mark.parametrize("base", PROFILES.values(), ids=PROFILES)
def test_a_profile_by_another_name_has_the_same_models(base):
    mine = replace(base, name="mine")
    for chapter in (1, 2, 3, 4, 5, 6, 7, 8, *([9] if base.dataset == "fashion-mnist" else [])):
        assert chapter_models(mine, chapter) == chapter_models(base, chapter)
    assert all_models(mine) == all_models(base)


def test_a_file_says_what_differs(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('base = "smoke"\nsamples = 12\nwidths = [4, 12]\nthreshold = 1\n[recipe]\nsteps = 3\n'
                    '[systems.gan]\nbatch = 6\n')
    mine = find_profile(str(path))
    assert mine.name == "mine" and mine.samples == 12 and mine.widths == (4, 12) and mine.threshold == 1.0
    assert mine.recipe == replace(SMOKE.recipe, steps=3) and mine.systems.gan.batch == 6
    assert replace(mine, name="smoke", samples=48, widths=(4, 8), threshold=SMOKE.threshold, recipe=SMOKE.recipe,
                   systems=SMOKE.systems, zoo=SMOKE.zoo) == SMOKE
    assert mine.zoo != SMOKE.zoo and mine.zoo.name == "zoo-mine"


@pytest.mark.parametrize("text, words", [
    ("samples = ", "no TOML file"),
    ('base = "huge"', "base is one of laptop, smoke, paper, not 'huge'"),
    ("sample = 3", "mine.toml: no field sample; there are align_steps, classifier"),
    ('samples = "many"', "samples: a whole number is needed, got 'many'"),
    ("[recipe]\nrounds = 3", "recipe: no field rounds"),
    ("recipe = 3", "recipe: a table is needed"),
])
def test_a_wrong_file_is_one_clear_line(tmp_path, text, words):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=words) as error:
        find_profile(str(path))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["huge", "nowhere.toml"])
def test_an_unknown_profile_lists_the_known_ones(name):
    with pytest.raises(ValueError, match="choose from laptop, smoke, paper, or give a file"):
        find_profile(name)


def test_spread_sizes_lie_at_least_four_times_apart_between_the_ends():
    assert LAPTOP.spread == (2**6, 2**8, 2**10, 2**12, 2**14) and SMOKE.spread == (16,)
    assert replace(LAPTOP, sizes=(10, 100, 150, 399, 400, 5000, 9000)).spread == (100, 400, 5000)
    assert replace(LAPTOP, sizes=(10, 100)).spread == ()


def test_a_chapter_has_its_desk_ready():
    chapter = Chapter(2, "smoke", seed=3)
    z = chapter.noises(5, start=2)
    assert z.shape == (5, 1, 28, 28) and torch.equal(z[1:], chapter.noises(4, start=3))
    assert len(chapter.noises()) == SMOKE.samples and len(chapter.pool) == SMOKE.sizes[-1]
    comparison = chapter.compare(z)
    comparison.add_linear(chapter.gaussian)
    assert comparison.threshold == LAPTOP.threshold and comparison.sampling == {"solver": "dpmpp3m", "steps": 4}
    errors = chapter.held_out_error({"a": chapter.gaussian}, [0.5, 1.0], chapter.test.x0[:8])
    assert errors["a"].shape == (2,) and 0 < errors["a"][0] < errors["a"][1]
    chapter.measure({"rp": comparison.rp("linear", "linear")})
    chapter.claims({"gap": ("a statement", "a source", contrast(Score(0.2, 0.1, 0.3, 5)))})
    found = chapter.report.as_dict()
    assert found["parameters"] == {"profile": "smoke", "seed": 3} and found["measurements"] == {"rp": 1.0}
    assert found["claims"][0]["verdict"] == "reproduced" and found["claims"][0]["paper"] == "a source"
