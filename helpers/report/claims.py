"""Claims: what the paper says beside what we measured, with a verdict, kept in data/results/NN.json.

A chapter has one `Report`, which keeps a measurement for every number that its prose quotes, and a claim for every
statement of the paper that it tests:

    report = Report(2, profile=profile, seed=seed)
    report.measure({"rp": {"few": score, "many": [score, score]}, "noises": 512})       # rp_few, rp_many, noises
    report.claim("rp-many", "Two widths agree at N = 2^15", "RP .845 (read off Fig. 2)", agreement(score, null, linear))
    report.table()
    report.close()

Closing means one of three things. Under the driver (`python -m helpers.run`), which names a file in the environment
variable CHAPTER_RESULTS, the report is written there. Anywhere else (nbval, Jupyter) its numbers are compared with the
stored ones, within a tolerance, because the last digits of float32 differ between processors. With parameters other
than the stored ones there is nothing to compare with, and it says so. Used in every chapter.
"""

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from helpers.measure.scores import Score
from helpers.paths import RESULTS
from helpers.report.record import ABSOLUTE, canonical, compare, count_numbers, plain, read, rounded, usage
from helpers.report.tables import Table
from helpers.report.verdicts import Finding

VERDICTS = ("reproduced", "partly", "not at this scale", "refuted")
SOURCES = ("quoted", "second-hand", "ours")


def source_of(paper: str) -> str:
    """Who makes a claim, by how its `paper` column puts it.

    "ours" for "not in the paper ..."; "second-hand" for what is only known through others, which says so; else "quoted":
    the paper's own words or numbers, as printed in a figure or read off it.
    """
    return "ours" if paper.startswith("not in the paper") else "second-hand" if "second-hand" in paper else "quoted"


@dataclass(frozen=True)
class Claim:
    """One statement of the paper, its value there (and how far that is known), ours with interval, and the verdict.

    `null` is the value that chance alone gives, `linear` what mean and covariance give, `level` an agreement's RP at the
    threshold of copies; `n` the number of images, or pairs, behind `measured`; `source` says who makes the claim.
    """

    id: str
    statement: str
    paper: str
    measured: float | None
    low: float | None
    high: float | None
    null: float | None
    n: int | None
    verdict: str
    note: str = ""
    linear: float | None = None
    level: str = ""
    source: str = "quoted"

    def __post_init__(self):
        if self.source not in SOURCES:
            raise ValueError(f"claim {self.id!r}: source {self.source!r} is not one of {', '.join(SOURCES)}")
        if self.verdict not in VERDICTS:
            raise ValueError(f"claim {self.id!r}: verdict {self.verdict!r} is not one of {', '.join(VERDICTS)}")
        if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.id):
            raise ValueError(f"claim id {self.id!r}: use lower-case letters, digits and hyphens")
        if (self.low is None) != (self.high is None) or (self.measured is None and self.low is not None):
            raise ValueError(f"claim {self.id!r}: give both ends of the interval around a measured value, or neither")
        if self.low is not None and not self.low - 1e-9 <= self.measured <= self.high + 1e-9:
            raise ValueError(f"claim {self.id!r}: {self.measured} is outside its interval [{self.low}, {self.high}]")


class Report:
    """What one run of a chapter found. `parameters` are the chapter's own, as they were in this run."""

    def __init__(self, chapter: int, **parameters):
        self.chapter, self.parameters = chapter, parameters
        self.claims: dict[str, Claim] = {}
        self.measurements: dict[str, object] = {}
        self.intervals: dict[str, object] = {}
        self._tolerance: dict[str, float] = {}

    def claim(self, id: str, statement: str, paper: str, finding: Finding, tolerance: float = ABSOLUTE) -> None:
        """Add a claim: the paper's statement, its words or number and how far that is known, and what we found.

        tolerance   of the comparison with stored numbers, absolute
        """
        if id in self.claims:
            raise ValueError(f"claim {id!r} is already in the report")
        score, null = finding.score, plain(finding.null)
        values = [plain(v) for v in (score.value, score.low, score.high)]
        self.claims[id] = Claim(id, statement, paper, *values, null, plain(score.n), finding.verdict, finding.note,
                                plain(finding.linear), finding.level, source_of(paper))
        self._tolerance[f"claim {id}"] = tolerance

    def measure(self, name: str | Mapping, value=None, tolerance: float = ABSOLUTE) -> None:
        """Keep a number, a score, a text, or a list of them for the prose, where {measured}`NN:name` quotes it.

        A mapping is many at once, and one in another a name in two parts: {"rp": {"two seeds": score}} is rp_two_seeds.
        Of a `Score` the value is kept, and its interval beside it.
        """
        if isinstance(name, Mapping):
            for part, inner in name.items():
                self.measure(slug(part), inner, tolerance)
        elif isinstance(value, Mapping):
            for part, inner in value.items():
                self.measure(f"{name}_{slug(part)}", inner, tolerance)
        else:
            self._keep(name, value, tolerance)

    def _keep(self, name: str, value, tolerance: float) -> None:
        if name in self.measurements:
            raise ValueError(f"measurement {name!r} is already in the report")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(f"measurement name {name!r}: use letters, digits, '_' and '-'")
        scores = value if isinstance(value, list | tuple) and value else [value]
        if all(isinstance(score, Score) for score in scores):
            ends = [[plain(s.low), plain(s.high)] for s in scores]
            values = [plain(s.value) for s in scores]
            one = isinstance(value, Score)
            self.measurements[name], self.intervals[name] = (values[0], ends[0]) if one else (values, ends)
        else:
            self.measurements[name] = plain(value)
        self._tolerance[f"measurement {name}"] = self._tolerance[f"interval {name}"] = tolerance

    def table(self) -> Table:
        """The verdict table, to end a cell with."""
        return Table(self.as_dict()["claims"])

    def as_dict(self) -> dict:
        """Everything, rounded as it is stored."""
        return rounded({
            "chapter": self.chapter,
            "parameters": {k: plain(v) for k, v in self.parameters.items()},
            "claims": [asdict(c) for c in self.claims.values()],
            "measurements": self.measurements,
            "intervals": self.intervals,
        })

    def close(self, results: Path = RESULTS) -> None:
        """Write the report (under the driver) or compare it with the stored one (anywhere else)."""
        found = self.as_dict()
        target = os.environ.get("CHAPTER_RESULTS")
        stored = None if target else read(self.chapter, results)
        name = Path(target).name if target else f"{self.chapter:02d}.json"
        if target:
            Path(target).write_text(canonical(found | {"usage": usage()}), encoding="utf-8")
        elif stored is None or stored["parameters"] != found["parameters"]:
            print(f"no results are stored for these parameters, so nothing was compared: {found['parameters']}")
            return
        elif differences := compare(found, stored, lambda key: self._tolerance.get(key, ABSOLUTE)):
            raise AssertionError(f"differs from the stored {name}:\n  " + "\n  ".join(differences))
        # The same words whether written or compared: nbval compares this line with the driver's.
        print(f"{count_numbers(found)} numbers and {len(self.claims)} verdicts agree with {name}")


def slug(name: object) -> str:
    """A label as part of a measurement's name: "U-Net, other seed" -> "U-Net_other_seed", 0.5 -> "0_5"."""
    return "_".join(str(name).replace(",", "").replace(".", "_").split())
