"""The report of an audit: sections with a sentence or two, a table and a figure, as text or as one self-contained page."""

import base64
import html
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from helpers.audit import figures
from helpers.audit.measures import Audit, Copies
from helpers.measure.bootstrap import Score
from helpers.measure.identification import chance_rate

STYLE = """body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 60rem; margin: 2rem auto;
padding: 0 1rem } table { border-collapse: collapse; margin: 1rem 0 } th, td { text-align: left; padding: .25rem .8rem;
border-bottom: 1px solid #ddd; font-variant-numeric: tabular-nums } img { max-width: 100%; height: auto }"""


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the report: sentences, a table, and a figure that is drawn when it is wanted, with its description."""

    title: str
    says: Sequence[str]
    columns: Sequence[str] = ()
    rows: Sequence[Sequence[str]] = ()
    figure: Callable[[], Figure] | None = None
    alt: str = ""


def sections(found: Audit) -> list[Section]:
    """The report, in order: what was audited, copies, agreement, denoising errors of each model."""
    return [_subjects(found), _copies(found), _agreement(found), *(_errors(found, name) for name in found.errors)]


def as_text(parts: Sequence[Section]) -> str:
    """The report for a terminal: tables in columns, no figures."""
    blocks = []
    for part in parts:
        lines = [part.title, "-" * len(part.title), *part.says]
        table = [part.columns, *part.rows] if part.rows else []
        widths = [max(map(len, column)) for column in zip(*table)]
        lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table]
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def as_page(parts: Sequence[Section]) -> str:
    """The report as HTML that needs nothing else: figures are PNG inside it."""
    body = []
    for part in parts:
        body += [f"<h2>{html.escape(part.title)}</h2>", *(f"<p>{html.escape(text)}</p>" for text in part.says)]
        if part.rows:
            head, *rows = ("".join(f"<{tag}>{html.escape(cell)}</{tag}>" for cell in row)
                           for tag, row in [("th", part.columns), *(("td", row) for row in part.rows)])
            body += [f"<table><thead><tr>{head}</tr></thead>", *(f"<tr>{row}</tr>" for row in rows), "</table>"]
        if part.figure:
            body.append(f'<img alt="{html.escape(part.alt)}" src="data:image/png;base64,{_png(part.figure())}">')
    return ('<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Audit</title>'
            f"<style>{STYLE}</style></head><body><h1>Audit</h1>\n" + "\n".join(body) + "\n</body></html>\n")


def _png(figure: Figure) -> str:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=96)
    plt.close(figure)
    return base64.b64encode(file.getvalue()).decode()


def _subjects(found: Audit) -> Section:
    rows = [[s.name, s.source, "x".join(map(str, s.images.shape[1:])), f"{len(s.images):,}",
             str(s.denoiser.classes or "-")] for s in found.subjects]
    says = [f"Images are compared by {found.ruler.name}"
            + (f", and two are the same above a similarity of {found.ruler.threshold:g}." if found.ruler.threshold else "."),
            *([found.ruler.remark] if found.ruler.remark else [])]
    return Section("Models", says, ("model", "from", "images", "trained on", "classes"), rows)


def _copies(found: Audit) -> Section:
    rows, says = [], ["A sample is a copy if its nearest training image is three times nearer, in pixels, than the second. "
                      "GL is the share of samples that are like no training image, and its ceiling that of held-out images."]
    for name, c in found.copies.items():
        rows.append([name, str(c.memorized), str(c.control), _score(c.gl), _score(c.ceiling)])
        says.append(_verdict(name, c))
    return Section("Copies of training images", says, ("model", "copies", "of held-out images", "GL", "ceiling of GL"), rows,
                   lambda: figures.nearest(found), "Samples above the training images that are nearest to them, for each "
                   "model; from left to right the ratio of the nearest distance to the next grows.")


def _verdict(name: str, c: Copies) -> str:
    ratio = c.distance[:, 0] / c.distance[:, 1]
    best = ratio.argsort()[:3].tolist()
    pairs = ", ".join(f"sample {i} is nearest to training image {c.index[i, 0]} (ratio {ratio[i]:.2f})" for i in best)
    if c.memorized.value > 0.5:
        kind = "memorizes: most of its samples are copies"
    elif c.memorized.low > c.control.high:
        kind = "memorizes in part: it copies more than held-out images would by chance"
    else:
        kind = "shows no copies beyond those that chance gives"
    return f"{name} {kind}; {pairs}."


def _agreement(found: Audit) -> Section:
    n = len(found.held_out)
    says = [f"From the same {len(found.comparison.z)} noises. An image is identified if it is more similar to its partner "
            f"than to each of {n:,} held-out images, in both directions by halves: chance is {chance_rate(n):.2g}. "
            "RP is the share of pairs above the threshold."]
    rows = [[name, str(a.identified), _score(a.rp)] for name, a in found.agreement.items()]
    return Section("The same image from the same noise", says, ("pair", "identified", "RP"), rows,
                   lambda: figures.same_noise(found),
                   "Images of each model and of the linear baseline, a column for each noise.")


def _errors(found: Audit, name: str) -> Section:
    e = found.errors[name]
    columns = ("sigma", f"{name}, training", "optimal", "excess", f"{name}, held-out", "Gaussian", "excess")
    table = [e.train, e.optimal, e.train - e.optimal, e.held_out, e.gaussian, e.held_out - e.gaussian]
    rows = [[f"{sigma:g}", *(f"{float(column[i]):.2g}" for column in table)] for i, sigma in enumerate(e.sigmas)]
    says = ["Mean squared error per pixel. On its training images no denoiser is better than the optimal one of these "
            "images, and the excess falls to 0 as a model memorizes. On held-out images the excess over the Gaussian "
            "denoiser is negative for a model that knows more than mean and covariance."]
    return Section(f"Denoising errors of {name}", says, columns, rows, lambda: figures.errors(e, name),
                   "Denoising error over the noise level on log axes: the model and the closed forms, on training and on "
                   "held-out images.")


def _score(score: Score | None) -> str:
    return "not measured" if score is None else str(score)
