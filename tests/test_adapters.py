"""Other people's networks as denoisers: sampled by us and by diffusers from the same noise, they draw the same to 1e-4.

Every network here is made, trained for a moment, and saved by the test itself.
"""

import json
import re
import sys
import tomllib

import pytest
import torch
from diffusers import (
    DDIMPipeline,
    DDIMScheduler,
    DDPMPipeline,
    DDPMScheduler,
    DiTTransformer2DModel,
    DPMSolverMultistepScheduler,
    EDMEulerScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    UNet2DConditionModel,
    UNet2DModel,
)

from helpers.adapters import from_callable, from_diffusers, from_edm, load_diffusers
from helpers.adapters.pipelines import INSTALL
from helpers.closed_form import GaussianDenoiser
from helpers.paths import ROOT
from helpers.samplers import sample

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")

SIZE, STEPS = 8, 8
DDIM = {"clip_sample": False, "timestep_spacing": "trailing"}
BLOCKS = {"layers_per_block": 1, "norm_num_groups": 4, "block_out_channels": (8, 16)}
PLAIN = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}


def made(kind, seed=0, **config):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return kind(**config)


def unet(**config):
    return made(UNet2DModel, sample_size=SIZE, in_channels=1, out_channels=1, **BLOCKS, **PLAIN, **config)


def dit(**config):
    return made(DiTTransformer2DModel, num_attention_heads=2, attention_head_dim=8, in_channels=1, num_layers=1,
                sample_size=SIZE, patch_size=2, num_embeds_ada_norm=3, **config)


def images(n, g):
    """Flat gray images with a bright or dark edge, and their classes: something to learn in a second."""
    x0, label = torch.rand(n, 1, 1, 1, generator=g).repeat(1, 1, SIZE, SIZE) - 0.5, torch.randint(3, (n,), generator=g)
    x0[:, :, :2] = (label - 1.0).view(-1, 1, 1, 1)
    return x0, label


def trained(network, scheduler, labels=False, steps=40):
    """A moment of training by diffusers' own recipe: its forward process, and its target for what is predicted."""
    g, optimizer = torch.Generator().manual_seed(0), torch.optim.Adam(network.parameters(), 5e-3)
    flow = isinstance(scheduler, FlowMatchEulerDiscreteScheduler)
    for _ in range(steps):
        (x0, label), eps = images(16, g), torch.randn(16, 1, SIZE, SIZE, generator=g)
        t = torch.randint(1000, (16,), generator=g)
        if flow:
            t, part = t + 1.0, ((t + 1) / 1000).view(-1, 1, 1, 1)
            x_t, target = (1 - part) * x0 + part * eps, eps - x0
        else:
            x_t = scheduler.add_noise(x0, eps, t)
            target = {"epsilon": eps, "sample": x0}.get(scheduler.config.prediction_type)
            target = scheduler.get_velocity(x0, eps, t) if target is None else target
        output = network(x_t, t, **({"class_labels": label} if labels else {})).sample[:, :1]
        optimizer.zero_grad()
        ((output - target) ** 2).mean().backward()
        optimizer.step()
    return network.eval().requires_grad_(False)


def noise(n=3, seed=1):
    return torch.randn(n, 1, SIZE, SIZE, generator=torch.Generator().manual_seed(seed))


def theirs(network, scheduler, x, **told):
    """diffusers' loop, as its pipelines have it."""
    for t in scheduler.timesteps:
        scaled = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        output = network(scaled, t.expand(len(x)), **told).sample[:, :1]
        x = scheduler.step(output, t, x).prev_sample
    return x


def assert_same(ours, other):
    assert 0.1 < ours.std() < 10                                               # the network says something
    torch.testing.assert_close(ours, other, rtol=0, atol=1e-4)


def chain_sigmas(scheduler):
    """The noise levels of its time steps, and 0; without the first ones, where a moment of training is too short."""
    scheduler.set_timesteps(STEPS)
    scheduler.timesteps = scheduler.timesteps[scheduler.timesteps < 700]
    alphas = scheduler.alphas_cumprod.double()[scheduler.timesteps]
    return [*((1 - alphas) / alphas).sqrt().tolist(), 0.0]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("betas", ["linear", "scaled_linear"])
