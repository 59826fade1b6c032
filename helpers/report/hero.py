"""The home page's two figures: what many systems draw from the same noises, and the two regimes, slim.

Both are read from what chapters have stored, so that no model is needed: the pictures are parts of the sheet that chapter 1
keeps for the figure that a reader can move, the curves are chapter 2's measurements. The first is rows of images with
names as text, the second an SVG; their colors are the style sheet's, so that both themes and a phone show them. Used by
`book/_ext/home.py`.
"""

import base64
import html
import io
import json
from collections.abc import Sequence
from math import log2
from pathlib import Path

from PIL import Image

SYSTEMS = {"six diffusion models": ("U-Net", "plain CNN", "U-ViT", "VP (score SDE)", "flow matching", "multistage"),
           "other generators": ("GAN", "VAE")}
NOISES = 8                              # the first ones; none is chosen
SCALE, GAP = 2, 2                       # of stored pixels, so that a screen shrinks them; between pictures
OPENING = '<script type="application/json">'
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 260, 250, 38, 12, 26, 40
CURVES = {"rp": "two networks draw the same picture", "gl": "one draws a new picture (two widths)",
          "null": "same picture, from different noises"}


def stored_pictures(notebook: Path) -> dict:
    """What a notebook's first figure of kind "pictures" holds (helpers/report/interactive.py). ValueError without one."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            page = "".join(output.get("data", {}).get("text/html", ""))
            if 'data-kind="pictures"' in page:
                return json.loads(page.split(OPENING)[1].split("</script>")[0])
    raise ValueError(f"{notebook.name} has stored no figure to choose pictures in; run its chapter")


def strip(sheet: Image.Image, row: int, size: int, count: int) -> str:
    """The first `count` pictures of a row of a sheet, `size` pixels each, as the address of a PNG with clear gaps."""
    step = size * SCALE + GAP
    image = Image.new("LA", (count * step - GAP, size * SCALE))
    for k in range(count):
        tile = sheet.crop((k * size, row * size, (k + 1) * size, (row + 1) * size)).convert("LA")
        image.paste(tile.resize((size * SCALE, size * SCALE), Image.Resampling.NEAREST), (k * step, 0))
    packed = io.BytesIO()
    image.save(packed, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode('ascii')}"


def systems(content: dict, caption: str) -> str:
    """Rows of pictures, one system each and one noise a column, as HTML.

    ValueError if `content`, chapter 1's stored figure, lacks a system.
    """
    labels = [label for block in content["blocks"] for label in block["labels"]]
    if missing := [name for names in SYSTEMS.values() for name in names if name not in labels]:
        raise ValueError(f"chapter 1 has stored no pictures of {', '.join(missing)}: "
                         "change SYSTEMS in helpers/report/hero.py")
    sheet = Image.open(io.BytesIO(base64.b64decode(content["sheet"].partition(",")[2]))).convert("L")
    columns = content["size"][0]
    size, count = sheet.width // columns, min(NOISES, columns)
    parts = []
    for title, names in SYSTEMS.items():
        parts.append(f'<p class="block">{title}</p>')
        for name in names:
            said = f"{name}: what it draws from noises 1 to {count}"
            parts.append(f'<div class="strip"><span>{html.escape(name)}</span>'
                         f'<img class="dark-light" src="{strip(sheet, labels.index(name), size, count)}" '
                         f'alt="{html.escape(said)}"/></div>')
    return f'<figure class="hero-systems">{"".join(parts)}<figcaption>{caption}</figcaption></figure>'


def regimes(sizes: Sequence[int], found: dict[str, list[float]], caption: str) -> str:
    """Agreement and new pictures over the number of training images, as SVG in a figure.

    sizes   rising, (N,); found: chapter 2's measurements rp_widths, rp_null, gl_small and gl_large, (N,) each in [0, 1]

    ValueError for lengths that differ.
    """
    lines = {"gl": ("gl_small", "gl_large"), "null": ("rp_null",), "rp": ("rp_widths",)}
    if {len(found[key]) for keys in lines.values() for key in keys} != {len(sizes)}:
        raise ValueError(f"chapter 2 has stored curves of another length than its {len(sizes)} sizes; run it again")
    ends = log2(sizes[0]), log2(sizes[-1])

    def x(n: float) -> float:
        return LEFT + (log2(n) - ends[0]) / (ends[1] - ends[0]) * (WIDTH - LEFT - RIGHT)

    def y(share: float) -> float:
        return TOP + (1 - share) * (HEIGHT - TOP - BOTTOM)

    parts = [*_axes(sizes, x, y)]
    for name, keys in lines.items():
        for key in keys:
            points = " ".join(f"{x(n):.1f},{y(v):.1f}" for n, v in zip(sizes, found[key], strict=True))
            parts.append(f'<polyline class="{name}" points="{points}"/>')
    parts += [f'<circle class="rp" cx="{x(n):.1f}" cy="{y(v):.1f}" r="3"/>' for n, v in zip(sizes, found["rp_widths"])]
    legend = "".join(f'<span><svg viewBox="0 0 26 8" width="26" height="8" aria-hidden="true"><line class="{name}" x1="0" '
                     f'x2="26" y1="4" y2="4"/></svg>{said}</span>' for name, said in CURVES.items())
    return (f'<figure class="hero-regimes"><svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{html.escape(spoken(sizes, found))}">{"".join(parts)}</svg><div class="legend">{legend}</div>'
            f"<figcaption>{caption}</figcaption></figure>")


def _axes(sizes: Sequence[int], x, y) -> list[str]:
    """Rules and numbers of both axes, and the names of the two regimes."""
    parts = []
    for share in (0, 0.5, 1):
        parts.append(f'<line class="rule" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>'
                     f'<text x="{LEFT - 5}" y="{y(share) + 4:.1f}" text-anchor="end">{100 * share:.0f}%</text>')
    for n in (sizes[0], *(n for n in (64, 512, 4096) if sizes[0] * 2 < n < sizes[-1] / 2), sizes[-1]):
        anchor = "end" if n == sizes[-1] else "middle"
        at = x(n) + (RIGHT if n == sizes[-1] else 0)
        parts.append(f'<text x="{at:.1f}" y="{HEIGHT - BOTTOM + 15}" text-anchor="{anchor}">{n:,}</text>')
    parts.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 8}" text-anchor="middle">training images N</text>')
    parts.append(f'<text class="regime" x="{LEFT}" y="14">copies</text>')
    parts.append(f'<text class="regime" x="{WIDTH - RIGHT}" y="14" text-anchor="end">new pictures</text>')
    return parts


def spoken(sizes: Sequence[int], found: dict[str, list[float]]) -> str:
    """What the second figure shows, in words and numbers."""
    rp = found["rp_widths"]
    least = min(range(len(rp)), key=rp.__getitem__)
    return (f"Lines over the number of training images, {sizes[0]:,} to {sizes[-1]:,}. "
            f"Two networks draw the same picture for {rp[0]:.0%} of the noises at first, "
            f"{rp[least]:.0%} at {sizes[least]:,} images and {rp[-1]:.0%} at the end; "
            f"the share of new pictures rises from {found['gl_small'][0]:.0%} to {found['gl_small'][-1]:.0%}.")
