"""Figures of an audit: images of one channel or three in rows, and denoising errors. Nothing is computed here."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from helpers.audit.measures import Audit, Errors
from helpers.data import as_x0
from helpers.measure.comparison import LINEAR
from helpers.report.style import BLACK, GRAY, GREEN, WIDTH, panels

COLUMNS = 12


def image_rows(rows: Mapping[str, Tensor]) -> Figure:
    """Rows of images (n, C, H, W), uint8 or [-1, 1], C = 1 or 3 (of others the first channel), as one mosaic."""
    tiles = {name: (as_x0(images).float().clamp(-1, 1) + 1) / 2 for name, images in rows.items()}
    lines = []
    for images in tiles.values():
        colors = (images if images.shape[1] == 3 else images[:, :1].expand(-1, 3, -1, -1)).permute(0, 2, 3, 1).numpy()
        lines.append(np.concatenate(list(np.pad(colors, ((0, 0), (0, 1), (0, 1), (0, 0)), constant_values=1.0)), axis=1))
    mosaic, height = np.concatenate(lines), lines[0].shape[0]
    figure, axis = plt.subplots(figsize=(WIDTH, WIDTH * 0.85 * mosaic.shape[0] / mosaic.shape[1]), dpi=96, facecolor="white",
                                layout="constrained")
    axis.imshow(mosaic, interpolation="nearest")
    axis.set_yticks([height * (k + 0.5) for k in range(len(rows))], rows, fontsize=9)
    axis.set_xticks([])
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)
    return figure


def nearest(found: Audit) -> Figure:
    """For each model, the samples that are most like copies, and below each its nearest training images."""
    rows = {}
    for subject in found.subjects:
        copies = found.copies[subject.name]
        order = (copies.distance[:, 0] / copies.distance[:, 1]).argsort()[:COLUMNS]
        rows[f"{subject.name}, samples"] = found.comparison.images[subject.name][order]
        for k, rank in enumerate(("nearest", "second", "third")[:copies.index.shape[1]]):
            rows[f"{subject.name}, {rank}"] = subject.images[copies.index[order, k]]
    return image_rows(rows)


def same_noise(found: Audit) -> Figure:
    """The first noises, drawn by each model and by the linear baseline."""
    names = [*(s.name for s in found.subjects), LINEAR]
    return image_rows({name: found.comparison.images[name][:COLUMNS] for name in names})


def errors(e: Errors, name: str) -> Figure:
    """Denoising errors over sigma: training images dark, held-out images with open marks."""
    figure, axes = panels(1, 1, 3.6)
    lines = {f"{name}, training images": (e.train, BLACK, "o", "-"),
             "optimal, training images": (e.optimal, GREEN, "^", "-"),
             f"{name}, held-out images": (e.held_out, BLACK, "o", "--"),
             "Gaussian, held-out images": (e.gaussian, GRAY, "v", "--")}
    for label, (values, color, marker, style) in lines.items():
        shown = torch.as_tensor(values).clamp_min(1e-6)                        # zero has no place on a log axis
        axes[0, 0].loglog(e.sigmas, shown, color=color, marker=marker, linestyle=style, label=label,
                          markerfacecolor=color if style == "-" else "white")
    axes[0, 0].set_xlabel(r"noise level $\sigma$")
    axes[0, 0].set_ylabel("mean squared error per pixel")
    axes[0, 0].legend(fontsize=8, frameon=False)
    return figure
