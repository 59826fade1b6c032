"""Layers: sinusoids with known values, attention against torch's, embeddings by hand, and what does not fit."""

import pytest
import torch

from helpers.models.architectures import MLP, Multistage, ResidualCNN, UViT
from helpers.models.classifier import Classifier
from helpers.models.gan_vae import Critic, GeneratorPair, latent_of
from helpers.models.layers import Embedding, SelfAttention, attend, embed, fourier_features
from helpers.models.unet import UNet
from helpers.zoo.spec import ModelSpec, build

# Number of weights, and sum_k w_k cos(0.7 k) over them in the order of the state dict, as the first release drew them.
DRAWN = {
    "unet": ({"width": 16}, 381540, 9.592711),
    "unet with classes": ({"width": 8, "classes": 10, "attention": (False, True, True)}, 107668, 12.428057),
    "cnn": ({"width": 8, "classes": 3}, 14236, 7.413671), "uvit": ({"dim": 32, "depth": 1, "classes": 3}, 45914, -3.260462),
    "mlp": ({"width": 32}, 60720, -8.682659), "multistage": ({"width": 8}, 289500, 17.025882),
    "pair": ({"width": 4}, 30818, 7.051741), "classifier": ({"width": 8}, 18578, 2.956661)}


def awake(module):
    """Draw every weight, so that the output depends on all of them."""
    generator = torch.Generator().manual_seed(0)
    for p in module.parameters():
        torch.nn.init.normal_(p, std=0.3, generator=generator)
    return module.eval()


@pytest.mark.parametrize("name", DRAWN)
def test_a_spec_s_initial_weights_are_those_of_the_first_release(name):
    """Else a model that is trained again starts elsewhere: the order in which layers are made decides it."""
    options, count, total = DRAWN[name]
    network = build(ModelSpec(network=name.split()[0], options=tuple(sorted(options.items()))))
    weights = torch.cat([t.flatten().double() for t in network.state_dict().values()])
    assert len(weights) == count
    phases = (0.7 * torch.arange(count, dtype=torch.float64)).cos()
    assert (weights * phases).sum().item() == pytest.approx(total, abs=1e-3)


def test_fourier_features_have_known_values():
    features = fourier_features(torch.tensor([0.0, 0.002]), 4)
    torch.testing.assert_close(features[0], torch.tensor([1.0, 1.0, 0.0, 0.0]))
    torch.testing.assert_close(features[1], torch.tensor([2.0, 0.02, 2.0, 0.02]).cos() * torch.tensor([1.0, 1, 0, 0])
                               + torch.tensor([2.0, 0.02, 2.0, 0.02]).sin() * torch.tensor([0.0, 0, 1, 1]))


def test_an_embedding_is_two_layers_of_the_sinusoids_plus_the_label_s_row():
    layer, c, label = awake(Embedding(12, classes=3, features=6)), torch.rand(5), torch.tensor([0, 1, 2, 3, 1])
    first, second = layer.noise[0], layer.noise[2]
    hidden = torch.nn.functional.silu(fourier_features(c, 6) @ first.weight.T + first.bias)
    noise = hidden @ second.weight.T + second.bias
    torch.testing.assert_close(layer(c, label), noise + layer.classes_of.weight[label])
    torch.testing.assert_close(layer(c, None), noise + layer.classes_of.weight[3])                 # "no label"
    torch.testing.assert_close(embed(c, label, layer.noise, None), noise)


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attend_is_the_softmax_of_products_head_by_head(heads):
    qkv, tokens = awake(torch.nn.Linear(8, 24)), torch.randn(3, 5, 8)
    q, k, v = qkv(tokens).chunk(3, dim=2)
    d, out = 8 // heads, []
    for head in range(heads):
        part = slice(head * d, (head + 1) * d)
        weights = (torch.einsum("bid,bjd->bij", q[..., part], k[..., part]) / d**0.5).exp()
        out.append(weights / weights.sum(2, keepdim=True) @ v[..., part])
    torch.testing.assert_close(attend(tokens, qkv, heads), torch.cat(out, dim=2), rtol=1e-5, atol=1e-6)


