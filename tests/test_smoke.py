"""From nothing to a chapter's results, without a network: tiny models are trained and the chapter is run on them."""

import json
import shutil
import subprocess
import sys

import pytest

from helpers import paths
from helpers.chapters.models import chapter_models
from helpers.chapters.profiles import SMOKE
from helpers.report.readme import chapter_file
from tests.offline import offline


@pytest.mark.parametrize("chapter, claims", [(1, 17), (2, 15), (3, 9), (4, 11), (5, 10), (6, 13), (7, 17), (8, 13), (10, 8)])
def test_the_smoke_profile_trains_and_runs_a_chapter_from_nothing(tmp_path, chapter, claims):
    shutil.rmtree(SMOKE.zoo, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "helpers.run", str(chapter), "--profile", "smoke", "--out", str(tmp_path)], cwd=paths.ROOT,
        env=offline(tmp_path), capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / f"{chapter_file(chapter)}-profile-smoke.json").read_text())
    trained = len(list(SMOKE.zoo.glob("*.safetensors")))
    assert trained == len(set(chapter_models(SMOKE, chapter))) == found["measurements"]["models_trained"]
    assert len(found["claims"]) >= claims and found["parameters"]["profile"] == "smoke"


def test_the_network_is_really_off(tmp_path):
    code = "import urllib.request; urllib.request.urlopen('http://192.0.2.1/', timeout=2)"
    done = subprocess.run([sys.executable, "-c", code], env=offline(tmp_path), capture_output=True, text=True)
    assert done.returncode != 0 and "the test forbids the network" in done.stderr
