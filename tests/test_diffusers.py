"""samplers.py against diffusers: the same network, the same noise, the same noise levels, and so the same image to 1e-4.

diffusers walks the same ODE in other coordinates: its EDM schedulers do the preconditioning of `EDMObjective`,
its "discrete" ones take the noise eps = (x - D)/sigma, and its DDPM and DDIM walk on y = x / sqrt(1 + sigma^2).
"""

from functools import partial
from itertools import combinations

import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    EDMDPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    HeunDiscreteScheduler,
    KDPM2DiscreteScheduler,
    UNet2DModel,
)

from helpers.denoiser import NetworkDenoiser
from helpers.kernels import kernel
from helpers.models.objectives import EDMObjective
from helpers.models.unet import UNet
from helpers.samplers import karras_sigmas, nfe, sample
from helpers.zoo.spec import make_objective

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")      # diffusers calls numpy in its old way

STEPS = 12
LINEAR = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear", "clip_sample": False}      # Ho et al. 2020


@pytest.fixture(scope="module")
def denoiser():
    """A U-Net without a zero among its weights: a new one has zeros last, and says nothing."""
    network, g = UNet(width=8, multipliers=(1, 2)).eval(), torch.Generator().manual_seed(0)
    for p in network.parameters():
        p.data += 0.05 * torch.randn(p.shape, generator=g)
    return NetworkDenoiser(network, EDMObjective()).requires_grad_(False)


def noise(n=4, seed=1):
    return torch.randn(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


def assert_same_images(ours, theirs):
    assert ours.std() > 0.05      # the network says something
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-4)


MULTISTEP = {"algorithm_type": "dpmsolver++", "solver_type": "midpoint", "lower_order_final": False}


@pytest.mark.parametrize(("solver", "scheduler"), [
    ("euler", EDMEulerScheduler),
    ("dpmpp2m", partial(EDMDPMSolverMultistepScheduler, solver_order=2, **MULTISTEP)),
    ("dpmpp3m", partial(EDMDPMSolverMultistepScheduler, solver_order=3, **MULTISTEP)),
])
def test_edm_schedulers(denoiser, solver, scheduler):
    """They precondition the bare network, with sigma_data = 0.5, and make the same noise levels; nothing of ours is used."""
    scheduler = scheduler()
    scheduler.set_timesteps(STEPS)
    x = 80 * noise()
    for t in scheduler.timesteps:
        output = denoiser.network(scheduler.scale_model_input(x, t), t.expand(len(x)))
        x = scheduler.step(output, t, x).prev_sample
    assert_same_images(sample(denoiser, noise(), solver, STEPS), x)


@pytest.mark.parametrize(("solver", "scheduler"), [
    ("euler", EulerDiscreteScheduler),
    ("heun", HeunDiscreteScheduler),
    ("dpm2", KDPM2DiscreteScheduler),
])
def test_discrete_schedulers(denoiser, solver, scheduler):
    """They know Karras' noise levels between those of Stable Diffusion only, hence ours in their place."""
    scheduler = scheduler(use_karras_sigmas=True)
    scheduler._convert_to_karras = lambda **_: karras_sigmas(STEPS)[:-1].numpy()
    scheduler.set_timesteps(STEPS)
    scheduler.set_begin_index(0)
    x = 80 * noise()
    assert len(scheduler.timesteps) == nfe(solver, STEPS)
    for i, t in enumerate(scheduler.timesteps):
        scheduler.scale_model_input(x, t)      # EulerDiscrete warns unless it is called
        middle = solver == "dpm2" and not scheduler.state_in_first_order
        sigma = (scheduler.sigmas_interpol if middle else scheduler.sigmas)[i].item()
        x = scheduler.step((x - denoiser(x, sigma)) / sigma, t, x).prev_sample
    assert_same_images(sample(denoiser, noise(), solver, STEPS), x)


def test_other_solvers_are_far(denoiser):
    """At 12 steps no two solvers agree on this network: agreement to 1e-4 means the same rule."""
    images = [sample(denoiser, noise(), solver, STEPS) for solver in ("euler", "heun", "dpm2", "dpmpp2m", "dpmpp3m")]
    assert min((a - b).abs().max() for a, b in combinations(images, 2)) > 0.01


def ddpm_sigmas(scheduler, steps):
    """Our noise levels at the scheduler's time steps, which count from 0, and 0."""
    scheduler.set_timesteps(steps)
    return [kernel("ddpm").sigma(t + 1).item() for t in scheduler.timesteps.tolist()] + [0.0]


@pytest.mark.parametrize(("solver", "scheduler", "randomness"), [
    ("euler", DDIMScheduler, {}),
    ("ancestral", DDPMScheduler, {"generator": 2}),
])
def test_ddim_and_ddpm(denoiser, solver, scheduler, randomness):
    """Both draw the noise of a step from the generator as it comes, so that one seed gives one random path."""
    def seeded():
        return {name: torch.Generator().manual_seed(seed) for name, seed in randomness.items()}

    scheduler = scheduler(**LINEAR, timestep_spacing="trailing")
    sigmas = ddpm_sigmas(scheduler, 10)
    scales, z, theirs = [(1 + sigma**2) ** 0.5 for sigma in sigmas], noise(), seeded()
    y = sigmas[0] / scales[0] * z
    for t, sigma, scale in zip(scheduler.timesteps, sigmas, scales):
        x = scale * y
        y = scheduler.step((x - denoiser(x, sigma)) / sigma, t, y, **theirs).prev_sample
    assert_same_images(sample(denoiser, z, solver, sigmas=sigmas, **seeded()), y)


@pytest.fixture(scope="module")
def their_unet():
    """A network of diffusers that predicts eps at time steps 0 ... 999, and is a denoiser of ours in one line.

    Trained for a moment, on flat gray images: a new one does not take the noise out, and leaves numbers in the hundreds.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DModel(sample_size=28, in_channels=1, out_channels=1, layers_per_block=1, norm_num_groups=4,
                           block_out_channels=(8, 16), down_block_types=("DownBlock2D", "DownBlock2D"),
                           up_block_types=("UpBlock2D", "UpBlock2D"))
    denoiser = NetworkDenoiser(lambda x, c, label=None: unet(x, 1000 * c - 1).sample, make_objective("ddpm"))
    g, optimizer = torch.Generator().manual_seed(0), torch.optim.Adam(unet.parameters(), 1e-2)
    for _ in range(20):
        gray = torch.rand(8, 1, 1, 1, generator=g).expand(-1, 1, 28, 28) * 2 - 1
        optimizer.zero_grad()
        denoiser.objective.loss(denoiser.network, gray, None, g).backward()
        optimizer.step()
    return unet.eval().requires_grad_(False), denoiser


def test_a_network_of_diffusers_is_a_denoiser(their_unet):
    """Its DDIM loop (as in `DDIMPipeline`) on its network equals our euler on the denoiser."""
    unet, denoiser = their_unet
    scheduler = DDIMScheduler(**LINEAR)
    sigmas = ddpm_sigmas(scheduler, 10)
    y = sigmas[0] / (1 + sigmas[0] ** 2) ** 0.5 * noise()
    for t in scheduler.timesteps:
        y = scheduler.step(unet(y, t).sample, t, y).prev_sample
    assert_same_images(sample(denoiser, noise(), "euler", sigmas=sigmas), y)
