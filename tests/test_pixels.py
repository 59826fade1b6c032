"""Pixel by pixel: against numpy's correlation, and by hand."""

import numpy as np
import pytest
import torch

from helpers.measure.pixels import pearson, squared_error


def test_pearson_is_numpy_s_and_ignores_brightness_and_contrast():
    x, y = torch.rand(2, 5, 1, 4, 6, generator=torch.Generator().manual_seed(0))
    expected = [np.corrcoef(a.flatten(), b.flatten())[0, 1] for a, b in zip(x.numpy(), y.numpy())]
    torch.testing.assert_close(pearson(x, y), torch.tensor(expected, dtype=torch.double), atol=1e-6, rtol=0)
    torch.testing.assert_close(pearson(x, 0.3 * y - 0.2), pearson(x, y), atol=1e-6, rtol=0)
    assert pearson(x, torch.ones_like(x)).tolist() == [0] * 5


def test_squared_error_is_a_mean_over_pixels_of_clipped_images():
    x, y = torch.zeros(2, 1, 2, 2), torch.tensor([0.5, -1.0]).view(2, 1, 1, 1).expand(2, 1, 2, 2)
    assert squared_error(x, y).tolist() == [0.25, 1.0]
    assert squared_error(x, 5 * y).tolist() == [1.0, 1.0]


@pytest.mark.parametrize("x, y, words", [
    (torch.zeros(2, 1, 2, 2), torch.zeros(3, 1, 2, 2), "of one shape"), (torch.zeros(4), torch.zeros(4), "of one shape"),
    (torch.zeros(1, 1, 2, 2), torch.full((1, 1, 2, 2), torch.nan), "NaN")])
def test_a_wrong_request_is_one_clear_line(x, y, words):
    for measure in (pearson, squared_error):
        with pytest.raises(ValueError, match=words):
            measure(x, y)
