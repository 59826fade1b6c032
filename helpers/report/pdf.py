"""The book as one PDF: its built pages in order, printed by a browser, with an outline and links that stay inside.

`make pdf` builds the pages and prints them. Needs an installed Chromium or Chrome, and what the tests need
(`requirements-dev.txt`). Code that is folded on a page is folded on paper.
"""

import io
import shutil
from pathlib import Path
from urllib.parse import urldefrag

import yaml
from playwright.sync_api import Browser, sync_playwright
from pypdf import PdfReader, PdfWriter
from pypdf.generic import ArrayObject, DictionaryObject, Fit, NameObject

from helpers.paths import BUILD, ROOT
from helpers.report.kernel import UsageError

HTML, TARGET, TOC = BUILD / "html", BUILD / "book.pdf", ROOT / "book" / "_toc.yml"
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
SCALE = 0.7                                     # of the screen's sizes: 11 points for the text
MARGIN = {"top": "18mm", "bottom": "18mm", "left": "16mm", "right": "16mm"}
FOOTER = '<div style="font-size: 8px; width: 100%; text-align: center"><span class="title"></span></div>'
# Formulas are set and pictures are there; what a screen needs and paper does not is gone with the style for print.
DRAWN = """async () => {
  if (window.MathJax && MathJax.startup) await MathJax.startup.promise;
  const shown = [...document.images].filter((image) => image.clientWidth);
  shown.forEach((image) => { image.loading = "eager"; });
  await Promise.all(shown.map((image) => image.decode().catch(() => null)));
}"""


def pages(toc: Path = TOC) -> list[str]:
    """The pages of the book in order, as paths below the folder of HTML."""
    content = yaml.safe_load(toc.read_text(encoding="utf-8"))
    files = [content["root"], *(page["file"] for part in content["parts"] for page in part["chapters"])]
    return [Path(file).with_suffix(".html").as_posix() for file in files]


def executable() -> str | None:
    """An installed browser, or None."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def print_book(html: Path = HTML, target: Path = TARGET, names: list[str] | None = None) -> Path:
    """Print the built pages `names`, all by default, into the file `target`.

    UsageError if no browser is installed or a page was not built.
    """
    names, browser = names or pages(), executable()
    if browser is None:
        raise UsageError(f"a PDF needs Chromium or Chrome, and none of {', '.join(NAMES)} is installed "
                         "(Debian: apt install chromium)")
    if missing := [name for name in names if not (html / name).is_file()]:
        raise UsageError(f"{html / missing[0]} is missing: build the pages first with `make html`")
    with sync_playwright() as play:
        started = play.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        try:
            printed = {name: _printed(started, html / name) for name in names}
        finally:
            started.close()
    _joined(printed, html).write(target)
    return target


def _printed(browser: Browser, file: Path) -> tuple[str, bytes]:
    """The title of a page, and its PDF in the light theme."""
    page = browser.new_page(color_scheme="light", viewport={"width": 1280, "height": 900})
    page.goto(file.resolve().as_uri(), wait_until="load")
    page.emulate_media(media="print", color_scheme="light")
    page.evaluate(DRAWN)
    title = page.locator("h1").first.evaluate("(h) => h.firstChild.textContent.trim()")
    printed = page.pdf(format="A4", scale=SCALE, margin=MARGIN, print_background=True, display_header_footer=True,
                       header_template="<span></span>", footer_template=FOOTER)
    page.close()
    return title, printed


def _joined(printed: dict[str, tuple[str, bytes]], html: Path) -> PdfWriter:
    """All pages in one document with an outline; a link to another page of the book leads to where that begins."""
    book, first = PdfWriter(), {}
    for name, (title, content) in printed.items():
        first[(html / name).resolve().as_uri()] = len(book.pages)
        book.append(PdfReader(io.BytesIO(content)), outline_item=title, import_outline=False)
    for page in book.pages:
        kept = [link for link in map(lambda one: one.get_object(), page.get("/Annots", ())) if _within(link, book, first)]
        page[NameObject("/Annots")] = ArrayObject(kept)
    return book


def _within(link: DictionaryObject, book: PdfWriter, first: dict[str, int]) -> bool:
    """Turn a link to a file of the book into one to its page. False for any other file, which nobody else has."""
    address = link.get("/A", {}).get("/URI", "")
    if not address.startswith("file:"):
        return True
    page = first.get(urldefrag(address)[0])
    if page is None:
        return False
    del link[NameObject("/A")]
    link[NameObject("/Dest")] = ArrayObject([book.pages[page].indirect_reference, NameObject(Fit.fit().fit_type)])
    return True
