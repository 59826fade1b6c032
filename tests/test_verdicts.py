"""The rules of the verdicts, on both sides of each of their limits."""

import pytest

from helpers.measure.scores import Score
from helpers.report.verdicts import agreement, chance, contrast, decided


def score(low, high):
    return Score((low + high) / 2, low, high, 100)


@pytest.mark.parametrize("own, null, linear, verdict, note", [
    (score(.6, .8), score(.0, .1), score(.0, .1), "reproduced", ""),
    (score(.4, .6), score(.0, .1), score(.0, .1), "partly", "the interval is not above one half"),
    (score(.6, .8), score(.0, .1), score(.5, .7), "partly", "RP of the Gaussian maps: 0.60"),
    (score(.05, .8), score(.0, .1), score(.0, .01), "not at this scale",
     "not clear of the null; the interval is not above one half"),
])
def test_agreement(own, null, linear, verdict, note):
    assert agreement(own, null, linear)[:4] == (own, null.value, verdict, note)


@pytest.mark.parametrize("low, high, verdict",
                         [(.01, .2, "reproduced"), (-.1, .2, "partly"), (-.2, .1, "not at this scale")])
def test_contrast(low, high, verdict):
    assert contrast(score(low, high), "why")[:4] == (score(low, high), 0.0, verdict, "why")


@pytest.mark.parametrize("low, high, verdict", [(.01, .04, "reproduced"), (.1, .2, "partly"), (.3, .6, "not at this scale")])
def test_chance(low, high, verdict):
    assert chance(score(low, high), score(0, .02)).verdict == verdict


@pytest.mark.parametrize("full, part, verdict",
                         [(True, True, "reproduced"), (False, True, "partly"), (False, False, "not at this scale")])
def test_a_rule_of_a_chapter_s_own(full, part, verdict):
    assert decided(score(.1, .2), full, part, null=None, note="n")[:4] == (score(.1, .2), None, verdict, "n")
