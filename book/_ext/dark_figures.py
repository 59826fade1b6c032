"""Each figure twice on its page: as the notebook stores it for light pages, and light ink on nothing for dark ones.

The theme shows one of the two. A picture that does not say where its photographs are, as older notebooks store it, stays on
a light box on dark pages. The others are marked, for book.css to keep their letters legible on a phone.
"""

from pathlib import Path

from docutils import nodes

from helpers.report.picture import dark, fields_of


def add_dark_variants(app, doctree: nodes.document) -> None:
    """Beside each picture of a figure a second one, before Sphinx collects them."""
    for image in list(doctree.findall(nodes.image)):
        file = Path(app.env.relfn2path(image["uri"], app.env.docname)[1])
        stored = file.read_bytes() if file.suffix == ".png" and file.is_file() else b""
        fields = fields_of(stored)
        if fields is None:
            continue
        image["classes"].append("lettered")
        variant = file.with_name(f"{file.stem}-dark.png")
        if not variant.exists():                # its name is a hash of what it shows
            variant.write_bytes(dark(stored))
        other = image.deepcopy()
        other["uri"] = image["uri"].replace(file.name, variant.name)
        image["classes"].append("only-light")
        other["classes"].append("only-dark")
        other["loading"] = "lazy"               # light pages do not load it
        image.parent.insert(image.parent.index(image) + 1, other)


def setup(app):
    app.connect("doctree-read", add_dark_variants, priority=400)                    # images are collected at 500
    return {"version": "1", "parallel_read_safe": True}
