"""The closed forms against what they cost at least: `EmpiricalDenoiser`, `GaussianDenoiser` and the scores.

The peers are written out here: two matrix products; a softmax in float32 all at once; the broadcast of all differences.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from helpers.closed_form import EmpiricalDenoiser, GaussianDenoiser
from helpers.data import load
from helpers.measure.identification import identified, rivals
from helpers.measure.scores import max_similarity, similarity
from helpers.noise import initial_noise
from helpers.samplers import sample
from tests.bench.record import Record

SIGMAS = (80.0, 10.0, 3.0, 1.0, 0.3, 0.1, 0.01)


@dataclass(frozen=True)
class Sizes:
    """images N and batch B at 28x28x1; color N and B at 32x32x3, and the B of the naive form there; the largest N, D, B of
    a curve; samples and gallery of the scores."""

    n: int = 2**15
    batch: int = 256
    n_color: int = 50_000
    batch_color: int = 256
    batch_naive: int = 16
    most_n: int = 2**17
    most_side: int = 64
    most_batch: int = 2**12
    scored: int = 10_000
    gallery: int = 50_000


def pictures(n: int, shape: tuple[int, int, int], device: torch.device) -> Tensor:
    """Smooth low-rank images, uint8 (n, *shape); the second half are near twins of the first."""
    g, d = torch.Generator().manual_seed(0), shape[0] * shape[1] * shape[2]
    basis, half = torch.randn(30, d, generator=g).to(device) / 5, (n + 1) // 2
    latent = torch.randn(half, 30, generator=g).to(device)
    twins = latent + 0.02 * torch.randn(half, 30, generator=g).to(device)
    return torch.cat([(255 * (part @ basis).sigmoid()).round().byte()
                      for side in (latent, twins) for part in side.split(4096)])[:n].view(n, *shape)


def noisy(images: Tensor, batch: int, sigma: float) -> Tensor:
    """x = x0 + sigma eps around the first images, float32 (batch, C, H, W)."""
    x0 = images[torch.arange(batch, device=images.device) % len(images)].float() / 127.5 - 1
    eps = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1)).to(x0.device)
    return x0 + sigma * eps


def two_products(x: Tensor, y: Tensor) -> Tensor:
    """(x y^T) y: the least that a denoiser of all images computes. x (B, D), y (N, D), float32."""
    return (x @ y.T) @ y


def plain(x: Tensor, y: Tensor, sigma: float) -> Tensor:
    """Theorem 1 in float32, all images at once: x (B, D), y (N, D)."""
    logits = (x @ y.T - 0.5 * y.square().sum(1)) / sigma**2
    return logits.softmax(1) @ y


def naive(x: Tensor, y: Tensor, sigma: float, entries: int = 2**26) -> Tensor:
    """Theorem 1 by subtracting every image from every x, as many at a time as fit into `entries` numbers."""
    chunk = max(1, entries // x.numel())
    distances = torch.cat([(x[:, None] - part[None]).square().sum(2) for part in y.split(chunk)], 1)
    return (-distances / (2 * sigma**2)).softmax(1) @ y


def truth(x: Tensor, images: Tensor, sigma: float) -> Tensor:
    """Theorem 1 in float64 by subtraction, a row and some thousand images at a time."""
    rows, parts = x.flatten(1).double(), [part.flatten(1).double() / 127.5 - 1 for part in images.split(8192)]
    logits = torch.stack([torch.cat([-(row - y).square().sum(1) for y in parts]) for row in rows]) / (2 * sigma**2)
    return sum(w @ y for w, y in zip(logits.softmax(1).split(8192, 1), parts))


def first_call(denoiser: EmpiricalDenoiser, x: Tensor, sigma: float) -> Tensor:
    """A call without what the ones before have left behind."""
    denoiser._vicinities = ()
    return denoiser(x, sigma)


def calls(record: Record, sizes: Sizes) -> None:
    """One call at each noise level against the two products alone, and its error."""
    images = pictures(sizes.n, (1, 28, 28), record.device)
    y, denoiser = images.flatten(1).float() / 127.5 - 1, EmpiricalDenoiser(images)
    for sigma in SIGMAS:
        x = noisy(images, sizes.batch, sigma)
        record.ratio(f"call, sigma {sigma:g}", f"one call of EmpiricalDenoiser, {_sized(images, x)}, sigma = {sigma:g}",
                     "its two products in float32, alone", partial(first_call, denoiser, x, sigma),
                     partial(two_products, x.flatten(1), y), "<= 1.15")
    errors(record, images, y, denoiser, "")


def _sized(images: Tensor, x: Tensor) -> str:
    return f"N = {len(images):,}, D = {x[0].numel():,}, B = {len(x)}"


def errors(record: Record, images: Tensor, y: Tensor, denoiser, where: str, sigmas: tuple[float, ...] = SIGMAS,
           rows: int = 8) -> None:
    """The worst relative error over the noise levels, of some rows, of each form."""
    worst = {"EmpiricalDenoiser": 0.0, "plain float32": 0.0}
    for sigma in sigmas:
        x = noisy(images, rows, sigma)
        exact = truth(x, images, sigma)
        found = first_call(denoiser, x, sigma).flatten(1), plain(x.flatten(1), y, sigma)
        for name, value in zip(worst, found):
            off = ((value - exact).norm(dim=1) / exact.norm(dim=1)).max().item()
            worst[name] = max(worst[name], off)
    for name, value in worst.items():
        record.number(f"error of {name}{where}", value, "relative, against float64")


def trajectory(record: Record, sizes: Sizes) -> None:
    """A whole descent of 18 Heun steps over the book's own images against 35 times the two products."""
    images = load("fashion-mnist", split="train").images[:sizes.n].to(record.device)
    y, denoiser = images.flatten(1).float() / 127.5 - 1, EmpiricalDenoiser(images)
    for batch in sorted({min(64, sizes.batch), sizes.batch}):
        z = initial_noise(range(batch), (1, 28, 28), seed=2).to(record.device)

        def descend(z: Tensor = z) -> Tensor:
            denoiser._vicinities = ()
            return sample(denoiser, z, steps=18)

        record.ratio(f"trajectory, B = {batch}", f"18 Heun steps of EmpiricalDenoiser, {_sized(images, z)}",
                     "35 times its two products", descend, partial(two_products, z.flatten(1), y), "<= 0.5", times=35)


