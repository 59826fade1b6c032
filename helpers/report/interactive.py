"""Figures that a reader can move, without a kernel: small pictures and numbers in the page, one script for all of them.

    interactive.pictures({"noise": range(1, 25)}, {"networks": {"U-Net": images, "U-ViT": others}}, features)
    interactive.threshold(ts, {"pairs": rp, "chance": null}, first, second, similarity, labels, start=0.88)

Each ends a cell of its own, tagged `nbval-ignore-output`, below a static figure of the same thing: what has no script (a
printed page, GitHub, Jupyter) shows that figure alone. All pictures of one figure are one sheet, a gray PNG of 16 levels;
`book/_static/interactive.js` shows parts of it. Computes no score that the page quotes. Used in chapters 1, 2 and 9.
"""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from math import prod

import torch
from PIL import Image
from torch import Tensor

from helpers.measure.scores import THRESHOLD, check_threshold

LEVELS = 16                             # of gray: four bits a pixel
SCALE = 1000                            # similarities are stored as whole thousandths
LARGEST = 1_000_000                     # bytes of one figure


@dataclass(frozen=True)
class Interactive:
    """One figure as the page holds it: hidden data that the script turns into controls. ValueError above LARGEST bytes."""

    kind: str
    content: dict
    about: str

    def __post_init__(self):
        if (size := len(self._repr_html_())) > LARGEST:
            raise ValueError(f"an interactive figure has at most {LARGEST:,} bytes, this one {size:,}: show fewer pictures")

    def __repr__(self) -> str:
        return self.about

    def _repr_html_(self) -> str:
        data = json.dumps(self.content, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
        return (f'<div class="interactive" data-kind="{self.kind}" hidden>'
                f'<script type="application/json">{data}</script></div>')


def sheet(rows: Sequence[Tensor]) -> str:
    """A sheet of pictures as the address of a gray PNG: rows of images (columns, C, H, W) in [-1, 1], colors averaged."""
    gray = torch.stack([row.detach().cpu().float().mean(1) for row in rows])                # (R, columns, H, W)
    index = ((gray.clamp(-1, 1) + 1) / 2 * (LEVELS - 1)).round().byte()
    image = Image.fromarray(index.permute(0, 2, 1, 3).flatten(2, 3).flatten(0, 1).numpy(), "P")
    image.putpalette([level * 255 // (LEVELS - 1) for level in range(LEVELS) for _ in range(3)])
    packed = io.BytesIO()
    image.save(packed, "PNG", bits=4, optimize=True)
    return f"data:image/png;base64,{base64.b64encode(packed.getvalue()).decode('ascii')}"


def thousandths(similarity: Tensor, threshold: float) -> list[int]:
    """Similarities (n,) as whole thousandths, on the side of the threshold on which they are."""
    mark = round(threshold * SCALE)
    whole = (similarity.double() * SCALE).round()
    return torch.where(similarity > threshold, whole.clamp(min=mark + 1), whole.clamp(max=mark)).int().tolist()


def pictures(choices: Mapping[str, Sequence], blocks: Mapping[str, Mapping[str, Tensor]],
             features: Mapping[str, Tensor] | None = None, threshold: float = THRESHOLD) -> Interactive:
    """Choose, and see every system's picture; with descriptors, how similar each is to the one that is pointed at.

    choices    name: what can be chosen, {"caption": captions, "noise": range(1, 13)}; numbers get a slider, words a list
    blocks     title: {label: images (*lengths of choices, C, H, W) in [-1, 1]}; the first is pointed at when the page opens
    features   label: unit descriptors (*lengths of choices, d), for all labels; None: no similarities
    threshold  the similarity above which two pictures count as the same

    ValueError for shapes that do not fit the choices, labels that come twice, and more than LARGEST bytes.
    """
    check_threshold(threshold)
    lengths, labels = [len(values) for values in choices.values()], list(chain.from_iterable(blocks.values()))
    if len(set(labels)) != len(labels) or (features is not None and set(labels) - set(features)):
        raise ValueError(f"each picture needs a label of its own, and descriptors if any has: {labels}")
    images = [images for block in blocks.values() for images in block.values()]
    for label, one in zip(labels, images):
        if list(one.shape[:-3]) != lengths:
            raise ValueError(f"{label!r} has images {tuple(one.shape)}, the choices are {dict(zip(choices, lengths))}")
    content = {
        "choices": [{"name": name, "values": [_label(v) for v in values],
                     "words": not all(isinstance(v, int | float) for v in values)} for name, values in choices.items()],
        "blocks": [{"title": title, "labels": list(block)} for title, block in blocks.items()],
        "sheet": sheet([one.flatten(0, -4) for one in images]), "size": [prod(lengths), len(labels)], "threshold": threshold,
        "similarity": [] if features is None else _similarities([features[label] for label in labels], threshold)}
    return Interactive("pictures", content, f"{len(labels)} pictures for each of {prod(lengths)} choices")


def _label(value) -> str:
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _similarities(features: Sequence[Tensor], threshold: float) -> list[list[int]]:
    """For each choice, M of all pairs of systems (i < j, row by row) in thousandths."""
    units = torch.stack([f.detach().cpu().float().flatten(0, -2) for f in features], 1)             # (choices, S, d)
    i, j = torch.triu_indices(units.shape[1], units.shape[1], 1)
    return [thousandths(torch.cosine_similarity(unit[i], unit[j], dim=1), threshold) for unit in units]


def threshold(thresholds: Sequence[float], curves: Mapping[str, Sequence[float]], first: Tensor, second: Tensor,
              similarity: Tensor, labels: Sequence[str], start: float = THRESHOLD) -> Interactive:
    """Slide a threshold: which pairs of pictures are more similar than it, and what share of all pairs.

    thresholds     rising, (T,); `start` is one of them, where the slider stands when the page opens
    curves         name: the share of pairs above each threshold, (T,) in [0, 1]
    first, second  the pairs that are shown, images (n, C, H, W) in [-1, 1]; similarity (n,) and labels (n) say of which

    ValueError for lengths that differ.
    """
    counts = {len(first), len(second), len(similarity), len(labels)}
    if len(counts) > 1 or {len(values) for values in curves.values()} != {len(thresholds)}:
        raise ValueError(f"as many images, similarities and labels are needed, got {counts}; and curves at all thresholds")
    marks = [round(float(t) * SCALE) for t in thresholds]
    content = {"thresholds": marks, "start": marks.index(round(start * SCALE)),
               "curves": {name: [round(float(v), 4) for v in values] for name, values in curves.items()},
               "sheet": sheet([first, second]), "size": [len(first), 2], "labels": list(labels),
               "similarity": (similarity.double() * SCALE).round().int().tolist()}
    return Interactive("threshold", content, f"{len(first)} pairs of pictures, {len(marks)} thresholds")
