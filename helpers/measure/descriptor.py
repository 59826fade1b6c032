"""The copy-detection descriptor S(x): 64 numbers, a unit vector; close for two images if one is a copy of the other.

The paper measures reproducibility and generalization through M(x1, x2) = <S(x1), S(x2)>, where S is SSCD (Pizzi et al.
2022), a network for photographs at 320 px. For 28x28 images this module trains a small network by SSCD's recipe: two
edited copies a, b of each image are drawn, and the loss over the 2B views of a batch is

    L = -1/2B sum_i log( exp(<z_i, z_i'>/tau) / sum_{j != i} exp(<z_i, z_j>/tau) )
        - lambda/2B sum_i log min_j |z_i - z_j|

The first term (InfoNCE; i' is the other view of i's image) pulls copies together and pushes different images apart. The
second (Kozachenko & Leonenko's estimate of the entropy; j runs over views of *other* images) pushes each view away from
its nearest stranger and so spreads the descriptors over the sphere: one threshold then means the same everywhere.

It is trained on the reserve, images that no diffusion model sees, and used by every chapter that prints an RP or a GL.
`python -m helpers.zoo train` makes the shipped weights again.
"""

import hashlib
import json
import time
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers import paths
from helpers.closed_form import nearest_images
from helpers.data import check_x0, load, to_float, to_uint8
from helpers.measure.augmentations import edited_copies
from helpers.models.training import Progress, descend
from helpers.zoo.weights import read_weights, write_weights

NEIGHBORS = 8              # look-alikes of each image from which the strangers of a batch are drawn


@dataclass(frozen=True)
class DescriptorSpec:
    """Everything that decides the weights.

    tau is Pizzi et al.'s, lambda (`entropy`) is not their 30. In trials of 800 steps, width 16, at the threshold where
    95 % of held-out images are new, 30 found 25 % of the images shifted by 1 px, 5 found 77 %, 1 found 92 %.
    """

    width: int = 32           # channels at 28x28; twice that at 14x14, four times at 7x7
    dim: int = 64             # length of the descriptor
    steps: int = 1200
    anchors: int = 32         # random images in a batch ...
    strangers: int = 3        # ... each with so many of its look-alikes: the pairs that are hard to tell apart
    lr: float = 2e-3
    tau: float = 0.05
    entropy: float = 1.0
    edits: float = 1.0        # strength of the edits, see `augmentations.edited_copies`
    seed: int = 0
    dataset: str = "fashion-mnist"

    def __post_init__(self):
        if min(self.width, self.dim, self.steps, self.anchors) < 1 or not 0 <= self.strangers <= NEIGHBORS:
            raise ValueError("a descriptor needs width, dim, steps and anchors of 1 or more, and strangers from 0 to "
                             f"{NEIGHBORS}: got {self}")

    @property
    def json(self) -> str:
        """The canonical JSON, without the first data set, so that its descriptor keeps its name."""
        fields = {name: value for name, value in asdict(self).items() if (name, value) != ("dataset", "fashion-mnist")}
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @property
    def file(self) -> str:
        return f"descriptor-{hashlib.sha256(self.json.encode()).hexdigest()[:12]}.safetensors"


SHIPPED = (DescriptorSpec(), DescriptorSpec(dataset="glyphs"))


