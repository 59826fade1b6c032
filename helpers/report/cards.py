"""Pictures of chapters for the home page and for those who share a link: the first figure that a chapter has stored."""

import base64
import io
import json
from pathlib import Path

from PIL import Image, ImageOps

from helpers.paths import NOTEBOOKS
from helpers.report.readme import chapter_file

CARD = (1200, 630)                      # what OpenGraph readers show without cutting
THUMBNAIL = (720, 405)


def first_figure(notebook: Path) -> Image.Image:
    """The first stored picture of an executed notebook, in RGB on white."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        for output in cell.get("outputs", []):
            if data := output.get("data", {}).get("image/png"):
                return on_white(Image.open(io.BytesIO(base64.b64decode("".join(data)))))
    raise ValueError(f"{notebook.name} has stored no picture; run its chapter")


def on_white(image: Image.Image) -> Image.Image:
    """A picture without transparency."""
    image = image.convert("RGBA")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")


def chapter_figure(chapter: int, notebooks: Path = NOTEBOOKS) -> Image.Image:
    """The first stored picture of a chapter."""
    return first_figure(notebooks / f"{chapter_file(chapter, notebooks)}.ipynb")


def thumbnail(image: Image.Image) -> Image.Image:
    """The upper left part of a figure, as wide as it is, in a thumbnail's shape."""
    return ImageOps.fit(image, THUMBNAIL, Image.Resampling.LANCZOS, centering=(0, 0))


def card(image: Image.Image) -> Image.Image:
    """A figure whole, centered on a white card."""
    return ImageOps.pad(image, CARD, Image.Resampling.LANCZOS, color="white")


def description(notebook: dict) -> str:
    """The alternative text that a notebook gives its first stored picture; "" if it has none."""
    for cell in notebook["cells"]:
        if any("image/png" in output.get("data", {}) for output in cell.get("outputs", [])):
            return cell["metadata"].get("mystnb", {}).get("image", {}).get("alt", "")
    return ""
