"""The book as a citizen of the web: buttons, descriptions, addresses, sitemap, and nothing that no page uses.

`repository: url` and `html: baseurl` in _config.yml are the settings. Left empty, the first is read from the git remote
`origin` and the second follows from the first; without either, buttons and whole addresses are left out.
"""

from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

from helpers.report import cards, citation, icons, site

logger = logging.getLogger(__name__)
BINDER = "https://mybinder.org"
THEBE = "sphinx_thebe"                  # Jupyter Book always loads it; a page that runs nothing has no use for it


def settle_addresses(app, config):
    """Repository and pages: from the settings, or from git; buttons only where they lead somewhere."""
    options = config.html_theme_options
    address = site.repository_address(options.get("repository_url") or site.git_remote())
    options["repository_url"] = address
    for button in ("use_repository_button", "use_issues_button"):
        options[button] = bool(address)
    launch = dict(options.get("launch_buttons") or {})
    options["launch_buttons"] = launch | ({"binderhub_url": BINDER} if "github.com" in address else {})
    base = config.html_baseurl or site.pages_address(address)
    config.html_baseurl = base if not base or base.endswith("/") else f"{base}/"


def leave_thebe_out(app):
    """Its scripts would be written twice into each page, for a button that no page has."""
    for event, listeners in app.events.listeners.items():
        app.events.listeners[event] = [one for one in listeners if not one.handler.__module__.startswith(THEBE)]


def description(doctree: nodes.document | None) -> str:
    """A page's first sentences: of its first paragraph or list item, without formulas and references to literature."""
    for paragraph in doctree.findall(nodes.paragraph) if doctree else ():
        copy = paragraph.deepcopy()
        for node in [*copy.findall(lambda n: isinstance(n, nodes.math | nodes.citation_reference))]:
            node.parent.remove(node)
        text = site.shortened(copy.astext())
        if len(text) > 40:
            return text
    return ""


def picture(app, doctree: nodes.document | None) -> str:
    """The name of the card that holds a page's first figure; pages without one show the first chapter's."""
    image = next((node for node in doctree.findall(nodes.image)), None) if doctree else None
    source = app.srcdir / image["uri"] if image is not None else None
    name = f"{Path(image['uri']).stem}.png" if source and source.suffix == ".png" and source.exists() else "book.png"
    target = Path(app.outdir) / "_static/cards" / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        found = cards.on_white(cards.Image.open(source)) if name != "book.png" else cards.chapter_figure(1)
        cards.card(found).save(target, optimize=True)
    return f"_static/cards/{name}"


def describe(app, pagename, templatename, context, doctree):
    """Into the head of each page: what it is about, where it is, and a picture of it. No script twice."""
    unique = {(script.filename or "", script.attributes.get("body")): script for script in context["script_files"]}
    context["script_files"] = list(unique.values())
    if doctree is not None:
        context["metatags"] = f"{context.get('metatags', '')}\n{head(app, pagename, doctree)}"


def head(app, pagename: str, doctree: nodes.document) -> str:
    """The tags that describe a page; whole addresses only where the book's own is known."""
    base, title = app.config.html_baseurl, app.env.titles[pagename].astext()
    image = f"{base}{picture(app, doctree)}" if base else ""
    address = f"{base}{pagename}.html" if base else ""
    return site.metatags(title, description(doctree) or app.config.html_title, address, image)


def finish(app, exception):
    """After the pages: sitemap, robots, 404, the root's page; the icons that are used; no maps of minified scripts."""
    if exception or app.builder.name != "html":
        return
    out, base, home = Path(app.outdir), app.config.html_baseurl, f"{app.config.root_doc}.html"
    pages = sorted(f"{name}.html" for name in app.env.found_docs if (out / f"{name}.html").exists())
    title, tags = app.config.html_title, head(app, app.config.root_doc, app.env.get_doctree(app.config.root_doc))
    files = {"robots.txt": site.robots(base), "404.html": site.not_found(title, base, home),
             "index.html": site.redirect(title, home, tags)}
    if base:
        files["sitemap.xml"] = site.sitemap(base, pages)
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")
    for path in (out / "_static").rglob("*.map"):
        path.unlink()
    trim_icons(out)


def trim_icons(out: Path):
    """The theme's icon script, taken anew from the theme, with what the built pages show."""
    scripts = Path(find_spec("pydata_sphinx_theme").origin).parent / "theme/pydata_sphinx_theme/static/scripts"
    theme = [*scripts.glob("pydata*.js"), *(out / "_static/scripts").glob("sphinx-book-theme.js"),
             *(out / "_static").glob("*.js")]
    names = icons.named(path.read_text(encoding="utf-8", errors="replace") for path in [*out.rglob("*.html"), *theme])
    whole = (scripts / "fontawesome.js").read_text(encoding="utf-8")
    small = icons.trimmed(whole, names)
    if small == whole:
        logger.warning("web: the theme's icons are not written as helpers/report/icons.py knows them, so all of them stay")
    (out / "_static/scripts/fontawesome.js").write_text(small, encoding="utf-8")


class Citation(SphinxDirective):
    """```{citation}``` : BibTeX entries of the paper and of the book, to copy."""

    def run(self) -> list[nodes.Node]:
        for name in ("CITATION.cff", "book/references.bib"):
            self.env.note_dependency(str(Path(self.env.srcdir) / name))
        text = citation.bibtex(self.config.copyright, self.config.html_theme_options.get("repository_url", ""))
        return [nodes.literal_block(text, text, language="bibtex")]


def setup(app):
    app.add_directive("citation", Citation)
    app.connect("config-inited", settle_addresses, priority=100)
    app.connect("builder-inited", leave_thebe_out, priority=100)
    app.connect("html-page-context", describe, priority=900)
    app.connect("build-finished", finish, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
