"""One model on several devices: each process of a torchrun computes the network on its share of every batch.

The loop stays as it is, and so does what it draws: all processes draw the same batch and noise from (seed, step), answer for
their own images, gather all answers, and compute the same loss. With the batch's images shared out, B = B_1 + ... + B_n,

    dL/dw = sum_r sum_(i in B_r) dL/dy_i dy_i/dw,

so that the gradients of the shares are summed, and every process takes the same step: what n devices learn is what one
would, up to the order of sums. (With dropout, whose masks are drawn for each share, it is another draw.)

torch's DistributedDataParallel would sum gradients, too, but in buckets that it forms anew after its first step, so that
with three processes or more a resumed run does not end bit-equal; summed one by one, they do not know where a run began.

The first process is the one that reads and writes files; it tells the others what to train with it.
"""

import os
import re
from collections.abc import Callable
from datetime import timedelta
from functools import cache

import torch
import torch.distributed as dist
from torch import Tensor, nn

from helpers.models.fewstep import Consistency, Lesson
from helpers.models.objectives import EDMObjective, KernelObjective

# Their losses ask the network for answers to images. A GAN's and a VAE's ask for parts of it: the first process trains those
# alone, and the others wait.
SHARED = (EDMObjective, KernelObjective, Consistency, Lesson)


def find_device(name: str) -> torch.device:
    """The device of a name, cpu, cuda, cuda:N or mps. ValueError for another name, RuntimeError where it is not there, each
    as what one says of the name."""
    if not isinstance(name, str) or not re.fullmatch(r"cpu|mps|cuda(:\d{1,3})?", name):
        raise ValueError("is no device: cpu, cuda, cuda:N or mps is needed")
    device = torch.device(name)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("needs a CUDA GPU, and torch sees none")
    if device.type == "cuda" and device.index and device.index >= torch.cuda.device_count():
        raise RuntimeError(f"needs that CUDA GPU, and torch sees {torch.cuda.device_count()}, from cuda:0 on")
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise RuntimeError("needs Apple's GPU, and torch sees none")
    return device


def join(device: str) -> str:
    """Meet the other processes that torchrun has started; the device of this one, "cpu" or "cuda:0", "cuda:1", ...

    RuntimeError if there are fewer GPUs than processes on this machine.
    """
    if cuda := torch.device(device).type == "cuda":
        own, there = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
        if own >= there:
            raise RuntimeError(f"{os.environ['LOCAL_WORLD_SIZE']} processes cannot share {there} GPUs: start one a GPU, "
                               f"--nproc-per-node {there}")
        torch.cuda.set_device(own)
        device = f"cuda:{own}"
    else:
        torch.set_num_threads(1)
    dist.init_process_group("nccl" if cuda else "gloo")
    _messages()
    return device


@cache
def _messages() -> dist.ProcessGroup:
    """Where the others wait until the first process tells something, be it days."""
    return dist.new_group(backend="gloo", timeout=timedelta(days=365))


def tell(message: str | None) -> None:
    """The first process tells the others what comes next; None: nothing more."""
    dist.broadcast_object_list([message], group=_messages(), device=torch.device("cpu"))


def hear() -> str | None:
    """Another process waits for what the first one tells."""
    heard = [None]
    dist.broadcast_object_list(heard, group=_messages(), device=torch.device("cpu"))
    return heard[0]


class Gather(torch.autograd.Function):
    """The answers of all processes, in the order of the batch; the loss is the same everywhere, so each keeps its share of
    the gradient."""

    @staticmethod
    def forward(context, own: Tensor) -> Tensor:
        """own (B/n, ...) -> (B, ...)"""
        parts = [torch.empty_like(own) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, own)
        return torch.cat(parts)

    @staticmethod
    def backward(context, gradient: Tensor) -> Tensor:
        """The gradient (B, ...) of the loss -> (B/n, ...)"""
        return _share(gradient)


def _share(t: Tensor) -> Tensor:
    return t.chunk(dist.get_world_size())[dist.get_rank()]


def in_shares(network: nn.Module) -> Callable[..., Tensor]:
    """The network as a function of a whole batch x (B, C, H, W), level (B,), label (B,) or None, each process on its share.

    ValueError if the processes do not divide the batch.
    """
    def forward(x: Tensor, level: Tensor, label: Tensor | None = None) -> Tensor:
        if len(x) % dist.get_world_size():
            raise ValueError(f"a batch of {len(x)} images cannot be shared by {dist.get_world_size()} processes: start a "
                             "number of them that divides it")
        own = network(_share(x), _share(level), None if label is None else _share(label))
        return Gather.apply(own.float().contiguous())

    return forward


class Together:
    """An objective whose loss is computed by all processes together; it sums their gradients whenever these are there."""

    def __init__(self, objective, network: nn.Module):
        self.objective = objective
        for p in network.parameters():
            if p.requires_grad:
                p.register_post_accumulate_grad_hook(lambda p: dist.all_reduce(p.grad))

    def loss(self, network: nn.Module, x0: Tensor, label: Tensor | None, generator: torch.Generator,
             progress: float = 0.0) -> Tensor:
        """The objective's loss, a scalar, the same in all processes; the masks of dropout are each one's own.

        The global generator serves dropout alone, and has a seed for each step (see `training.loss_at`), of which the CPU's
        looks at 32 bits: processes are seeded far apart there, since steps are seeded side by side.
        """
        torch.manual_seed((torch.initial_seed() + dist.get_rank() * 0x9E3779B9) % 2**32)      # 2^32 / golden ratio
        return self.objective.loss(in_shares(network), x0, label, generator, progress)


def together(objective, network: nn.Module, message: str = ""):
    """The objective for this process: as it is, or shared with the others that torchrun has started, which are told."""
    if not (dist.is_available() and dist.is_initialized() and isinstance(objective, SHARED)):
        return objective
    if dist.get_rank() == 0:
        tell(message)
    return Together(objective, network)
