"""Training: images a second of the book's loop beside two loops that many people run, with the same network and precision.

The loops are written anew from what they publish: `Trainer` of denoising-diffusion-pytorch (Adam, clipped gradients, an
average of the weights every ten steps) and diffusers' train_unconditional.py (AdamW, cosine, clipping, EMAModel).
Both read PIL images through torchvision's transforms and a DataLoader, here in the one process that one core has use for;
the images are decoded in memory already, which spares the peers reading files.
"""

import copy
from dataclasses import replace
from itertools import chain, repeat

import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from helpers.chapters.profiles import LAPTOP
from helpers.data import load, to_float
from helpers.models.objectives import EDMObjective
from helpers.models.training import State, computes_bfloat16, train
from tests.bench.networks import network
from tests.bench.record import Record

WIDTH, SIZE = 16, 28


class Pictures(Dataset):
    """PIL images through a recipe's transforms."""

    def __init__(self, images: torch.Tensor, act):
        self.images, self.act = [Image.fromarray(image[0].numpy()) for image in images], act

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.act(self.images[index])


def _batches(images: torch.Tensor, act, batch: int):
    loader = DataLoader(Pictures(images, act), batch_size=batch, shuffle=True, drop_last=True)
    return chain.from_iterable(repeat(loader))


def _noised(x0: torch.Tensor, alpha_bar: torch.Tensor):
    """DDPM's x_t, its time steps and its noise."""
    t, eps = torch.randint(0, 1000, (len(x0),)), torch.randn_like(x0)
    a = alpha_bar[t][:, None, None, None]
    return a.sqrt() * x0 + (1 - a).sqrt() * eps, t, eps


def _alpha_bar() -> torch.Tensor:
    return torch.linspace(1e-4, 0.02, 1000).neg().add(1).cumprod(0)


def denoising_diffusion_pytorch(images: torch.Tensor, batch: int, bf16: bool):
    """A generator that takes one step of its `Trainer` each time."""
    act = transforms.Compose([transforms.Resize(SIZE), transforms.RandomHorizontalFlip(), transforms.CenterCrop(SIZE),
                              transforms.ToTensor()])
    net, alpha_bar = network(WIDTH).train(), _alpha_bar()
    average, optimizer = copy.deepcopy(net), torch.optim.Adam(net.parameters(), 8e-5, betas=(0.9, 0.99))
    for step, data in enumerate(_batches(images, act, batch)):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            x, t, eps = _noised(data * 2 - 1, alpha_bar)
            loss = F.mse_loss(net(x, t / 1000).float(), eps, reduction="none").flatten(1).mean(1).mean()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        loss.item()
        optimizer.step()
        optimizer.zero_grad()
        if step % 10 == 0:
            with torch.no_grad():
                for mean, p in zip(average.parameters(), net.parameters()):
                    mean.lerp_(p, 0.005)
        yield step


def diffusers(images: torch.Tensor, batch: int, bf16: bool):
    """A generator that takes one step of train_unconditional.py each time."""
    from diffusers import DDPMScheduler
    from diffusers.optimization import get_scheduler
    from diffusers.training_utils import EMAModel

    act = transforms.Compose([transforms.Resize(SIZE), transforms.CenterCrop(SIZE), transforms.RandomHorizontalFlip(),
                              transforms.ToTensor(), transforms.Normalize([0.5], [0.5])])
    net, noises = network(WIDTH).train(), DDPMScheduler(num_train_timesteps=1000)
    optimizer = torch.optim.AdamW(net.parameters(), 1e-4, betas=(0.95, 0.999), weight_decay=1e-6, eps=1e-8)
    rate = get_scheduler("cosine", optimizer, num_warmup_steps=500, num_training_steps=100_000)
    average = EMAModel(net.parameters(), decay=0.9999, use_ema_warmup=True, inv_gamma=1.0, power=0.75)
    for step, clean in enumerate(_batches(images, act, batch)):
        eps, t = torch.randn_like(clean), torch.randint(0, 1000, (len(clean),))
        x = noises.add_noise(clean, eps, t)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = F.mse_loss(net(x, t / 1000).float(), eps)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        rate.step()
        optimizer.zero_grad()
        average.step(net.parameters())
        loss.detach().item()
        yield step


def _loop(images: torch.Tensor, recipe):
    return train(State(network(WIDTH), recipe), EDMObjective(), to_float(images), None, recipe)


def speed(record: Record, n: int = 2**12, steps: int = 5) -> None:
    """Seconds an image of the book's loop over those of the peers, each `steps` steps of LAPTOP's batch."""
    recipe = replace(LAPTOP.recipe, steps=10**5, bf16=LAPTOP.recipe.bf16 and computes_bfloat16("cpu"))
    images = load("fashion-mnist", split="train").images[:n]
    loops = {"ours": _loop(images, recipe), "ours with Adam alone": _loop(images, replace(recipe, muon=0.0)),
             "denoising-diffusion-pytorch's loop": denoising_diffusion_pytorch(images, recipe.batch, recipe.bf16),
             "diffusers' train_unconditional": diffusers(images, recipe.batch, recipe.bf16)}

    def some(loop) -> None:
        for _ in range(steps):
            next(loop)

    found = record.times(*(lambda loop=loop: some(loop) for loop in loops.values()), seconds=8 * record.seconds)
    what = f"an image in training, U-Net of width {WIDTH}, batch {recipe.batch}, {'bfloat16' if recipe.bf16 else 'float32'}"
    for i, peer in list(enumerate(loops))[2:]:
        record.figure(f"training, {peer}", what, peer, [(t[0], t[i]) for t in found], "<= 0.77")
        record.figure(f"training, {peer}, Adam alone", f"{what}, Adam alone", peer, [(t[1], t[i]) for t in found])


RECIPES = {"speed": speed}
