"""Figures of images in rows, and of measures over the number of training images, the threshold and the noise level.

Every function takes arrays and returns a matplotlib Figure; nothing is computed here. The rows of images are used by every
chapter, the rest in chapter 2.
"""

from collections.abc import Mapping, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from helpers.measure.bootstrap import Score
from helpers.report import paper
from helpers.report.picture import shown
from helpers.report.style import (
    BLACK,
    BLUE,
    GRAY,
    GREEN,
    ORANGE,
    PURPLE,
    STYLES,
    WIDTH,
    intervals,
    legend_below,
    panels,
)


def _over_sizes(axis: Axes, sizes: Sequence[int], label: str) -> None:
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [f"$2^{{{n.bit_length() - 1}}}$" for n in sizes])
    axis.set_xlabel("training images $N$")
    axis.set_ylabel(label)
    axis.set_ylim(-0.03, 1.03)
    axis.minorticks_off()


def _legend_of(figure: Figure, axis: Axes) -> None:
    """The legend of one panel, for all of them."""
    handles, labels = axis.get_legend_handles_labels()
    legend_below(figure, dict(zip(labels, handles, strict=True)))


def curve(axis: Axes, sizes: Sequence[int], scores: Sequence[Score], style: str, label: str) -> None:
    """Scores over N in one of the book's styles."""
    intervals(axis, sizes, scores, label=label, **STYLES[style])


