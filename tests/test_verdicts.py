"""The rules of the verdicts, on both sides of each of their limits."""

import pytest

from helpers.measure.scores import Score
from helpers.report.claims import Report
from helpers.report.verdicts import Judge


@pytest.fixture
def judge():
    return Judge(Report(1, profile="test"))


def score(low, high):
    return Score((low + high) / 2, low, high, 100)


@pytest.mark.parametrize("own, null, linear, verdict, note", [
    (score(.6, .8), score(.0, .1), score(.0, .1), "reproduced", ""),
    (score(.4, .6), score(.0, .1), score(.0, .1), "partly", "the interval is not above one half"),
    (score(.6, .8), score(.0, .1), score(.5, .7), "partly", "RP of the Gaussian maps: 0.60"),
    (score(.05, .8), score(.0, .1), score(.0, .01), "not at this scale",
     "not clear of the null; the interval is not above one half"),
])
def test_agreement(judge, own, null, linear, verdict, note):
    judge.agreement("a", "statement", "source", own, null, linear)
    claim = judge.report.claims["a"]
    assert (claim.verdict, claim.note, claim.null, claim.measured) == (verdict, note, null.value, own.value)


@pytest.mark.parametrize("low, high, verdict",
                         [(.01, .2, "reproduced"), (-.1, .2, "partly"), (-.2, .1, "not at this scale")])
def test_contrast(judge, low, high, verdict):
    judge.contrast("a", "statement", "source", score(low, high))
    assert judge.report.claims["a"].verdict == verdict


@pytest.mark.parametrize("low, high, verdict", [(.01, .04, "reproduced"), (.1, .2, "partly"), (.3, .6, "not at this scale")])
def test_chance(judge, low, high, verdict):
    judge.chance("a", "statement", "source", score(low, high), score(0, .02))
    assert judge.report.claims["a"].verdict == verdict
