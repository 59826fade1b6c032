"""paper.md, the short article about the book: it names what is there, and cites what the bibliography has."""

import re

import yaml

from helpers import run
from helpers.paths import ROOT
from helpers.report.record import read_all

TEXT = (ROOT / "paper.md").read_text(encoding="utf-8")
HEAD, BODY = TEXT.removeprefix("---\n").split("\n---\n", 1)
WORDS = {4: "Four", 5: "five", 10: "Ten"}


def test_its_head_has_what_journals_ask_for():
    head = yaml.safe_load(HEAD)
    assert {"title", "tags", "authors", "affiliations", "date", "bibliography"} <= head.keys()
    assert (ROOT / head["bibliography"]).is_file() and all("affiliation" in author for author in head["authors"])
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert head["title"] == cited["title"]


def test_what_it_cites_is_in_the_bibliography():
    known = set(re.findall(r"^@\w+\{(\w+),", (ROOT / "book" / "references.bib").read_text(encoding="utf-8"), re.M))
    cited = set(re.findall(r"@(\w+)", BODY))
    assert "zhang2024emergence" in cited and cited <= known


def test_it_counts_the_chapters_as_they_are():
    assert f"{WORDS[len(run.chapters())]} notebooks" in BODY and len(read_all()) == len(run.chapters())


def test_it_is_short():
    assert 250 <= len(BODY.split()) <= 1000
