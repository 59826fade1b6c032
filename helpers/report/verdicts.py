"""Verdicts: the rules by which a number becomes "reproduced", "partly" or "not at this scale".

The rules look at 95 % intervals alone, are the same in every chapter, and were written before the numbers:

    agreement   clear of the null and of the linear baseline, and above one half; partly: clear of the null
    contrast    a difference whose interval lies above zero; partly: only its value does
    chance      an interval that reaches the null's; partly: it does not, and lies below one half

Each gives a `Finding`, which a chapter's table of claims sets beside the paper's words. A note says what is missing where a
verdict falls short. Used in every chapter.
"""

from typing import NamedTuple

from helpers.measure.scores import Score

HALF = 0.5


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


def verdict(full: bool, part: bool) -> str:
    """The verdict of a claim that holds fully, in part, or not."""
    return "reproduced" if full else "partly" if part else "not at this scale"


def agreement(score: Score, null: Score, linear: Score, note: str = "") -> Finding:
    """Two models draw the same: RP against chance and against what mean and covariance alone give."""
    clear, beyond, half = score.low > null.high, score.low > linear.high, score.low > HALF
    reasons = [note] if note else []
    reasons += [] if clear else ["not clear of the null"]
    reasons += [] if beyond else [f"RP of the Gaussian maps: {linear.value:.2f}"]
    reasons += [] if half else ["the interval is not above one half"]
    return Finding(score, null.value, verdict(clear and beyond and half, clear), "; ".join(reasons))


def contrast(difference: Score, note: str = "") -> Finding:
    """One number is greater than another: their difference."""
    return Finding(difference, 0.0, verdict(difference.low > 0, difference.value > 0), note)


def chance(score: Score, null: Score, note: str = "") -> Finding:
    """Two models agree no more than by chance."""
    return Finding(score, null.value, verdict(score.low <= null.high, score.high < HALF), note)


def decided(score: Score, full: bool, part: bool, null: float | None = 0.0, note: str = "") -> Finding:
    """A claim with a rule of its own, which the chapter states: whether it holds fully, or in part."""
    return Finding(score, null, verdict(full, part), note)
