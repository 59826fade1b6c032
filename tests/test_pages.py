"""Every page in a browser, at two widths and in both themes: nothing fails, nothing is cut, everything is drawn.

Needs Chromium or Chrome. A reader's machine may lack it, and then these tests are left out; continuous integration (CI=1)
may not. The pages come from a server on this machine, and a request for anything else is a failure.
"""

import functools
import os
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urldefrag, urlparse

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import sync_playwright

from helpers.chapters.profiles import PROFILES
from helpers.paths import NOTEBOOKS
from helpers.report import record
from helpers.report.pdf import executable

WIDTHS, THEMES = (1280, 390), ("light", "dark")
CHECKED = ((1280, "light"), (390, "dark"))       # what axe looks at: each width and each theme once, as it takes seconds
GRAVE = ("serious", "critical")
MISSING = "no Chromium or Chrome on this machine: install one (Debian: apt install chromium) to look at the pages"
FIRST_FIGURE = 900                  # how far down, in pixels at 1280, the first figure of home and of a chapter may begin

# What is looked at in the page, once for each width and theme.
LOOK = """async () => {
  const root = document.documentElement, shown = (e) => e.clientWidth > 0;
  const name = (e) => `${e.tagName} ${e.className} ${e.textContent.trim().slice(0, 40)}`;
  const parts = document.querySelectorAll("pre, .bd-sidebar-primary *, .bd-sidebar-secondary *");
  const cut = (e) => shown(e) && e.scrollWidth > e.clientWidth + 1 && !e.closest(".math");
  const images = [...document.images].filter(shown);        // a figure has a variant for each theme, one is hidden
  images.forEach((i) => { i.loading = "eager"; });
  await Promise.all(images.map((i) => i.decode().catch(() => null)));
  const figure = images.find((i) => i.closest("article"));
  // Font Awesome draws a circle with a question mark for an outline that it lacks.
  const icons = document.querySelectorAll("i[class*='fa-'], span[class*='fa-'], svg.svg-inline--fa:has(circle)");
  return {
    sideways: root.scrollWidth - root.clientWidth,
    clipped: [...parts].filter(cut).map(name),
    theme: root.dataset.theme,
    variants: images.filter((i) => i.classList.contains("only-dark")).length,
    figure: figure && figure.getBoundingClientRect().top + scrollY,
    broken: images.filter((i) => !i.complete || !i.naturalWidth).map((i) => i.src),
    undescribed: [...document.images].filter((i) => i.alt.trim().length < 4).map((i) => i.src),
    formulas: [...document.querySelectorAll(".math")].filter((m) => !m.querySelector("mjx-container")).map(name),
    icons: [...icons].map((e) => e.getAttribute("data-icon") || name(e)),
  };
}"""
# Folds are opened, without the fading in which colors are not yet what they are.
UNFOLD = """() => {
  document.head.append(Object.assign(document.createElement("style"),
    { textContent: "* { animation: none !important; transition: none !important; }" }));
  document.querySelectorAll("details").forEach((fold) => { fold.open = true; });
}"""
LINKS = """() => [[...document.querySelectorAll("a[href]")].map((a) => a.href),
                  [...document.querySelectorAll("[id]")].map((e) => e.id)]"""


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as play:
        path = executable() or play.chromium.executable_path
        if not Path(path).exists():
            pytest.fail(MISSING) if os.environ.get("CI") else pytest.skip(MISSING)
        started = play.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture(scope="module")
