"""The page "What it costs" shows what was measured, all of it, and says what is missing."""

import json
import re

import pytest

from helpers.paths import RESULTS
from helpers.report import costs

FIGURE = {"what": "a call, a < b", "against": "a product", "ratio": 1.1, "low": 1.0, "high": 1.25, "goal": "<= 1.15",
          "seconds": 1.0, "peer_seconds": 0.9, "repeats": 3}
CURVE = {"variable": "N", "x": [10.0, 100.0, 1000.0], "seconds": [0.01, 0.1, 1.2], "low": [0.009, 0.09, 1.0],
         "high": [0.011, 0.12, 1.3], "fitted": 3, "exponent": 1.04, "exponent_low": 0.9, "exponent_high": 1.2}


def bench(**figures):
    numbers = {f"paper, {who}: {what}": {"value": 3.6e17, "unit": "FLOPs"} for who in ("unet64", "all")
               for what in ("models", "an image in training", "training", "sampling")}
    return {"figures": {name.replace("_", ", "): FIGURE | figure for name, figure in figures.items()}, "failed": {},
            "numbers": numbers | {"evaluations, best of ours over best of azula": {"value": 1.2, "unit": "ratio"}},
            "curves": {"denoiser over N": CURVE}, "date": "2026-11-26",
            "machine": {"device": "CPU X", "cores": 2, "threads": 1, "python": "3.11", "torch": "2"}}


def text(markup):
    return re.sub(r"<[^>]+>", " ", markup)


def test_every_row_of_the_shipped_file_is_on_the_page():
    stored = costs.read()
    page, found = text(costs.ratios(stored)), [row for group in costs.rows(stored).values() for row in group]
    assert len(found) >= len(stored["figures"]) + 2 and "Others" not in costs.rows(stored)
    for figure in stored["figures"].values():
        assert page.count(figure["against"].replace("'", "&#x27;")) >= 1
    assert costs.growth(stored).count("<svg") == len(stored["curves"]) >= 6
    assert f"Of {sum(costs.outcome(row) != '–' for row in found)} goals" in costs.summary(stored)
    hours = costs.paper_hours(stored)
    assert hours["30"] == pytest.approx(10 * hours["300"]) and 1 < hours["100"] < 1e5


@pytest.mark.parametrize("figure, end", [({}, "met"), ({"ratio": 1.15}, "met"), ({"ratio": 1.2}, "not met"),
                                         ({"goal": ""}, "–")])
def test_a_goal_is_met_by_the_median(figure, end):
    row = FIGURE | figure
    assert costs.outcome(row) == end
    cells = [cell.strip() for cell in re.findall(r"<td>(.*?)</td>", costs.ratios(bench(call=row)))]
    assert cells[0] == "a call, a &lt; b" and cells[4] == end


def test_another_measurement_makes_another_page():
    one, other = costs.ratios(bench(call={})), costs.ratios(bench(call={"ratio": 7.7}))
    assert "7.7" in other and "7.7" not in one
    assert "Of 2 goals 1 are met" in costs.summary(bench(call={}))
    assert "Of 2 goals 0 are met" in costs.summary(bench(call={"ratio": 7.7}))
    assert "1 measurements failed: x" in costs.summary(bench(call={}) | {"failed": {"x": "why"}})


def test_what_rows_share_stands_in_their_heading_and_numbers_are_in_order():
    table = costs.ratios(bench(**{f"call_{n}": {"what": f"a call, N = {n}", "against": "x"} for n in ("10", "9,5", "8")}))
    assert re.findall(r"<small>([^<\[]*)</small></th>", table)[0] == "a call"
    assert re.findall(r"<td>(N[^<]*)</td>", table) == ["N = 8", "N = 10", "N = 9,5"]


def test_a_goal_that_is_none_is_refused():
    with pytest.raises(ValueError, match="a goal is '<= NUMBER', got 'fast'"):
        costs.outcome(FIGURE | {"goal": "fast"})


def test_subjects_stand_in_their_order_and_what_is_new_stands_last():
    assert list(costs.rows(bench(new={}, training_x={}, call={}))) == [
        costs.SUBJECTS["call"], costs.SUBJECTS["evaluations"], "Training", "Others"]


def test_curves_rise_with_what_they_show():
    figure = costs.growth(bench(call={}))
    heights = [float(y) for y in re.findall(r'cy="([\d.]+)"', figure)]
    assert heights == sorted(heights, reverse=True) and "N to the power 1.04" in figure
    assert "from 10 ms at 10 to 1.2 s at 1,000" in figure


def test_chapters_and_their_sum():
    contents = [{"chapter": n, "cost": {"wall_seconds": 60.0 * n, "cpu_seconds": 90.0 * n, "peak_memory_mb": 1024.0 * n}}
                for n in (1, 2)]
    rows = re.findall(r"<tr>(.*?)</tr>", costs.chapters(contents, {1: "1 One", 2: "2 <Two>"}))
    assert text(rows[-1]).split() == "all, one after another 3.0 4.5 2.0 GB".split()
    assert "2 &lt;Two&gt;" in rows[2]


def test_the_papers_profile_by_network_and_in_hours():
    rows = [text(row).split() for row in re.findall(r"<tr>(.*?)</tr>", costs.paper(bench(call={})))[1:]]
    assert [row[0] for row in rows] == ["unet64", "all"] and [row[-2:] for row in rows] == [["0.360", "0.360"]] * 2
    assert costs.paper_hours(bench(call={}))["100"] == pytest.approx(7.2e17 / 1e14 / 3600)


def test_the_card_s_checks_speeds_and_the_hours_they_make():
    numbers = {f"training paper, width 64, batch 128, channels first: {name}": {"value": value, "unit": ""}
               for name, value in (("speed", 1000.0), ("memory", 5.5))}
    gpu = {"machine": {"device": "A <card>", "python": "3", "torch": "2"}, "date": "2026-01-01", "numbers": numbers,
           "checks": {"one": "ok", "two": "ok", "three": "ValueError: no"}}
    one = {"numbers": {"paper, unet64: an image in training": {"value": 2e10}, "paper, unet64: training": {"value": 7.2e17}}}
    assert "Of 3 checks 2 hold; not: three." in costs.gpu_summary(gpu)
    assert costs.gpu_summary(gpu | {"checks": {"one": "ok"}}).endswith("Of 1 checks 1 hold.")
    row = re.findall(r"<tr>(.*?)</tr>", costs.gpu_speeds(gpu, one))[-1]
    assert text(row).split() == "U-Net 64, profile paper 128 1,000 20.0 5.5 GB".split()
    assert costs.paper_measured(gpu, one) == {64: pytest.approx(7.2e17 / 2e10 / 1000 / 3600)}


def test_a_missing_file_is_one_line_that_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"bench.json is missing: restore it .*, or measure again with `make bench`"):
        costs.read(folder=tmp_path)
    with pytest.raises(FileNotFoundError, match="make gpu"):
        costs.read("bench-gpu.json", tmp_path)
    (tmp_path / "bench.json").write_text(json.dumps(bench()))
    assert costs.read(folder=tmp_path)["machine"]["cores"] == 2 and (RESULTS / "bench.json").exists()
