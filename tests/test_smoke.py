"""From nothing to a chapter's results, without a network: tiny models are trained and chapter 2 is run on them."""

import json
import os
import shutil
import subprocess
import sys

from helpers import paths
from helpers.profiles import SMOKE, all_models

# Python reads this file at every start, also in the notebook's kernel: any connection that leaves the machine fails.
NO_NETWORK = """
import socket
def refuse(*args, **kwargs):
    raise OSError("the test forbids the network")
connect = socket.socket.connect
def local_only(self, address):
    host = address[0] if isinstance(address, tuple) else "localhost"
    return connect(self, address) if host in ("127.0.0.1", "::1", "localhost") else refuse()
socket.socket.connect = local_only
socket.getaddrinfo = refuse
"""


def test_the_smoke_profile_trains_and_runs_chapter_2_from_nothing(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    shutil.rmtree(SMOKE.zoo, ignore_errors=True)
    done = subprocess.run(
        [sys.executable, "-m", "helpers.run", "2", "--profile", "smoke", "--out", str(tmp_path)], cwd=paths.ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "02-two-regimes-profile-smoke.json").read_text())
    assert len(list(SMOKE.zoo.glob("*.safetensors"))) == len(all_models(SMOKE)) == found["measurements"]["models_trained"]
    assert len(found["claims"]) >= 8 and found["parameters"]["profile"] == "smoke"


def test_the_network_is_really_off(tmp_path):
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    code = "import urllib.request; urllib.request.urlopen('http://192.0.2.1/', timeout=2)"
    done = subprocess.run([sys.executable, "-c", code], env=os.environ | {"PYTHONPATH": str(tmp_path)},
                          capture_output=True, text=True)
    assert done.returncode != 0 and "the test forbids the network" in done.stderr
