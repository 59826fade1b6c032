"""The book's furniture agrees with the repository: results, table of contents, pins, and no network."""

import ast
import re
import string
import subprocess
import sys
import tomllib

import yaml
from packaging.requirements import Requirement
from PIL import Image

from helpers.paths import NOTEBOOKS, ROOT
from helpers.report import cards, readme, record

BOOK = ROOT / "book"
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
PAGES = [*sorted(BOOK.glob("*.md")), *sorted(NOTEBOOKS.glob("[0-9][0-9]-*.md"))]
ROLE = re.compile(r"\{measured\}`([^`]+)`")
TEXT = {".md", ".py", ".toml", ".txt", ".yml", ".yaml", ".cff", ".css", ".ipynb", ".json", ".bib", ".svg", ""}


def tracked_files():
    """Files that are committed, or would be: known to git or not ignored by it."""
    listing = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT,
                             capture_output=True, text=True)
    assert not listing.returncode, f"these tests need the git checkout: {listing.stderr}"
    return [ROOT / name for name in listing.stdout.splitlines() if (ROOT / name).is_file()]


def test_bibliography_keys_are_unique_and_cited_keys_exist():
    keys = re.findall(r"^@\w+\{([^,]+),", (BOOK / "references.bib").read_text(encoding="utf-8"), re.M)
    assert keys and len(keys) == len(set(keys))
    cited = {key.strip() for page in PAGES for group in re.findall(r"\{cite[:a-z]*\}`([^`]+)`", page.read_text("utf-8"))
             for key in group.split(",")}
    assert cited <= set(keys)


def test_the_readme_shows_the_stored_verdicts_and_minutes():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert readme.readme_section() in text and readme.readme_minutes() in text, "run `python -m helpers.report readme`"


def test_quoted_numbers_exist():
    for page in PAGES:
        for text in ROLE.findall(page.read_text(encoding="utf-8")):
            chapter, name, spec = (text.split(":", 2) + ["", ""])[:3]
            stored = record.read(int(chapter)) or {"measurements": {}}
            assert name in stored["measurements"], f"{page.name}: {text} is not in data/results/{chapter}.json"
            if spec:
                format(stored["measurements"][name], spec)


def test_stored_results_belong_to_a_chapter():
    for content in record.read_all():
        stem = readme.chapter_file(content["chapter"])
        assert stem and (NOTEBOOKS / f"{stem}.ipynb").exists()
        assert content["cost"]["wall_seconds"] > 0 and content["claims"]


def test_contents_exist_and_every_chapter_is_listed():
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text(encoding="utf-8"))
    listed = [toc["root"], *(entry["file"] for part in toc["parts"] for entry in part["chapters"])]
    assert not [name for name in listed if not (ROOT / name).exists()]
    # Without the extension Sphinx finds two sources, .md and .ipynb, for one page.
    assert {f"notebooks/{p.stem}.ipynb" for p in NOTEBOOKS.glob("[0-9][0-9]-*.md")} <= set(listed)
    assert {f"book/{p.name}" for p in BOOK.glob("*.md")} <= set(listed)


def test_pages_need_no_network():
    sphinx = CONFIG["sphinx"]["config"]
    script = BOOK / "_static" / sphinx["mathjax_path"]
    assert script.exists() and "book/_static" in sphinx["html_static_path"]
    fonts = {path.name for path in (script.parent / "output/chtml/fonts/woff-v2").glob("*.woff")}
    assert {"MathJax_Main-Regular.woff", "MathJax_Math-Italic.woff", "MathJax_AMS-Regular.woff"} <= fonts
    assert CONFIG["execute"]["execute_notebooks"] == "off" and CONFIG["only_build_toc_files"] is True


def pages_of(built):
    return {page: page.read_text(encoding="utf-8") for folder in ("book", "notebooks")
            for page in sorted((built / folder).glob("*.html"))}


def test_the_built_book_has_no_warnings_and_loads_nothing_from_elsewhere(built):
    pages = pages_of(built)
    assert len(pages) == len(PAGES)
    for page, text in pages.items():
        tags = re.findall(r"<(?:script|link|img|iframe)\b[^>]*>", text)
        loaded = [tag for tag in tags if re.search(r"(?:src|href)=.https?:", tag) and 'rel="canonical"' not in tag]
        assert not loaded, f"{page.name} loads {loaded}"


def test_a_chapters_first_figure_stands_above_its_code_and_no_figure_is_lost(built):
    chapters = {page.stem: text for page, text in pages_of(built).items() if page.parent.name == "notebooks"}
    for name, text in chapters.items():
        figures = re.findall(r'<figure class="align-default" id="([^"]+)"', text)
        source = (NOTEBOOKS / f"{name}.md").read_text(encoding="utf-8")
        assert len(figures) == len(set(figures)) == len(re.findall(r"^  figure:", source, re.M)), name
        assert text.index(f'id="{figures[0]}"') < text.index('class="cell tag_parameters'), name


