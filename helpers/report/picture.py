"""A figure as a picture: how a notebook stores it, and its variant for dark pages.

A notebook stores PNGs at twice the page's resolution, on white, and each says in a text chunk, `FIELDS`, where its fields
of pixels are: photographs and color maps, as fractions [left, top, right, bottom] of the picture. The book derives the
dark variant from that when it is built: fields stay as they are, and what is drawn around them, ink on white, becomes
ink of inverted lightness on nothing. Used by `style.py`, `notebook.py` and `book/_ext/dark_figures.py`.
"""

import io
import json

import numpy as np
from IPython import get_ipython
from matplotlib.figure import Figure
from PIL import Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngInfo

FIELDS = "fields"
SCALE = 2                                       # pixels of the picture for a pixel of the page
BRIGHTEST, RANGE = 0.93, 0.75                   # lightness l of ink becomes BRIGHTEST - RANGE l: black is nearly white
PAD = 0.08                                      # inches around what is drawn

Box = list[float]


def shown(figure: Figure) -> Figure:
    """The figure itself; in a notebook, figures are shown as `png` makes them from now on."""
    if shell := get_ipython():
        shell.display_formatter.formatters["image/png"].for_type(Figure, png)
    return figure


def png(figure: Figure) -> bytes:
    """A figure as PNG, cropped to what is drawn, with its fields."""
    figure.canvas.draw()                        # the layout is settled by drawing
    crop = figure.get_tightbbox().padded(PAD)                                       # inches, from the lower left corner
    fields = []
    for axis in (axis for axis in figure.axes if axis.images):
        box = axis.get_window_extent().transformed(figure.dpi_scale_trans.inverted())
        sides = [(box.x0 - crop.x0) / crop.width, (crop.y1 - box.y1) / crop.height,
                 (box.x1 - crop.x0) / crop.width, (crop.y1 - box.y0) / crop.height]
        fields.append([round(float(side), 5) for side in sides])
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=SCALE * figure.dpi, bbox_inches=crop, metadata={FIELDS: json.dumps(fields)})
    return file.getvalue()


def fields_of(stored: bytes) -> list[Box] | None:
    """The fields that a PNG says it has; None if it says nothing, as pictures that are not ours, or no PNG at all."""
    try:
        text = Image.open(io.BytesIO(stored)).info.get(FIELDS)
    except UnidentifiedImageError:
        return None
    return None if text is None else json.loads(text)


def smaller(stored: bytes) -> bytes:
    """A figure with at most 256 colors: a quarter of the size. Figures are kept for ever in version control."""
    image, packed, info = Image.open(io.BytesIO(stored)), io.BytesIO(), PngInfo()
    if FIELDS in image.info:
        info.add_text(FIELDS, image.info[FIELDS])
    # MAXCOVERAGE keeps a rare color, such as that of one label, where the default merges it into its neighbors.
    few = image.convert("RGB").quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    few.save(packed, "PNG", optimize=True, pnginfo=info)
    return packed.getvalue() if len(packed.getvalue()) < 0.9 * len(stored) else stored


def dark(stored: bytes) -> bytes:
    """The variant for dark pages of a PNG that names its fields; ValueError for any other."""
    fields = fields_of(stored)
    if fields is None:
        raise ValueError("the picture does not say where its fields are")
    image = Image.open(io.BytesIO(stored)).convert("RGB")
    rgb = np.asarray(image, dtype=np.float32) / 255                                 # (H, W, 3)
    drawn = light_ink(rgb)
    for left, top, right, bottom in fields:
        x, y = (slice(round(a * n), round(b * n)) for a, b, n in ((left, right, image.width), (top, bottom, image.height)))
        drawn[y, x] = np.concatenate([rgb[y, x], np.ones_like(rgb[y, x, :1])], 2)
    file = io.BytesIO()
    few = Image.fromarray((255 * drawn).round().astype(np.uint8)).quantize(256, Image.Quantize.FASTOCTREE)
    few.save(file, "PNG", optimize=True)
    return file.getvalue()


def light_ink(rgb: np.ndarray) -> np.ndarray:
    """Ink on white (..., 3) as ink of inverted lightness on nothing (..., 4), with its hue, in [0, 1].

    A pixel is taken for a mixture of white and one ink as strong as it can be: alpha = 1 - min(r, g, b).
    """
    alpha = 1 - rgb.min(-1, keepdims=True)
    ink = 1 - (1 - rgb) / np.maximum(alpha, 1e-6)                                   # its least channel is 0
    lightness = ink.max(-1, keepdims=True) / 2                                      # at most 1/2
    target = BRIGHTEST - RANGE * lightness
    color = ink + (1 - ink) * (target - lightness) / (1 - lightness)
    return np.concatenate([color, alpha], -1)
