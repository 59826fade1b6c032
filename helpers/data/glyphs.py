"""The second data set: 32,144 characters of Chinese and Korean, drawn from one font, 28x28, gray, white on black.

Clothes lie in the middle of a frame and differ in outline and shade; characters fill it with strokes, no two of them alike,
and hardly any gray. Their images are drawn from Noto Serif CJK (SIL Open Font License), the unified ideographs from U+4E00
to U+9FFF (label 0) and the Hangul syllables from U+AC00 to U+D7A3 (label 1), each picture once. The files are shipped;

    python -m helpers.data.glyphs NotoSerifCJK-Regular.ttc

draws them again, to the byte with the same font and FreeType. Used by the chapter on other images.
"""

import gzip
import struct
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from helpers import paths
from helpers.data.dataset import permutation

SCRIPTS = {"ideographs": range(0x4E00, 0xA000), "Hangul syllables": range(0xAC00, 0xD7A4)}
SIDE, POINTS, FACE = 28, 27, 2                       # pixels of a picture, size of the font, simplified Chinese in its file
HELD_OUT = 4096                                      # the last of a fixed permutation are the test images


def draw(font: ImageFont.FreeTypeFont) -> tuple[np.ndarray, np.ndarray]:
    """The pictures (n, 28, 28) and their scripts (n,), uint8, by code point; of equal pictures the first."""
    images, labels = [], []
    for label, codes in enumerate(SCRIPTS.values()):
        for code in codes:
            picture = Image.new("L", (SIDE, SIDE))
            ImageDraw.Draw(picture).text((SIDE // 2, SIDE // 2 - 1), chr(code), font=font, fill=255, anchor="mm")
            images.append(np.asarray(picture))
            labels.append(label)
    found = np.stack(images)
    first = np.sort(np.unique(found.reshape(len(found), -1), axis=0, return_index=True)[1])
    return found[first], np.array(labels, np.uint8)[first]


def write_idx(path: Path, values: np.ndarray) -> None:
    """An array of uint8 as a packed IDX file, the same bytes each time."""
    head = struct.pack(">BBBB", 0, 0, 8, values.ndim) + struct.pack(f">{values.ndim}i", *values.shape)
    path.write_bytes(gzip.compress(head + values.tobytes(), 9, mtime=0))


def main(argv: list[str]) -> int:
    """Draw all of them from the font whose file is named, into data/glyphs."""
    if len(argv) != 1 or not Path(argv[0]).is_file():
        print("error: name the file of Noto Serif CJK, NotoSerifCJK-Regular.ttc", file=sys.stderr)
        return 2
    images, labels = draw(ImageFont.truetype(argv[0], POINTS, index=FACE))
    order = permutation(len(images))
    for prefix, part in (("train", order[:-HELD_OUT]), ("t10k", order[-HELD_OUT:])):
        write_idx(paths.GLYPHS / f"{prefix}-images-idx3-ubyte.gz", images[part])
        write_idx(paths.GLYPHS / f"{prefix}-labels-idx1-ubyte.gz", labels[part])
    print(f"{len(images):,} characters in {paths.GLYPHS}, {HELD_OUT:,} of them held out")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
