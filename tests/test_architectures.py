"""Architectures: the identity start, conditioning, what a pixel sees, and each network against an independent one."""

import pytest
import torch
from torch.nn import functional as F

from helpers.models.architectures import MLP, Multistage, ResidualCNN, TransformerBlock, UViT
from helpers.models.layers import attend
from helpers.models.objectives import EDMObjective
from helpers.models.training import Recipe, State, train
from helpers.models.unet import UNet

NETWORKS = {
    "cnn": lambda **o: ResidualCNN(width=8, blocks=2, **o),
    "uvit": lambda **o: UViT(size=8, patch=2, dim=16, depth=2, heads=2, **o),
    "mlp": lambda **o: MLP(size=8, width=16, blocks=2, **o),
    "multistage": lambda **o: Multistage(bounds=(-0.2, 0.2), width=8, multipliers=(1, 2), **o),
}
SHAPE = (1, 8, 8)


def awake(network):
    """The last layers start at zero; draw every weight, so that the output depends on all of them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for p in network.parameters():
            torch.nn.init.normal_(p, std=0.2)
    return network.eval()


def influence(network, row, column, side):
    """|d output[row, column] / d input|, (side, side), summed over three random images."""
    x = torch.randn(3, 1, side, side, generator=torch.Generator().manual_seed(1)).requires_grad_()
    y = network(x, torch.zeros(3))
    return torch.autograd.grad(y[:, 0, row, column].sum(), x)[0].abs().sum((0, 1))


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_output_starts_at_zero_for_every_noise_level(name, channels):
    network, x = NETWORKS[name](image_channels=channels), torch.randn(3, channels, 8, 8)
    assert torch.equal(network(x, torch.tensor([-1.0, 0.0, 1.0])), torch.zeros_like(x))
    y = awake(network)(x, torch.tensor([-1.0, 0.0, 1.0]))
    assert y.shape == x.shape and (y.flatten(1).std(1) > 1e-3).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_noise_level_and_label_matter_and_samples_do_not_mix(name):
    network, x = awake(NETWORKS[name](classes=10)), torch.randn(3, *SHAPE)
    c, label = torch.tensor([0.0, 0.5, -0.5]), torch.tensor([1, 2, 3])
    y = network(x, c, label)
    for i in range(3):
        alone = network(x[i:i + 1], c[i:i + 1], label[i:i + 1])
        torch.testing.assert_close(alone, y[i:i + 1], rtol=1e-4, atol=1e-5)
        assert (network(x, c + 0.1, label) - y)[i].abs().max() > 1e-4
        assert (network(x, c, label + 1) - y)[i].abs().max() > 1e-4
    torch.testing.assert_close(network(x, c), network(x, c, torch.full((3,), 10)))      # label = classes: "no label"


@pytest.mark.parametrize("blocks, patch", [(1, 2), (2, 2), (3, 1), (1, 4)])
def test_a_plain_cnn_sees_as_many_neighbors_as_its_convolutions_reach(blocks, patch):
    """2 blocks + 2 convolutions reach as many patches to each side, and a patch is seen whole. Group normalization apart,
    whose mean and variance every pixel of the image moves a little."""
    network = awake(ResidualCNN(width=8, blocks=blocks, patch=patch))
    side, reach = 12 * patch, 2 * blocks + 2
    row = side // 2                                                            # the first row of patch 6
    for norms in (True, False):
        if not norms:
            network.head[0] = torch.nn.Identity()
            for block in network.blocks:
                block.norm1 = block.norm2 = torch.nn.Identity()
        seen = influence(network, row, row, side)
        if norms:
            assert (seen > 0).all()
    near = (torch.arange(side) // patch - row // patch).abs() <= reach
    assert torch.equal(seen > 0, near[:, None] & near[None, :])
    assert near.nonzero().min() == max(0, row - patch * reach)                 # 4 blocks + 4 pixels for patch = 2


def test_a_transformer_sees_every_pixel_and_a_network_without_neighborhoods_too():
    for name in ("uvit", "mlp"):
        assert (influence(awake(NETWORKS[name]()), 0, 0, 8) > 1e-9).all()


def test_attention_is_softmax_attention():
    block, tokens = awake(TransformerBlock(24, 3)), torch.randn(2, 7, 24)
    q, k, v = (t.view(2, 7, 3, 8).transpose(1, 2) for t in block.qkv(tokens).chunk(3, dim=2))
    out = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(2, 7, 24)
    torch.testing.assert_close(attend(tokens, block.qkv, block.heads), out)


def as_encoder_layer(block):
    """The same block by torch, with the same weights."""
    dim = block.proj.in_features
    layer = torch.nn.TransformerEncoderLayer(dim, block.heads, 4 * dim, 0.0, "gelu", batch_first=True, norm_first=True)
    theirs = {"self_attn.in_proj_weight": block.qkv.weight, "self_attn.in_proj_bias": torch.zeros(3 * dim),
              "linear1.weight": block.mlp[0].weight, "linear1.bias": block.mlp[0].bias,
              "linear2.weight": block.mlp[2].weight, "linear2.bias": block.mlp[2].bias}
    for name, part in (("self_attn.out_proj", block.proj), ("norm1", block.norm1), ("norm2", block.norm2)):
        theirs |= {f"{name}.weight": part.weight, f"{name}.bias": part.bias}
    layer.load_state_dict(theirs)
    return layer.eval()


def test_the_u_vit_is_torch_s_transformer_with_long_skips():
    """Patches by unfold and fold, blocks by torch: the k-th block after the middle joins the k-th-last one before it."""
    network = awake(UViT(image_channels=2, size=8, patch=4, dim=16, depth=2, heads=2, classes=3))
    x, c, label = torch.randn(3, 2, 8, 8), torch.rand(3), torch.tensor([0, 1, 2])
    with torch.no_grad():
        patches = network.stem(F.unfold(x, 4, stride=4).transpose(1, 2))
        tokens = torch.cat([network.embed(c, label)[:, None], patches], dim=1) + network.position
        one = as_encoder_layer(network.before[0])(tokens)
        two = as_encoder_layer(network.before[1])(one)
        tokens = as_encoder_layer(network.middle)(two)
        for block, early in zip(network.after, (two, one)):
            tokens = as_encoder_layer(block)(F.linear(torch.cat([tokens, early], 2), block.join.weight, block.join.bias))
        image = F.fold(network.out(tokens[:, 1:]).transpose(1, 2), (8, 8), 4, stride=4)
        torch.testing.assert_close(network(x, c, label), network.smooth(image), rtol=1e-4, atol=1e-4)


def test_an_mlp_has_no_notion_of_order():
    """Pixels in another order, the first and the last layer's weights too: the same output in that order."""
    network, x, c = awake(MLP(image_channels=2, size=4, width=16)), torch.randn(3, 2, 4, 4), torch.rand(3)
    order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
    expected = network(x, c).flatten(1)[:, order]
    with torch.no_grad():
        network.stem.weight.copy_(network.stem.weight[:, order])
        network.head[1].weight.copy_(network.head[1].weight[order])
        network.head[1].bias.copy_(network.head[1].bias[order])
    shuffled = network(x.flatten(1)[:, order].view_as(x), c)
    torch.testing.assert_close(shuffled.flatten(1), expected, rtol=1e-4, atol=1e-5)


