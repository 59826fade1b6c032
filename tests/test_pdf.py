"""pdf.py: pages that are printed into one document, whose links lead to its own pages."""

import os
import shutil

import pytest
from pypdf import PdfReader

from helpers.report import __main__ as command
from helpers.report import pdf
from helpers.report.kernel import UsageError

PAGE = ('<!doctype html><title>{title}</title><h1>{title}<a href="#here">#</a></h1><p>Text of {title}.</p>'
        '<details><summary>Code: folded</summary><p>hidden text</p></details>'
        '<style>@media print {{ details:not([open]) > :not(summary) {{ display: none }} }}</style>{links}')
NAMES = ["a/one.html", "b/two.html"]


@pytest.fixture
def html(tmp_path):
    """Two pages: the first links to the second, to a file that is no page, and to the web."""
    links = '<a href="../b/two.html#part">second</a> <a href="../a/data.json">file</a> <a href="https://example.org/">web</a>'
    for name, title, more in zip(NAMES, ("First", "Second"), (links, "")):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text(PAGE.format(title=title, links=more))
    return tmp_path


@pytest.fixture
def printed(html):
    if pdf.executable() is None:
        missing = "no Chromium or Chrome on this machine: install one (Debian: apt install chromium) to print pages"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return PdfReader(pdf.print_book(html, html / "book.pdf", NAMES))


def test_pages_follow_each_other_with_an_outline_and_folded_code(printed):
    texts = [page.extract_text() for page in printed.pages]
    assert len(texts) == 2 and "Text of First." in texts[0] and "Text of Second." in texts[1]
    assert [item.title for item in printed.outline] == ["First", "Second"]
    assert "Code: folded" in texts[0] and "hidden text" not in texts[0]


def test_links_stay_inside_or_lead_to_the_web(printed):
    links = [link.get_object() for link in printed.pages[0].get("/Annots", ())]
    addresses = [link["/A"]["/URI"] for link in links if "/URI" in link.get("/A", {})]
    inside = [link["/Dest"] for link in links if isinstance(link.get("/Dest"), list)]
    assert addresses == ["https://example.org/"]
    assert [target[0].get_object() for target in inside] == [printed.pages[1]]


def test_the_pages_of_the_book_are_those_of_its_contents():
    found = pdf.pages()
    assert found[0] == "book/index.html" and "notebooks/07-why-models-agree.html" in found and len(found) == len(set(found))


def test_without_a_browser_or_a_page_one_line_says_so(html, monkeypatch, capsys):
    monkeypatch.setattr(pdf, "executable", lambda: "/nowhere/chromium")
    with pytest.raises(UsageError, match="three.html is missing: build the pages first with `make html`"):
        pdf.print_book(html, html / "book.pdf", ["three.html"])
    monkeypatch.undo()
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert command.main(["pdf"]) == 2
    assert capsys.readouterr().err.startswith("error: a PDF needs Chromium or Chrome") and not (html / "book.pdf").exists()
