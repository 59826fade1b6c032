"""The page "What it costs": tables and curves as HTML, from what `make bench` and the chapters' last runs have stored.

A bench file holds ratios of seconds, ours over a peer's that ran in turn with it: below 1 ours is the faster. Every row of
it is shown, met or not; a goal is met if the median ratio is within it. Used by the page "What it costs" alone.
"""

import html
import json
import math
import re
from collections.abc import Sequence
from pathlib import Path

from helpers.paths import RESULTS

SUBJECTS = {
    "call": "The optimal denoiser, one call",
    "trajectory": "The optimal denoiser, from noise to image",
    "color": "The optimal denoiser of 50,000 color images",
    "gaussian": "The linear denoiser",
    "overhead": "A step of a solver, beyond its network",
    "evaluations": "Calls of the network until the picture stands",
    "identification": "Scores",
    "nearest descriptor": "Scores",
    "training": "Training",
    "training paper": "Training at the paper's size",
    "forward": "A network's answer",
    "forward paper": "A network's answer at the paper's size",
    "CUDA graph": "A descent recorded as a CUDA graph",
}
PEAKS = {"30": 30e12, "100": 100e12, "300": 300e12}                 # operations a second that a GPU may keep up
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 240, 170, 56, 14, 12, 40


def read(name: str = "bench.json", folder: Path = RESULTS) -> dict:
    """A bench file. FileNotFoundError that says how it is made."""
    path = folder / name
    if not path.exists():
        raise FileNotFoundError(f"data/results/{name} is missing: restore it (`git checkout -- data/results/{name}`), or "
                                f"measure again with `make {'gpu' if 'gpu' in name else 'bench'}`")
    return json.loads(path.read_text(encoding="utf-8"))


def rows(bench: dict) -> dict[str, list[dict]]:
    """What was compared, by subject: the figures, and evaluations of the network, which are counted and not timed."""
    found: dict[str, list[dict]] = {}
    for name, figure in bench["figures"].items():
        found.setdefault(SUBJECTS.get(name.split(",")[0], "Others"), []).append(figure)
    for name, entry in bench["numbers"].items():
        if entry["unit"] == "ratio" and name.startswith("evaluations"):
            found.setdefault(SUBJECTS["evaluations"], []).append({
                "what": "evaluations until RP ≥ .99 with the exact solution, the best of our solvers", "goal": "<= 1",
                "against": name.rpartition(" over ")[2], "ratio": entry["value"], "low": None, "high": None})
    order = [*dict.fromkeys(SUBJECTS.values()), "Others"]
    return {subject: sorted(found[subject], key=_natural) for subject in order if subject in found}


def _natural(row: dict) -> list:
    """Rows in the order of their words, and of the numbers in them."""
    parts = re.split(r"(\d[\d,.]*)", f"{row['what']} {row['against']}")
    return [float(part.replace(",", "").rstrip(".") or 0) if i % 2 else part for i, part in enumerate(parts)]


def outcome(row: dict) -> str:
    """"met", "not met", or "–" for a row that has no goal. ValueError for a goal that is none."""
    if not row["goal"]:
        return "–"
    if not (limit := re.fullmatch(r"<= ([\d.]+)", row["goal"])):
        raise ValueError(f"a goal is '<= NUMBER', got {row['goal']!r}")
    return "met" if row["ratio"] <= float(limit[1]) else "not met"


def summary(bench: dict) -> str:
    """How many goals are met, on what machine and when, as a sentence or two."""
    found = [outcome(row) for group in rows(bench).values() for row in group]
    machine = bench["machine"]
    failed = f" {len(bench['failed'])} measurements failed: {', '.join(bench['failed'])}." if bench["failed"] else ""
    goals, met = len(found) - found.count("–"), found.count("met")
    return (f"Of {goals} goals {met} are met. Measured on {bench['date']} with "
            f"{machine['threads']} of {machine['cores']} cores of an {machine['device']}, Python {machine['python']}, "
            f"PyTorch {machine['torch']}.{failed}")


