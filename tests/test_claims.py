"""Claims are validated, stored canonically, and compared with a tolerance outside the driver."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from helpers.measure.scores import Score
from helpers.report import claims, readme, record, tables
from helpers.report.verdicts import Finding

SCORE = Score(0.74, 0.71, 0.77, 1024)
FINDING = Finding(SCORE, 0.0, "reproduced")


def a_report(shift=0.0, verdict="reproduced", seed=0):
    report = claims.Report(7, seed=seed)
    score = replace(SCORE, value=0.74 + shift)
    report.claim("rp", "Two widths agree", "RP .845", FINDING._replace(score=score, verdict=verdict))
    report.measure("gl", np.float32(0.51234) + shift)
    report.measure("curve", [0.1, 0.2 + shift])
    return report


@pytest.fixture
def stored(tmp_path, monkeypatch):
    """A folder that holds what the driver would have stored for `a_report()`."""
    monkeypatch.setenv("CHAPTER_RESULTS", str(tmp_path / "07.json"))
    a_report().close(tmp_path)
    monkeypatch.delenv("CHAPTER_RESULTS")
    return tmp_path


@pytest.mark.parametrize("wrong, words", [
    (dict(verdict="true"), "reproduced, partly, not at this scale"),
    (dict(score=replace(SCORE, low=0.75)), "outside its interval"),
    (dict(score=replace(SCORE, high=None)), "both ends"),
    (dict(score=replace(SCORE, value=None)), "around a measured value"),
    (dict(score=replace(SCORE, value=math.nan)), "cannot be recorded"),
])
def test_a_wrong_claim_is_refused(wrong, words):
    with pytest.raises(ValueError, match=words):
        claims.Report(7).claim("rp", "Two widths agree", "RP .845", FINDING._replace(**wrong))


def test_many_measurements_at_once_keep_their_intervals():
    report = claims.Report(7)
    report.measure({"rp": {"U-Net, other seed": SCORE, 0.5: [SCORE, SCORE]}, "n": 3, "word": "both"})
    found = report.as_dict()
    assert found["measurements"] == {"rp_U-Net_other_seed": 0.74, "rp_0_5": [0.74, 0.74], "n": 3, "word": "both"}
    assert found["intervals"] == {"rp_U-Net_other_seed": [0.71, 0.77], "rp_0_5": [[0.71, 0.77]] * 2}


def test_an_interval_that_moved_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setenv("CHAPTER_RESULTS", str(tmp_path / "07.json"))
    report = claims.Report(7)
    report.measure("rp", SCORE)
    report.close(tmp_path)
    monkeypatch.delenv("CHAPTER_RESULTS")
    other = claims.Report(7)
    other.measure("rp", replace(SCORE, low=0.6))
    with pytest.raises(AssertionError, match="interval rp.0: 0.6 now, 0.71 stored"):
        other.close(tmp_path)


def test_names_are_unique():
    report = a_report()
    with pytest.raises(ValueError, match="already"):
        report.claim("rp", "again", "RP .845", FINDING)
    with pytest.raises(ValueError, match="already"):
        report.measure("gl", 1.0)


def test_stored_text_is_canonical(stored):
    text = (stored / "07.json").read_text()
    content = json.loads(text)
    usage = content.pop("usage")
    assert record.canonical(content | {"usage": usage}) == text and text.endswith("}\n")
    assert content["measurements"]["gl"] == 0.5123
    assert usage["peak_memory_mb"] > 1


def test_equal_numbers_pass_and_say_the_same_as_the_driver(stored, capsys, monkeypatch):
    a_report().close(stored)
    here = capsys.readouterr().out
    monkeypatch.setenv("CHAPTER_RESULTS", str(stored / "07.json"))
    a_report().close(stored)
    assert capsys.readouterr().out == here == "8 numbers and 1 verdicts agree with 07.json\n"


def test_numbers_within_the_tolerance_pass_and_others_do_not(stored):
    a_report(shift=0.02).close(stored)
    report = a_report()
    report.measurements["curve"] = [0.1, 0.25]
    with pytest.raises(AssertionError, match="measurement curve.1: 0.25 now, 0.2 stored"):
        report.close(stored)


def test_a_wider_tolerance_can_be_asked_for(stored):
    report = claims.Report(7, seed=0)
    report.claim("rp", "Two widths agree", "RP .845", FINDING)
    report.measure("gl", 0.5123)
    report.measure("curve", [0.1, 0.25], tolerance=0.1)
    report.close(stored)


def test_another_verdict_is_an_error(stored):
    with pytest.raises(AssertionError, match="claim rp.verdict: partly now, reproduced stored"):
        a_report(verdict="partly").close(stored)


def test_a_verdict_may_differ_where_rounding_has_moved_its_numbers(stored):
    moved = a_report(shift=0.01, verdict="partly")
    moved.close(stored)
    found = record.compare(moved.as_dict(), a_report().as_dict(), lambda key: 0.0 if key == "claim rp" else 1.0)
    assert not found                                    # .0135 is within RELATIVE
    further = a_report(shift=0.02, verdict="partly").as_dict()
    assert record.compare(further, a_report().as_dict(), lambda key: 0.0)[0].startswith("claim rp.measured")


def test_a_missing_number_is_an_error(stored):
    report = claims.Report(7, seed=0)
    report.claim("rp", "Two widths agree", "RP .845", FINDING)
    report.measure("gl", 0.5123)
    with pytest.raises(AssertionError, match="measurement curve.0: only stored"):
        report.close(stored)


def test_other_parameters_are_not_compared(stored, capsys):
    a_report(shift=0.03, seed=1).close(stored)
    assert "nothing was compared" in capsys.readouterr().out


@pytest.mark.parametrize("value, text", [
    (0.741234, "0.741"), (0.0123456, "0.0123"), (12.3456, "12.3"), (32768, "32,768"), (1234.5, "1,234"), (1.0, "1.00"),
    (0.0, "0"), (None, "–"), ("a word", "a word"), ([0.5, 2], "0.500, 2"), (1e-7, "1e-07"), (-0.25, "-0.250"),
    (0.9996, "1.00"),
])
def test_numbers_as_text(value, text):
    assert tables.number(value) == text


def test_a_format_can_be_given():
    assert tables.number(0.741234, ".0%") == "74%"


def test_the_table_escapes_html():
    report = claims.Report(7)
    report.claim("rp", "a < b", "RP .845", FINDING)
    page = report.table()._repr_html_()
    assert "a &lt; b" in page and 'class="verdict-reproduced"' in page
    assert "0.740 [0.710, 0.770]" in repr(report.table())


def test_the_readme_section_is_rewritten_in_place(stored, tmp_path):
    page = tmp_path / "README.md"
    (stored / "08.json").write_text(json.dumps({"chapter": 8, "claims": [], "cost": {"wall_seconds": 180}}))
    (stored / "09.json").write_text(json.dumps({"chapter": 9, "claims": [], "cost": {"wall_seconds": 600}}))
    minutes = "old".join(readme.MINUTES)
    page.write_text(f"before {minutes}\n{readme.MARKERS[0]}\nold\n{readme.MARKERS[1]}\nafter\n")
    assert readme.update_readme(page, stored, tmp_path)
    text = page.read_text()
    assert "2 chapters of up to 10 minutes, 13 in all" in text
    assert text.startswith("before ") and text.endswith("after\n") and "Two widths agree" in text and "old" not in text
    assert not readme.update_readme(page, stored, tmp_path)


def test_a_readme_without_markers_is_refused(tmp_path):
    page = tmp_path / "README.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="exactly once"):
        readme.update_readme(page, tmp_path, tmp_path)