def color(record: Record, sizes: Sizes) -> None:
    """At 32x32x3: against the plain float32 form and, image for image, the naive one on fewer; with the memory of each."""
    images = pictures(sizes.n_color, (3, 32, 32), record.device)
    y, denoiser = images.flatten(1).float() / 127.5 - 1, EmpiricalDenoiser(images)
    for sigma in (10.0, 0.3):
        x = noisy(images, sizes.batch_color, sigma)
        rows, few, ours = x.flatten(1), min(sizes.batch_naive, len(x)), partial(first_call, denoiser, x, sigma)
        what = f"one call of EmpiricalDenoiser, {_sized(images, x)}, sigma = {sigma:g}"
        record.ratio(f"color, sigma {sigma:g}, plain", what, "Theorem 1 in plain float32", ours,
                     partial(plain, rows, y, sigma), "<= 0.5")
        record.ratio(f"color, sigma {sigma:g}, naive", what, f"the broadcast of all differences, B = {few}, image for image",
                     ours, partial(naive, rows[:few], y, sigma), "<= 0.05", times=len(x) / few)
    errors(record, images, y, denoiser, ", color", (10.0, 0.3, 0.01), 4)


STATUS, REFERENCES = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def peak(call, device: torch.device) -> float | None:
    """The most GB that a call held beyond what was there; None where the system does not count it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        torch.cuda.synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 2**30
    try:
        REFERENCES.write_text("5")                                    # forgets the highest mark of this process
        before = resident("VmRSS")
        call()
        return (resident("VmHWM") - before) / 2**20
    except (OSError, StopIteration):
        return None


def resident(name: str) -> int:
    """Kilobytes of this process's memory, now (VmRSS) or at most (VmHWM)."""
    lines = STATUS.read_text(encoding="utf-8").splitlines()
    return int(next(row for row in lines if row.startswith(name)).split()[1])


