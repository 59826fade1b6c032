"""The README's table of verdicts, written from data/results."""

from pathlib import Path

import yaml

from helpers.paths import NOTEBOOKS, RESULTS, ROOT
from helpers.report.record import read_all
from helpers.report.tables import markdown_table

TOC = ROOT / "book/_toc.yml"
MARKERS = ("<!-- verdicts -->", "<!-- /verdicts -->")


def chapter_file(chapter: int, notebooks: Path = NOTEBOOKS) -> str | None:
    """The stem of a chapter's pair: 2 -> "02-two-regimes"."""
    return next((path.stem for path in sorted(notebooks.glob(f"{chapter:02d}-*.md"))), None)


def chapter_name(chapter: int, toc: Path = TOC) -> str:
    """A chapter's number and short name, as the table of contents has it: 2 -> "2 Two regimes"; else its number."""
    parts = yaml.safe_load(toc.read_text(encoding="utf-8"))["parts"]
    names = {entry["file"]: entry.get("title", "") for part in parts for entry in part["chapters"]}
    start = f"notebooks/{chapter:02d}-"
    title = next((title for file, title in names.items() if file.startswith(start)), "")
    return f"{chapter} {title.removeprefix(f'{chapter}. ')}".strip()         # a part that Sphinx does not number says it


def readme_section(results: Path = RESULTS, notebooks: Path = NOTEBOOKS) -> str:
    """The verdict table of all chapters in Markdown, between its markers."""
    rows = []
    for content in read_all(results):
        stem = chapter_file(content["chapter"], notebooks)
        name = chapter_name(content["chapter"])
        link = f"[{name}](notebooks/{stem}.ipynb)" if stem else name
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
