"""Verdicts: the rules by which a number becomes "reproduced", "partly" or "not at this scale".

The rules look at 95 % intervals alone, are the same in every chapter, and were written before the numbers:

    agreement   clear of the null and of the linear baseline, and above one half; partly: clear of the null
    contrast    a difference whose interval lies above zero; partly: only its value does
    chance      an interval that reaches the null's; partly: it does not, and lies below one half

A note says what is missing where a verdict falls short. Used in every chapter.
"""

from helpers.measure.scores import Score
from helpers.report.claims import Report

HALF = 0.5


def judge(full: bool, part: bool) -> str:
    """The verdict of a claim that holds fully, in part, or not."""
    return "reproduced" if full else "partly" if part else "not at this scale"


class Judge:
    """Adds claims to a report by the rules above. statement, source (what the paper says), score and null as in `Claim`."""

    def __init__(self, report: Report):
        self.report = report

    def record(self, id: str, statement: str, source: str, score: Score, null: float, verdict: str,
               note: str = "") -> None:
        """A claim whose verdict was reached by another rule, which its note or the chapter states."""
        self.report.claim(id, statement, paper=source, measured=score.value, low=score.low, high=score.high, null=null,
                          n=score.n, verdict=verdict, note=note)

    def agreement(self, id: str, statement: str, source: str, score: Score, null: Score, linear: Score,
                  note: str = "") -> None:
        """Two models draw the same: RP against chance and against what mean and covariance alone give."""
        clear, beyond, half = score.low > null.high, score.low > linear.high, score.low > HALF
        reasons = [note] if note else []
        reasons += [] if clear else ["not clear of the null"]
        reasons += [] if beyond else [f"RP of the Gaussian maps: {linear.value:.2f}"]
        reasons += [] if half else ["the interval is not above one half"]
        self.record(id, statement, source, score, null.value, judge(clear and beyond and half, clear), "; ".join(reasons))

    def contrast(self, id: str, statement: str, source: str, score: Score, note: str = "") -> None:
        """One number is greater than another: `score` is their difference."""
        self.record(id, statement, source, score, 0.0, judge(score.low > 0, score.value > 0), note)

    def chance(self, id: str, statement: str, source: str, score: Score, null: Score, note: str = "") -> None:
        """Two models agree no more than by chance."""
        self.record(id, statement, source, score, null.value, judge(score.low <= null.high, score.high < HALF), note)
