"""The descriptor: its parts against known answers, the shipped weights against real images, damaged files, training."""

import math

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch.nn import functional as F
from torch.testing import assert_close

from helpers import paths
from helpers.closed_form import nearest_images
from helpers.data import load, to_float
from helpers.measure.augmentations import EDITS, blur, edited_copies, warp
from helpers.measure.descriptor import (
    SSCD,
    Descriptor,
    DescriptorSpec,
    copy_loss,
    describe,
    fit,
    load_descriptor,
    train,
    untrained,
)
from helpers.measure.scores import THRESHOLD, max_similarity, similarity
from helpers.zoo.weights import weights_hash

SHIPPED = paths.ZOO / DescriptorSpec().file


@pytest.fixture(scope="module")
def images():
    return load("fashion-mnist", "test").images[:500]


@pytest.fixture(scope="module")
def net():
    return load_descriptor()


# Edits


def test_warp_shifts_by_whole_pixels_exactly(images):
    x = to_float(images[:4])
    moved = warp(x, torch.zeros(4), torch.ones(4), torch.tensor([[2.0, -1.0]]).expand(4, 2))     # right 2, up 1
    assert_close(moved[:, :, :-1, 2:], x[:, :, 1:, :-2], atol=1e-4, rtol=0)


def test_warp_by_a_quarter_turn_is_rot90_and_by_scale_1_nothing(images):
    x = to_float(images[:4])
    turned = warp(x, torch.full((4,), math.pi / 2), torch.ones(4), torch.zeros(4, 2))
    error = min((turned - torch.rot90(x, k, (2, 3))).abs().max() for k in (1, 3))
    assert error < 1e-3
    assert_close(warp(x, torch.zeros(4), torch.ones(4), torch.zeros(4, 2)), x, atol=1e-4, rtol=0)


def test_warp_by_scale_2_enlarges_the_center():
    x = torch.zeros(1, 1, 28, 28)
    x[:, :, 10:18, 10:18] = 1                                     # 64 pixels
    assert warp(x, torch.zeros(1), torch.full((1,), 2.0), torch.zeros(1, 2)).sum() == pytest.approx(256, rel=0.01)


def test_blur_keeps_the_sum_and_has_its_width():
    x = torch.zeros(2, 1, 29, 29)
    x[:, :, 14, 14] = 1
    y = blur(x, torch.tensor([0.0, 0.9]))
    assert_close(y[0], x[0])
    axis = torch.arange(29.0) - 14
    assert y[1].sum().item() == pytest.approx(1, abs=1e-5)
    assert (y[1, 0].sum(0) * axis**2).sum().item() == pytest.approx(0.81, rel=0.02)


