"""GAN and VAE: one loss that trains two networks, penalties and KL in closed form, and sampling in one evaluation."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import MultivariateNormal, Normal, kl_divergence
from torch.nn import functional as F

from helpers.denoiser import NetworkDenoiser
from helpers.models.gan_vae import GAN, VAE, Generator, GeneratorPair, latent_of
from helpers.samplers import sample

SHAPE = (1, 8, 8)


def pair(**options):
    torch.manual_seed(0)
    return GeneratorPair(**{"latent": 6, "width": 4, "size": 8} | options)


class Parts(nn.Module):
    """A stand-in for a pair, made of any generator and any partner."""

    def __init__(self, generator, partner, latent=3):
        super().__init__()
        self.generator, self.partner, self.latent = generator, partner, latent


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def grads(loss, network):
    return torch.autograd.grad(loss, list(network.parameters()))


def test_one_gan_loss_gives_each_part_the_gradient_of_its_own():
    """Against two losses the textbook's way: a generator's through the critic, and a critic's on images that are given."""
    network, x0, gamma = pair(), torch.randn(5, *SHAPE), 1.7
    loss = GAN(gamma=gamma).loss(network, x0, None, seeded())
    loss.backward()

    critic, u = network.partner, torch.randn(5, 6, generator=seeded())
    generator_loss = F.softplus(critic(x0) - critic(network.generator(u))).mean()
    fake, real = network.generator(u).detach().requires_grad_(), x0.clone().requires_grad_()
    r1 = torch.autograd.grad(critic(real).sum(), real, create_graph=True)[0].square().sum((1, 2, 3)).mean()
    r2 = torch.autograd.grad(critic(fake).sum(), fake, create_graph=True)[0].square().sum((1, 2, 3)).mean()
    critic_loss = F.softplus(critic(fake) - critic(real)).mean() + gamma / 2 * (r1 + r2)
    torch.testing.assert_close(loss, generator_loss + critic_loss)
    for part, own in ((network.generator, generator_loss), (critic, critic_loss)):
        for parameter, expected in zip(part.parameters(), grads(own, part)):
            torch.testing.assert_close(parameter.grad, expected, rtol=1e-4, atol=1e-7)
            assert expected.abs().max() > 1e-7 or expected.numel() == 1             # the critic's last bias cancels


def test_gradient_penalties_have_known_values():
    """gamma/2 (|w|^2 + |w|^2) for a critic w x + b; gamma/2 (E|x|^2 + E|G(u)|^2) for a critic |x|^2 / 2."""
    x0, generator = torch.randn(40, 1, 2, 2), nn.Sequential(nn.Linear(3, 4), nn.Unflatten(1, (1, 2, 2)))

    class Half(nn.Module):
        def forward(self, x):
            return 0.5 * x.flatten(1).square().sum(1, keepdim=True)

    linear, images = nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), generator(torch.randn(40, 3, generator=seeded()))
    for critic, norms in ((linear, 2 * linear[1].weight.square().sum()),
                          (Half(), (x0.square().sum() + images.square().sum()) / 40)):
        losses = [GAN(gamma=gamma).loss(Parts(generator, critic), x0, None, seeded()) for gamma in (0.0, 3.0)]
        torch.testing.assert_close(losses[1] - losses[0], 1.5 * norms)


def test_a_critic_that_cannot_tell_loses_two_ln_two():
    network = pair()
    nn.init.zeros_(network.partner.linear.weight)
    loss = GAN().loss(network, torch.randn(5, *SHAPE), None, seeded())
    assert loss.item() == pytest.approx(2 * math.log(2), rel=1e-6)


def test_the_vae_s_loss_is_reconstruction_plus_torch_s_kl():
    network, x0, noise = pair(outputs=12), torch.randn(5, *SHAPE), 0.3
    with torch.no_grad():
        mean, log_var = network.partner(x0).chunk(2, dim=1)
        posterior = Normal(mean, log_var.exp().sqrt())
        kl = kl_divergence(posterior, Normal(0.0, 1.0)).sum(1)
        x = network.generator(mean + posterior.stddev * torch.randn(5, 6, generator=seeded()))
        nll = -Normal(x, noise).log_prob(x0).flatten(1).sum(1) - 64 * math.log(noise * math.sqrt(2 * math.pi))
        torch.testing.assert_close(VAE(noise=noise).loss(network, x0, None, seeded()), (nll + kl).mean() / 64)


