"""Images that obey a rule: 6 x 6 pixels of -1 and 1, in groups of G pixels whose product is 1.

The data are made, not collected, so that an image can be new and right, or new and wrong, and nobody has to look at it.
G = 2 says that neighbors are equal, which the covariance knows; from G = 3 on all pairs of pixels are uncorrelated, and no
model of mean and covariance can know the rule. Wang, Finn & Liu 2026 train on such images. Used in chapter 6.
"""

import torch
from torch import Tensor

SIDE = 6
PIXELS = SIDE * SIDE


def images_of_rule(count: int, group: int, generator: torch.Generator) -> Tensor:
    """`count` different images that obey the rule, (count, 1, 6, 6), each equally likely.

    ValueError unless the group divides 36 and there are as many images.
    """
    if count < 1:
        raise ValueError(f"at least one image must be asked for, got {count}")
    if count > possible(group):
        raise ValueError(f"only {possible(group)} images obey the rule of groups of {group}: {count} were asked for")
    found = torch.empty(0, PIXELS)
    while len(found) < count:
        signs = torch.randint(0, 2, (2 * count, PIXELS // group, group), generator=generator).float() * 2 - 1
        signs[..., -1] = signs[..., :-1].prod(-1)
        found = torch.unique(torch.cat([found, signs.flatten(1)]), dim=0)
    return found[torch.randperm(len(found), generator=generator)[:count]].view(-1, 1, SIDE, SIDE)


def groups_right(images: Tensor, group: int) -> Tensor:
    """How many of the 36 / G groups of images (n, 1, 6, 6), row after row, have signs of product 1: (n,). Chance: half."""
    return (as_signs(images).unflatten(1, (groups_of(group), group)).prod(-1) > 0).sum(1)


def as_signs(images: Tensor) -> Tensor:
    """(n, 1, 6, 6) -> (n, 36) of -1 and 1, the nearer one for each pixel."""
    return torch.where(images.flatten(1) > 0, 1.0, -1.0)


def are_among(images: Tensor, known: Tensor) -> Tensor:
    """Whether each of images (n, 1, 6, 6) has the signs of one of `known` (N, 1, 6, 6): (n,) bool, an exact copy."""
    return (as_signs(images) @ as_signs(known).T == PIXELS).any(1)


def groups_of(group: int) -> int:
    """How many groups of G pixels there are. ValueError unless G is from 1 to 36 and divides 36."""
    if not 1 <= group <= PIXELS or PIXELS % group:
        raise ValueError(f"a group's size divides {PIXELS}, got {group}")
    return PIXELS // group


def possible(group: int) -> int:
    """How many images obey the rule: (2^(G - 1))^(36 / G)."""
    return 2 ** ((group - 1) * groups_of(group))
