"""Image files as readers have them: each is read rightly, or is one line that names the file."""

import io
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.data.image_file import read_image

RAMP = [0, 8224, 16448, 24672, 32896, 41120, 49344, 65535]            # 16-bit: 257 times an 8-bit gray, but for the last
EIGHT = [0, 32, 64, 96, 128, 160, 192, 255]


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG file from its chunks, for kinds that Pillow reads and does not write."""
    parts = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
             for kind, body in (*chunks, (b"IEND", b""))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def sixteen_bits(values: np.ndarray, color: int, *extra: tuple[bytes, bytes]) -> bytes:
    """A 16-bit PNG of values (H, W) or (H, W, samples); color: PNG's type, 0 gray, 2 RGB, 4 gray and alpha, 6 RGBA."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    header = struct.pack(">IIBBBBB", values.shape[1], values.shape[0], 16, color, 0, 0, 0)
    return png((b"IHDR", header), *extra, (b"IDAT", zlib.compress(rows)))


def halves() -> Image.Image:
    """Red on the left, blue on the right, 8 x 4."""
    image = Image.new("RGB", (8, 4), (255, 0, 0))
    image.paste((0, 0, 255), (4, 0, 8, 4))
    return image


@pytest.mark.parametrize("channels, shape", [(1, (1, 1, 8)), (3, (3, 1, 8))])
def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path, channels, shape):
    path = tmp_path / "ramp.png"
    Image.fromarray(np.array([RAMP], dtype=np.uint16)).save(path)
    assert Image.open(path).mode.startswith("I")                       # 16 bits indeed
    ramp = read_image(path, channels=channels)
    assert ramp.shape == shape and ramp.dtype == torch.uint8 and all(row.tolist() == [EIGHT] for row in ramp)


@pytest.mark.parametrize("color, samples", [(2, 3), (4, 2), (6, 4)])
def test_sixteen_bits_of_other_kinds(tmp_path, color, samples):
    values = np.array([RAMP], dtype=np.uint16)[..., None].repeat(samples, 2)
    values[..., -1] = 65535 if samples in (2, 4) else values[..., -1]  # opaque
    (tmp_path / "ramp.png").write_bytes(sixteen_bits(values, color))
    assert (read_image(tmp_path / "ramp.png", channels=1)[0, 0].int() - torch.tensor(EIGHT)).abs().max() <= 1


def test_a_sixteen_bit_gray_that_stands_for_transparent_is_white(tmp_path):
    values = np.array([RAMP], dtype=np.uint16)
    (tmp_path / "a.png").write_bytes(sixteen_bits(values, 0, (b"tRNS", struct.pack(">H", 0))))
    assert read_image(tmp_path / "a.png", channels=1)[0, 0].tolist() == [255, *EIGHT[1:]]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_upright(tmp_path, orientation):
    """The camera stores the sensor's rows and says how it was held: undoing it gives the picture back."""
    undo = {2: [Image.Transpose.FLIP_LEFT_RIGHT], 3: [Image.Transpose.ROTATE_180], 4: [Image.Transpose.FLIP_TOP_BOTTOM],
            5: [Image.Transpose.TRANSPOSE], 6: [Image.Transpose.ROTATE_90], 7: [Image.Transpose.TRANSVERSE],
            8: [Image.Transpose.ROTATE_270]}
    stored = halves()
    for step in undo.get(orientation, []):
        stored = stored.transpose(step)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.jpg", exif=exif, quality=100, subsampling=0)
    red, _, blue = read_image(tmp_path / "a.jpg").float()
    assert red.shape == (4, 8) and red[:, :4].min() > 200 > 50 > red[:, 4:].max() and blue[:, 4:].min() > 200


