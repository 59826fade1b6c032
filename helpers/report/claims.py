"""Claims: what the paper says beside what we measured, with a verdict, kept in data/results/NN.json.

A chapter opens one `Report`, adds a `Claim` for every statement of the paper that it tests and a measurement for every
number that its prose quotes, and closes it:

    report = Report(2, profile=profile, seed=seed)
    report.claim("rp-large-n", "Two widths agree at N = 2^15", paper="RP .845 (read off Fig. 2, +-0.003)",
                 measured=0.74, low=0.71, high=0.77, null=0.0, n=1024, verdict="reproduced")
    report.measure("rp_32768", 0.74)
    report.table()
    report.close()

Closing means one of three things. Under the driver (`python -m helpers.run`), which names a file in the environment
variable CHAPTER_RESULTS, the report is written there. Anywhere else (nbval, Jupyter) its numbers are compared with the
stored ones, within a tolerance, because the last digits of float32 differ between processors. With parameters other
than the stored ones there is nothing to compare with, and it says so.

`python -m helpers.report readme` rewrites the README's verdict table. Used in every chapter, and by the home page.
"""

import json
import math
import os
import platform
import re
import resource
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from helpers.paths import NOTEBOOKS, RESULTS, ROOT
from helpers.report.tables import Table, markdown_table

VERDICTS = ("reproduced", "partly", "not at this scale")
ABSOLUTE, RELATIVE = 0.02, 0.02
DIGITS = 4
MARKERS = ("<!-- verdicts -->", "<!-- /verdicts -->")


@dataclass(frozen=True)
class Claim:
    """One statement of the paper, its value there (and how far that is known), ours with interval, and the verdict.

    `null` is the value that chance alone gives; `n` the number of images, or pairs, behind `measured`.
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

    def __post_init__(self):
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
        self._tolerance: dict[str, float] = {}

    def claim(self, id: str, statement: str, paper: str, measured: float, low: float | None = None,
              high: float | None = None, null: float | None = None, n: int | None = None, verdict: str = "",
              note: str = "", tolerance: float | None = None) -> Claim:
        """Add a claim; the fields are those of `Claim`. `tolerance` widens the absolute tolerance of the comparison."""
        if id in self.claims:
            raise ValueError(f"claim {id!r} is already in the report")
        values = [plain(v) for v in (measured, low, high, null, n)]
        claim = Claim(id, statement, paper, *values, verdict, note)
        self.claims[id] = claim
        self._tolerance[f"claim {id}"] = ABSOLUTE if tolerance is None else tolerance
        return claim

    def measure(self, name: str, value, tolerance: float | None = None) -> None:
        """Keep a number, text or list of numbers for the prose, where {measured}`NN:name` quotes it."""
        if name in self.measurements:
            raise ValueError(f"measurement {name!r} is already in the report")
        if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
            raise ValueError(f"measurement name {name!r}: use letters, digits, '_' and '-'")
        self.measurements[name] = plain(value)
        self._tolerance[f"measurement {name}"] = ABSOLUTE if tolerance is None else tolerance

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


def usage() -> dict:
    """What this process has used so far: processor time, peak memory, and the device it computed on."""
    import torch

    spent = resource.getrusage(resource.RUSAGE_SELF)
    unit = 1 if sys.platform == "darwin" else 1024
    found = {"cpu_seconds": spent.ru_utime + spent.ru_stime, "peak_memory_mb": spent.ru_maxrss * unit / 2**20,
             "device": f"{platform.machine()} CPU", "threads": torch.get_num_threads()}
    if torch.cuda.is_initialized():
        found["device"] = torch.cuda.get_device_name()
        found["peak_gpu_memory_mb"] = torch.cuda.max_memory_allocated() / 2**20
    return found


def plain(value):
    """numpy and torch scalars and arrays as Python ones; True, text and None as they are."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if value is None or isinstance(value, bool | int | str):
        return value
    value = float(value)
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be recorded: JSON has no such number")
    return value


