"""The classifier: what it is told and what it sees, the loss of one who knows nothing, and that it learns."""

import math
from collections import Counter
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from helpers import data
from helpers.models.classifier import Classification, Classifier, classify, confidence
from helpers.models.training import Recipe, State, loss_at, train


def classifier(seed=0, **options):
    torch.manual_seed(seed)
    return Classifier(width=8, **options)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class Recording(torch.nn.Module):
    """A network that keeps the images it is shown, and answers with nothing but zeros."""

    def forward(self, x):
        self.x = x
        return torch.zeros(len(x), 10)


def shown(x0, shift):
    """What the objective makes of a batch."""
    network = Recording()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        Classification(shift).loss(network, x0, torch.zeros(len(x0), dtype=torch.long), generator())
    return network.x


def one_bright(row, column, count=2000, side=11):
    """`count` copies of a black image with one bright pixel."""
    x0 = torch.full((count, 1, side, side), -1.0)
    x0[:, :, row, column] = 1.0
    return x0


@pytest.mark.parametrize("channels, side, classes", [(1, 28, 10), (3, 32, 100)])
def test_every_class_has_a_number_for_every_image(channels, side, classes):
    logits = classifier(image_channels=channels, classes=classes)(torch.randn(5, channels, side, side))
    assert logits.shape == (5, classes) and (logits.std(0) > 0).all()


def test_it_looks_at_the_image_and_not_at_the_label():
    network, x = classifier(), torch.randn(4, 1, 28, 28)
    assert torch.equal(network(x), network(x, torch.rand(4), torch.arange(4)))
    torch.testing.assert_close(network(x[2:3]), network(x)[2:3], rtol=1e-4, atol=1e-5)


def test_the_loss_starts_at_that_of_a_guess():
    x0, label = torch.randn(64, 1, 28, 28), torch.arange(64) % 10
    assert Classification().loss(classifier(), x0, label, generator()).item() == pytest.approx(math.log(10), abs=0.2)
    assert Classification().loss(Recording(), x0, label, generator()).item() == pytest.approx(math.log(10), abs=1e-5)


def test_without_shift_the_loss_of_symmetric_images_is_plain_cross_entropy():
    network, half, label = classifier(), torch.randn(32, 1, 28, 14), torch.arange(32) % 10
    x0 = torch.cat([half, half.flip(3)], dim=3)
    expected = -network(x0).log_softmax(1)[torch.arange(32), label].mean()
    torch.testing.assert_close(Classification(shift=0).loss(network, x0, label, generator()), expected)


