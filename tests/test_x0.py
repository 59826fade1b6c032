"""Gray levels are never taken for [-1, 1]: every door that takes images knows both forms apart, and refuses others."""

import pytest
import torch

from helpers.closed_form import EmpiricalDenoiser, GaussianDenoiser, nearest_images
from helpers.data import as_x0, check_x0, to_float, to_uint8
from helpers.denoiser import denoising_error
from helpers.measure.descriptor import describe
from helpers.measure.inverse_problem import InverseProblem
from helpers.measure.residuals import residual_share
from helpers.measure.scores import mae_score, memorized_fraction, nearest_agreement
from helpers.models.classifier import Classification, Classifier, classify
from helpers.models.training import Recipe, State, train
from helpers.operators import make_operator
from helpers.zoo.spec import NETWORKS, make_objective

GRAY = torch.randint(0, 256, (6, 1, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def generator():
    return torch.Generator().manual_seed(1)


def learn(images):
    net = Classifier(width=4, classes=2)
    list(train(State(net, Recipe(1, batch=2)), Classification(), images, torch.tensor([0, 1] * 3), Recipe(1, batch=2)))


# Each returns what it makes of images.
DOORS = {
    "as_x0": as_x0,
    "empirical": lambda x: EmpiricalDenoiser(x)(torch.zeros(1, 1, 28, 28), 5.0),
    "gaussian": lambda x: GaussianDenoiser.fit(x).mean,
    "nearest, training": lambda x: nearest_images(torch.zeros(1, 1, 28, 28), x)[0],
    "denoising error": lambda x: denoising_error(lambda noisy, sigma: 0 * noisy, x, [1.0]),
    "describe": describe,
    "measurement": lambda x: InverseProblem.of(make_operator("box", (1, 28, 28)), x, 0.1).y,
    "residuals": lambda x: torch.tensor(residual_share(x, to_float(GRAY), 0 * to_float(GRAY), generator()).value),
    "mae": lambda x: torch.tensor(mae_score(x, to_float(GRAY)).value),
    "memorized, samples": lambda x: torch.tensor(memorized_fraction(x, GRAY).value),
    "memorized, training": lambda x: torch.tensor(memorized_fraction(to_float(GRAY), x).value),
    "agreement": lambda x: torch.tensor(nearest_agreement(x, to_float(GRAY), GRAY).value),
    "classify": lambda x: classify(NETWORKS["classifier"](width=4).eval(), x),
}
FLOATS_ALONE = {"nearest, samples": lambda x: nearest_images(x, GRAY), "training": learn}


@pytest.mark.parametrize("door", DOORS.values(), ids=DOORS)
def test_both_forms_mean_the_same(door):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        first = door(GRAY)
        torch.manual_seed(0)
        torch.testing.assert_close(first, door(to_float(GRAY)), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("door", (DOORS | FLOATS_ALONE).values(), ids=DOORS | FLOATS_ALONE)
@pytest.mark.parametrize("bad", [GRAY.float(), GRAY.double(), GRAY.long(), GRAY.int(), GRAY > 100, GRAY.float() * torch.nan],
                         ids=["float", "double", "int64", "int32", "bool", "nan"])
def test_what_is_no_image_is_refused(door, bad):
    with pytest.raises(ValueError, match=r"\[-1, 1\]|must be floats|must be finite") as error:
        door(bad)
    assert "\n" not in str(error.value)


def test_samples_may_overshoot_and_dark_images_may_be_dark():
    for x in (torch.tensor([-1.0, -1.0]), torch.tensor([-300.0, 250.0]), torch.tensor([0.0, 3.5]), torch.empty(0)):
        assert torch.equal(check_x0(x), x)
    assert check_x0(torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.bfloat16


def test_a_conversion_reads_its_own_form_alone():
    for bad in (to_float(GRAY), GRAY.long()):
        with pytest.raises(ValueError, match="to_float reads uint8 in 0..255, got torch."):
            to_float(bad)
    for bad in (GRAY, GRAY.long()):
        with pytest.raises(ValueError, match=r"to_uint8 reads floats in \[-1, 1\], got torch."):
            to_uint8(bad)


SMALL = {"unet": {"width": 4}, "cnn": {"width": 4}, "uvit": {"dim": 8, "heads": 2, "depth": 1}, "mlp": {"width": 8},
         "multistage": {"width": 4}, "pair": {"width": 4}, "classifier": {"width": 4}}
ANY_SIZE = {"unet", "cnn", "multistage", "classifier"}


@pytest.mark.parametrize("name", sorted(NETWORKS))
@pytest.mark.parametrize("shape", [(3, 28, 28), (1, 32, 32)])
def test_images_that_a_network_does_not_read_are_refused_before_its_first_step(name, shape):
    if shape[0] == 1 and name in ANY_SIZE:
        shape = (2, 32, 32)
    recipe, labels = Recipe(1, batch=2), torch.tensor([0, 1]) if name == "classifier" else None
    state = State(NETWORKS[name](**SMALL[name]), recipe)
    before = {key: value.clone() for key, value in state.network.state_dict().items()}
    objective = make_objective({"pair": "gan", "classifier": "classes"}.get(name, "edm"))
    with pytest.raises(ValueError, match=rf"this network reads images \(B, 1, .*, got \(2, {shape[0]}, "):
        list(train(state, objective, torch.zeros(2, *shape), labels, recipe))
    assert state.step == 0 and all(torch.equal(value, before[key]) for key, value in state.network.state_dict().items())