def test_each_page_says_what_it_is_about_where_it_is_and_where_its_source_is(built):
    base = "https://some-body.github.io/the-book/"
    for page, text in pages_of(built).items():
        address = f"{base}{page.relative_to(built).as_posix()}"
        assert f'<link rel="canonical" href="{address}" />' in text
        tags = dict(re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)">', text))
        assert 40 < len(tags["description"]) <= 200 and tags["og:title"] and tags["og:url"] == address
        with Image.open(built / tags["og:image"].removeprefix(base)) as image:
            assert image.size == cards.CARD
        assert 'href="https://github.com/Some-Body/the-book"' in text and "/the-book/issues/new?" in text
        assert "secret" not in text
        assert ("mybinder.org/v2/gh/Some-Body/the-book/main" in text) == (page.parent.name == "notebooks")


def test_the_root_has_what_browsers_and_crawlers_ask_for(built):
    base = "https://some-body.github.io/the-book/"
    listed = set(re.findall(r"<loc>(.*?)</loc>", (built / "sitemap.xml").read_text(encoding="utf-8")))
    assert listed == {base + page.relative_to(built).as_posix() for page in pages_of(built)}
    assert f"Sitemap: {base}sitemap.xml" in (built / "robots.txt").read_text(encoding="utf-8")
    assert f'href="{base}book/index.html"' in (built / "404.html").read_text(encoding="utf-8")
    root = (built / "index.html").read_text(encoding="utf-8")
    assert "url=book/index.html" in root and 'name="description"' in root


def test_the_built_book_carries_nothing_that_no_page_uses(built):
    assert not [*built.rglob("*.map")] and not (built / "genindex.html").exists() and not (built / "prf-prf.html").exists()
    assert (built / "_static/scripts/fontawesome.js").stat().st_size < 150_000
    for page, text in pages_of(built).items():
        scripts = re.findall(r"<script\b[^>]*>.*?</script>", text, re.S)
        assert len(scripts) == len(set(scripts)), f"{page.name} holds a script twice"
        assert "thebe" not in "".join(scripts) and text.count('class="pst-searchbox') <= 1


def test_chapters_are_numbered_and_have_short_names(built):
    for content in record.read_all():
        number, name = readme.chapter_name(content["chapter"]).split(" ", 1)
        assert len(name) <= 20
        stem = readme.chapter_file(content["chapter"])
        for page, text in pages_of(built).items():
            assert re.search(rf'href="[^"]*"[^>]*>{number}\. {name}</a>', text), f"{page.name} does not list {stem}"


def test_committed_files_name_no_machine():
    """A path below somebody's home, or a temporary folder, would work on one machine only."""
    pattern = re.compile(r"/(?:home|Users|root|tmp)/\w|[A-Z]:\\Users|" + re.escape(f"{ROOT}/"))
    for path in tracked_files():
        if path.suffix in TEXT and "mathjax" not in path.parts:
            found = pattern.search(path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{path.relative_to(ROOT)} names {found.group()}"


def test_requirements_pin_every_dependency():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    lines = [line for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
             if line and not line.startswith("#")]
    pins = [Requirement(line) for line in lines]
    assert all(re.fullmatch(r"==[^*,]+", str(pin.specifier)) for pin in pins)
    for wanted in map(Requirement, project["dependencies"]):
        matching = [p for p in pins if p.name == wanted.name.lower() and p.specifier]
        versions = [next(iter(p.specifier)).version for p in matching]
        assert any(wanted.specifier.contains(v) for v in versions), f"compile requirements.txt again: {wanted}"


def test_every_import_of_the_package_is_declared():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]                      # all but the tests' own
    listed = project["dependencies"] + [name for extra in extras.keys() - {"dev"} for name in extras[extra]]
    declared = {Requirement(d).name.replace("-", "_").lower() for d in listed}
    known = declared | set(sys.stdlib_module_names) | {"helpers", "PIL", "yaml", "IPython"}
    for path in sorted((ROOT / "helpers").rglob("*.py")):
        tree = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        names = {alias.name for node in tree if isinstance(node, ast.Import) for alias in node.names}
        names |= {node.module for node in tree if isinstance(node, ast.ImportFrom) and node.level == 0}
        unknown = {name.split(".")[0] for name in names} - known
        assert not unknown, f"{path.name} imports {unknown}, which pyproject.toml does not list"


def test_make_help_names_every_target():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {line.split(":")[0] for line in text.splitlines()
               if line[:1] in string.ascii_lowercase and re.match(r"[a-z%-]+:(?!=)", line)}
    assert {"help", "setup", "book", "html", "chapter-%", "zoo", "test", "bench", "serve", "sync", "clean"} <= targets
    for target in targets:
        assert re.search(rf"^{re.escape(target)}:.*## \S", text, re.M), f"`make help` says nothing about {target}"