@pytest.mark.parametrize("shift", [0, 1, 2])
def test_an_image_moves_by_at_most_the_shift_in_every_direction(shift):
    seen = shown(one_bright(5, 5), shift)                              # in the middle: mirroring leaves it there
    assert seen.shape == (2000, 1, 11, 11) and (seen.flatten(1).sum(1) == 2 - 121).all()
    places = Counter((p // 11 - 5, p % 11 - 5) for p in seen.flatten(1).argmax(1).tolist())
    way = range(-shift, shift + 1)
    assert places.keys() == {(dy, dx) for dy in way for dx in way}
    expected = 2000 / len(places)                                      # each as often: five standard deviations
    assert all(abs(count - expected) <= 5 * expected**0.5 for count in places.values())


def test_flip_and_shift_are_drawn_anew_for_every_image_and_apart():
    """Where the pixel arrives tells all three: mirrored or not, down, right; as often in all 2 * 3 * 3 ways."""
    places = Counter(shown(one_bright(5, 2, count=3600), 1).flatten(1).argmax(1).tolist())
    assert places.keys() == {row * 11 + column + dx for row in (4, 5, 6) for column in (2, 8) for dx in (-1, 0, 1)}
    assert all(abs(count - 200) <= 5 * 200**0.5 for count in places.values())


@pytest.mark.parametrize("shift", [-1, 1.5])
def test_a_shift_is_a_whole_number_of_pixels(shift):
    with pytest.raises(ValueError, match="shift must be a whole number of 0 or more"):
        Classification(shift)


def test_the_shipped_classifier_s_shift_is_the_default():
    assert Classification() == Classification(shift=2)                 # its spec names no options


def test_half_of_the_images_are_mirrored_left_to_right():
    places = shown(one_bright(2, 1), 0).flatten(1).argmax(1)
    mirrored = places == 2 * 11 + 9
    assert (mirrored | (places == 2 * 11 + 1)).all() and 0.45 < mirrored.float().mean() < 0.55


def test_what_moves_in_from_the_border_is_black():
    seen = shown(torch.ones(500, 1, 11, 11), 2)
    borders = F.pad(torch.ones(7, 7), (2,) * 4)                                # what no shift by two pixels can empty
    assert (seen[:, 0, borders == 1] == 1).all() and set(seen.unique().tolist()) == {-1.0, 1.0}


def test_the_channels_of_an_image_move_together():
    x0 = torch.randn(50, 1, 11, 11)
    seen = shown(torch.cat([x0, 2 * x0 + 1], dim=1), 2)                        # the black of one is the black of both
    assert torch.equal(seen[:, 1], 2 * seen[:, 0] + 1)


class Brightness(torch.nn.Module):
    """Names the class that ten times the image's brightest pixel is nearest to."""

    def __init__(self):
        super().__init__()
        self.classes = torch.nn.Parameter(torch.arange(12.0))

    def forward(self, x):
        return -(10 * x.amax((1, 2, 3))[:, None] - self.classes).abs()


def test_classes_are_found_in_parts_as_in_one_piece_and_within_the_range_of_images():
    x0 = torch.full((7, 1, 4, 4), -2.0)
    x0[:, 0, 1, 2] = torch.tensor([0.1, 0.9, 0.3, 1.0, 1.1, 7.0, 0.0])         # above 1 there is no brighter
    for batch in (1, 3, 1024):
        found = classify(Brightness(), x0, batch)
        assert found.dtype == torch.int64 and found.tolist() == [1, 9, 3, 10, 10, 10, 0]


def test_confidence_is_the_probability_of_the_first_choice():
    x0 = torch.full((3, 1, 4, 4), -1.0)
    x0[:, 0, 1, 2] = torch.tensor([0.1, 0.35, 0.8])
    found = confidence(Brightness(), x0, batch=2)
    for brightness, value in zip((1.0, 3.5, 8.0), found.tolist()):
        weights = torch.tensor([-abs(brightness - k) for k in range(12)], dtype=torch.float64).exp()
        assert value == pytest.approx((weights.max() / weights.sum()).item(), rel=1e-5)


def test_what_a_step_shows_depends_on_its_seed_alone():
    """Whatever the global generator did before; and another seed shows other images."""
    recipe, x0, labels = Recipe(steps=3, batch=8, warmup=1), torch.randn(20, 1, 8, 8), torch.arange(20) % 10

    def losses(seed, before):
        torch.manual_seed(before)
        state = torch.get_rng_state()
        network = classifier(seed=5)
        torch.set_rng_state(state)
        seeded = replace(recipe, seed=seed)
        found = [loss_at(step, network, Classification(), x0, labels, seeded).item() for step in range(3)]
        assert torch.equal(torch.get_rng_state(), state)
        return found

    assert losses(0, before=1) == losses(0, before=2) != losses(1, before=2)
    assert len(set(losses(0, before=1))) == 3


def test_it_learns_what_clothes_look_like():
    recipe = Recipe(steps=60, batch=64, rate=1e-2, muon=0.02, warmup=5, bf16=False)
    pool = data.load("fashion-mnist", "pool")
    seen, held_out = pool.first(512), pool.first(512, 512)
    state = State(classifier(), recipe)
    list(train(state, Classification(), seen.x0, seen.labels, recipe))
    right = (classify(state.ema.eval(), held_out.x0) == held_out.labels).float().mean()
    assert right > 0.4                                                         # chance: 0.1