def ratios(bench: dict) -> str:
    """All comparisons as a table: what, against, ratio with its quartiles, the goal, and whether it is met."""
    body = []
    for subject, group in rows(bench).items():
        shared, own = _shared([row["what"].replace("`", "").replace("sigma", "σ") for row in group])
        body.append(f'<tr><th colspan="5" scope="colgroup">{html.escape(subject)}'
                    f"<small>{html.escape(shared)}</small></th></tr>")
        for row, what in zip(group, own, strict=True):
            spread = "" if row["low"] is None else f' <small>[{_short(row["low"])}, {_short(row["high"])}]</small>'
            goal, end = row["goal"].replace("<=", "≤") or "–", outcome(row)
            body.append(f'<tr class="{end.replace(" ", "-")}"><td>{html.escape(what)}</td>'
                        f'<td>{html.escape(row["against"])}</td><td>{_short(row["ratio"])}{spread}</td><td>{goal}</td>'
                        f"<td>{end}</td></tr>")
    return _table(("what", "against", "ratio [quartiles]", "wanted", "outcome"), body)


def _shared(texts: list[str]) -> tuple[str, list[str]]:
    """What comma-separated texts begin with in common, and what each has beside it; a text alone keeps all."""
    parts = [text.split(", ") for text in texts]
    same = 0
    while len(parts) > 1 and all(len(p) > same and p[same] == parts[0][same] for p in parts):
        same += 1
    return ", ".join(parts[0][:same]), [", ".join(p[same:]) for p in parts]


def chapters(contents: list[dict], names: dict[int, str]) -> str:
    """What the last run of each chapter took: minutes, of the clock and of processors, and memory."""
    costs = {content["chapter"]: content["cost"] for content in contents}
    body = [_cells(names[n], *_minutes(c), f"{c['peak_memory_mb'] / 1024:.1f} GB") for n, c in costs.items()]
    sums = {key: sum(c[key] for c in costs.values()) for key in ("wall_seconds", "cpu_seconds")}
    most = max(c["peak_memory_mb"] for c in costs.values())
    body.append(_cells("all, one after another", *_minutes(sums), f"{most / 1024:.1f} GB"))
    return _table(("chapter", "minutes", "minutes of a core", "memory"), body)


def paper(bench: dict) -> str:
    """The paper's profile by kind of network: models, operations of an image in training, of all training and sampling."""
    found: dict[str, dict[str, float]] = {}
    for name, entry in bench["numbers"].items():
        if match := re.fullmatch(r"paper, (.*): (.*)", name):
            found.setdefault(match[1], {})[match[2]] = entry["value"]
    kinds = {name: n for name, n in found.items() if name != "all"} | ({"all": found["all"]} if "all" in found else {})
    body = [_cells(name, f"{n['models']:.0f}", _short(n["an image in training"] / 1e9) if name != "all" else "",
                   _short(n["training"] / 1e18), _short(n["sampling"] / 1e18)) for name, n in kinds.items()]
    return _table(("network", "models", "10⁹ an image", "10¹⁸ in training", "10¹⁸ in sampling"), body)


def paper_hours(bench: dict) -> dict[str, float]:
    """GPU-hours of the paper's profile, by the operations a second (in 10^12) that a GPU keeps up."""
    total = sum(bench["numbers"][f"paper, all: {part}"]["value"] for part in ("training", "sampling"))
    return {speed: total / peak / 3600 for speed, peak in PEAKS.items()}


def gpu_summary(gpu: dict) -> str:
    """Which card, when, and how many checks held there; those that did not, by name."""
    machine, failed = gpu["machine"], [name for name, end in gpu["checks"].items() if end != "ok"]
    held = len(gpu["checks"]) - len(failed)
    return (f"Measured on {gpu['date']} with one {machine['device']}, Python {machine['python']}, PyTorch "
            f"{machine['torch']}. Of {len(gpu['checks'])} checks {held} hold"
            + (f"; not: {', '.join(failed)}." if failed else "."))


def gpu_speeds(gpu: dict, bench: dict) -> str:
    """Training on the card by width: images a second, memory, and operations a second where they were counted."""
    found = {}
    for name, entry in gpu["numbers"].items():
        if match := re.fullmatch(r"training( paper)?, width (\d+), batch (\d+), channels first: (speed|memory)", name):
            found.setdefault((bool(match[1]), int(match[2]), match[3]), {})[match[4]] = entry["value"]
    body = []
    for (at_paper, width, batch), n in sorted(found.items()):
        counted = bench["numbers"].get(f"paper, unet{width}: an image in training") if at_paper else None
        rate = _short(counted["value"] * n["speed"] / 1e12) if counted else ""
        body.append(_cells(f"U-Net {width}, {'profile paper' if at_paper else 'the book'}", batch, f"{n['speed']:,.0f}",
                           rate, f"{n['memory']:.1f} GB"))
    return _table(("network", "batch", "images a second", "10¹² operations a second", "memory"), body)


