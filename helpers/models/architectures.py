"""Other networks with the U-Net's contract: (x, noise level, label) -> output. What chapter 1 sets beside the U-Net.

    ResidualCNN   convolutions at one resolution: no attention, no down-sampling
    UViT          a transformer: patches and the noise level are tokens, long skips join early and late blocks
    MLP           no notion of a neighborhood: the control that should fail
    Multistage    several networks, each with its own range of noise levels

x (B, C, H, W), c_noise (B,), label (B,) or None -> (B, C, H, W). The last layer starts at zero in all of them, as in the
U-Net, so that training starts from the same denoiser.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from helpers.models.layers import Embedding, ResidualBlock, attend, group_norm, require_images, require_whole, zero
from helpers.models.unet import UNet


class ResidualCNN(nn.Module):
    """The U-Net's residual blocks in one row, at one resolution.

    Its convolutions reach 2 * blocks + 2 patches to each side; beyond, a pixel only enters the norms' mean and variance.

    width, blocks   channels, and residual blocks of two 3x3 convolutions
    patch           pixel-unshuffle factor at the input, as in `UNet`
    """

    outer = {"stem", "head", "embed", "emb"}

    def __init__(self, image_channels: int = 1, width: int = 32, blocks: int = 6, patch: int = 2, classes: int = 0):
        super().__init__()
        require_whole(image_channels=image_channels, width=width, blocks=blocks, patch=patch)
        require_whole(0, classes=classes)
        self.image_channels, self.patch, self.classes = image_channels, patch, classes
        self.embed = Embedding(4 * width, classes)
        self.stem = nn.Conv2d(image_channels * patch**2, width, 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(width, width, 4 * width) for _ in range(blocks))
        self.head = nn.Sequential(group_norm(width), nn.SiLU(),
                                  zero(nn.Conv2d(width, image_channels * patch**2, 3, padding=1)))

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        require_images(x, self.image_channels, self.patch)
        emb = F.silu(self.embed(c_noise, label))
        h = self.stem(F.pixel_unshuffle(x, self.patch))
        for block in self.blocks:
            h = block(h, emb)
        return F.pixel_shuffle(self.head(h), self.patch)


class TransformerBlock(nn.Module):
    """t + attention(norm(t)), then t + mlp(norm(t)); tokens (B, L, dim) -> same. `skip`: joins an earlier block first."""

    def __init__(self, dim: int, heads: int, skip: bool = False):
        super().__init__()
        self.heads, self.join = heads, nn.Linear(2 * dim, dim) if skip else None
        self.norm1, self.qkv, self.proj = nn.LayerNorm(dim), nn.Linear(dim, 3 * dim, bias=False), nn.Linear(dim, dim)
        self.norm2, self.mlp = nn.LayerNorm(dim), nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))

    def forward(self, tokens: Tensor, skip: Tensor | None = None) -> Tensor:
        if self.join is not None:
            tokens = self.join(torch.cat([tokens, skip], dim=-1))
        tokens = tokens + self.proj(attend(self.norm1(tokens), self.qkv, self.heads))
        return tokens + self.mlp(self.norm2(tokens))


class UViT(nn.Module):
    """U-ViT (Bao et al. 2023): patches and the noise level as tokens, `depth` blocks before the middle and as many after.

    The k-th block after the middle also sees what left the k-th-last block before it, through a linear layer. The label,
    if there is one, is added to the noise level's token; a 3x3 convolution smooths the borders of the patches.

    size, patch   side of the image, of a patch: (size / patch)^2 tokens
    dim, depth    channels of a token, blocks on each side of the middle one
    words         as in `UNet`
    """

    outer = {"stem", "out", "smooth", "embed", "position"}

    def __init__(self, image_channels: int = 1, size: int = 28, patch: int = 4, dim: int = 128, depth: int = 3,
                 heads: int = 4, classes: int = 0, words: str | None = None):
        super().__init__()
        require_whole(image_channels=image_channels, size=size, patch=patch, dim=dim, heads=heads)
        require_whole(0, depth=depth, classes=classes)
        if size % patch or dim % heads:
            raise ValueError(f"patch must divide size and heads must divide dim: {patch}, {size}, {heads}, {dim}")
        self.image_channels, self.size, self.patch, self.classes = image_channels, size, patch, classes
        self.embed = Embedding(dim, classes, words=words)
        self.stem = nn.Linear(image_channels * patch**2, dim)
        self.position = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2 + 1, dim))
        self.before = nn.ModuleList(TransformerBlock(dim, heads) for _ in range(depth))
        self.middle = TransformerBlock(dim, heads)
        self.after = nn.ModuleList(TransformerBlock(dim, heads, skip=True) for _ in range(depth))
        self.out = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, image_channels * patch**2))
        self.smooth = zero(nn.Conv2d(image_channels, image_channels, 3, padding=1))

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        require_images(x, self.image_channels, size=self.size)
        folded = F.pixel_unshuffle(x, self.patch)                                   # (B, C p^2, H/p, W/p)
        tokens = self.stem(folded.flatten(2).transpose(1, 2))                       # (B, L, dim)
        tokens = torch.cat([self.embed(c_noise, label)[:, None], tokens], 1) + self.position
        skips = []
        for block in self.before:
            tokens = block(tokens)
            skips.append(tokens)
        tokens = self.middle(tokens)
        for block in self.after:
            tokens = block(tokens, skips.pop())
        patches = self.out(tokens[:, 1:]).transpose(1, 2).reshape(folded.shape)
        return self.smooth(F.pixel_shuffle(patches, self.patch))


class MLP(nn.Module):
    """Residual fully connected blocks on the flattened image: h + linear(silu(linear(norm(h)) + emb))."""

    outer = {"stem", "head", "embed", "emb"}

    def __init__(self, image_channels: int = 1, size: int = 28, width: int = 512, blocks: int = 3, classes: int = 0):
        super().__init__()
        require_whole(image_channels=image_channels, size=size, width=width)
        require_whole(0, blocks=blocks, classes=classes)
        self.image_channels, self.size, self.classes, self.embed = image_channels, size, classes, Embedding(width, classes)
        self.stem = nn.Linear(image_channels * size**2, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(blocks))
        self.first = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.second = nn.ModuleList(nn.Linear(width, width) for _ in range(blocks))
        self.head = nn.Sequential(nn.LayerNorm(width), zero(nn.Linear(width, image_channels * size**2)))

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        require_images(x, self.image_channels, size=self.size)
        emb, h = self.embed(c_noise, label), self.stem(x.flatten(1))
        for norm, first, second in zip(self.norms, self.first, self.second):
            h = h + second(F.silu(first(norm(h)) + emb))
        return self.head(h).view_as(x)


class Multistage(nn.Module):
    """Separate U-Nets for separate noise ranges: stage k answers where bounds[k-1] <= c_noise < bounds[k].

    Zhang et al. 2023 share an encoder between the stages; here they share nothing, the stronger form. One call in a
    sampler has one noise level, so it costs as much as one U-Net.
    """

    outer = UNet.outer

    def __init__(self, bounds: tuple[float, ...] = (-0.23, 0.03), **options):
        super().__init__()
        if list(bounds) != sorted(bounds):
            raise ValueError(f"the bounds of the stages must rise, got {bounds}")
        self.register_buffer("bounds", torch.tensor(bounds), persistent=False)
        self.stages = nn.ModuleList(UNet(**options) for _ in range(len(bounds) + 1))

    def forward(self, x: Tensor, c_noise: Tensor, label: Tensor | None = None) -> Tensor:
        require_images(x, self.stages[0].image_channels, self.stages[0].patch)
        stage, out = torch.bucketize(c_noise.contiguous(), self.bounds, right=True), torch.zeros_like(x)
        for k in stage.unique().tolist():
            mine = stage == k
            part = self.stages[k](x[mine], c_noise[mine], None if label is None else label[mine])
            out = out.to(part.dtype)
            out[mine] = part
        return out
