"""The rules of the verdicts, on both sides of each of their limits."""

import pytest

from helpers.measure.identification import IDENTIFIED, LEVELS, Agreement
from helpers.measure.scores import Score
from helpers.report.verdicts import MARGIN, agreement, chance, contrast, decided


def score(low, high):
    return Score((low + high) / 2, low, high, 100)


def found(own=(.6, .8), null=(.0, .1), above=(.2, .3), **exceptions):
    """An agreement with one interval for every criterion, but for those that are named."""
    criteria = (IDENTIFIED, *LEVELS)
    excess = {c: score(*exceptions.get(f"at_{c}".replace(".", "_"), above)) for c in criteria}
    rates = {c: score(*own) for c in (*criteria, .88)}
    return Agreement(rates, {c: score(*null) for c in rates}, {c: score(.4, .5) for c in rates}, excess, IDENTIFIED, .88)


@pytest.mark.parametrize("case, verdict, note", [
    ({}, "reproduced", ""),
    ({"at_0_9": (-.01, .3)}, "partly", "not above the Gaussian map at t = 0.9"),
    ({"at_identified": (.0, .3)}, "partly", "not above the Gaussian map at identification"),
    ({"at_identified": (-.3, -.1)}, "refuted", "not above the Gaussian map at identification"),
    ({"own": (.05, .8)}, "not at this scale", "not clear of chance"),
    ({"own": (.05, .8), "at_0_6": (-.1, .1)}, "not at this scale",
     "not above the Gaussian map at t = 0.6; not clear of chance"),
])
def test_agreement_holds_by_every_criterion(case, verdict, note):
    case = found(**case)
    finding = agreement(case)
    assert (finding.score, finding.null, finding.verdict, finding.note) == (case.rate, case.null.value, verdict, note)
    assert finding.linear == pytest.approx(.45) and finding.level == f"RP {case.copy.value:.2f} at t = 0.88"
    assert agreement(case, "why").note == "; ".join(filter(None, ["why", note]))


@pytest.mark.parametrize("low, high, verdict", [
    (.01, .2, "reproduced"), (-.1, .2, "partly"), (-.2, .1, "not at this scale"), (-.2, -.01, "refuted")])
def test_contrast(low, high, verdict):
    assert contrast(score(low, high), "why")[:4] == (score(low, high), 0.0, verdict, "why")


@pytest.mark.parametrize("low, high, verdict", [
    (.01, .02 + MARGIN, "reproduced"), (.01, .1, "partly"), (.0, .2, "not at this scale"), (.08, .2, "refuted")])
def test_chance_is_a_margin_and_few_samples_do_not_pass_it(low, high, verdict):
    assert chance(score(low, high), score(0, .04)).verdict == verdict
    assert chance(score(0, .5), score(0, .6)).verdict != "reproduced"           # the old rule's loophole


@pytest.mark.parametrize("full, part, verdict",
                         [(True, True, "reproduced"), (False, True, "partly"), (False, False, "not at this scale")])
def test_a_rule_of_a_chapter_s_own(full, part, verdict):
    assert decided(score(.1, .2), full, part, null=None, note="n")[:4] == (score(.1, .2), None, verdict, "n")
    assert decided(score(.1, .2), full, part).linear is None and decided(score(.1, .2), full, part, linear=.3).linear == .3