def test_a_saved_ddim_pipeline(tmp_path, prediction, betas):
    scheduler = DDIMScheduler(prediction_type=prediction, beta_schedule=betas, **DDIM)
    DDIMPipeline(trained(unet(), scheduler), scheduler).save_pretrained(tmp_path)
    denoiser, pipeline = load_diffusers(tmp_path), DDIMPipeline.from_pretrained(tmp_path, local_files_only=True)
    sigmas, z = chain_sigmas(scheduler), noise()
    assert denoiser.shape == (1, SIZE, SIZE) and denoiser.classes == 0 and not denoiser.network.training
    start = sigmas[0] * z / (1 + sigmas[0] ** 2) ** 0.5
    assert_same(sample(denoiser, z, "euler", sigmas=sigmas), theirs(pipeline.unet, scheduler, start))
    everywhere = scheduler.alphas_cumprod.double()
    low, high = (((1 - everywhere[i]) / everywhere[i]).sqrt().item() for i in (0, -1))
    assert denoiser.sampling == pytest.approx({"sigma_min": low, "sigma_max": high})


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_a_saved_flow(tmp_path, shift):
    scheduler = FlowMatchEulerDiscreteScheduler(shift=shift)
    DDPMPipeline(trained(unet(), scheduler), scheduler).save_pretrained(tmp_path)
    denoiser, z = load_diffusers(tmp_path), noise()
    scheduler.set_timesteps(sigmas=[0.98, 0.9, 0.7, 0.5, 0.2, 0.05])            # the scheduler shifts them
    times = scheduler.sigmas.double()
    assert 0.98 <= times[0] < 1
    ours = sample(denoiser, z, "euler", sigmas=(times / (1 - times)).tolist())
    assert_same(ours, theirs(denoiser.network, scheduler, times[0].float() * z))
    assert denoiser.sampling == {"sigma_min": 0.002, "sigma_max": 80.0}


def test_a_flow_that_starts_in_pure_noise():
    """Its first time is 1, where sigma is infinite; a sigma of 10^5 is the same start to five digits."""
    scheduler = FlowMatchEulerDiscreteScheduler()
    network = trained(unet(), scheduler)
    scheduler.set_timesteps(STEPS)
    times = scheduler.sigmas.double()
    sigmas, denoiser = [1e5, *(times / (1 - times)).tolist()[1:]], from_diffusers(network, scheduler)
    assert_same(sample(denoiser, noise(), "euler", sigmas=sigmas), theirs(network, scheduler, noise()))


@pytest.mark.parametrize("options", [{"use_exponential_sigmas": True}, {"use_karras_sigmas": True}])
@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_times_between_whole_ones(options, prediction):
    scheduler = EulerDiscreteScheduler(prediction_type=prediction, sigma_min=0.02, sigma_max=5.0, **options)
    network = trained(unet(), DDPMScheduler(prediction_type=prediction))
    scheduler.set_timesteps(STEPS)
    assert (scheduler.timesteps % 1).any()
    z, sigmas = noise(), scheduler.sigmas.double().tolist()
    assert_same(sample(from_diffusers(network, scheduler), z, "euler", sigmas=sigmas),
                theirs(network, scheduler, sigmas[0] * z))


def test_one_network_under_many_schedulers_is_one_denoiser():
    network, x = trained(unet(), DDPMScheduler()), noise()
    answers = [from_diffusers(network, scheduler)(2 * x, 2.0) for scheduler in (
        DDPMScheduler(), DDIMScheduler(), EulerDiscreteScheduler(beta_schedule="linear"), DPMSolverMultistepScheduler())]
    assert all(torch.allclose(answers[0], other, atol=1e-5) for other in answers[1:])


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
def test_edm_preconditioning(prediction):
    scheduler = EDMEulerScheduler(prediction_type=prediction)
    network = trained(unet(), DDPMScheduler(prediction_type=prediction))          # any weights will do
    scheduler.set_timesteps(STEPS)
    denoiser, z = from_diffusers(network, scheduler), noise()
    assert_same(sample(denoiser, z, "euler", STEPS, **denoiser.sampling), theirs(network, scheduler, 80 * z))


@pytest.mark.parametrize("network, needs", [(lambda: unet(num_class_embeds=3), True), (dit, False),
                                            (lambda: dit(out_channels=2), False)])