def rounded(value):
    """Every float in a nested value to DIGITS significant digits; -0.0 becomes 0.0."""
    if isinstance(value, dict):
        return {k: rounded(v) for k, v in value.items()}
    if isinstance(value, list):
        return [rounded(v) for v in value]
    return float(f"{value:.{DIGITS}g}") + 0.0 if isinstance(value, float) else value


def canonical(content: dict) -> str:
    """The one text that a content has: sorted keys, two spaces, final newline."""
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def flatten(content: dict) -> dict[str, object]:
    """"claim rp.low" -> .7, "measurement gl.3" -> .9: every value that a comparison looks at, by name."""
    flat = {}
    for claim in content["claims"]:
        flat |= {f"claim {claim['id']}.{k}": v for k, v in claim.items() if k != "id"}
    for name, value in content["measurements"].items():
        if isinstance(value, list):
            flat |= {f"measurement {name}.{k}": v for k, v in _leaves(value)}
        else:
            flat[f"measurement {name}"] = value
    return flat


def _leaves(values: list, prefix: str = ""):
    for k, value in enumerate(values):
        if isinstance(value, list):
            yield from _leaves(value, f"{prefix}{k}.")
        else:
            yield f"{prefix}{k}", value


def _is_number(value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def count_numbers(content: dict) -> int:
    """How many numbers a comparison looks at."""
    return sum(_is_number(v) for v in flatten(content).values())


def compare(found: dict, stored: dict, tolerance: Callable[[str], float]) -> list[str]:
    """A line for each value that differs: numbers beyond the tolerance, anything else (verdicts, names) at all."""
    now, then = flatten(found), flatten(stored)
    differences = [f"{key}: only {'now' if key in now else 'stored'}" for key in sorted(now.keys() ^ then.keys())]
    for key in sorted(now.keys() & then.keys()):
        a, b = now[key], then[key]
        if _is_number(a) and _is_number(b):
            same = abs(a - b) <= tolerance(key.split(".", 1)[0]) + RELATIVE * abs(b)
        else:
            same = a == b
        if not same:
            differences.append(f"{key}: {a} now, {b} stored")
    return differences


def read(chapter: int, results: Path = RESULTS) -> dict | None:
    """The stored results of a chapter, or None where it has not been run."""
    path = results / f"{chapter:02d}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def read_all(results: Path = RESULTS) -> list[dict]:
    """The stored results of every chapter, in order."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(results.glob("[0-9][0-9].json"))]


def chapter_file(chapter: int, notebooks: Path = NOTEBOOKS) -> str | None:
    """The stem of a chapter's pair: 2 -> "02-two-regimes"."""
    return next((path.stem for path in sorted(notebooks.glob(f"{chapter:02d}-*.md"))), None)


def readme_section(results: Path = RESULTS, notebooks: Path = NOTEBOOKS) -> str:
    """The verdict table of all chapters in Markdown, between its markers."""
    rows = []
    for content in read_all(results):
        stem = chapter_file(content["chapter"], notebooks)
        link = f"[{content['chapter']}](notebooks/{stem}.ipynb)" if stem else str(content["chapter"])
        rows += [(link, claim) for claim in content["claims"]]
    table = markdown_table(rows) if rows else "No chapter has been run yet."
    return f"{MARKERS[0]}\n{table}\n{MARKERS[1]}"


def update_readme(readme: Path = ROOT / "README.md", results: Path = RESULTS, notebooks: Path = NOTEBOOKS) -> bool:
    """Rewrite the README's verdict section; True if it changed."""
    old = readme.read_text(encoding="utf-8")
    if any(old.count(marker) != 1 for marker in MARKERS):
        raise ValueError(f"{readme.name} must hold {MARKERS[0]} and {MARKERS[1]} exactly once each")
    before, rest = old.split(MARKERS[0])
    new = before + readme_section(results, notebooks) + rest.split(MARKERS[1])[1]
    if new != old:
        readme.write_text(new, encoding="utf-8")
    return new != old
