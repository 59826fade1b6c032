"""Networks: images a second forward and in training, in float32, TF32 and bfloat16, channels first and last.

`small` are the book's U-Nets of 28x28x1 images, `paper` those of the profile `paper`, 32x32x3.
"""

from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import nn

from helpers.chapters.profiles import LAPTOP, PAPER
from helpers.denoiser import NetworkDenoiser
from helpers.models.objectives import EDMObjective
from helpers.models.training import State, train
from helpers.models.unet import UNet
from tests.bench.record import Record, line, quartiles


@dataclass(frozen=True)
class Widths:
    """Base widths, and the batch, of the book's U-Nets and of those of the profile `paper`."""

    small: tuple[int, ...] = (16, 32, 64)
    batch: int = 256
    paper: tuple[int, ...] = (64, 128, 256)
    paper_batch: int = 128
    steps: int = 5                           # training steps timed together


def network(width: int, paper: bool = False, **changed) -> UNet:
    """An untrained U-Net of the book, or of the profile `paper`; its last layer, which starts at zero, is filled."""
    torch.manual_seed(0)
    options = {**(dict(PAPER.options) if paper else {}), **changed}
    net = UNet(width=width, **options)
    nn.init.normal_(net.head[-1].weight, std=0.02)
    return net


def shape_of(paper: bool) -> tuple[int, int, int]:
    return (3, 32, 32) if paper else (1, 28, 28)


@contextmanager
def precision(name: str, device: torch.device, gradients: bool = False):
    """float32, TF32 in products and convolutions, or bfloat16 by autocast."""
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = name == "TF32"
    try:
        with torch.set_grad_enabled(gradients), torch.autocast(device.type, torch.bfloat16, enabled=name == "bfloat16"):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before


def forward(record: Record, widths: Widths) -> None:
    """One call of a network in each precision and layout, against float32 with the channels first."""
    kinds = ("float32", "TF32", "bfloat16") if record.device.type == "cuda" else ("float32", "bfloat16")
    for paper in (False, True):
        for width in widths.paper if paper else widths.small:
            _each(record, f"forward{' paper' if paper else ''}, width {width}", partial(_forward, record, width, paper,
                                                                                      widths, kinds))


def _each(record: Record, name: str, measure) -> None:
    """One of several measurements; what fails, for lack of memory say, leaves its line and the others go on."""
    try:
        measure(name)
    except RuntimeError as error:
        record.content["failed"][name] = line(error)
    record.tidy()


def _forward(record: Record, width: int, paper: bool, widths: Widths, kinds: tuple[str, ...], name: str) -> None:
    batch = widths.paper_batch if paper else widths.batch
    denoiser = NetworkDenoiser(network(width, paper).eval(), EDMObjective()).to(record.device)
    x = torch.randn(batch, *shape_of(paper), device=record.device)
    with precision("float32", record.device):
        first = denoiser(x, 1.0)
        base = record.times(partial(denoiser, x, 1.0))
    _speed(record, f"{name}, float32", batch, base)
    for layout in (torch.contiguous_format, torch.channels_last):
        denoiser.network.to(memory_format=layout)
        x = x.contiguous(memory_format=layout)
        for kind in kinds:
            if kind == "float32" and layout is torch.contiguous_format:
                continue
            label = kind + (", channels last" if layout is torch.channels_last else "")
            with precision(kind, record.device):
                off = (denoiser(x, 1.0) - first).abs().max().item()
                taken = record.times(partial(denoiser, x, 1.0))
            _speed(record, f"{name}, {label}", batch, taken)
            record.figure(f"{name}, {label}", f"a forward call, B = {batch}, width {width}, {label}",
                          "float32, channels first", [(a, b) for (a,), (b,) in zip(taken, base)])
            record.number(f"{name}, {label}: change", off, "largest difference to float32")


def _speed(record: Record, name: str, images: int, times: list[tuple[float, ...]]) -> None:
    record.number(f"{name}: speed", images / quartiles([t for t, in times])[1], "images/s")


def training(record: Record, widths: Widths) -> None:
    """Steps of the one training loop, bfloat16 (autocast), channels first and last."""
    for paper in (False, True):
        for width in widths.paper if paper else widths.small:
            _each(record, f"training{' paper' if paper else ''}, width {width}",
                  partial(_training, record, width, paper, widths))


def _training(record: Record, width: int, paper: bool, widths: Widths, name: str) -> None:
    recipe = replace(PAPER.recipe if paper else LAPTOP.recipe, steps=10**5)
    if paper:
        recipe = replace(recipe, batch=widths.paper_batch)
    while True:
        try:
            return _layouts(record, f"{name}, batch {recipe.batch}", recipe, width, paper, widths)
        except torch.OutOfMemoryError as error:
            record.content["failed"][f"{name}, batch {recipe.batch}"] = line(error)
        record.tidy()
        if recipe.batch < 32:
            return None
        recipe = replace(recipe, batch=recipe.batch // 2)


def _layouts(record: Record, name: str, recipe, width: int, paper: bool, widths: Widths) -> None:
    cuda, times = record.device.type == "cuda", {}
    for last in (False, True):
        if cuda:
            torch.cuda.reset_peak_memory_stats(record.device)
        step = stepper(network(width, paper), recipe, shape_of(paper), record.device, last, widths.steps)
        label = "channels last" if last else "channels first"
        times[last] = record.times(step)
        _speed(record, f"{name}, {label}", recipe.batch * widths.steps, times[last])
        if cuda:
            record.number(f"{name}, {label}: memory", torch.cuda.max_memory_allocated(record.device) / 2**30, "GB")
        del step
        record.tidy()
    record.figure(f"{name}, channels last", f"training steps, width {width}, channels last", "channels first",
                  [(a, b) for (a,), (b,) in zip(times[True], times[False])])


def stepper(net: nn.Module, recipe, shape: tuple[int, int, int], device: torch.device, last: bool, steps: int):
    """A call that takes `steps` steps of the training loop on 1024 random images."""
    net = net.to(device, memory_format=torch.channels_last if last else torch.contiguous_format)
    images = torch.rand(1024, *shape, device=device) * 2 - 1
    loop = train(State(net, recipe), EDMObjective(), images, None, recipe, check_every=steps)
    every = 1 if device.type == "cuda" else steps
    return partial(_take, loop, every)


def _take(loop, items: int) -> None:
    for _ in range(items):
        next(loop)


def growth(record: Record, widths: Widths) -> None:
    """Seconds of a forward call in float32 over width and batch."""
    def call(width: int = widths.small[0], batch: int = 64):
        denoiser = NetworkDenoiser(network(width).eval(), EDMObjective()).to(record.device).requires_grad_(False)
        return partial(denoiser, torch.randn(batch, 1, 28, 28, device=record.device), 1.0)

    record.curve("U-Net over width", "width", lambda w: call(width=w), [8 * 2**k for k in range(8)
                                                                       if 8 * 2**k <= 4 * max(widths.small)])
    record.curve("U-Net over B", "B", lambda b: call(batch=b), [4**k for k in range(1, 8) if 4**k <= 8 * widths.batch])


NETWORKS = {"forward": forward, "training": training, "growth": growth}