def address(built):
    """The built book on a server of this machine."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(built))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


@pytest.fixture(scope="module")
def seen(browser, address, built):
    """Everything that is looked at: {page: {"complaints": [...], "links": ..., (width, theme): {...}}}."""
    pages = sorted(page.relative_to(built).as_posix() for page in built.glob("*/*.html") if page.parent.name[0] != "_")
    context = browser.new_context(viewport={"width": WIDTHS[0], "height": 900})
    found = {}
    for name in [*pages, "search.html"]:
        page, complaints = context.new_page(), []
        listen(page, complaints, address)
        page.goto(address + name, wait_until="load")
        page.evaluate("() => window.MathJax && MathJax.startup && MathJax.startup.promise")
        found[name] = {"complaints": complaints, "links": page.evaluate(LINKS)}
        for theme in THEMES:
            page.emulate_media(color_scheme=theme)
            page.wait_for_timeout(100)          # the theme hears of the system's change by an event
            for width in WIDTHS:
                page.set_viewport_size({"width": width, "height": 900})
                found[name][width, theme] = page.evaluate(LOOK)
        found[name]["hindrances"] = hindrances(page)
        page.close()
    context.close()
    return found


def hindrances(page) -> list[str]:
    """What axe finds on a page that keeps some readers from reading it, with the first place of each."""
    axe, found = Axe(), []
    page.evaluate(UNFOLD)
    for width, theme in CHECKED:
        page.emulate_media(color_scheme=theme)
        page.set_viewport_size({"width": width, "height": 900})
        page.wait_for_timeout(500)              # the theme hears late of a new width, and lets keys reach what scrolls then
        # Without `preload` it asks the server for no style sheet again.
        violations = axe.run(page, options={"resultTypes": ["violations"], "preload": False}).response["violations"]
        found += [f"{width} {theme}: {one['id']}, {len(one['nodes'])} times, first {one['nodes'][0]['html'][:120]}"
                  for one in violations if one["impact"] in GRAVE]
    return found


def listen(page, complaints: list[str], address: str) -> None:
    """Note what a page complains about, and each request that fails or leaves this machine."""
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    page.on("response", lambda answer: complaints.append(f"{answer.status}: {answer.url}") if answer.status >= 400 else None)
    page.on("request", lambda request: None if request.url.startswith((address, "data:", "blob:"))
            else complaints.append(f"leaves the book: {request.url}"))


def each(seen, key: str) -> list:
    """(page, width, theme, value) for every value that is not empty, null or zero."""
    return [(name, *at, look[key]) for name, looks in seen.items() for at, look in looks.items()
            if isinstance(at, tuple) and look[key]]


def test_no_page_complains_or_asks_for_anything_from_elsewhere(seen):
    assert len(seen) >= 11 and not {name: looks["complaints"] for name, looks in seen.items() if looks["complaints"]}


def test_no_page_scrolls_sideways_and_neither_code_nor_sidebars_are_cut(seen):
    assert not each(seen, "sideways") and not each(seen, "clipped")


def test_pictures_are_loaded_and_described_and_formulas_and_icons_drawn(seen):
    assert not [found for key in ("broken", "undescribed", "formulas", "icons") for found in each(seen, key)]


def test_pages_follow_the_systems_theme(seen):
    assert {(theme, shown) for _, _, theme, shown in each(seen, "theme")} == {("light", "light"), ("dark", "dark")}


def test_nothing_on_a_page_shuts_readers_out(seen):
    assert not {name: looks["hindrances"] for name, looks in seen.items() if looks["hindrances"]}


def test_axe_finds_what_is_wrong(page):
    page.set_content("<main><h1>Title</h1><img src='data:,'><p style='color: #bbb; background: #fff'>Pale</p></main>")
    assert {found.split(": ")[1].split(",")[0] for found in hindrances(page)} >= {"image-alt", "color-contrast"}


def test_a_picture_comes_soon(seen):
    tops = {name: looks[WIDTHS[0], "light"]["figure"] for name, looks in seen.items()}
    shown = {name: top for name, top in tops.items() if name.startswith("notebooks/") or name == "book/index.html"}
    assert len(shown) > 9 and not {name: top for name, top in shown.items() if top is None or top > FIRST_FIGURE}


def test_links_within_the_book_lead_somewhere(seen, address, built):
    ids = {name: set(looks["links"][1]) for name, looks in seen.items()}
    dead = set()
    for name, looks in seen.items():
        for link in looks["links"][0]:
            target, anchor = urldefrag(link)
            file = urlparse(target).path.lstrip("/")
            if not link.startswith(address):
                continue
            if not (built / file).exists() or (anchor and file in ids and anchor not in ids[file]):
                dead.add((name, link.removeprefix(address)))
    assert not dead


@pytest.fixture
def page(browser):
    with browser.new_context(viewport={"width": 1280, "height": 900}) as context:
        yield context.new_page()


def test_the_search_stays_in_sight_beside_every_chapter(page, address):
    for path in sorted(NOTEBOOKS.glob("[0-9][0-9]-*.md")):
        page.goto(f"{address}notebooks/{path.stem}.html", wait_until="load")
        boxes = page.locator(".search-button-field, input[type=search]").locator("visible=true")
        assert boxes.count() == 1 and 0 <= boxes.bounding_box()["y"] < 300, path.stem


def test_search_finds_memorization_and_quotes_no_tex(page, address):
    page.goto(f"{address}search.html?q=memorization")
    page.wait_for_selector("#search-results li p.context", timeout=20_000)
    page.wait_for_timeout(500)
    texts = page.locator("#search-results p.context").all_inner_texts()
    assert texts and not [text for text in texts if re.search(r"\\[a-zA-Z(]", text)]


def test_filters_leave_the_claims_that_are_asked_for(page, address):
    contents = record.read_all()
    claims = [claim | {"chapter": str(content["chapter"])} for content in contents for claim in content["claims"]]
    page.goto(f"{address}book/verdicts.html")
    rows = page.locator("table.claims tbody tr:visible")
    assert rows.count() == len(claims)
    chosen = {}
    for key in ("verdict", "chapter", "source"):
        chosen[key] = claims[0][key]
        page.select_option(f"[data-filter={key}]", chosen[key])
        wanted = [claim["id"] for claim in claims if all(claim[k] == value for k, value in chosen.items())]
        assert [row.split("-", 2)[2] for row in rows.evaluate_all("rows => rows.map(row => row.id)")] == wanted
        assert f"{len(wanted)} of {len(claims)}" in page.inner_text(".verdict-filters output")


def test_counts_on_the_home_page_are_those_of_the_verdicts_page(page, address):
    page.goto(f"{address}book/index.html")
    counts = page.locator("table.scoreboard tfoot td").all_inner_texts()
    page.goto(f"{address}book/verdicts.html")
    assert sum(int(text) for text in counts if text.isdigit()) == page.locator("table.claims tbody tr").count()


def test_a_wrong_address_has_a_page_that_leads_home(built):
    assert "There is no page here" in (built / "404.html").read_text(encoding="utf-8")


@pytest.fixture
def opened(browser, address):
    """Opens a page, which must not complain."""
    page, complaints = browser.new_page(), []
    listen(page, complaints, address)

    def at(name):
        page.goto(address + name, wait_until="load")
        return page

    yield at
    page.close()
    assert not complaints


@pytest.fixture
def chapter_1(opened):
    return opened("notebooks/01-reproducibility.html")


def slide(figure, value):
    """Move the slider of an interactive figure."""
    figure.locator("input[type=range]").first.evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input', {bubbles: true})); }", str(value))


def test_figures_on_a_phone_keep_their_letters_and_scroll_in_their_own_box(opened):
    page = opened("notebooks/03-conditional.html")                     # the first one is of photographs
    assert page.locator("figure:has(> img)").count() == page.locator("figure:has(> img.lettered)").count() > 5
    figure = page.locator("figure:has(> img.lettered)").first
    sizes = "e => [e.clientWidth, e.scrollWidth, e.querySelector('figcaption').clientWidth, e.tabIndex]"
    width, whole, _, reached = figure.evaluate(sizes)
    assert whole == width and reached == -1
    page.set_viewport_size({"width": 390, "height": 900})
    width, whole, caption, reached = figure.evaluate(sizes)
    assert whole >= 640 > 390 > width >= caption and reached == 0
    figure.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.activeElement.scrollLeft > 0")


def test_the_threshold_moves_and_says_what_the_chapter_measured(chapter_1):
    found, figure = record.read(1)["measurements"], chapter_1.locator("div.interactive[data-kind=threshold]")
    share = figure.locator(".shares output").first
    assert share.inner_text() == f"{found['rp_core']:.1%}".replace("%", " %")
    slide(figure, 10)                                                  # from .50 in steps of .01
    assert share.inner_text() == f"{found['rp_core_06']:.1%}".replace("%", " %")
    passing = figure.locator(".tile.same")
    assert f"{passing.count()} of these" in figure.locator(".said").inner_text()


def test_another_noise_is_another_picture_and_who_is_pointed_at_is_compared(chapter_1):
    figure = chapter_1.locator("div.interactive[data-kind=pictures]")
    place = "e => getComputedStyle(e).backgroundPosition"
    first = figure.locator(".tile .picture").first
    before, names = first.evaluate(place), figure.locator(".tile")
    slide(figure, 3)
    assert first.evaluate(place) != before and figure.locator(".controls output").inner_text() == "4"
    names.nth(2).click()
    assert names.nth(2).get_attribute("aria-pressed") == "true"
    assert "U-Net, wide" in figure.locator(".said").inner_text()


def test_more_training_images_turn_copies_into_new_pictures(opened):
    figure = opened("notebooks/02-two-regimes.html").locator("div.interactive[data-kind=pictures]")
    sizes = sorted(PROFILES["laptop"].sizes)
    picture = figure.locator(".tile .picture").first
    said, seen = figure.locator(".controls output"), set()
    for place, n in enumerate(sizes):
        slide(figure, place)
        assert said.first.inner_text() == f"{n:,}"
        seen.add(picture.evaluate("e => getComputedStyle(e).backgroundPosition"))
    assert len(seen) == len(sizes)
    figure.locator(".tile").first.click()                               # a network's picture, beside what is nearest to it
    copies = []
    for place in (0, len(sizes) - 1):
        slide(figure, place)
        copies.append(figure.locator(".tile.same").count())
    assert copies[0] > copies[1]
