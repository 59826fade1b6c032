"""The U-Net: shapes, the identity start, conditioning, and global reach."""

import pytest
import torch

from helpers.models.unet import UNet


def awake(network):
    """The last convolutions start at zero; draw every weight, so that the output depends on all of them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for p in network.parameters():
            torch.nn.init.normal_(p, std=0.1)
    return network.eval()


@pytest.mark.parametrize("options, shape", [
    ({"width": 8}, (2, 1, 28, 28)),
    ({"width": 8, "multipliers": (1, 2), "attention": (False, True)}, (2, 1, 28, 28)),
    ({"width": 8, "image_channels": 3, "patch": 1, "blocks": 2}, (2, 3, 32, 32)),
])
def test_output_has_the_shape_of_the_input_and_starts_at_zero(options, shape):
    network, x = UNet(**options), torch.randn(shape)
    assert torch.equal(network(x, torch.zeros(len(x))), torch.zeros(shape))
    assert awake(network)(x, torch.zeros(len(x))).shape == shape


def test_noise_level_and_label_matter_and_samples_do_not_mix():
    network, x = awake(UNet(width=8, classes=10)), torch.randn(3, 1, 28, 28)
    c, label = torch.tensor([0.0, 0.5, -0.5]), torch.tensor([1, 2, 3])
    y = network(x, c, label)
    torch.testing.assert_close(network(x[1:2], c[1:2], label[1:2]), y[1:2], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(network(x, c + 0.1, label), y, atol=1e-3)
    assert not torch.allclose(network(x, c, label + 1), y, atol=1e-3)
    torch.testing.assert_close(network(x, c), network(x, c, torch.full((3,), 10)))      # label = classes: "no label"


def test_every_pixel_sees_every_pixel():
    network, x = awake(UNet(width=8)), torch.randn(1, 1, 28, 28)
    far = x.clone()
    far[..., -1, -1] += 1.0
    c = torch.zeros(1)
    assert (network(far, c) - network(x, c))[0, 0, 0, 0].abs() > 1e-6


def test_levels_and_attention_must_match():
    with pytest.raises(ValueError, match="give one a level"):
        UNet(multipliers=(1, 2, 4), attention=(True,))


def test_a_smaller_noise_scale_makes_the_network_smoother_in_sigma():
    """The embedding's angles turn noise_scale times as fast as c_noise: with a small scale, near levels look alike."""
    rough, smooth = (awake(UNet(width=8, noise_scale=scale)) for scale in (1000.0, 10.0))
    smooth.load_state_dict(rough.state_dict())
    x, near = torch.randn(1, 1, 28, 28).expand(2, -1, -1, -1), torch.tensor([0.1, 0.105])
    moved = [(out[0] - out[1]).abs().mean() for out in (net(x, near) for net in (rough, smooth))]
    assert 0 < moved[1] < 0.2 * moved[0]
