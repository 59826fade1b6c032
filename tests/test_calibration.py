"""The rule behind the threshold: by hand, on what was measured, and how its curves must move."""

import json

import pytest
import torch

from helpers import paths
from helpers.measure.calibration import Calibration, calibration
from helpers.measure.scores import THRESHOLD

# calibration(sizes=(2**15,)) with the shipped descriptor, 1 to 3 minutes: unrelated pairs that pass, held-out images that
# count as new, edited copies of the kind that is found least (the blur).
MEASURED = {0.86: (6e-6, 0.9313, 0.9845), 0.87: (4e-6, 0.9462, 0.9770), 0.88: (2e-6, 0.9566, 0.9700),
            0.89: (2e-6, 0.9664, 0.9550)}


def curves():
    columns = (torch.tensor(column).double() for column in zip(*MEASURED.values()))
    unrelated, new, found = columns
    return Calibration(torch.tensor(list(MEASURED)).double(), unrelated, (2**15,), new[None], {"blur of 0.7 px": found})


def test_the_threshold_is_what_the_rule_chooses_among_its_neighbors():
    assert curves().choose_threshold() == THRESHOLD
    assert curves().choose_threshold(new=0.94) == pytest.approx(THRESHOLD - 0.01)      # it is the held-out images that bind


def test_the_curves_are_those_that_chapter_2_measured_at_the_threshold():
    stored = json.loads((paths.RESULTS / "02.json").read_text(encoding="utf-8"))["measurements"]
    assert stored["threshold"] == THRESHOLD and stored["held_out_images"] == 10_000 and stored["pool_size"] == 2**15
    assert (stored["unrelated_pass"], stored["held_out_new"][-1], stored["edited_found_least"]) == pytest.approx(
        MEASURED[THRESHOLD])


def test_threshold_rule_takes_the_smallest_t_that_passes_all():
    found = Calibration(thresholds=torch.tensor([0.7, 0.8, 0.9, 1.0]), unrelated=torch.tensor([0.01, 0.001, 0.0, 0.0]),
                        sizes=(1, 2), held_out=torch.tensor([[1.0, 1.0, 1.0, 1.0], [0.9, 0.94, 0.96, 1.0]]),
                        edited={"a": torch.tensor([1.0, 1.0, 0.95, 0.1]), "b": torch.tensor([1.0, 1.0, 1.0, 0.99])})
    assert found.choose_threshold() == 0.9
    assert found.choose_threshold(new=0.94) == 0.8
    assert found.choose_threshold(new=0.9, null=0.001) == 0.8 and found.choose_threshold(new=0.9, null=0.01) == 0.7
    with pytest.raises(ValueError, match="no threshold passes"):
        found.choose_threshold(found=0.99)


def test_calibration_of_the_shipped_descriptor_moves_as_it_must():
    found = calibration(n=200, sizes=(16, 256, 1024))
    assert (found.held_out.diff(dim=0) <= 0).all()        # more training images, fewer new ones
    assert (found.held_out.diff(dim=1) >= 0).all()        # a stricter threshold, more new ones
    assert (found.unrelated.diff() <= 0).all()
    assert all((curve.diff() <= 0).all() for curve in found.edited.values())


@pytest.mark.parametrize("thresholds", [[0.5, 1.5], [-2.0], [torch.nan], []])
def test_thresholds_are_similarities(thresholds):
    with pytest.raises(ValueError, match=r"thresholds are similarities in \[-1, 1\]"):
        calibration(n=2, sizes=(4,), thresholds=torch.tensor(thresholds))


@pytest.mark.parametrize("more", [{"n": 10_001, "sizes": (4,)}, {"n": 2, "sizes": (2**15 + 1,)}])
def test_more_images_than_there_are_is_an_error(more):
    with pytest.raises(ValueError, match="are not to be had"):
        calibration(**more)