def paper_measured(gpu: dict, bench: dict) -> dict[int, float]:
    """Hours on that card of training all of the paper's U-Nets, by width, as far as their speed was measured."""
    found = {}
    for width in (64, 128):
        speed = gpu["numbers"].get(f"training paper, width {width}, batch 128, channels first: speed")
        total, one = (bench["numbers"].get(f"paper, unet{width}: {part}") for part in ("training", "an image in training"))
        if speed and total and one:
            found[width] = total["value"] / one["value"] / speed["value"] / 3600
    return found


def growth(bench: dict) -> str:
    """How seconds grow: one small figure for each curve, both axes logarithmic, its exponent in the caption."""
    return f'<div class="growth">{"".join(_curve(name, curve) for name, curve in bench["curves"].items())}</div>'


def _curve(name: str, curve: dict) -> str:
    xs, seconds, variable = curve["x"], curve["seconds"], curve["variable"]
    x, y = _scale(xs, LEFT, WIDTH - RIGHT), _scale([*curve["low"], *curve["high"]], HEIGHT - BOTTOM, TOP)
    bars = "".join(f'<line x1="{x(n):.1f}" x2="{x(n):.1f}" y1="{y(low):.1f}" y2="{y(high):.1f}"/>'
                   for n, low, high in zip(xs, curve["low"], curve["high"], strict=True))
    points = "".join(f'<circle cx="{x(n):.1f}" cy="{y(s):.1f}" r="3"/>' for n, s in zip(xs, seconds, strict=True))
    line = " ".join(f"{x(n):.1f},{y(s):.1f}" for n, s in zip(xs, seconds))
    bottom = HEIGHT - BOTTOM
    marks = "".join(f'<text x="{x(n):.1f}" y="{bottom + 18}" text-anchor="{where}">{_count(n)}</text>'
                    for n, where in ((xs[0], "start"), (xs[-1], "end")))
    marks += "".join(f'<text x="{LEFT - 6}" y="{y(s) + 4:.1f}" text-anchor="end">{_time(s)}</text>'
                     for s in (seconds[0], seconds[-1]))
    marks += f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">{html.escape(variable)}</text>'
    said = f"{name}: from {_time(seconds[0])} at {_count(xs[0])} to {_time(seconds[-1])} at {_count(xs[-1])}"
    power = (f"{variable} to the power {curve['exponent']:.2f} <small>[{curve['exponent_low']:.2f}, "
             f"{curve['exponent_high']:.2f}], last {curve['fitted']} points</small>")
    return (f'<figure><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{html.escape(said)}"><path class="axes" '
            f'd="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}"/>{bars}<polyline points="{line}"/>{points}{marks}</svg>'
            f"<figcaption><strong>{html.escape(name)}</strong>: as {power}</figcaption></figure>")


def _scale(values: Sequence[float], start: float, end: float):
    """A logarithmic axis from the least value to the greatest, with some room."""
    low, high = math.log(min(values)), math.log(max(values))
    room = 0.06 * (high - low) or 1.0
    return lambda v: start + (math.log(v) - low + room) / (high - low + 2 * room) * (end - start)


def _table(columns: Sequence[str], body: list[str]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in columns)
    return (f'<div class="costs" tabindex="0"><table><thead><tr>{head}</tr></thead>\n<tbody>\n' + "\n".join(body)
            + "\n</tbody></table></div>")


def _cells(first: str, *rest: str) -> str:
    return f'<tr><th scope="row">{html.escape(first)}</th>' + "".join(f"<td>{cell}</td>" for cell in rest) + "</tr>"


def _minutes(cost: dict) -> tuple[str, str]:
    return f"{cost['wall_seconds'] / 60:.1f}", f"{cost['cpu_seconds'] / 60:.1f}"


def _short(value: float) -> str:
    """Three significant digits, whole numbers whole, no exponent."""
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}" if 0 < value < 100 else f"{value:,.0f}"


def _count(value: float) -> str:
    return f"{value:,.0f}"


def _time(seconds: float) -> str:
    if seconds >= 1:
        return f"{seconds:.2g} s"
    return f"{seconds * 1000:.2g} ms" if seconds < 0.1 else f"{seconds * 1000:.0f} ms"