def test_edited_copies_depend_on_the_generator_alone(images):
    x = to_float(images[:16])
    a, b, c = (edited_copies(x, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert_close(a, b, atol=0, rtol=0)
    assert (a - c).abs().amax() > 0.1 and a.abs().amax() <= 1
    assert_close(edited_copies(x, torch.Generator(), strength=0.0), x, atol=1e-4, rtol=0)


# The loss


def test_loss_of_copies_among_orthogonal_strangers_is_known():
    z = torch.eye(4)
    contrast = -math.log(math.exp(2) / (math.exp(2) + 6))         # tau 1/2: the copy at 1, six views of strangers at 0
    assert copy_loss(z, z, tau=0.5, entropy=0.0).item() == pytest.approx(contrast, rel=1e-4)
    assert copy_loss(z, z, tau=0.5, entropy=2.0).item() == pytest.approx(contrast - 2 * math.log(2**0.5), rel=1e-4)


def test_entropy_term_pushes_only_strangers_apart():
    angle = torch.tensor([0.0, 0.1], requires_grad=True)
    z = torch.stack([angle.cos(), angle.sin()], dim=1)
    (copy_loss(z, z, 0.05, 1.0) - copy_loss(z, z, 0.05, 0.0)).backward()
    assert -angle.grad[0] < 0 < -angle.grad[1]                    # a step downhill turns each away from the other


# The shipped weights


def test_descriptors_are_unit_vectors_of_the_spec(net, images):
    f = describe(images, net)
    assert f.shape == (500, DescriptorSpec().dim) and f.dtype == torch.float32
    assert_close(f.norm(dim=1), torch.ones(500))


def test_describe_does_not_depend_on_batches_and_quantizes_floats(net, images):
    f = describe(images[:100], net)
    assert_close(describe(images[:100], net, batch=7), f, atol=1e-5, rtol=0)
    assert_close(describe(to_float(images[:100]) + 1e-3, net), f, atol=1e-5, rtol=0)    # within half a gray level


@pytest.mark.parametrize("name", EDITS)
def test_edited_copies_are_found(net, images, name):
    copies = EDITS[name](to_float(images), torch.Generator().manual_seed(0))
    found = similarity(describe(images, net), describe(copies, net)) > THRESHOLD
    assert found.float().mean() > 0.92


def test_unrelated_images_are_no_copies(net, images):
    f = describe(images, net)
    strangers = torch.stack([similarity(f, f.roll(k, dims=0)) for k in range(1, 101)])
    assert (strangers > THRESHOLD).float().mean() < 0.001


def test_held_out_images_are_new_against_a_thousand(net, images):
    pool = describe(load("fashion-mnist", "pool").images[:1024], net)
    assert (max_similarity(describe(images, net), pool)[0] <= THRESHOLD).float().mean() > 0.98


# Files


def test_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="python -m helpers.zoo train"):
        load_descriptor(tmp_path / "none.safetensors")


@pytest.mark.parametrize("size", [0, 7, 1000, 200_000])
def test_truncated_file_is_a_clear_error(tmp_path, size):
    path = tmp_path / SHIPPED.name
    path.write_bytes(SHIPPED.read_bytes()[:size])
    with pytest.raises(ValueError, match="is damaged.*helpers.zoo train") as error:
        load_descriptor(path)
    assert "\n" not in str(error.value)


def test_one_flipped_bit_fails_the_hash(tmp_path):
    data = bytearray(SHIPPED.read_bytes())
    data[-1000] ^= 1
    (path := tmp_path / SHIPPED.name).write_bytes(data)
    with pytest.raises(ValueError, match="do not match their hash"):
        load_descriptor(path)


def test_another_descriptor_is_refused(tmp_path):
    weights = load_file(SHIPPED)
    save_file(weights, path := tmp_path / "other.safetensors", metadata={"spec": "{}", "sha256": weights_hash(weights)})
    with pytest.raises(ValueError, match="another model"):
        load_descriptor(path)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_torchscript_is_loaded_by_path_and_sees_imagenet_colors(tmp_path):
    class Mean(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(1))

        def forward(self, x):
            return x.mean(dim=(2, 3)) + 0.0 * x.shape[2] + self.bias

    path = tmp_path / "sscd.torchscript.pt"
    torch.jit.trace(Mean(), torch.zeros(1, 3, 320, 320)).save(path)
    sscd = load_descriptor(path)
    assert isinstance(sscd, SSCD)
    gray = torch.full((2, 1, 28, 28), 51, dtype=torch.uint8)      # 51 / 255 = 0.2
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    expected = F.normalize((0.2 - mean) / std, dim=0).expand(2, 3)
    assert_close(describe(gray, sscd), expected, atol=1e-4, rtol=0)
    assert_close(describe(gray / 127.5 - 1, sscd), expected, atol=1e-4, rtol=0)


@pytest.mark.filterwarnings("ignore:.*torch.jit.*:FutureWarning")
def test_what_is_no_torchscript_is_refused(tmp_path):
    (path := tmp_path / "sscd.pt").write_bytes(b"pickle")
    with pytest.raises(ValueError, match="sscd_disc_large"):
        load_descriptor(path)


@pytest.mark.parametrize("bad, message", [
    (torch.zeros(2, 3, 28, 28), "1, 28, 28"),
    (torch.zeros(2, 1, 32, 32), "TorchScript"),
    (torch.zeros(0, 1, 28, 28), "n >= 1"),
    (torch.full((1, 1, 28, 28), torch.nan), "NaN"),
    (torch.full((1, 1, 28, 28), -torch.inf), "infinity"),
    (torch.arange(784).view(1, 1, 28, 28) % 256, "not torch.int64: for whole numbers in .0, 255., give images.to"),
    (torch.ones(1, 1, 28, 28, dtype=torch.int8), "not torch.int8"),
    (torch.zeros(1, 1, 28, 28, dtype=torch.bool), "not torch.bool"),
    ((torch.arange(784.0) % 256).view(1, 1, 28, 28), "these go from 0 to 255: for .0, 255., give images.to.torch.uint8"),
])
def test_wrong_images_are_refused(net, bad, message):
    with pytest.raises(ValueError, match=message):
        describe(bad, net)


def test_samples_that_overshoot_are_clipped_and_not_refused(net, images):
    """Samples of shipped models reach 3.2; after a few steps of training VP's reach 600, as much up as down."""
    x = to_float(images[:50])
    wild = torch.where(x.abs() == 1, 3.2 * x, x)
    assert_close(describe(wild, net), describe(images[:50], net))
    assert describe(200 * torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0)), net).isfinite().all()
    assert_close(describe(torch.full((1, 1, 28, 28), 1.7), net), describe(torch.ones(1, 1, 28, 28), net))     # all white