def image_rows(blocks: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Rows of images under a title for each block: {title: {row label: (columns, H, W) in [-1, 1]}}.

    A block is one mosaic in one axis: an axis for every image would take seconds to draw.
    """
    rows = sum(len(block) for block in blocks.values())
    figure, axes = plt.subplots(len(blocks), 1, figsize=(WIDTH, 0.62 * (rows + 0.45 * len(blocks))), dpi=96, squeeze=False,
                                facecolor="white", height_ratios=[len(block) + 0.45 for block in blocks.values()])
    shown(figure)
    figure.subplots_adjust(left=0.19, right=0.995, top=0.975, bottom=0.005, hspace=0.45 * len(blocks) / rows)
    for axis, (title, block) in zip(axes.flat, blocks.items()):
        gap = 1
        tiles = [np.pad(images, ((0, 0), (0, gap), (0, gap)), constant_values=1.0) for images in block.values()]
        mosaic = np.concatenate([np.concatenate(list(row), axis=1) for row in tiles])
        axis.imshow(mosaic, cmap="gray", vmin=-1, vmax=1, interpolation="nearest", aspect="auto")
        axis.set_title(title, fontsize=11, fontweight="bold", loc="left", x=-0.22)
        height = tiles[0].shape[1]
        axis.set_yticks([height * (k + 0.5) for k in range(len(block))], block, fontsize=9)
        axis.set_xticks([])
        axis.tick_params(length=0)
        axis.spines[:].set_visible(False)
    return figure


def two_regimes(sizes: Sequence[int], rp: Mapping[str, Sequence[Score]], gl: Mapping[str, Sequence[Score]],
                labels: Mapping[str, str]) -> Figure:
    """RP (top) and GL (bottom) over N: ours on the left, the paper's Fig. 2 on the right, the same axes."""
    figure, axes = panels(2, 2, 6.6, sharey="row")
    for axis, scores, name in ((axes[0, 0], rp, "RP"), (axes[1, 0], gl, "GL")):
        for style, values in scores.items():
            curve(axis, sizes, values, style, labels[style])
        _over_sizes(axis, sizes, f"{name} score")
        axis.legend(fontsize=8, frameon=False)
    paper_styles = zip((BLACK, GRAY, PURPLE), ("D", "v", "P"))
    for (pair, values), (color, marker) in zip(paper.RP.items(), paper_styles):
        axes[0, 1].plot(paper.SIZES, values, color=color, marker=marker, markersize=5,
                        label=f"widths {pair[0]} and {pair[1]}")
    for (width, values), (color, marker) in zip(paper.GL.items(), ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"))):
        axes[1, 1].plot(paper.SIZES, values, color=color, marker=marker, markersize=5, label=f"width {width}")
    for axis in axes[:, 1]:
        _over_sizes(axis, paper.SIZES, "")
        axis.legend(fontsize=8, frameon=False)
    axes[0, 0].set_title("this book: Fashion-MNIST", fontsize=10)
    axes[0, 1].set_title("the paper: CIFAR-10, redrawn", fontsize=10)
    return figure


def calibration(thresholds: np.ndarray, unrelated: np.ndarray, sizes: Sequence[int], held_out: np.ndarray,
                edited: Mapping[str, np.ndarray], threshold: float) -> Figure:
    """What a similarity threshold means: strangers, held-out images and edited copies over t."""
    figure, axes = panels(1, 3, 3.2)
    axes[0, 0].semilogy(thresholds, np.clip(unrelated, 1e-7, None), color=GRAY)
    axes[0, 0].set_ylim(1e-6, 1)
    axes[0, 0].set_title("unrelated pairs that pass", fontsize=10)
    for size, values, shade in zip(sizes, held_out, np.linspace(0.75, 0.0, len(sizes))):
        axes[0, 1].plot(thresholds, values, color=str(shade), label=f"$N=2^{{{size.bit_length() - 1}}}$")
    axes[0, 1].set_title("held-out images that count as new", fontsize=10)
    for (name, values), style in zip(edited.items(), cycle(("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1))))):
        axes[0, 2].plot(thresholds, values, linestyle=style, label=name)
    axes[0, 2].set_title("edited copies that are found", fontsize=10)
    for axis in axes.flat:
        axis.axvline(threshold, color=ORANGE, linewidth=1)
        axis.set_xlabel("threshold $t$")
    axes[0, 1].legend(fontsize=8, frameon=False)
    axes[0, 2].legend(fontsize=8, frameon=False, loc="lower left")
    return figure


def threshold_sweep(thresholds: np.ndarray, paired: Mapping[int, np.ndarray], null: Mapping[int, np.ndarray],
                    threshold: float) -> Figure:
    """RP over the whole range of thresholds, one panel for each N: same noise (solid), different noises (dotted)."""
    figure, axes = panels(1, len(paired), 2.7, sharey=True)
    for axis, size in zip(axes.flat, paired):
        axis.plot(thresholds, paired[size], color=BLACK, label="same noise")
        axis.plot(thresholds, null[size], color=GRAY, linestyle=":", label="different noises")
        axis.axvline(threshold, color=ORANGE, linewidth=1)
        axis.set_title(f"$N=2^{{{size.bit_length() - 1}}}$", fontsize=10)
        axis.set_xlabel("threshold $t$")
    axes[0, 0].set_ylabel("RP")
    _legend_of(figure, axes[0, 0])
    return figure


def losses(sigmas: Sequence[float], errors: Mapping[int, Mapping[str, np.ndarray]], labels: Mapping[str, str]) -> Figure:
    """Denoising error over sigma, one panel for each N: {N: {"small train": (S,), "small held-out": (S,), ...}}."""
    figure, axes = panels(1, len(errors), 3.4, sharey=True)
    for axis, (size, lines) in zip(axes.flat, errors.items()):
        for name, values in lines.items():
            kind, part = name.split(maxsplit=1)
            axis.loglog(sigmas, np.clip(values, 1e-5, None), color=STYLES[kind]["color"], marker=STYLES[kind]["marker"],
                        markersize=3, linestyle="-" if part == "train" else "--", label=f"{labels[kind]}, {part}")
        axis.set_title(f"$N=2^{{{size.bit_length() - 1}}}$", fontsize=10)
        axis.set_xlabel(r"noise level $\sigma$")
    axes[0, 0].set_ylabel("mean squared error per pixel")
    _legend_of(figure, axes[0, 0])
    return figure


def theory(sizes: Sequence[int], rp: Mapping[str, Sequence[Score]], index: Mapping[str, Sequence[Score]],
           labels: Mapping[str, str]) -> Figure:
    """Trained networks against the optimal denoiser over N: RP, the same nearest training image, and the paper's RP."""
    figure, axes = panels(1, 3, 3.2, sharey=True)
    for axis, scores, name in ((axes[0, 0], rp, "RP with $D^*$"), (axes[0, 1], index, "same training image")):
        for style, values in scores.items():
            curve(axis, sizes, values, style, labels[style])
        _over_sizes(axis, [n for n in sizes if n.bit_length() % 2], name)        # narrow: neighboring ticks would touch
        axis.legend(fontsize=8, frameon=False)
    for (width, values), (color, marker) in zip(paper.RP_OPTIMAL.items(), ((BLUE, "o"), (ORANGE, "s"), (GREEN, "^"))):
        axes[0, 2].plot(paper.SIZES, values, color=color, marker=marker, markersize=5, label=f"width {width}")
    _over_sizes(axes[0, 2], paper.SIZES[::3], "")
    axes[0, 2].set_title("the paper's Fig. 4 (left), redrawn", fontsize=10)
    axes[0, 2].legend(fontsize=8, frameon=False)
    return figure


def histograms(values: Mapping[str, np.ndarray], threshold: float) -> Figure:
    """Similarities as overlaid outlines, one for each name."""
    figure, axes = panels(1, 1, 3.0)
    bins = np.linspace(-0.6, 1.0, 65)
    for (name, x), (color, style) in zip(values.items(), cycle(((BLACK, "-"), (GRAY, ":"), (PURPLE, "--"), (GREEN, "-.")))):
        axes[0, 0].hist(x, bins, density=True, histtype="step", color=color, linestyle=style, linewidth=1.6, label=name)
    axes[0, 0].axvline(threshold, color=ORANGE, linewidth=1)
    axes[0, 0].set_xlabel("similarity $M$")
    axes[0, 0].set_ylabel("density")
    axes[0, 0].legend(fontsize=8, frameon=False, loc="upper left")
    return figure
