"""The home page and the page of verdicts say what the results say, from the chapters' own texts."""

import re
import xml.etree.ElementTree as ET
from collections import Counter

import pytest

from helpers.paths import NOTEBOOKS
from helpers.report import cards, forest, home, record
from helpers.report.readme import chapter_file

TEXT = """# Is it so?

## In one minute

- **Mostly, it is.** In {measured}`01:rp:.0%` of the cases ([every pair](#sec-pairs), [not *all*](#sec-all)), which
  is much (half).
- **Another.** No.
"""


def claim(**other):
    return {"id": "a", "statement": "A < B", "paper": "RP .5", "measured": 0.5, "low": 0.25, "high": 0.75, "null": 0.0,
            "n": 64, "verdict": "partly", "note": "", "source": "quoted", "linear": None,
            "level": ""} | other


def content(*claims, chapter=2):
    return {"chapter": chapter, "claims": list(claims),
            "cost": {"wall_seconds": 120.0 * chapter, "peak_memory_mb": 1024.0 * chapter, "threads": 2, "device": "x CPU"}}


def test_a_chapters_question_and_answer_are_read_from_its_text():
    assert home.question(TEXT) == "Is it so?" and home.answer(TEXT) == "Mostly, it is."
    assert home.takeaway(TEXT) == "**Mostly, it is.** In {measured}`01:rp:.0%` of the cases, which is much (half)."
    for text, missing in (("", "a title"), ("# T\n", "takeaways"), (TEXT.replace("**", ""), "a sentence in bold")):
        with pytest.raises(ValueError, match=f"a chapter's text lacks {missing}"):
            home.question(text), home.answer(text)


def test_every_chapter_opens_as_the_home_page_reads_it():
    for stored in record.read_all():
        text = (NOTEBOOKS / f"{chapter_file(stored['chapter'])}.md").read_text(encoding="utf-8")
        assert home.question(text).endswith("?") and len(home.answer(text)) < 100 and "](#" not in home.takeaway(text)


def counts(html, row):
    """The numbers in a row of a scoreboard."""
    found = re.search(rf'<tr><th scope="row">(?:<a [^>]*>)?{row}.*?</tr>', html)
    return [0 if text == "–" else int(text) for text in re.findall(r"<td[^>]*>(.*?)</td>", found.group())]


def test_the_scoreboard_counts_the_papers_claims_apart_from_our_additions():
    first = content(claim(), claim(verdict="reproduced"), claim(verdict="reproduced", source="second-hand"), chapter=1)
    second = content(claim(verdict="refuted", source="ours"), claim(verdict="reproduced", source="ours"), claim())
    html = home.scoreboard([first, second], {1: "one.html", 2: "two.html?a&b"})
    ET.fromstring(html)
    assert re.findall(r'scope="col">(.*?)<', html) == ["Chapter", "reproduced", "partly", "hold", "opposite"]
    assert (counts(html, "1 "), counts(html, "2 "), counts(html, "All")) == ([2, 1, 0, 0], [0, 1, 1, 1], [2, 2, 1, 1])
    assert 'href="two.html?a&amp;b"' in html


def test_the_scoreboard_agrees_with_the_results_that_are_stored():
    contents = record.read_all()
    html = home.scoreboard(contents, {stored["chapter"]: "x" for stored in contents})
    for stored in contents:
        assert sum(counts(html, f"{stored['chapter']} ")) == len(stored["claims"])
    assert sum(counts(html, "All")) == sum(len(stored["claims"]) for stored in contents)


def test_the_cost_is_the_sum_of_the_chapters():
    assert home.cost([content(chapter=1), content(chapter=3)]) == \
        "2 chapters, 8 minutes in all (2 to 6 each) with 2 threads of an x CPU, and 3.0 GB of memory"


def test_a_drawing_places_every_number_on_one_axis():
    ends = forest.domain([claim(), claim(low=-0.5, measured=0, high=1.5, linear=0.1)])
    assert ends == (-0.5, 1.5) and forest.domain([claim(null=None)]) == (0, 1)
    svg = ET.fromstring(forest.drawing(claim(linear=0.5), (0.0, 1.0)))
    inner = forest.WIDTH - 2 * forest.MARGIN
    places = {(e.get("class"), e.get("x1") or e.get("cx")) for e in svg if e.get("class")}
    assert {("interval", f"{forest.MARGIN + inner / 4:.1f}"), ("value", f"{forest.WIDTH / 2:.1f}"),
            ("null", f"{forest.MARGIN:.1f}"), ("linear", None)} <= places
    assert svg.get("aria-label") == "0.500; chance 0; interval 0.250 to 0.750; mean and covariance 0.500"
    assert forest.drawing(claim(measured=None, low=None, high=None), (0, 1)) == ""


def test_a_row_has_an_anchor_its_source_and_what_the_filters_look_at():
    row = forest.claim_row(2, claim(note="a & b", level="RP .4"), (0, 1), "x.html#verdict")
    tree = ET.fromstring(row)
    assert tree.get("id") == "claim-2-a" and tree.find(".//a[@href='#claim-2-a']") is not None
    assert (tree.get("data-chapter"), tree.get("data-verdict"), tree.get("data-source")) == ("2", "partly", "quoted")
    text = "".join(tree.itertext())
    assert "A < B" in text and "Published (quoted): RP .5" in text and "RP .4; a & b" in text and "n = 64" in text
    ours = forest.claim_row(2, claim(source="ours", verdict="reproduced"), (0, 1), "x")
    assert "Our addition: RP .5" in ours and "<b>holds</b>" in ours


def test_filters_offer_what_there_is():
    html = forest.filters([content(claim(), claim(source="ours"))], {2: "2 Two"})
    options = Counter(re.findall(r'<option value="([^"]+)">', html))
    assert options == Counter(["2", "partly", "quoted", "ours"]) and "2 claims" in html


def test_a_picture_brings_its_own_description():
    plot = {"outputs": [{"data": {"image/png": "x"}}], "metadata": {"mystnb": {"image": {"alt": "Rows of shoes"}}}}
    text = {"outputs": [{"data": {"text/plain": "x"}}], "metadata": {}}
    assert cards.description({"cells": [{"metadata": {}}, text, plot]}) == "Rows of shoes"
    assert cards.description({"cells": [text]}) == ""