def test_with_the_exact_posterior_the_vae_s_loss_is_the_evidence():
    """For x = W u + b + noise eps, W with orthogonal columns, the posterior of u is a diagonal normal and the bound is
    tight: -ln N(x; b, W W^T + noise^2 I), up to the constant that the loss leaves out."""
    noise, lengths = 0.4, torch.tensor([1.5, 0.7, 0.2])
    weight = torch.linalg.qr(torch.randn(16, 3, generator=seeded(1)))[0] * lengths
    bias, var = 0.3 * torch.randn(16, generator=seeded(2)), noise**2 / (lengths**2 + noise**2)

    class Linear(nn.Module):
        def forward(self, u):
            return (u @ weight.T + bias).view(-1, 1, 4, 4)

    class Posterior(nn.Module):
        def forward(self, x, shrink=1.0):
            mean = shrink * (x.flatten(1) - bias) @ weight / (lengths**2 + noise**2)
            return torch.cat([mean, var.log().expand_as(mean)], dim=1)

    x0 = Linear()(torch.randn(50_000, 3, generator=seeded(3))) + noise * torch.randn(50_000, 1, 4, 4, generator=seeded(4))
    truth = MultivariateNormal(bias, weight @ weight.T + noise**2 * torch.eye(16))
    evidence = -truth.log_prob(x0.flatten(1)).mean() - 16 * math.log(noise * math.sqrt(2 * math.pi))
    loss = VAE(noise=noise).loss(Parts(Linear(), Posterior()), x0, None, seeded())
    torch.testing.assert_close(loss, evidence / 16, rtol=2e-3, atol=0)
    other = Posterior()
    other.forward = lambda x: Posterior()(x, shrink=0.8)
    assert VAE(noise=noise).loss(Parts(Linear(), other), x0, None, seeded()) > 1.02 * loss


@pytest.mark.parametrize("objective, options", [(GAN(), {}), (VAE(), {"outputs": 12})])
def test_an_image_takes_one_evaluation_and_sigma_max_cancels(objective, options):
    """G of the first `latent` pixels of the noise, whatever the rest of it is."""
    network, z = pair(**options), torch.randn(4, *SHAPE)
    denoiser, calls = NetworkDenoiser(network, objective), []
    network.generator.register_forward_hook(lambda *_: calls.append(1))
    images = sample(denoiser, z, **denoiser.sampling)
    assert len(calls) == 1
    torch.testing.assert_close(images, network.generator(z.view(4, -1)[:, :6]), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(sample(denoiser, z, **denoiser.sampling, sigma_max=3.0), images, rtol=1e-5, atol=1e-6)
    other = z.clone()
    other.view(4, -1)[:, 6:] = 0
    torch.testing.assert_close(sample(denoiser, other, **denoiser.sampling), images, rtol=1e-5, atol=1e-6)
    other.view(4, -1)[:, 5] += 1
    assert (sample(denoiser, other, **denoiser.sampling) - images).abs().flatten(1).amax(1).min() > 1e-4
    for wrong in ({}, {"solver": "heun", "steps": 1}, {"solver": "euler", "steps": 2}):
        with pytest.raises(ValueError, match="trained for one way of sampling"):
            sample(denoiser, z, **wrong)


def test_the_defaults_are_those_that_the_shipped_models_were_trained_with():
    """Their specs name no options, so that another default would be another model under an old name."""
    assert GAN() == GAN(gamma=1.0) and VAE() == VAE(noise=0.25)


def test_the_latent_is_the_first_pixels_row_by_row():
    z = torch.arange(2 * 2 * 3 * 3.0).view(2, 2, 3, 3)
    assert torch.equal(latent_of(z, 11), torch.stack([torch.arange(11.0), 18 + torch.arange(11.0)]))


def test_the_generator_doubles_twice_and_stays_in_range():
    """Against the layers written out: linear, then twice norm, silu, convolution, nearest-neighbor doubling."""
    g, u = Generator(5, 4, 12, 2), 3 * torch.randn(3, 5, generator=seeded())
    h = g.linear(u).view(3, 16, 3, 3)
    for norm, convolution in zip(g.norms, g.convolutions):
        h = convolution(F.silu(norm(h))).repeat_interleave(2, 2).repeat_interleave(2, 3)
    x = g(u)
    torch.testing.assert_close(x, g.last(F.silu(h)).tanh())
    assert x.shape == (3, 2, 12, 12) and x.abs().max() < 1


def test_a_side_that_does_not_divide_by_four_is_an_error():
    with pytest.raises(ValueError, match="must divide by 4, got 30"):
        GeneratorPair(size=30)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="at most the 16 pixels"):
        GeneratorPair(latent=17, width=4, size=4)
    with pytest.raises(ValueError, match="outputs = 2 \\* latent = 6, got 1"):
        VAE().loss(GeneratorPair(latent=3, width=4, size=4), torch.zeros(2, 1, 4, 4), None, torch.Generator())