class Descriptor(nn.Module):
    """Five 3x3 convolutions and a linear map: uint8 or float [-1, 1] images (B, 1, 28, 28) -> unit vectors (B, dim).

    The 7x7 map is flattened, not averaged: where things are is what tells two shirts apart.
    """

    def __init__(self, width: int = 32, dim: int = 64):
        super().__init__()
        w, layers = width, []
        for a, b, stride in [(1, w, 1), (w, 2 * w, 2), (2 * w, 2 * w, 1), (2 * w, 4 * w, 2), (4 * w, w, 1)]:
            layers += [nn.Conv2d(a, b, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(49 * w, dim)

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1:] != (1, 28, 28):
            raise ValueError(f"the shipped descriptor reads images (B, 1, 28, 28), not {tuple(images.shape)}; "
                             "give load_descriptor the path of SSCD's TorchScript file for photographs")
        x = to_float(images) if images.dtype == torch.uint8 else images
        return F.normalize(self.head(self.body(x).flatten(1)).float(), dim=1)


def copy_loss(a: Tensor, b: Tensor, tau: float, entropy: float) -> Tensor:
    """The loss of the module's docstring for the two views a, b (B, dim), unit rows -> scalar."""
    z, n = torch.cat([a, b]), len(a)
    similarity = z @ z.T                                                                            # (2B, 2B)
    itself = torch.eye(2 * n, dtype=torch.bool)
    other = itself.roll(n, dims=1)
    contrast = F.cross_entropy((similarity / tau).masked_fill(itself, -torch.inf), other.int().argmax(1))
    nearest = similarity.masked_fill(itself | other, -1).amax(dim=1)
    distance = (2 - 2 * nearest).clamp(min=1e-8).sqrt()
    return contrast - entropy * distance.log().mean()


def untrained(spec: DescriptorSpec) -> Descriptor:
    """The descriptor of a spec before its first step, its weights drawn from the spec's seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(spec.seed)
        return Descriptor(spec.width, spec.dim)


def fit(net: Descriptor, images: Tensor, spec: DescriptorSpec) -> Iterator[Progress]:
    """Train `net` on uint8 images (N, 1, 28, 28), yielding after every step. FloatingPointError if the loss or its gradient
    is not finite, ValueError if there are too few images to have look-alikes."""
    if images.dtype != torch.uint8 or len(images) <= NEIGHBORS:
        raise ValueError(f"the descriptor learns from more than {NEIGHBORS} uint8 images, got {len(images)} of "
                         f"{images.dtype}")
    generator = torch.Generator().manual_seed(spec.seed)
    thumbs = F.avg_pool2d(to_float(images), 4)                                                      # (N, 1, 7, 7)
    neighbors = nearest_images(thumbs, thumbs, k=NEIGHBORS + 1)[1][:, 1:]                           # (N, 8), not itself
    optimizer = torch.optim.AdamW(net.parameters(), lr=spec.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, spec.lr, total_steps=spec.steps, pct_start=0.1)

    def loss_of(step: int) -> Tensor:
        x = to_float(images[_batch(neighbors, spec, generator)])
        views = edited_copies(torch.cat([x, x]), generator, spec.edits)
        with torch.autocast("cpu", torch.bfloat16):
            z = net(views)
        return copy_loss(*z.chunk(2), spec.tau, spec.entropy)

    def update(step: int) -> None:
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        schedule.step()

    return descend(loss_of, update, net.parameters(), torch.zeros(spec.steps))


def _batch(neighbors: Tensor, spec: DescriptorSpec, generator: torch.Generator) -> Tensor:
    """The numbers of a batch's images: anchors at random, each with some of its look-alikes; none of them twice, since an
    image must not be pushed away from itself."""
    anchors = torch.randint(len(neighbors), (spec.anchors, 1), generator=generator)
    which = torch.rand(spec.anchors, neighbors.shape[1], generator=generator).argsort(1)[:, :spec.strangers]
    return torch.cat([anchors, neighbors[anchors[:, 0]].gather(1, which)], 1).unique()


def train(spec: DescriptorSpec = DescriptorSpec(), folder: Path | None = None) -> Path:
    """Train on the reserve and write data/zoo/descriptor-<hash of the spec>.safetensors: its path. Prints progress.

    On one thread: the order of sums, and so the last bits of the weights, depend on their number.
    """
    start, threads, losses = time.process_time(), torch.get_num_threads(), []
    net, images = untrained(spec), load(spec.dataset, "reserve").images
    torch.set_num_threads(1)
    try:
        for progress in fit(net, images, spec):
            losses = [*losses[-99:], progress.loss]
            summary = {"loss": f"{sum(losses) / len(losses):.3f}", "cpu_seconds": f"{time.process_time() - start:.0f}"}
            if progress.step % 100 == 0:
                print(f"step {progress.step}/{spec.steps}: {summary}", flush=True)
    finally:
        torch.set_num_threads(threads)
    path = (folder or paths.ZOO) / spec.file
    write_weights(path, net, spec.json, summary)
    return path


class SSCD(nn.Module):
    """The published SSCD from a TorchScript file: images (B, 1 or 3, H, W), uint8 or [-1, 1] -> unit vectors (B, d).

    Preprocessed as in the paper's code: 320x320 bilinear, ImageNet's mean and deviation. Gray becomes three channels.
    """

    def __init__(self, path: Path):
        super().__init__()
        with warnings.catch_warnings():                 # that TorchScript is deprecated: it is the form that was published
            warnings.simplefilter("ignore", FutureWarning)
            self.net = torch.jit.load(path, map_location="cpu")
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        x = images if images.dtype == torch.uint8 else to_uint8(images)
        x = F.interpolate(x.float(), (320, 320), mode="bilinear", antialias=True).round() / 255
        x = (x.expand(-1, 3, -1, -1) - self.mean) / self.std
        return F.normalize(self.net(x).float(), dim=1)


def shipped_for(dataset: str) -> DescriptorSpec:
    """The shipped descriptor for a data set: its own if it has one, that of clothes otherwise."""
    return next((spec for spec in SHIPPED if spec.dataset == dataset), SHIPPED[0])


def load_descriptor(path: str | Path | None = None, device: str | torch.device = "cpu",
                    dataset: str = "fashion-mnist") -> nn.Module:
    """The shipped descriptor or, given the path of its TorchScript file, the published SSCD; in eval mode.

    dataset   which of the shipped ones: `shipped_for`

    FileNotFoundError if the file is not there, ValueError if it is damaged or holds another descriptor than this one.
    """
    spec = shipped_for(dataset)
    path = Path(path or paths.ZOO / spec.file)
    ours = path.suffix == ".safetensors"
    hint = ("restore it from git, or make it again with `python -m helpers.zoo train`" if ours else
            "give the path of sscd_disc_large.torchscript.pt, or none for the shipped descriptor")
    if not path.exists():
        raise FileNotFoundError(f"{path} is missing: {hint}")
    if not ours:
        try:
            return SSCD(path).eval().to(device)
        except Exception as error:
            raise ValueError(f"{path.name} is damaged ({str(error).partition(chr(10))[0]}): {hint}") from error
    weights, _ = read_weights(path, spec.json, hint)
    net = Descriptor(spec.width, spec.dim)
    net.load_state_dict(weights)
    return net.requires_grad_(False).eval().to(device)


def quantized(images: Tensor) -> Tensor:
    """Images as uint8: floats in [-1, 1] are rounded, as when they are written to PNG files; samples may overshoot.

    ValueError for NaN or infinity, for other integers, and for floats that are no [-1, 1] at all: `check_x0`.
    """
    return images if check_x0(images).dtype == torch.uint8 else to_uint8(images)


@torch.no_grad()
def describe(images: Tensor, descriptor: nn.Module | None = None, batch: int = 1024) -> Tensor:
    """S(x) of a whole set: images (n, C, H, W), uint8 or floats in [-1, 1] -> unit vectors (n, d) on the CPU.

    Floats are quantized to uint8 first, as the paper's evaluation does with PNG files. descriptor None: the shipped.
    ValueError for an empty set, and for what is no image (`quantized`).
    """
    if images.ndim != 4 or not len(images):
        raise ValueError(f"describe needs images (n, C, H, W) with n >= 1, got {tuple(images.shape)}")
    if batch < 1:
        raise ValueError(f"batch is the images described at once, 1 or more, got {batch}")
    images = quantized(images)
    descriptor = load_descriptor() if descriptor is None else descriptor
    device = next(descriptor.parameters()).device
    return torch.cat([descriptor(part.to(device)).cpu() for part in images.split(batch)])
