"""How long EmpiricalDenoiser takes, and why its logits are float64.

    python -m tests.bench.bench_closed_form [--images N] [--batch B]

D = 784, images as uint8. For a noise level of each regime: the denoiser, and the two alternatives that it
was chosen over.

    float32    a float32 product x.y for the logits
    rescue     the float32 product selects the images that may matter, a float64 product redoes those

The error is relative, against float64 distances by subtraction. Each x lies halfway between an image and its near twin,
and its noise is orthogonal to their difference, so that the two compete at every sigma: the worst case for the logits.
"""

import time
from functools import partial

import torch

from helpers.closed_form import EmpiricalDenoiser, GaussianDenoiser, nearest_images
from tests.bench.options import parse

SIGMAS = (0.01, 0.3, 1.0, 3.0, 10.0, 80.0)
CHUNK = 2048


def images_and_noisy(n: int, b: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Smooth low-rank images, uint8 (n, 1, 28, 28), with near twins; midpoints of twins and noise, (b, 784)."""
    g = torch.Generator().manual_seed(0)
    latent = torch.randn(n, 30, generator=g) @ torch.randn(30, 784, generator=g) / 5
    latent[n // 2:] = latent[:n - n // 2] + 0.02 * torch.randn(n - n // 2, 784, generator=g)
    images = (255 * latent.sigmoid()).round().to(torch.uint8).view(n, 1, 28, 28)
    first, twin = (images[start:start + b].flatten(1) / 127.5 - 1 for start in (0, n // 2))
    axis = torch.nn.functional.normalize(first - twin)
    eps = torch.randn(first.shape, generator=g)
    return images, (first + twin) / 2, eps - (eps * axis).sum(1, keepdim=True) * axis


def float32_first(x: torch.Tensor, y: torch.Tensor, sigma: float, rescue: bool = False) -> torch.Tensor:
    """The alternatives, as float32 rows: x (B, D), y uint8 (N, D)."""
    peak, total, mean = torch.full((len(x), 1), -torch.inf), 0, 0
    for part in y.split(CHUNK):
        part = part.float() / 127.5 - 1
        logits = (x @ part.T - 0.5 * part.square().sum(1)) / sigma**2
        if rescue:
            slack = 1e-5 * x.norm(dim=1, keepdim=True) * 28 / sigma**2
            keep = (logits > torch.maximum(peak, logits.amax(1, keepdim=True)) - 30 - slack).any(0)
            part = part[keep]
            exact = part.double()
            logits = (x.double() @ exact.T - 0.5 * exact.square().sum(1)) / sigma**2
            if not len(part):
                continue
        new_peak = torch.maximum(peak, logits.amax(1, keepdim=True))
        w, shrink, peak = (logits - new_peak).float().exp(), (peak - new_peak).exp(), new_peak
        total, mean = total * shrink + w.sum(1, keepdim=True), mean * shrink + w @ part
    return (mean / total).float()


def oracle(x: torch.Tensor, y: torch.Tensor, sigma: float) -> torch.Tensor:
    y = y.double() / 127.5 - 1
    logits = torch.stack([-(row - y).square().sum(1) for row in x.double()]) / (2 * sigma**2)
    return logits.softmax(1) @ y


def seconds(call, budget: float) -> float:
    """The fastest of the calls that fit into the budget, in CPU time, so that a busy machine disturbs little."""
    times, begun = [], time.perf_counter()
    while not times or time.perf_counter() - begun < budget:
        start = time.process_time()
        call()
        times.append(time.process_time() - start)
    return min(times)


def report(call, x: torch.Tensor, truth: torch.Tensor, budget: float) -> str:
    """Seconds for all of x, and the worst relative error of its first rows, those of `truth`."""
    error = (call(x[:len(truth)]).flatten(1) - truth).norm(dim=1) / truth.norm(dim=1)
    return f"{seconds(lambda: call(x), budget):6.2f} s {error.max().item():6.0e}"


def main(argv: list[str] | None = None) -> None:
    wanted = parse("tests.bench.bench_closed_form", "How long EmpiricalDenoiser takes, beside two alternatives.", argv)
    n, b, budget = wanted.images, wanted.batch, wanted.seconds
    torch.set_num_threads(wanted.threads)
    images, middle, eps = images_and_noisy(n, b)
    rows, denoiser = images.flatten(1), EmpiricalDenoiser(images, chunk=CHUNK)
    print(f"N = {n}, B = {len(middle)}, D = 784, {wanted.threads} threads; "
          "seconds a call and worst relative error of 8 rows")
    print("  sigma  EmpiricalDenoiser           float32            rescue")
    for sigma in SIGMAS:
        x = middle + sigma * eps
        truth, pictures = oracle(x[:8], rows, sigma), x.view(-1, 1, 28, 28)
        cells = (report(partial(denoiser, sigma=sigma), pictures, truth, budget),
                 report(partial(float32_first, y=rows, sigma=sigma), x, truth, budget),
                 report(partial(float32_first, y=rows, sigma=sigma, rescue=True), x, truth, budget))
        print(f"{sigma:7.2f}  {cells[0]:>17}  {cells[1]:>16}  {cells[2]:>16}")
    pictures = middle.view(-1, 1, 28, 28)
    print(f"nearest_images        {seconds(lambda: nearest_images(pictures, images), budget):5.2f} s")
    print(f"GaussianDenoiser.fit  {seconds(lambda: GaussianDenoiser.fit(images), 0.0):5.2f} s")


if __name__ == "__main__":
    main()
