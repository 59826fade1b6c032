"""One image file as one tensor, whatever a camera, a scanner or a designer left in it.

    EXIF orientation   the picture is turned upright
    16 bit             scaled, u = round(v / 257): 65,535 becomes 255
    transparency       laid on white, as on a page: a black logo stays black on white
    palette, CMYK, ... converted to RGB

What cannot be read, and what has no one meaning (several frames, numbers without a range), is a ValueError of one line
that names the file.
"""

import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

# Other frames of a phone's JPEG (MPO) are a depth map or a second eye; the first is the picture.
FIRST_FRAME_IS_THE_PICTURE = {"MPO"}


def read_image(path: Path, size: int | None = None, channels: int = 3) -> Tensor:
    """The picture in a file as uint8 (channels, H, W).

    size      the side of the square that it is cropped to, around its center, and resized to (Lanczos); None: as it is
    channels  3 for RGB, 1 for gray (ITU-R 601: 0.299 R + 0.587 G + 0.114 B)

    ValueError that names the file if it is no image, is damaged or cut off, holds several frames or 32-bit numbers, or has
    more pixels than Pillow takes for honest (`PIL.Image.MAX_IMAGE_PIXELS`, 89 million).
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")                        # a palette's or a camera's oddities: they are read
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                picture = _flat(image).convert("L" if channels == 1 else "RGB")
                if size is not None:
                    picture = ImageOps.fit(picture, (size, size), Image.Resampling.LANCZOS)
    except Exception as error:      # decoders raise whatever they stumble over: SyntaxError, struct.error, zlib.error, ...
        raise ValueError(f"{path} {_reason(error)}") from error
    pixels = torch.from_numpy(np.array(picture))                                          # (H, W) or (H, W, 3)
    return pixels[None] if channels == 1 else pixels.permute(2, 0, 1)


def _flat(image: Image.Image) -> Image.Image:
    """The picture upright, in 8 bits, without transparency: mode L or RGB."""
    frames = getattr(image, "n_frames", 1)
    if frames > 1 and image.format not in FIRST_FRAME_IS_THE_PICTURE:
        raise _Unclear(f"holds {frames} frames: save the one that is meant as a file of its own")
    if image.mode.startswith("I;16") or image.mode == "I" and image.format == "PNG":
        clear = image.info.get("transparency")
        return _from_16_bits(np.asarray(_upright(image)), clear)
    if image.mode in ("I", "F"):
        raise _Unclear("holds 32-bit numbers, whose black and white nobody knows: save it with 8 or 16 bits")
    transparent = image.getbands()[-1] in ("A", "a") or "transparency" in image.info
    image = _upright(image)
    if not transparent:
        return image.convert("RGB")
    layer = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")


def _upright(image: Image.Image) -> Image.Image:
    """The decoded image, turned as its EXIF says; a damaged EXIF says nothing."""
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:               # Pillow parses EXIF late, and its errors are as many as a decoder's
        return image


def _from_16_bits(values: np.ndarray, clear: int | None) -> Image.Image:
    """Gray values 0..65535 as 0..255; the value that stands for transparent becomes white."""
    gray = (values.astype(np.int64) + 128) // 257
    if isinstance(clear, int):
        gray[values == clear] = 255
    return Image.fromarray(gray.clip(0, 255).astype(np.uint8))


class _Unclear(Exception):
    """A file that can be read in more than one way; its text says what to do."""


def _reason(error: Exception) -> str:
    """What is wrong with a file, to follow its name."""
    if isinstance(error, _Unclear):
        return str(error)
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"has more than {Image.MAX_IMAGE_PIXELS:,} pixels: make it smaller"
    if isinstance(error, UnidentifiedImageError):
        return "is not an image, or is damaged: replace or remove it"
    why = getattr(error, "strerror", None) or str(error).partition("\n")[0] or type(error).__name__
    return f"cannot be read ({why}): replace or remove it"
