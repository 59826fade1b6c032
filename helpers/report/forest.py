"""The verdicts page: claims in rows, with a filter's handles, and a forest plot drawn from the stored numbers.

Each row has a small drawing on one axis for all claims of a chapter: the interval as a bar, the value as a dot, chance as a
tick, and what mean and covariance alone give as a diamond. Colors are the style sheet's, so that both themes show them.
"""

import html

from helpers.report.tables import css_class, in_words, number

WIDTH, HEIGHT, MARGIN = 190, 28, 7
COLUMNS = ("Claim", "Verdict", "Ours [95 % interval]", "On one axis")


def domain(claims: list[dict]) -> tuple[float, float]:
    """The axis that the claims of a chapter share: from 0 to 1, and as far beyond as any of their numbers goes."""
    keys = ("measured", "low", "high", "null", "linear")
    values = [claim[key] for claim in claims for key in keys if claim.get(key) is not None]
    return min([0.0, *values]), max([1.0, *values])


def drawing(claim: dict, ends: tuple[float, float]) -> str:
    """One claim's row of the forest plot as SVG."""
    if claim["measured"] is None:
        return ""

    def x(value: float) -> str:
        return f"{MARGIN + (value - ends[0]) / (ends[1] - ends[0]) * (WIDTH - 2 * MARGIN):.1f}"

    middle, said = HEIGHT / 2, [number(claim["measured"])]
    parts = [f'<line class="rule" x1="{x(v)}" x2="{x(v)}" y1="0" y2="{HEIGHT}"/>' for v in (0, 1)]
    if claim["null"] is not None:
        parts.append(f'<line class="null" x1="{x(claim["null"])}" x2="{x(claim["null"])}" y1="4" y2="{HEIGHT - 4}"/>')
        said.append(f"chance {number(claim['null'])}")
    if claim["low"] is not None:
        parts.append(f'<line class="interval" x1="{x(claim["low"])}" x2="{x(claim["high"])}" y1="{middle}" y2="{middle}"/>')
        said.append(f"interval {number(claim['low'])} to {number(claim['high'])}")
    if claim["linear"] is not None:
        at = float(x(claim["linear"]))
        parts.append(f'<path class="linear" d="M{at - 5:.1f} {middle}l5 -5l5 5l-5 5z"/>')
        said.append(f"mean and covariance {number(claim['linear'])}")
    parts.append(f'<circle class="value" cx="{x(claim["measured"])}" cy="{middle}" r="4"/>')
    label = html.escape("; ".join(said))
    return (f'<svg class="forest" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}" role="img" '
            f'aria-label="{label}"><title>{label}</title>{"".join(parts)}</svg>')


def legend() -> str:
    """What the signs of the drawings mean, shown on a drawing of its own."""
    sample = {"measured": 0.5, "low": 0.3, "high": 0.7, "null": 0.05, "linear": 0.2}
    shown = drawing(sample, (-0.1, 1.1))
    return (f'<p class="forest-legend">{shown} The dot is what we measure and the '
            "bar its interval; the dashed tick is what chance gives, the diamond what mean and covariance alone give. Thin "
            "lines stand at 0 and at 1.</p>")


def anchor(chapter: int, claim: dict) -> str:
    """The id of a claim's row: claim-2-memorization."""
    return f"claim-{chapter}-{claim['id']}"


def claim_row(chapter: int, claim: dict, ends: tuple[float, float], link: str) -> str:
    """A claim as a row of the table, which a phone shows as a card."""
    source, verdict = claim["source"], claim["verdict"]
    name = anchor(chapter, claim)
    notes = "; ".join(text for text in (claim["level"], claim["note"]) if text)
    ours = number(claim["measured"])
    if claim["low"] is not None:
        ours += f' <span class="interval">[{number(claim["low"])}, {number(claim["high"])}]</span>'
    first = (f'<a class="claim-link" href="#{name}" aria-label="Link to this claim">#</a> '
             f'<a href="{html.escape(link)}">{html.escape(claim["statement"])}</a>'
             f'<small>Published ({source}): {html.escape(claim["paper"])}</small>'
             + (f"<small>{html.escape(notes)}</small>" if notes else ""))
    if source == "ours":
        first = first.replace("Published (ours): ", "Our addition: ")
    size = f"<small>n = {number(claim['n'])}</small>" if claim["n"] is not None else ""
    cells = (first, f"<b>{html.escape(in_words(claim))}</b>", ours + size, drawing(claim, ends))
    body = "".join(f'<td data-label="{label}">{cell}</td>' for label, cell in zip(COLUMNS, cells))
    return (f'<tr id="{name}" class="{css_class(verdict)}" data-chapter="{chapter}" data-verdict="{html.escape(verdict)}" '
            f'data-source="{html.escape(source)}">{body}</tr>')


def chapter_table(content: dict, link: str) -> str:
    """The claims of a chapter as a table; link leads to the chapter's verdict."""
    ends = domain(content["claims"])
    head = "".join(f'<th scope="col">{name}</th>' for name in COLUMNS)
    body = "\n".join(claim_row(content["chapter"], claim, ends, link) for claim in content["claims"])
    return f'<table class="claims"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'


def filters(contents: list[dict], names: dict[int, str]) -> str:
    """Three choices, shown where there is JavaScript, and how many claims they leave."""
    claims = [claim for content in contents for claim in content["claims"]]
    choices = {
        "chapter": [(str(n), name) for n, name in names.items()],
        "verdict": [(v, v) for v in dict.fromkeys(claim["verdict"] for claim in claims)],
        "source": [(s, s) for s in dict.fromkeys(claim["source"] for claim in claims)],
    }
    selects = ""
    for key, values in choices.items():
        options = "".join(f'<option value="{html.escape(v)}">{html.escape(name)}</option>' for v, name in values)
        options = f'<option value="">all</option>{options}'
        selects += f'<label>{key.capitalize()} <select data-filter="{key}">{options}</select></label>'
    return (f'<form class="verdict-filters" hidden>{selects}<output role="status">{len(claims)} claims</output></form>')
