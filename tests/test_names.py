"""The ten names that a reader needs, and how soon they are there."""

import subprocess
import sys

import pytest

import helpers
from helpers import paths


def test_a_reader_s_names_are_those_of_the_rooms():
    from helpers import EmpiricalDenoiser, load_denoiser, rp_score, sample
    from helpers.closed_form import EmpiricalDenoiser as Empirical
    from helpers.samplers import sample as walk

    assert EmpiricalDenoiser is Empirical and sample is walk and callable(rp_score) and callable(load_denoiser)
    assert len(helpers.__all__) == 10 and all(hasattr(helpers, name) for name in helpers.__all__)


def test_another_name_is_a_clear_error():
    with pytest.raises(AttributeError, match="helpers has no 'smaple'; .*sample"):
        helpers.smaple  # noqa: B018


def test_the_package_itself_loads_without_torch():
    done = subprocess.run([sys.executable, "-c", "import sys, helpers, helpers.paths; print('torch' in sys.modules)"],
                          cwd=paths.ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == "False", done.stderr