def memory_over_n(record: Record, sizes: Sizes) -> None:
    """The memory of one call at N / 4, N and 2 N, beside that of the plain form."""
    for n in (sizes.n // 4, sizes.n, 2 * sizes.n):
        images = pictures(n, (1, 28, 28), record.device)
        x, y = noisy(images, sizes.batch, 1.0), images.flatten(1).float() / 127.5 - 1
        denoiser = EmpiricalDenoiser(images)
        first_call(denoiser, x, 1.0)                                  # what is set up once is no part of it
        for name, call in {"EmpiricalDenoiser": partial(first_call, denoiser, x, 1.0),
                           "plain float32": partial(plain, x.flatten(1), y, 1.0)}.items():
            if (held := peak(call, record.device)) is not None:
                record.number(f"memory of {name}, N = {n}", held, "GB beyond its inputs")


def gaussian(record: Record, sizes: Sizes) -> None:
    """The linear denoiser against one dense product."""
    for shape in ((1, 28, 28), (3, 32, 32))[:1 if sizes.n < 1000 else 2]:
        d = shape[0] * shape[1] * shape[2]
        images = pictures(min(sizes.n, 4096), shape, record.device)
        denoiser, x = GaussianDenoiser.fit(images), noisy(images, sizes.batch, 1.0)
        matrix = torch.randn(d, d, device=record.device)
        record.ratio(f"gaussian, D = {d}", f"one call of GaussianDenoiser, D = {d:,}, B = {len(x)}",
                     "one dense product (B, D)(D, D)",
                     partial(denoiser, x, 1.0), partial(torch.matmul, x.flatten(1), matrix), "<= 1.2")


def scores(record: Record, sizes: Sizes) -> None:
    """GL's nearest descriptors, identification and RP against the matrix product alone."""
    g = torch.Generator().manual_seed(0)
    a, b, gallery = (torch.nn.functional.normalize(torch.randn(n, 512, generator=g), dim=1).to(record.device)
                     for n in (sizes.scored, sizes.scored, sizes.gallery))

    def product(f: Tensor) -> None:
        for part in gallery.split(4096):
            f @ part.T

    where = f"{len(a):,} samples, {len(gallery):,} images, 512-d"
    record.ratio("nearest descriptor", f"GL's nearest images, {where}", "the product alone",
                 partial(max_similarity, a, gallery), partial(product, a), "<= 1.2")
    record.ratio("identification", f"identification and RP of two systems, {where}", "the two products alone",
                 lambda: identified(similarity(a, b), rivals(a, gallery), rivals(b, gallery)),
                 lambda: (product(a), product(b)), "<= 1.2")


def growth(record: Record, sizes: Sizes) -> None:
    """Seconds of one call over N, D and B."""
    device = record.device

    def over_n(n: int, shape=(1, 28, 28), batch=None):
        images = pictures(n, shape, device)
        return partial(first_call, EmpiricalDenoiser(images), noisy(images, batch or sizes.batch, 1.0), 1.0)

    record.curve("EmpiricalDenoiser over N", "N", over_n, _powers(2**10, sizes.most_n, 2))
    fixed = min(sizes.n, 2**14)
    record.curve("EmpiricalDenoiser over D", "D",
                 lambda d: over_n(fixed, (1, round(d**0.5), round(d**0.5))),
                 [side**2 for side in _powers(8, sizes.most_side, 2)])
    record.curve("EmpiricalDenoiser over B", "B", lambda b: over_n(fixed, batch=b), _powers(4, sizes.most_batch, 4))


def _powers(first: int, last: int, factor: int) -> list[int]:
    found = [first]
    while found[-1] * factor <= last:
        found.append(found[-1] * factor)
    return found


FORMS = {"calls": calls, "trajectory": trajectory, "color": color, "memory over N": memory_over_n, "gaussian": gaussian,
         "scores": scores, "growth": growth}
