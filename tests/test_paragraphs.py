"""No paragraph is a wall: at most 90 words as a reader sees them, in chapters, boxes, lists and pages of prose."""

import re

import pytest

from helpers.paths import NOTEBOOKS, ROOT

PAGES = [*sorted((ROOT / "book").glob("*.md")), *sorted(NOTEBOOKS.glob("[0-9][0-9]-*.md"))]
MAX_WORDS = 90
# A fence whose content is not text: a cell, a formula, a program, data for a directive.
SILENT = re.compile(r"^(`{3,})(?!\{(?:admonition|note|tip|warning|glossary|prf:\w+|dropdown)\}).*?^\1`*\s*$", re.M | re.S)
FORMULA = re.compile(r"^\$\$.*?^\$\$.*?$", re.M | re.S)
HEADER = re.compile(r"\A---\n.*?^---\n", re.M | re.S)
# A new paragraph: an item of a list, a definition. No paragraph: a heading, a table, a fence, an option, a label, a comment.
ITEM = re.compile(r"^\s*(?:[-*+]|\d+\.|:)\s+")
OTHER = re.compile(r"^\s*(?:#|\||[:`]{3,}|:[\w-]+:(?:\s|$)|\([\w-]+\)=|\+\+\+|%|<)")


def seen(text: str) -> str:
    """Text as it is read: a formula or a quoted number is a word, an address behind a link is none."""
    text = re.sub(r"\{cite[:a-z]*\}`([^`]*)`", lambda m: " ".join("cited 0" for _ in m[1].split(",")), text)
    text = re.sub(r"\$[^$]+\$|\{measured\}`[^`]*`", "x", text)
    text = re.sub(r"\{[a-z:]+\}`([^`<]*?)\s*(?:<[^>]*>)?`", r"\1", text)
    return re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)


def paragraphs(text: str) -> list[str]:
    """The paragraphs of a page's source."""
    text = FORMULA.sub("", SILENT.sub("", HEADER.sub("", text)))
    found, now = [], []
    for line in [*text.splitlines(), ""]:
        ends = not line.strip() or OTHER.match(line)
        if now and (ends or ITEM.match(line)):
            found.append(" ".join(now))
            now = []
        if not ends:
            now.append(ITEM.sub("", line).strip())
    return found


def words(paragraph: str) -> int:
    return len(re.findall(r"\S*\w\S*", seen(paragraph)))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_paragraphs_have_at_most_90_words(page):
    found = paragraphs(page.read_text(encoding="utf-8"))
    assert found
    assert not [f"{words(text)} words: {text[:70]}" for text in found if words(text) > MAX_WORDS]


def test_words_are_counted_as_they_are_read():
    assert words("A [long link](https://e.org/a b) of $x = y + z$, {measured}`02:rp:.0%` and "
                 "{term}`shown <hidden one>`.") == 8
    text = ("---\na: 1\n---\n# Head\n\nOne\ntwo.\n- three\n- four\n  five\n\n```{code-cell}\nx = 1\n```\n\n"
            ":::{note}\n:class: a\nsix\n:::\n")
    assert paragraphs(text) == ["One two.", "three", "four five", "six"]
    assert paragraphs("$$\na\n$$\n\n| a | b |\n") == []
