"""Rulers: by what two images are compared, and whether that fits them.

The shipped descriptor reads gray 28x28 images and was trained on clothes; the published SSCD reads photographs. Where
neither fits, images are compared by their pixels. That is enough for identification, which needs no threshold, and not for
RP and GL, whose threshold says what a copy is.
"""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn
from torch.nn import functional as F

from helpers.data import as_x0
from helpers.measure.descriptor import SSCD, load_descriptor
from helpers.measure.scores import GLYPH_THRESHOLD, SSCD_THRESHOLD, THRESHOLD

OURS = (1, 28, 28)
SSCD_HINT = "SSCD, for photographs: --descriptor sscd_disc_large.torchscript.pt"
TRAIN_HINT = ("one trained on such images that no model has seen: helpers.measure.descriptor.fit, with a threshold by "
              "helpers.measure.calibration: --descriptor FILE --threshold T")


@dataclass(frozen=True, eq=False)
class Ruler:
    """A descriptor for `describe`, the similarity above which two images are the same (None: nobody knows), its name, and
    what a reader of the numbers has to know."""

    descriptor: nn.Module
    threshold: float | None
    name: str
    remark: str = ""


class Pixels(nn.Module):
    """Images (B, C, H, W), uint8 or [-1, 1] -> unit vectors (B, C H W): the pixels, less the mean of the given images."""

    def __init__(self, images: Tensor):
        super().__init__()
        self.mean = nn.Parameter(as_x0(images).mean(0), requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return F.normalize((as_x0(images) - self.mean).flatten(1), dim=1)


def choose_ruler(images: Tensor, data: str, path: str | None = None, threshold: float | None = None) -> Ruler:
    """The ruler for images like these (N, C, H, W): the descriptor of the path, the shipped one if it fits, or pixels.

    OSError or ValueError if the path holds no descriptor.
    """
    shape = tuple(images.shape[1:])
    if path is not None:
        net = load_descriptor(Path(path).expanduser())
        known = SSCD_THRESHOLD if isinstance(net, SSCD) else THRESHOLD
        name = "SSCD" if isinstance(net, SSCD) else Path(path).name
        remark = "" if min(shape[1:]) >= 64 or not isinstance(net, SSCD) else (
            f"SSCD was made for photographs, and these images have {shape[1]}x{shape[2]} pixels: trust RP and GL only if "
            "nearly all held-out images count as new.")
        return Ruler(net, known if threshold is None else threshold, name, remark)
    if shape == OURS:
        remark = "" if data == "fashion-mnist" else (
            "The shipped descriptor was trained on clothes, and its threshold was calibrated on them: trust RP and GL only "
            f"if nearly all held-out images count as new. Better is {TRAIN_HINT}.")
        known, remark = (GLYPH_THRESHOLD, "") if data == "glyphs" else (THRESHOLD, remark)
        threshold = known if threshold is None else threshold
        return Ruler(load_descriptor(dataset=data), threshold, "the shipped descriptor", remark)
    return Ruler(Pixels(images), None, "pixels", (
        "The shipped descriptor reads gray images of clothes, 1x28x28, and does not fit images "
        f"{'x'.join(map(str, shape))}: RP and GL are not measured, and images are identified by their pixels. What fits: "
        f"{SSCD_HINT}; or, for models of gray images 28x28, {TRAIN_HINT}."))