def test_labels(network, needs):
    """A U-Net needs one for each image; a DiT has a row more in its table, for none. Learned variances are left out."""
    scheduler = DDIMScheduler(**DDIM)
    network = trained(network(), scheduler, labels=True)
    denoiser, sigmas, z = from_diffusers(network, scheduler), chain_sigmas(scheduler), noise()
    label = torch.tensor([0, 1, 2])
    start = sigmas[0] * z / (1 + sigmas[0] ** 2) ** 0.5
    ours = sample(denoiser, z, "euler", sigmas=sigmas, label=label)
    assert denoiser.classes == 3
    assert_same(ours, theirs(network, scheduler, start, class_labels=label))
    assert (ours - sample(denoiser, z, "euler", sigmas=sigmas, label=label.roll(1))).abs().max() > 0.05
    with pytest.raises(ValueError, match="classes 0 to 2"):
        sample(denoiser, z, label=3)
    if needs:
        with pytest.raises(ValueError, match="classes 0 to 2 and needs one for each image: give label"):
            denoiser(z, 1.0)
    else:
        assert_same(sample(denoiser, z, "euler", sigmas=sigmas),
                    theirs(network, scheduler, start, class_labels=torch.full((3,), 3)))


def test_the_last_class_of_a_unet_can_mean_none():
    denoiser, z = from_diffusers(unet(num_class_embeds=4), DDPMScheduler(), null=3), noise()
    assert denoiser.classes == 3
    torch.testing.assert_close(denoiser(z, 1.0), from_diffusers(denoiser.network, DDPMScheduler())(z, 1.0, label=3))
    with pytest.raises(ValueError, match="trained without classes"):
        from_diffusers(unet(), DDPMScheduler())(z, 1.0, label=0)


def test_what_else_a_network_is_told():
    network = made(UNet2DConditionModel, sample_size=SIZE, in_channels=1, out_channels=1, cross_attention_dim=8, **BLOCKS,
                   attention_head_dim=4, down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
                   up_block_types=("UpBlock2D", "CrossAttnUpBlock2D")).eval().requires_grad_(False)
    text, z = torch.randn(1, 5, 8, generator=torch.Generator().manual_seed(0)), noise()
    denoiser = from_diffusers(network, DDPMScheduler(), encoder_hidden_states=text)
    eps = network((z / 2**0.5), torch.full((3,), 1.0) * denoiser.schedule(torch.ones(3).double())[1].float(),
                  encoder_hidden_states=text.expand(3, -1, -1)).sample
    torch.testing.assert_close(denoiser(z, 1.0), z - eps)


def test_whole_times_half_precision_and_sigma_zero():
    learned = from_diffusers(unet(time_embedding_type="learned", num_train_timesteps=1000), DDPMScheduler())
    assert learned(noise(), 1.0).isfinite().all()
    network = trained(unet(), DDPMScheduler())
    exact = from_diffusers(network, DDPMScheduler())(noise(), 1.0)
    half = from_diffusers(network.bfloat16(), DDPMScheduler())
    answer = half(noise(), 1.0)
    assert answer.dtype == torch.float32 and (answer - exact).abs().max() < 0.1
    torch.testing.assert_close(half(noise().double(), 0.0), noise().double(), atol=1e-4, rtol=0)


def test_a_chain_that_ends_without_signal_begins_where_there_is_some():
    scheduler = DDIMScheduler(rescale_betas_zero_snr=True, prediction_type="v_prediction")
    denoiser = from_diffusers(unet(), scheduler)
    assert scheduler.alphas_cumprod[-1] == 0 and 50 < denoiser.sampling["sigma_max"] < torch.inf
    assert denoiser(1e6 * noise(), 1e6).isfinite().all()


class Preconditioned(torch.nn.Module):
    """What Karras et al.'s code calls a network: D itself, with its traits."""

    label_dim, sigma_min, sigma_max = 3, 0.01, torch.inf

    def forward(self, x, sigma, labels=None):
        shift = 0 if labels is None else labels.argmax(1).view(-1, 1, 1, 1)
        assert labels is None or labels.shape == (len(x), 3)
        return x / (1 + sigma.view(-1, 1, 1, 1) ** 2) + shift


