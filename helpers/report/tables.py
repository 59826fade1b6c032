"""Numbers and verdict tables as text: on a chapter's page, in the README, in a terminal.

One place decides how a stored number is written, so that the table in a notebook, the table on the home page and a
number quoted in a sentence agree. Takes the dictionaries that `claims.py` stores, computes nothing. Used in every
chapter.
"""

import html
import math

COLUMNS = ("Claim", "The paper", "Ours [95 % interval]", "Linear", "Null", "n", "Verdict")
WORDS = {                                # a verdict in words: only what was seen in the paper is "reproduced"
    "quoted": {},
    "second-hand": {"reproduced": "as reported", "partly": "partly as reported"},
    "ours": {"reproduced": "holds", "partly": "holds in part", "refuted": "the opposite holds"},
}
GROUPS = {"Published claims": ("quoted", "second-hand"), "Our additions": ("ours",)}


def in_words(claim: dict) -> str:
    """A claim's verdict as a table says it, by who makes the claim."""
    return WORDS[claim["source"]].get(claim["verdict"], claim["verdict"])


def grouped(claims: list[dict]) -> dict[str, list[dict]]:
    """What was published, by the paper or after it, apart from our additions; a group without any is left out."""
    found = {title: [c for c in claims if c["source"] in sources] for title, sources in GROUPS.items()}
    return {title: group for title, group in found.items() if group}


def number(value: float | int | None, spec: str = "") -> str:
    """A number as text: three significant figures, no exponent for everyday sizes; None is a dash."""
    if value is None:
        return "–"
    if spec:
        return format(value, spec)
    if isinstance(value, bool | str):
        return str(value)
    if isinstance(value, list):
        return ", ".join(number(v) for v in value)
    if isinstance(value, int) or value == 0:
        return f"{int(value):,}"
    if not math.isfinite(value) or abs(value) < 1e-4:
        return f"{value:.3g}"
    value = float(f"{value:.3g}") if abs(value) < 100 else value
    decimals = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def row(claim: dict) -> tuple[str, ...]:
    """The cells of a claim's row, as plain text, in the order of COLUMNS."""
    ours = number(claim["measured"])
    if claim["low"] is not None:
        ours += f" [{number(claim['low'])}, {number(claim['high'])}]"
    notes = [text for text in (claim["level"], claim["note"]) if text]
    return (
        claim["statement"],
        claim["paper"],
        ours,
        number(claim["linear"]),
        number(claim["null"]),
        number(claim["n"]),
        in_words(claim) + (f" ({'; '.join(notes)})" if notes else ""),
    )


class Table:
    """The verdict table of one chapter, as HTML for the page and as text for a terminal."""

    def __init__(self, claims: list[dict]):
        self.claims = claims

    def __repr__(self) -> str:
        return "\n".join(" | ".join(row(c)) for group in grouped(self.claims).values() for c in group)

    def _repr_html_(self) -> str:
        head = "".join(f"<th>{h}</th>" for h in COLUMNS)
        body = ""
        for title, group in grouped(self.claims).items():
            body += f'<tr class="group"><th colspan="{len(COLUMNS)}">{title}</th></tr>\n'
            for claim in group:
                cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in row(claim))
                body += f'<tr class="{css_class(claim["verdict"])}">{cells}</tr>\n'
        return f'<table class="verdicts"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}</tbody></table>'


def css_class(verdict: str) -> str:
    """The class that colors a row: verdict-reproduced, verdict-partly, verdict-not-at-this-scale."""
    return "verdict-" + verdict.replace(" ", "-")


def markdown_table(rows: list[tuple[str, dict]]) -> str:
    """The claims as a Markdown table, each row led by a link to its chapter."""
    lines = ["| Chapter | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|"]
    for link, claim in rows:
        cells = [cell.replace("|", "\\|").replace("\n", " ") for cell in row(claim)]
        lines.append(f"| {link} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