def test_a_damaged_exif_says_nothing(tmp_path):
    halves().save(tmp_path / "a.jpg", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff", quality=100, subsampling=0)
    assert read_image(tmp_path / "a.jpg").shape == (3, 4, 8)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P"])
def test_transparent_is_laid_on_white(tmp_path, mode):
    logo = Image.new("RGBA", (4, 1), (0, 0, 0, 0))                     # black below, as programs leave it
    logo.putpixel((1, 0), (0, 0, 0, 255))                              # a black logo
    if mode == "P":
        logo = Image.new("P", (4, 1), 0)
        logo.putpalette([0, 0, 0, 0, 0, 0])
        logo.putpixel((1, 0), 1)
        logo.save(tmp_path / "a.png", transparency=0)
    else:
        logo.convert(mode).save(tmp_path / "a.png" if mode != "PA" else tmp_path / "a.tif")
    assert read_image(tmp_path / "a.png" if mode != "PA" else tmp_path / "a.tif", channels=1).tolist() == [
        [[255, 0, 255, 255]]]


def test_half_transparent_is_half_way_to_white(tmp_path):
    Image.new("RGBA", (1, 1), (255, 0, 0, 128)).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png").flatten().tolist() == [255, 127, 127]


@pytest.mark.parametrize("mode, suffix", [("P", "png"), ("CMYK", "jpg"), ("CMYK", "tif"), ("YCbCr", "jpg"), ("RGB", "bmp")])
def test_other_color_models_become_rgb(tmp_path, mode, suffix):
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    halves().convert(mode).save(tmp_path / f"a.{suffix}", **options)
    assert Image.open(tmp_path / f"a.{suffix}").mode == ("RGB" if mode == "YCbCr" else mode)
    expected = torch.from_numpy(np.array(halves())).permute(2, 0, 1)
    assert (read_image(tmp_path / f"a.{suffix}").int() - expected.int()).abs().max() <= 3


def test_one_bit_is_black_and_white(tmp_path):
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert read_image(tmp_path / "a.png", channels=1).tolist() == [[[255, 0]]]


def test_the_center_is_kept(tmp_path):
    halves().save(tmp_path / "a.png")
    square = read_image(tmp_path / "a.png", size=4)
    assert square.shape == (3, 4, 4) and square[0, :, 0].min() > 200 and square[0, :, -1].max() < 50
    Image.new("L", (1, 1), 7).save(tmp_path / "a.png")                 # enlarged, not refused
    assert read_image(tmp_path / "a.png", size=28, channels=1).unique().tolist() == [7]


def cut(suffix: str) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(buffer, {"jpg": "JPEG"}.get(suffix, suffix.upper()))
    return buffer.getvalue()[:len(buffer.getvalue()) // 2]


@pytest.mark.parametrize("name, content, words", [
    ("cut.jpg", cut("jpg"), r"cannot be read \(.*truncated.*\): replace or remove it"),
    ("cut.png", cut("png"), r"cannot be read \(.*\): replace or remove it"),
    ("text.png", b"not an image", "is not an image, or is damaged"),
    ("empty.jpg", b"", "is not an image, or is damaged"),
    ("broken.png", sixteen_bits(np.zeros((2, 2)), 0).replace(b"IDAT", b"IDAX"), "is not an image, or is damaged"),
    ("pointer.jpg", b"version https://git-lfs.github.com/spec/v1\n", "is not an image"),
])
def test_a_damaged_file_is_one_line_that_names_it(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ValueError, match=words) as error:
        read_image(tmp_path / name)
    assert str(error.value).startswith(str(tmp_path / name)) and "\n" not in str(error.value)


def test_a_huge_image_is_refused_before_it_is_decoded(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    for side in (40, 80):                                              # Pillow's warning, and its error at twice the number
        Image.new("L", (side, side)).save(tmp_path / "huge.png")
        with pytest.raises(ValueError, match=r"huge\.png has more than 1,000 pixels: make it smaller"):
            read_image(tmp_path / "huge.png")


def test_several_frames_and_numbers_without_a_range_are_refused(tmp_path):
    frames = [Image.new("L", (4, 4), v) for v in (0, 100)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    with pytest.raises(ValueError, match=r"a\.gif holds 2 frames: save the one"):
        read_image(tmp_path / "a.gif")
    Image.fromarray(np.ones((4, 4), np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a\.tif holds 32-bit numbers"):
        read_image(tmp_path / "a.tif")


def test_the_first_picture_of_a_phones_pair_is_the_picture(tmp_path):
    halves().save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=[Image.new("RGB", (8, 4))], quality=100)
    assert Image.open(tmp_path / "a.jpg").format == "MPO" and read_image(tmp_path / "a.jpg")[0, 0, 0] > 200
