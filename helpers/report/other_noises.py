"""Do the verdicts stay with other noises? Runs of the same text with another seed, beside the stored ones.

`make chapter-2 ARGS="-p seed 1"` draws the same models' pictures of other noises. What such runs claim is kept in
`data/results/other-noises.json`, and the protocol page sets it beside what the chapters store. A claim that was added
or renamed since then has no counterpart and is named as such.
"""

import json
from dataclasses import dataclass
from pathlib import Path

from helpers import paths
from helpers.report import record
from helpers.report.kernel import UsageError

FILE = "other-noises.json"
KEPT = ("verdict", "measured", "low", "high")


@dataclass(frozen=True)
class Comparison:
    """One chapter with other noises.

    seed      of these
    stay      how many verdicts are the same
    within    how many measured values lie in the stored interval, of `stated`, the claims that have one
    changed   (statement, stored verdict, verdict with other noises)
    missing   statements that the other run has no counterpart of
    """

    chapter: int
    seed: int
    stay: int
    within: int
    stated: int
    changed: tuple[tuple[str, str, str], ...]
    missing: tuple[str, ...]


def gather(seed: int = 1, runs: Path = paths.BUILD / "runs", results: Path = paths.RESULTS) -> Path:
    """Keep the claims of every run with this seed in results/other-noises.json, those of other chapters as they are.

    UsageError if there is no such run.
    """
    paths_found = sorted(runs.glob(f"[0-9][0-9]-*-seed-{seed}.json"))
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths_found]
    if not found:
        raise UsageError(f"{runs} holds no run with seed {seed}: make chapter-2 ARGS=\"-p seed {seed}\" first")
    target = results / FILE
    kept = json.loads(target.read_text(encoding="utf-8")) if target.exists() else {}
    for content in found:
        claims = {claim["id"]: {name: claim[name] for name in KEPT} for claim in content["claims"]}
        kept[f"{content['chapter']:02d}"] = {"seed": seed, "claims": claims}
    target.write_text(record.canonical(kept), encoding="utf-8")
    return target


def compare(results: Path = paths.RESULTS) -> list[Comparison]:
    """Every chapter that was run with other noises, in order, beside its stored claims; none if none was."""
    path = results / FILE
    other = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    return [_compared(content, other[f"{content['chapter']:02d}"]) for content in record.read_all(results)
            if f"{content['chapter']:02d}" in other]


def _compared(content: dict, other: dict) -> Comparison:
    pairs = [(claim, other["claims"][claim["id"]]) for claim in content["claims"] if claim["id"] in other["claims"]]
    stated = [(claim, again) for claim, again in pairs if claim["low"] is not None]
    return Comparison(
        content["chapter"], other["seed"], sum(claim["verdict"] == again["verdict"] for claim, again in pairs),
        sum(claim["low"] <= again["measured"] <= claim["high"] for claim, again in stated), len(stated),
        tuple((claim["statement"], claim["verdict"], again["verdict"]) for claim, again in pairs
              if claim["verdict"] != again["verdict"]),
        tuple(claim["statement"] for claim in content["claims"] if claim["id"] not in other["claims"]))
