"""What the home page says of each chapter: its question, its answer, its score; read from its text and its results.

A chapter opens with its question as title and three takeaways, each a sentence in bold and the numbers behind it; the home
page repeats the first. Nothing is written twice, so a chapter that is redone changes the home page, too.
"""

import html
import re
from collections import Counter

from helpers.report.claims import VERDICTS
from helpers.report.readme import chapter_name
from helpers.report.tables import GROUPS, css_class, grouped

TITLE = re.compile(r"^# (.+)$", re.M)
TAKEAWAY = re.compile(r"^## In one minute\n+- ((?:.+\n?)(?:  .+\n?)*)", re.M)
BOLD = re.compile(r"\*\*(.+?)\*\*")
LINKS = re.compile(r"\s*\(\[[^()]*\]\(#[\w-]+\)(?:, \[[^()]*\]\(#[\w-]+\))*\)")


def _first(pattern: re.Pattern, text: str, what: str) -> str:
    if not (found := pattern.search(text)):
        raise ValueError(f"a chapter's text lacks {what}")
    return " ".join(found[1].split())


def question(text: str) -> str:
    """A chapter's title."""
    return _first(TITLE, text, "a title")


def takeaway(text: str) -> str:
    """A chapter's first takeaway as MyST text, without links to its sections, which lie on another page."""
    return LINKS.sub("", _first(TAKEAWAY, text, "takeaways under `## In one minute`"))


def answer(text: str) -> str:
    """The sentence in bold that a chapter's first takeaway begins with."""
    return _first(BOLD, takeaway(text), "a sentence in bold in its first takeaway")


def tally(claims: list[dict]) -> dict[str, Counter]:
    """How many claims of each group have each verdict: {"Published claims": {"reproduced": 4}}."""
    return {title: Counter(claim["verdict"] for claim in group) for title, group in grouped(claims).items()}


def scoreboard(contents: list[dict], links: dict[int, str]) -> str:
    """A table of counts as HTML: a row for each chapter and one of sums; published claims, then our additions.

    contents   stored results of chapters; links: the address of each chapter's page
    """
    tallies = {content["chapter"]: tally(content["claims"]) for content in contents}
    sums = {title: sum((found.get(title, Counter()) for found in tallies.values()), Counter()) for title in GROUPS}
    shown = {title: [v for v in VERDICTS if counts[v]] for title, counts in sums.items() if counts}
    rows = [(f'<a href="{html.escape(links[n])}">{html.escape(chapter_name(n))}</a>', found) for n, found in tallies.items()]
    body = "\n".join(_row(name, found, shown) for name, found in rows)
    words = {title: _words(title) for title in shown}
    head = "".join(f'<th colspan="{len(verdicts)}" scope="colgroup">{title}</th>' for title, verdicts in shown.items())
    names = "".join(f'<th scope="col">{words[title].get(v, v)}</th>' for title, verdicts in shown.items() for v in verdicts)
    top = f'<tr><th rowspan="2" scope="col">Chapter</th>{head}</tr>\n<tr>{names}</tr>'
    return (f'<table class="scoreboard"><thead>{top}</thead>\n<tbody>\n{body}\n</tbody>\n'
            f'<tfoot>{_row("All", sums, shown)}</tfoot></table>')


def _words(title: str) -> dict[str, str]:
    """Our additions hold or do not; only what the paper says is reproduced."""
    return {} if title == next(iter(GROUPS)) else {"reproduced": "hold", "partly": "in part", "refuted": "opposite"}


def _row(name: str, found: dict[str, Counter], shown: dict[str, list[str]]) -> str:
    cells = ""
    for title, verdicts in shown.items():
        for k, v in enumerate(verdicts):
            count = found.get(title, Counter())[v]
            edge = " first" if not k else ""
            cells += f'<td class="{css_class(v) if count else "none"}{edge}">{count or "–"}</td>'
    return f'<tr><th scope="row">{name}</th>{cells}</tr>'


def cost(contents: list[dict]) -> str:
    """What running all chapters costs, as their last runs did."""
    minutes = [content["cost"]["wall_seconds"] / 60 for content in contents]
    memory = max(content["cost"]["peak_memory_mb"] for content in contents) / 1024
    where = contents[0]["cost"]
    each = f"{min(minutes):.0f} to {max(minutes):.0f} each"
    return (f"{len(minutes)} chapters, {sum(minutes):.0f} minutes in all ({each}) with "
            f"{where['threads']} threads of an {where['device']}, and {memory:.1f} GB of memory")
