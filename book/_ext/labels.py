"""References labeled as the text cites them: [Ho et al., 2020], and a letter where two would read the same.

Named `authoryear` for `bibtex_default_style` in _config.yml.
"""

from collections import Counter

from pybtex.plugin import register_plugin
from pybtex.style.formatting.unsrt import Style as UnsrtStyle
from pybtex.style.labels import BaseLabelStyle


def label(entry) -> str:
    """First author's family name, "and" a second one or "et al.", and the year."""
    people = entry.persons.get("author", [])
    names = [" ".join(map(str, person.rich_prelast_names + person.rich_last_names)) for person in people]
    who = " and ".join(names) if len(names) in (1, 2) else f"{names[0]} et al." if names else entry.key
    return f"{who}, {entry.fields.get('year', 'n. d.')}"


class AuthorYear(BaseLabelStyle):
    def format_labels(self, sorted_entries):
        labels = [label(entry) for entry in sorted_entries]
        total, so_far = Counter(labels), Counter()
        for text in labels:
            so_far[text] += 1
            yield text if total[text] == 1 else f"{text}{chr(ord('a') + so_far[text] - 1)}"


class Style(UnsrtStyle):
    default_label_style = AuthorYear
    default_sorting_style = "author_year_title"


def as_list(app, pagename, templatename, context, doctree):
    """Entries of the list of references are its items, also for a screen reader: docutils gives them a role of no list."""
    if "body" in context:
        context["body"] = context["body"].replace('role="doc-biblioentry"', 'role="listitem"')


def setup(app):
    register_plugin("pybtex.style.formatting", "authoryear", Style)
    app.connect("html-page-context", as_list)
    return {"version": "1", "parallel_read_safe": True}
