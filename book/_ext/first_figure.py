"""A chapter's first figure under the heading of its section, above the code that draws it.

In the notebook a figure follows its code; on the page a reader sees the picture first, and then how it is made.
"""

from docutils import nodes


def raise_first_figure(app, doctree: nodes.document) -> None:
    """Move what holds a notebook's first figure, the output of a cell, to the top of the cell's section."""
    figure = next(doctree.findall(nodes.figure), None)
    output = figure and above(figure, "cell_code_output")
    if output is None:
        return                                  # a page of prose
    cell = above(output, "cell_code")
    section = cell.parent
    if not isinstance(section, nodes.section):
        return                                  # under a box or a tab, where it shall stay
    cell.remove(output)
    title = next(place for place, child in enumerate(section) if isinstance(child, nodes.title))
    section.insert(title + 1, nodes.container("", output, classes=["cell", "first-figure"]))


def above(node: nodes.Node, element: str) -> nodes.Element | None:
    """The nearest container above a node that MyST-NB has made for `element`."""
    while node is not None and not (isinstance(node, nodes.container) and node.get("nb_element") == element):
        node = node.parent
    return node


def setup(app):
    app.connect("doctree-read", raise_first_figure)
    return {"version": "1", "parallel_read_safe": True}
