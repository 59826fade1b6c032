"""Verdicts: the rules by which a number becomes "reproduced", "partly", "not at this scale" or "refuted".

The rules look at 95 % intervals alone, are the same in every chapter, and were written before the numbers of this edition:

    agreement   above the linear baseline by every criterion: in the identification rate, and in RP(t) at every t from
                0.6 to 0.9; partly: identified more often than by chance; refuted: less often than the linear baseline
    contrast    a difference whose interval lies above zero; partly: only its value does; refuted: its interval lies below
    chance      within MARGIN of the null's value, with the whole interval; partly: with the value; refuted: the whole
                interval lies beyond

An agreement's *level*, RP at the threshold of copies, is a column beside the verdict and no part of it. A margin for chance
is stated because "the interval reaches the null's" would reward few samples: the fewer, the wider. Each rule gives a
`Finding`, which a chapter's table of claims sets beside the paper's words. Used in every chapter.
"""

from typing import NamedTuple

from helpers.measure.identification import IDENTIFIED, Agreement
from helpers.measure.scores import Score

MARGIN = 0.05                           # agreement of one noise in twenty beyond chance is still called none


class Finding(NamedTuple):
    """What was found of a claim: the score, the value that chance gives, the verdict, and what the reader must know.

    linear   the value that mean and covariance alone give, where the claim is an agreement
    level    an agreement's RP at the threshold of copies, as text
    """

    score: Score
    null: float | None
    verdict: str
    note: str = ""
    linear: float | None = None
    level: str = ""


def verdict(full: bool, part: bool, refuted: bool = False) -> str:
    """The verdict of a claim that holds fully, in part, not, or whose opposite holds."""
    return "reproduced" if full else "refuted" if refuted else "partly" if part else "not at this scale"


def agreement(found: Agreement, note: str = "") -> Finding:
    """Two models draw the same: above what mean and covariance alone give, by every criterion."""
    beyond, clear = found.above[next(iter(found.above))], found.rate.low > found.null.high
    short = ", ".join("identification" if c == IDENTIFIED else f"t = {c:g}" for c in found.short)
    reasons = [note] if note else []
    reasons += [f"not above the Gaussian map at {short}"] if short else []
    reasons += [] if clear else ["not clear of chance"]
    level = f"RP {found.copy.value:.2f} at t = {found.threshold:g}"
    return Finding(found.rate, found.null.value, verdict(clear and not short, clear, beyond.high < 0), "; ".join(reasons),
                   found.baseline.value, level)


def contrast(difference: Score, note: str = "") -> Finding:
    """One number is greater than another: their difference."""
    return Finding(difference, 0.0, verdict(difference.low > 0, difference.value > 0, difference.high < 0), note)


def chance(score: Score, null: Score, note: str = "") -> Finding:
    """Two models agree no more than by chance, within MARGIN."""
    limit = null.value + MARGIN
    return Finding(score, null.value, verdict(score.high <= limit, score.value <= limit, score.low > limit), note)


def decided(score: Score, full: bool, part: bool, null: float | None = 0.0, note: str = "",
            linear: float | None = None) -> Finding:
    """A claim with a rule of its own, which the chapter states: whether it holds fully, or in part."""
    return Finding(score, null, verdict(full, part), note, linear)
