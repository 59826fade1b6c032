"""The trials of the protocol page: each changes what it says and no more, and ends in a row."""

from dataclasses import replace

import pytest

from helpers.chapters.profiles import LAPTOP, SMOKE
from tests import trials


@pytest.mark.parametrize("name", trials.TRIALS)
def test_a_trial_is_two_seeds_that_differ_in_nothing_else(name):
    one, other = trials.specs(name, LAPTOP)
    assert one != other and replace(one, recipe=replace(one.recipe, seed=other.recipe.seed)) == other
    base = replace(LAPTOP.model(16, 2**15), recipe=replace(LAPTOP.recipe, seed=one.recipe.seed))
    assert (one == base) == (name == "nothing") and one.subset_size == 2**15


def test_a_row_tells_how_far_the_two_agree(tmp_path):
    (line,) = trials.rows(["average"], SMOKE, tmp_path)
    name, *numbers = line.split(" | ")
    assert name == "average" and len(numbers) == 8 and len(list(tmp_path.glob("*.safetensors"))) == 2
    assert all(0 <= float(share) <= 1 for share in numbers[:4]) and all(float(error) > 0 for error in numbers[4:])


def test_an_unknown_trial_is_told_the_known_ones(capsys):
    with pytest.raises(SystemExit) as end:
        trials.main(["nope"])
    assert end.value.code == 2 and "no trial nope: choose from nothing, average" in capsys.readouterr().err
