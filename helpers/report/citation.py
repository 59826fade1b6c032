"""How to cite the book, and the paper, from CITATION.cff and the bibliography. Used on the home page."""

import re
from pathlib import Path

import yaml

from helpers.paths import ROOT

PAPER = "zhang2024emergence"


def book_entry(cff: dict, year: str, address: str = "") -> str:
    """The book as a BibTeX entry, from the content of CITATION.cff."""
    names = " and ".join(_name(author) for author in cff["authors"])
    fields = {"author": names, "title": f"{{{cff['title']}}}", "year": year, "version": cff["version"], "url": address}
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items() if value)
    return f"@software{{diffusion_reproducibility,\n{lines}}}"


def _name(author: dict) -> str:
    """A person as "family, given"; an entity in braces of its own, so that BibTeX does not take it apart."""
    if "family-names" in author:
        return f"{author['family-names']}, {author['given-names']}"
    return f"{{{author['name']}}}"


def entry(key: str, bibliography: str) -> str:
    """One entry of a bibliography, as it stands there."""
    found = re.search(rf"^@\w+\{{{re.escape(key)},.*?^\}}", bibliography, re.M | re.S)
    if not found:
        raise ValueError(f"the bibliography has no entry {key!r}")
    return found.group()


def bibtex(year: str, address: str = "", root: Path = ROOT) -> str:
    """The paper's entry and the book's, to copy."""
    cff = yaml.safe_load((root / "CITATION.cff").read_text(encoding="utf-8"))
    paper = entry(PAPER, (root / "book/references.bib").read_text(encoding="utf-8"))
    return f"{paper}\n\n{book_entry(cff, year, address)}"
