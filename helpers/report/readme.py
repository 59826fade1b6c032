"""The README's table of verdicts and the minutes of the chapters, written from data/results."""

from pathlib import Path

import yaml

from helpers.paths import NOTEBOOKS, RESULTS, ROOT
from helpers.report.record import read_all
from helpers.report.tables import markdown_table

TOC = ROOT / "book/_toc.yml"
MARKERS = ("<!-- verdicts -->", "<!-- /verdicts -->")
MINUTES = ("<!-- minutes -->", "<!-- /minutes -->")


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


def readme_minutes(results: Path = RESULTS) -> str:
    """What the chapters took in their last runs, as words between their markers."""
    taken = [content["cost"]["wall_seconds"] / 60 for content in read_all(results) if "cost" in content]
    words = (f"{len(taken)} chapters of up to {max(taken):.0f} minutes, {sum(taken):.0f} in all"
             if taken else "the chapters")
    return f"{MINUTES[0]}{words}{MINUTES[1]}"


def update_readme(readme: Path = ROOT / "README.md", results: Path = RESULTS, notebooks: Path = NOTEBOOKS) -> bool:
    """Rewrite what stands between the README's markers; True if it changed. ValueError unless each is there once."""
    new = old = readme.read_text(encoding="utf-8")
    for (start, end), section in ((MARKERS, readme_section(results, notebooks)), (MINUTES, readme_minutes(results))):
        if old.count(start) != 1 or old.count(end) != 1:
            raise ValueError(f"{readme.name} must hold {start} and {end} exactly once each")
        new = new.split(start)[0] + section + new.split(end)[1]
    if new != old:
        readme.write_text(new, encoding="utf-8")
    return new != old
