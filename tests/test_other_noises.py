"""Runs with other noises beside the stored ones: what stays, what changes, what has no counterpart."""

import json

import pytest

from helpers.report import other_noises, record
from helpers.report.kernel import UsageError


def claim(name, verdict, measured, low=None, high=None):
    return {"id": name, "statement": f"about {name}", "verdict": verdict, "measured": measured, "low": low, "high": high}


@pytest.fixture
def folders(tmp_path):
    """A stored chapter 2 and a run of it with seed 1: one verdict changes, one claim is new, two values are compared."""
    runs, results = tmp_path / "runs", tmp_path / "results"
    runs.mkdir(), results.mkdir()
    stored = [claim("a", "reproduced", 0.5, 0.4, 0.6), claim("b", "partly", 0.2, 0.1, 0.3), claim("c", "refuted", 3.0),
              claim("new", "partly", 0.0)]
    again = [claim("a", "reproduced", 0.55, 0.4, 0.7), claim("b", "reproduced", 0.35, 0.2, 0.4), claim("c", "refuted", 2.0)]
    (results / "02.json").write_text(json.dumps({"chapter": 2, "claims": stored}))
    (runs / "02-two-seed-1.json").write_text(json.dumps({"chapter": 2, "claims": again}))
    return runs, results


def test_verdicts_that_stay_and_change_are_counted(folders):
    runs, results = folders
    other_noises.gather(1, runs, results)
    found, = other_noises.compare(results)
    assert (found.chapter, found.seed, found.stay, found.within, found.stated) == (2, 1, 2, 1, 2)
    assert found.changed == (("about b", "partly", "reproduced"),) and found.missing == ("about new",)


def test_a_second_gathering_keeps_the_chapters_that_were_not_run_again(folders):
    runs, results = folders
    target = other_noises.gather(1, runs, results)
    before = json.loads(target.read_text())
    (runs / "02-two-seed-1.json").rename(runs / "03-three-seed-1.json")
    (runs / "03-three-seed-1.json").write_text(json.dumps({"chapter": 3, "claims": [claim("z", "partly", 1.0)]}))
    after = json.loads(other_noises.gather(1, runs, results).read_text())
    assert after["02"] == before["02"] and set(after["03"]["claims"]) == {"z"}
    assert target.read_text() == record.canonical(after)


def test_without_a_run_it_says_how_to_make_one(tmp_path):
    with pytest.raises(UsageError, match=r'no run with seed 1: make chapter-2 ARGS="-p seed 1"'):
        other_noises.gather(1, tmp_path, tmp_path)
    assert other_noises.compare(tmp_path) == []


def test_every_stored_claim_was_also_made_with_other_noises():
    """The book says of its verdicts whether they stay: a claim that is added or renamed is run with other noises, too."""
    for found in other_noises.compare():
        assert found.missing == (), f"chapter {found.chapter}: run it with `-p seed {found.seed}`, then gather"
