"""A classifier: which class does an image show?

An unconditional model does not say what it has drawn, so that to ask whether a conditional model of *that class* draws the
same needs somebody who looks. A small convolutional network is trained for it like every other model, by its own
objective, on the pool that the diffusion models have seen; its accuracy on held-out images, and on what conditional models
draw when they are told the class, is reported before it is used. Used in chapters 3 and 5.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.data import as_x0
from helpers.models.layers import group_norm, require_images, require_whole


class Classifier(nn.Module):
    """Images x (B, C, H, W) in [-1, 1] -> logits (B, classes): six 3x3 convolutions in two resolutions, mean, linear.

    `c_noise` and `label` belong to the networks' contract; it looks at neither.
    """

    outer = {"stem", "head"}

    def __init__(self, image_channels: int = 1, width: int = 32, classes: int = 10):
        super().__init__()
        require_whole(image_channels=image_channels, width=width, classes=classes)
        self.image_channels, self.classes, layers = image_channels, classes, []
        for a, b, stride in [(1, 1, 1), (1, 2, 1), (2, 2, 1), (2, 4, 2), (4, 4, 1)]:
            layers += [nn.Conv2d(a * width, b * width, 3, stride, padding=1), group_norm(b * width), nn.SiLU()]
        self.stem, self.body = nn.Conv2d(image_channels, width, 3, 2, padding=1), nn.Sequential(nn.SiLU(), *layers)
        self.head = nn.Linear(4 * width, classes)

    def forward(self, x: Tensor, c_noise: Tensor | None = None, label: Tensor | None = None) -> Tensor:
        require_images(x, self.image_channels)
        return self.head(self.body(self.stem(x)).mean((2, 3)))


@dataclass(frozen=True)
class Classification:
    """The cross-entropy of the right class. Training images are mirrored and shifted by up to `shift` pixels at random."""

    shift: int = 2
    sampling = {}

    def __post_init__(self):
        require_whole(0, shift=self.shift)

    def augmented(self, x0: Tensor) -> Tensor:
        """Each image (B, C, H, W) mirrored with probability 1/2 and moved by (dy, dx), each -shift ... shift as likely;
        what moves in is black. torchvision's transforms, whose random numbers are the global generator's."""
        from torchvision.transforms import v2  # here: it takes a second to import, and only training needs it

        move = v2.Compose([v2.RandomHorizontalFlip(), v2.RandomCrop(x0.shape[2:], padding=self.shift, fill=-1)])
        return torch.stack([move(image) for image in x0])

    def loss(self, network: nn.Module, x0: Tensor, label: Tensor, generator: torch.Generator,
             progress: float = 0.0) -> Tensor:
        """Mean cross-entropy of a batch, a scalar: log(classes) for a network that has learned nothing."""
        return F.cross_entropy(network(self.augmented(x0)).float(), label)


def classify(network: nn.Module, images: Tensor, batch: int = 1024) -> Tensor:
    """The most likely class of each image (n, C, H, W), in [-1, 1] or uint8: (n,) int64, on the CPU."""
    return _logits(network, images, batch).argmax(1)


def confidence(network: nn.Module, images: Tensor, batch: int = 1024) -> Tensor:
    """The probability max_c softmax(logits)_c that it gives the most likely class of each image: (n,), from 1/classes to 1.

    An image between two classes, or of none, makes it unsure; what is sure may still be no photograph.
    """
    return _logits(network, images, batch).softmax(1).amax(1)


@torch.no_grad()
def _logits(network: nn.Module, images: Tensor, batch: int) -> Tensor:
    images = as_x0(images)
    device = next(network.parameters()).device
    return torch.cat([network(part.to(device).clamp(-1, 1)).cpu() for part in images.split(batch)])
