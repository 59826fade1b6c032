"""What a page weighs as it is sent: text compressed, pictures as they are, without what is loaded only when needed."""

import functools
import gzip
import re
from pathlib import Path
from urllib.parse import urlsplit

PAGE, BOOK = 2e6, 60e6                          # bytes: of a page with all that its tags name, of all pages
TAG = re.compile(r"<(?:script|img|link)\b[^>]*>")
ADDRESS = re.compile(r"\b(?:src|href)=\"([^\"]+)\"")
PICTURES = {".png", ".jpg", ".woff", ".woff2"}  # compressed already


@functools.cache
def sent(path: Path) -> int:
    content = path.read_bytes()
    return len(content if path.suffix in PICTURES else gzip.compress(content))


def parts(page: Path, text: str) -> set[Path]:
    """The page and the files that its tags name and a browser loads with it."""
    found = {page}
    for tag in TAG.findall(text):
        address = ADDRESS.search(tag)
        waits = 'loading="lazy"' in tag or (tag.startswith("<link") and not re.search("stylesheet|preload|icon", tag))
        if address and not waits and not urlsplit(address[1]).scheme:
            found.add((page.parent / urlsplit(address[1]).path).resolve())
    return found


def test_what_a_page_loads_is_found(tmp_path):
    (tmp_path / "sub").mkdir()
    text = ('<link rel="stylesheet" href="../a.css?v=1"/><link rel="next" href="b.html"/><img alt="" src="../c.png"/>'
            '<img loading="lazy" src="../d.png"/><img src="data:image/png;base64,AA"/><script src="e.js"></script>')
    names = {path.relative_to(tmp_path).as_posix() for path in parts(tmp_path / "sub/page.html", text)}
    assert names == {"sub/page.html", "a.css", "c.png", "sub/e.js"}


def test_pages_are_light(built):
    pages = sorted(page for page in built.rglob("*.html") if "_static" not in page.parts)
    loaded = {page.relative_to(built).as_posix(): parts(page, page.read_text(encoding="utf-8")) for page in pages}
    weights = {name: sum(map(sent, files)) for name, files in loaded.items()}
    known = ("book/index.html", "notebooks/01-reproducibility.html")
    assert len(weights) > 15 and min(weights[name] for name in known) > 5e5
    assert not {name: weight for name, weight in weights.items() if weight > PAGE}


def test_the_book_is_light(built):
    sizes = [path.stat().st_size for path in built.rglob("*") if path.is_file()]
    assert len(sizes) > 100 and sum(sizes) < BOOK
