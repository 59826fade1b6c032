"""Interactive figures: the sheet holds the pictures, the numbers those of the descriptors, and both stay small."""

import base64
import io
import json
import re

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from helpers.report import interactive


def content(figure):
    return json.loads(re.search(r'<script type="application/json">(.*)</script>', figure._repr_html_(), re.S)[1])


def tiles(sheet, columns, rows):
    """The pictures of a sheet, (rows, columns, H, W) in [0, 1]."""
    image = Image.open(io.BytesIO(base64.b64decode(sheet.removeprefix("data:image/png;base64,")))).convert("L")
    pixels = torch.tensor(list(image.tobytes())).view(image.height, image.width) / 255
    return pixels.view(rows, image.height // rows, columns, image.width // columns).transpose(1, 2)


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(0)), dim=-1)


def test_the_sheet_holds_every_picture_in_its_place():
    rows = torch.rand(2, 3, 1, 4, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert_close(tiles(interactive.sheet(list(rows)), 3, 2), (rows[:, :, 0] + 1) / 2, atol=0.5 / 15 + 1e-3, rtol=0)


def test_pictures_of_two_choices_stand_in_row_major_order():
    images = torch.linspace(-1, 1, 6).view(2, 3, 1, 1, 1).expand(2, 3, 1, 4, 4)
    found = content(interactive.pictures({"caption": ["a shirt", "a shoe"], "noise": [1, 2, 3]}, {"": {"U-Net": images}}))
    assert found["size"] == [6, 1] and [choice["words"] for choice in found["choices"]] == [True, False]
    assert_close(tiles(found["sheet"], 6, 1)[0, :, 0, 0], torch.linspace(0, 1, 6), atol=0.04, rtol=0)


def test_similarities_are_those_of_the_descriptors_pair_by_pair():
    labels, images = "abcd", torch.zeros(3, 1, 2, 2)
    features = dict(zip(labels, unit(4, 3, 8)))
    found = content(interactive.pictures({"noise": [1, 2, 3]}, {"": dict.fromkeys(labels, images)}, features))
    for noise, values in enumerate(found["similarity"]):
        pairs = [(a, b) for k, a in enumerate(labels) for b in labels[k + 1:]]
        expected = [(features[a][noise] @ features[b][noise]).item() for a, b in pairs]
        assert_close(torch.tensor(values) / 1000, torch.tensor(expected), atol=6e-4, rtol=0)


def test_rounding_moves_no_similarity_across_the_threshold():
    near = torch.tensor([0.8802, 0.8798, 0.88, 0.9, -0.2])
    assert interactive.thousandths(near, 0.88) == [881, 880, 880, 900, -200]


def test_a_threshold_starts_where_it_is_told():
    images = torch.zeros(2, 1, 2, 2)
    figure = interactive.threshold([0.6, 0.88], {"pairs": [0.5, 0.25]}, images, images, torch.tensor([0.7, 0.9]), ["x", "y"])
    found = content(figure)
    assert found["thresholds"] == [600, 880] and found["start"] == 1 and found["similarity"] == [700, 900]
    assert found["curves"] == {"pairs": [0.5, 0.25]} and repr(figure) == "2 pairs of pictures, 2 thresholds"


def test_a_label_cannot_end_the_data():
    figure = interactive.pictures({"caption": ["</script>"]}, {"": {"x": torch.zeros(1, 1, 2, 2)}})
    assert figure._repr_html_().count("</script>") == 1 and content(figure)["choices"][0]["values"] == ["</script>"]


@pytest.mark.parametrize("choices, blocks, features, message", [
    ({"noise": [1, 2]}, {"": {"x": torch.zeros(3, 1, 2, 2)}}, None, "the choices are {'noise': 2}"),
    ({"noise": [1]}, {"a": {"x": torch.zeros(1, 1, 2, 2)}, "b": {"x": torch.zeros(1, 1, 2, 2)}}, None, "a label of its own"),
    ({"noise": [1]}, {"a": {"x": torch.zeros(1, 1, 2, 2)}}, {}, "descriptors if any has"),
])
def test_what_does_not_fit_is_refused(choices, blocks, features, message):
    with pytest.raises(ValueError, match=message):
        interactive.pictures(choices, blocks, features)


def test_too_many_pictures_are_refused():
    noise = torch.rand(2000, 1, 28, 28) * 2 - 1
    with pytest.raises(ValueError, match="show fewer pictures"):
        interactive.pictures({"noise": range(2000)}, {"": {"x": noise, "y": noise}})


def test_lengths_of_a_threshold_figure_agree():
    images = torch.zeros(2, 1, 2, 2)
    with pytest.raises(ValueError, match="as many images"):
        interactive.threshold([0.6, 0.88], {"pairs": [0.5]}, images, images, torch.tensor([0.7, 0.9]), ["x", "y"])
