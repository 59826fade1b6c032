"""No sampling loop waits for a GPU: between its steps nothing is copied to it from the host, or looked at on the host.

Seen without a GPU: "meta" stands for it, a device whose tensors have no numbers, so that whoever asks for one (`.item()`,
`if tensor`, a mask as an index) fails; a dispatch mode fails on copies between devices, and on the CPU on the operations
that would wait.
"""

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from helpers.closed_form import EmpiricalDenoiser, GaussianDenoiser
from helpers.denoiser import Counted, NetworkDenoiser
from helpers.guidance import DPS, Borrowed, ClassifierFreeGuidance, MomentMatching
from helpers.measure.alignment import Rotated
from helpers.models.unet import UNet
from helpers.operators import OPERATORS, make_operator
from helpers.samplers import SOLVERS, sampling, trajectory
from helpers.zoo.spec import make_objective

SHAPE = (1, 8, 8)
OBJECTIVES = ("edm", "vp", "sub-vp", "ve", "flow", "ddpm", "consistency", "distillation")
WAITS = {"_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal"}


class NoWaiting(TorchDispatchMode):
    """RuntimeError for an operation that makes the host wait for a device, or a device for the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name, out = func.overloadpacket.__name__, func(*args, **(kwargs or {}))
        tensors = [t for t in tree_leaves((args, kwargs, out)) if isinstance(t, torch.Tensor)]
        if name in WAITS or (name == "index" and any(t is not None and t.dtype == torch.bool for t in args[1])):
            raise RuntimeError(f"{name} waits")
        if name in ("_to_copy", "copy_", "copy") and len({t.device for t in tensors}) > 1:
            raise RuntimeError(f"{name} between {' and '.join(sorted({str(t.device) for t in tensors}))}")
        return out


def net(objective="edm", classes=0):
    denoiser = NetworkDenoiser(UNet(width=8, multipliers=(1, 2), classes=classes).eval(), make_objective(objective))
    denoiser.strict = False                               # a single step would leave nothing to watch
    return denoiser


def images(n=10):
    return 0.5 * torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(0))


def measured(denoiser, name="sr2", guide=DPS, *options):
    operator = make_operator(name, SHAPE)
    return guide(denoiser, operator, torch.zeros(1, *operator.measured), *options)


CASES = {
    **{f"network, {objective}": lambda objective=objective: net(objective) for objective in OBJECTIVES},
    "gaussian": lambda: GaussianDenoiser.fit(images()),
    "empirical": lambda: EmpiricalDenoiser(images(), chunk=4),
    "empirical, uint8": lambda: EmpiricalDenoiser((255 * images().sigmoid()).byte(), chunk=4),
    **{f"dps, {name}": lambda name=name: measured(net(), name) for name in OPERATORS},
    "dps of empirical": lambda: measured(EmpiricalDenoiser(images(), chunk=4)),
    "borrowed": lambda: Borrowed(GaussianDenoiser.fit(images()), measured(net())),
    "moments": lambda: measured(net(), "sr2", MomentMatching, 0.1),
    "cfg": lambda: ClassifierFreeGuidance(net(classes=3), 2.0),
    "rotated": lambda: Rotated(Counted(net()), torch.eye(4), 4),
}
LABELED = {
    "network": lambda: net(classes=3), "cfg": lambda: ClassifierFreeGuidance(net(classes=3), 2.0),
    "empirical": lambda: EmpiricalDenoiser(images(12), torch.arange(12) % 3, chunk=4),
    "dps": lambda: measured(net(classes=3)),
}


def walk(denoiser, device, solver="heun", **options):
    """Every step but the first, where what is checked or copied once has its place, is watched."""
    path = trajectory(denoiser, torch.randn(3, *SHAPE, device=device), solver, **{"batch": None, "steps": 4, **options})
    next(path)
    with NoWaiting():
        steps = list(path)
    assert steps[-1].x.device.type == device


@pytest.fixture
def on_meta(monkeypatch):
    """That z is finite is looked at once, before the first step; "meta" has no numbers to look at."""
    monkeypatch.setattr(sampling, "check_noise", lambda z: None)


@pytest.mark.parametrize("moved", [True, False], ids=["moved", "left on the CPU"])
@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_nothing_crosses_between_devices(make, moved, on_meta):
    denoiser = make()
    if moved:
        denoiser = denoiser.to("meta")
    elif any(True for _ in denoiser.parameters()):
        for part in denoiser.modules():                   # weights are moved by whoever loads them, the rest is not
            if isinstance(part, NetworkDenoiser):
                part.to("meta")
    walk(denoiser, "meta")


@pytest.mark.parametrize("label", [2, [0, 1, 2], torch.tensor([0, 1, 2])], ids=["number", "list", "tensor"])
@pytest.mark.parametrize("make", LABELED.values(), ids=LABELED)
def test_labels_cross_once(make, label, on_meta, monkeypatch):
    monkeypatch.setattr(sampling, "check_label", lambda classes, label: None)
    walk(make().to("meta"), "meta", label=label)


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "rk45"])
def test_solvers_do_not_wait(solver, on_meta):
    """All but rk45, whose steps depend on the error of the last."""
    draws = {"noises": lambda i: torch.zeros(3, *SHAPE, device="meta")} if SOLVERS[solver].stochastic else {}
    walk(net().to("meta"), "meta", solver, **draws)


@pytest.mark.parametrize("make", [make for name, make in CASES.items() if "empirical" not in name],
                         ids=[name for name in CASES if "empirical" not in name])
def test_nothing_is_looked_at_on_the_cpu_either(make):
    walk(make(), "cpu")


def test_the_cpu_leaves_out_images_that_do_not_matter_and_a_device_takes_them_all():
    """What an empirical denoiser may do on the CPU alone: to look costs nothing there, and saves most of the time."""
    with pytest.raises(RuntimeError, match="waits"):
        walk(EmpiricalDenoiser(images()), "cpu")


@pytest.mark.parametrize("act", [
    lambda x: x.sum().item(), lambda x: x[x > 0], lambda x: bool(x.any()), lambda x: x.nonzero(),
    lambda x: x.to("meta"), lambda x: torch.zeros(3, device="meta").copy_(x)])
def test_the_watch_sees_what_waits(act):
    with pytest.raises(RuntimeError, match="waits|between cpu and meta"), NoWaiting():
        act(torch.ones(3))