def test_attention_reads_positions_row_by_row_and_adds_to_its_input():
    layer, x = awake(SelfAttention(64)), torch.randn(2, 64, 3, 5)
    assert layer.heads == 2
    theirs = torch.nn.MultiheadAttention(64, 2, batch_first=True)
    theirs.load_state_dict({"in_proj_weight": layer.qkv.weight, "in_proj_bias": layer.qkv.bias,
                            "out_proj.weight": layer.proj.weight, "out_proj.bias": layer.proj.bias})
    tokens = layer.norm(x).flatten(2).transpose(1, 2)
    out = theirs(tokens, tokens, tokens)[0].transpose(1, 2).view_as(x)
    torch.testing.assert_close(layer(x), x + out, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind, options, said", [
    (UNet, {"width": 0}, "width must be a whole number of 1 or more, got 0"),
    (UNet, {"width": 12}, "36 channels do not divide into 8 groups of 4 or more: choose a width of 4, or a multiple of 8"),
    (UNet, {"width": 2}, "2 channels do not divide into 1 groups"), (UNet, {"width": 8.0}, "width must .* got 8.0"),
    (UNet, {"width": 7}, "7 features are odd"), (UNet, {"width": 104, "multipliers": (1,)}, "104 channels .* among 3 heads"),
    (UNet, {"multipliers": ()}, "levels must be"), (UNet, {"blocks": 0}, "blocks must be"),
    (UNet, {"patch": 0}, "patch must be"), (UNet, {"classes": -1}, "classes must be a whole number of 0 or more, got -1"),
    (UNet, {"image_channels": 0}, "image_channels must be"), (Multistage, {"width": 0}, "width must be"),
    (ResidualCNN, {"width": 0}, "width must be"), (ResidualCNN, {"width": 20, "patch": 0}, "patch must be"),
    (ResidualCNN, {"width": 36}, "36 channels do not divide"), (MLP, {"width": 0}, "width must be"),
    (UViT, {"dim": 0}, "dim must be"), (UViT, {"heads": 0}, "heads must be"), (UViT, {"patch": 0}, "patch must be"),
    (GeneratorPair, {"width": 0}, "width must be"), (GeneratorPair, {"latent": 0}, "latent must be"),
    (GeneratorPair, {"width": 1}, "2 channels do not divide into 1 groups"),
    (Classifier, {"width": 0}, "width must be"), (Classifier, {"classes": 0}, "classes must be"),
    (Classifier, {"width": 9}, "9 channels do not divide")])
def test_sizes_that_cannot_work_are_refused_when_a_network_is_built(kind, options, said):
    with pytest.raises(ValueError, match=said) as error:
        kind(**options)
    assert "\n" not in str(error.value)


NETWORKS = {"unet": UNet(width=8, patch=4), "cnn": ResidualCNN(width=8, blocks=1, patch=4), "multistage": Multistage(
    width=8, patch=4), "uvit": UViT(dim=16, depth=1), "mlp": MLP(width=16), "classifier": Classifier(width=8)}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("shape", [(0, 1, 28, 28), (2, 3, 28, 28), (2, 28, 28)])
def test_images_that_a_network_cannot_read_are_refused_when_it_is_called(name, shape):
    with pytest.raises(ValueError, match=r"this network reads images \(B, 1, .* with B >= 1, got \(") as error:
        NETWORKS[name](torch.zeros(shape), torch.zeros(shape[0]))
    assert str(shape) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("name, said", [
    ("unet", "patches of 4 x 4 pixels do not divide images of 26 x 26"), ("cnn", "of 4 x 4"),
    ("multistage", "of 4 x 4"), ("uvit", r"reads images \(B, 1, 28, 28\)"), ("mlp", r"reads images \(B, 1, 28, 28\)")])
def test_images_of_another_size_are_refused(name, said):
    with pytest.raises(ValueError, match=said):
        NETWORKS[name](torch.zeros(2, 1, 26, 26), torch.zeros(2))


def test_a_critic_and_a_latent_refuse_images_that_do_not_fit():
    with pytest.raises(ValueError, match=r"reads images \(B, 1, 28, 28\) with B >= 1, got \(2, 1, 26, 26\)"):
        Critic(1, 4, 28, 1)(torch.zeros(2, 1, 26, 26))
    for shape in ((2, 1, 4, 4), (0, 1, 28, 28)):
        with pytest.raises(ValueError, match="a latent of 32 numbers needs noises"):
            latent_of(torch.zeros(shape), 32)