# Training


def by_hand(images, spec):
    """The descriptor's training as one plain loop: the weights that ship were made by it."""
    generator = torch.Generator().manual_seed(spec.seed)
    torch.manual_seed(spec.seed)
    net, losses = Descriptor(spec.width, spec.dim), []
    thumbs = F.avg_pool2d(to_float(images), 4)
    neighbors = nearest_images(thumbs, thumbs, k=9)[1][:, 1:]
    optimizer = torch.optim.AdamW(net.parameters(), lr=spec.lr, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, spec.lr, total_steps=spec.steps, pct_start=0.1)
    for _ in range(spec.steps):
        anchors = torch.randint(len(images), (spec.anchors, 1), generator=generator)
        which = torch.rand(spec.anchors, 8, generator=generator).argsort(1)[:, :spec.strangers]
        x = to_float(images[torch.cat([anchors, neighbors[anchors[:, 0]].gather(1, which)], 1).unique()])
        views = edited_copies(torch.cat([x, x]), generator, spec.edits)
        with torch.autocast("cpu", torch.bfloat16):
            z = net(views)
        loss = copy_loss(*z.chunk(2), spec.tau, spec.entropy)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return net, losses


def test_the_shared_loop_gives_the_weights_of_the_plain_one_bit_for_bit():
    images, spec = load("fashion-mnist", "reserve").images[:100], DescriptorSpec(width=8, steps=6, anchors=8, seed=3)
    net, state = untrained(spec), torch.get_rng_state()
    losses = [p.loss for p in fit(net, images, spec)]
    assert torch.equal(torch.get_rng_state(), state)
    expected, expected_losses = by_hand(images, spec)
    assert losses == expected_losses
    for name, t in expected.state_dict().items():
        assert torch.equal(net.state_dict()[name], t), name


def test_a_descriptor_that_diverges_stops_with_a_line():
    spec = DescriptorSpec(width=8, steps=9, anchors=8, lr=1e30)
    with pytest.raises(FloatingPointError, match=r"the (loss|gradient) is .* at step \d: lower the learning rate"):
        list(fit(untrained(spec), load("fashion-mnist", "reserve").images[:100], spec))


@pytest.mark.parametrize("options", [{"steps": 0}, {"anchors": 0}, {"width": 0}, {"dim": -1}, {"strangers": 9}])
def test_specs_that_make_no_sense_are_refused(options):
    with pytest.raises(ValueError, match="a descriptor needs"):
        DescriptorSpec(**options)


@pytest.mark.parametrize("images", [torch.zeros(8, 1, 28, 28, dtype=torch.uint8), torch.zeros(50, 1, 28, 28)])
def test_images_that_it_cannot_learn_from_are_refused(images):
    spec = DescriptorSpec(width=8, steps=1)
    with pytest.raises(ValueError, match="learns from more than 8 uint8 images"):
        fit(untrained(spec), images, spec)


def test_training_lowers_the_loss_and_is_deterministic():
    images, spec = load("fashion-mnist", "reserve").images[:400], DescriptorSpec(width=8, steps=30, anchors=8)
    runs = []
    for _ in range(2):
        net = untrained(spec)
        runs.append((net, [p.loss for p in fit(net, images, spec)]))
    losses = runs[0][1]
    assert sum(losses[-5:]) < 0.85 * sum(losses[:5])
    assert losses == runs[1][1]
    for (name, a), b in zip(runs[0][0].state_dict().items(), runs[1][0].state_dict().values()):
        assert_close(a, b, atol=0, rtol=0, msg=name)


def test_spec_names_its_file():
    assert DescriptorSpec().file == DescriptorSpec().file != DescriptorSpec(seed=1).file
    assert Descriptor(width=8, dim=16)(torch.zeros(3, 1, 28, 28)).shape == (3, 16)


def test_train_writes_a_file_that_says_what_it_holds(tmp_path, monkeypatch):
    few = load("fashion-mnist", "reserve")[:300]
    monkeypatch.setattr("helpers.measure.descriptor.load", lambda name, split: few)
    spec = DescriptorSpec(width=8, steps=2, anchors=4)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    path = train(spec, tmp_path)
    assert torch.get_num_threads() == 2
    torch.set_num_threads(threads)
    with safe_open(path, "pt") as file:
        header = file.metadata()
    assert path.name == spec.file and header["spec"] == spec.json and list(tmp_path.iterdir()) == [path]
    assert {"loss", "cpu_seconds", "parameters", "versions", "sha256"} <= set(header)
    with pytest.raises(ValueError, match="another model"):
        load_descriptor(path)