def test_each_stage_answers_its_range_and_no_other():
    network = awake(Multistage(bounds=(-0.25, 0.5), width=8, multipliers=(1, 2), classes=4))
    c, label = torch.tensor([0.7, -0.25, -1.0, 0.49, -0.26, 0.5]), torch.arange(6) % 4
    x = torch.randn(6, *SHAPE)
    y = network(x, c, label)
    for i, stage in enumerate([2, 1, 0, 1, 0, 2]):                             # bounds[k-1] <= c < bounds[k]
        unet = network.stages[stage]
        assert isinstance(unet, UNet)
        alone = unet(x[i:i + 1], c[i:i + 1], label[i:i + 1])
        torch.testing.assert_close(y[i:i + 1], alone, rtol=1e-4, atol=1e-5)
    y[:1].sum().backward()
    assert [sum(p.grad.abs().sum() for p in stage.parameters()) > 0 for stage in network.stages] == [False, False, True]


@pytest.mark.parametrize("bf16", [False, True])
def test_a_stage_without_images_stays_as_it_was(tmp_path, bf16):
    """All noise far below the first bound: the other stages get no gradient and neither Adam nor Muon moves them; a run
    that stopped goes on bit for bit without their moments."""
    recipe, path = Recipe(steps=6, batch=4, warmup=1, muon=0.02, bf16=bf16), tmp_path / "c.safetensors"
    images = torch.randn(8, *SHAPE, generator=torch.Generator().manual_seed(1))

    def fresh():
        torch.manual_seed(0)
        return State(NETWORKS["multistage"](), recipe)

    def run(state, stop=None, **options):
        loop = train(state, EDMObjective(p_mean=-8.0, p_std=0.1), images, None, recipe, every=0, **options)
        for progress in loop:
            if progress.step == stop:
                loop.close()
        return state

    start, end = fresh(), run(fresh())
    for part in ("network", "ema"):
        before, after = (dict(getattr(state, part).stages.named_parameters()) for state in (start, end))
        moved = {name for name in before if not torch.equal(before[name], after[name])}
        assert {name.split(".")[0] for name in moved} == {"0"} and len(moved) > 20
    with_moments = sum(name.endswith("momentum_buffer") for name in end.optimizer.tensors())
    assert 0 < with_moments == len(end.optimizer.matrices) / 3
    run(fresh(), stop=3, checkpoint=path, key="key")
    again = run(fresh(), checkpoint=path, key="key")
    assert all(torch.equal(a, b) for a, b in zip(end.network.parameters(), again.network.parameters()))


def test_sizes_that_do_not_fit_are_errors():
    for options in ({"size": 28, "patch": 3}, {"dim": 30, "heads": 4}):
        with pytest.raises(ValueError, match="patch must divide size and heads must divide dim"):
            UViT(**options)
    with pytest.raises(ValueError, match=r"bounds of the stages must rise, got \(0.5, 0.1\)"):
        Multistage(bounds=(0.5, 0.1), width=8)