def test_a_network_that_is_asked_about_sigma():
    denoiser, x = from_edm(Preconditioned()), noise()
    assert denoiser.classes == 3 and denoiser.sampling == {"sigma_min": 0.01, "sigma_max": 80.0}
    torch.testing.assert_close(denoiser(x, 2.0), x / 5)
    torch.testing.assert_close(denoiser(x, torch.tensor([0.0, 1.0, 2.0]), label=[0, 1, 2]),
                               x / torch.tensor([1.0, 2, 5]).view(-1, 1, 1, 1) + torch.arange(3).view(-1, 1, 1, 1))
    numbers = from_edm(lambda x, sigma, label: x + label.view(-1, 1, 1, 1), classes=3, one_hot=False)
    torch.testing.assert_close(numbers(x, 1.0, label=2), x + 2)
    with pytest.raises(ValueError, match="answers with NoneType"):
        from_edm(lambda x, sigma, label: None)(x, 1.0)


def test_any_function():
    """The image, the noise and the score of one Gaussian are one denoiser, and sample alike."""
    g = torch.Generator().manual_seed(0)
    gaussian = GaussianDenoiser.fit(torch.randn(200, 1, SIZE, SIZE, generator=g) * torch.rand(1, 1, SIZE, SIZE, generator=g))

    def noise_of(x, sigma):
        return (x - gaussian(x, sigma)) / sigma.view(-1, 1, 1, 1)

    forms = [from_callable(gaussian), from_callable(noise_of, "epsilon", sigma_min=0.01, sigma_max=50),
             from_callable(lambda x, sigma: -noise_of(x, sigma) / sigma.view(-1, 1, 1, 1), "score")]
    for form in forms:
        torch.testing.assert_close(sample(form, noise()), sample(gaussian, noise()), atol=1e-4, rtol=0)
    assert forms[1].sampling == {"sigma_min": 0.01, "sigma_max": 50} and forms[1].classes == 0
    told = from_callable(lambda x, sigma, label: x if label is None else x + label.view(-1, 1, 1, 1), classes=4)
    torch.testing.assert_close(told(noise(), 1.0, label=3), noise() + 3)
    assert from_callable(torch.nn.Identity()).classes == 0                       # its forward has no place for a label
    with pytest.raises(ValueError, match="one of x0, epsilon, score, not 'v'"):
        from_callable(gaussian, "v")
    with pytest.raises(ValueError, match=r"answers with \(3, 1, 8, 4\)"):
        from_callable(lambda x, sigma: x[..., :4])(noise(), 1.0)


def damage(folder, name, text):
    (folder / name).write_text(text)


@pytest.mark.parametrize("spoil, error, says", [
    (lambda f: (f / "model_index.json").unlink(), FileNotFoundError, "holds no pipeline"),
    (lambda f: damage(f, "model_index.json", "{"), ValueError, "cannot be read as a pipeline"),
    (lambda f: damage(f, "model_index.json", json.dumps({"vae": ["diffusers", "VQModel"]})), ValueError, "no unet or"),
    (lambda f: damage(f, "unet/diffusion_pytorch_model.safetensors", "x"), ValueError, "cannot be read as a pipeline"),
    (lambda f: (f / "scheduler" / "scheduler_config.json").unlink(), ValueError, "cannot be read as a pipeline"),
    (lambda f: sys.modules.__setitem__("diffusers", None), ImportError, "pip install"),
])
def test_a_folder_that_cannot_be_read_is_one_line(tmp_path, monkeypatch, spoil, error, says):
    DDPMPipeline(unet(), DDPMScheduler()).save_pretrained(tmp_path)
    monkeypatch.setitem(sys.modules, "diffusers", sys.modules["diffusers"])      # put back afterwards
    assert load_diffusers(tmp_path)(noise(), 1.0).shape == noise().shape
    spoil(tmp_path)
    with pytest.raises(error, match=says) as raised:
        load_diffusers(tmp_path)
    assert "\n" not in str(raised.value)


def test_what_has_no_denoiser_here_is_refused():
    with pytest.raises(ValueError, match="LCMScheduler that predicts 'epsilon' has no denoiser here"):
        from_diffusers(unet(), LCMScheduler())
    with pytest.raises(ValueError, match="UNet2DModel is no pipeline"):
        from_diffusers(unet())
    assert from_diffusers(DDPMPipeline(unet(), DDPMScheduler())).classes == 0


def test_the_error_names_the_version_that_the_extra_pins():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["optional-dependencies"]["models"] == [re.search("'(.+)'", INSTALL).group(1)]
