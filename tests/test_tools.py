"""The tools beside the tests: what pytest says without the reference implementations."""

import os
import subprocess
import sys

import pytest

from helpers.paths import ROOT

WITHOUT = "import sys\nsys.modules.update(diffusers=None, deepinv=None, azula=None)\n"


def run_without(what, folder):
    """pytest on some tests, without the reference implementations: exit code, and the lines that it prints."""
    (folder / "sitecustomize.py").write_text(WITHOUT)
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", what], cwd=ROOT, text=True, timeout=300,
                          capture_output=True, env=os.environ | {"PYTHONPATH": str(folder)})
    return done.returncode, [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]


@pytest.mark.parametrize("what", ["tests", "tests/test_operators.py"])
def test_without_reference_implementations_pytest_says_so_in_one_line(tmp_path, what):
    code, lines = run_without(what, tmp_path)
    assert code == pytest.ExitCode.USAGE_ERROR and len(lines) <= 2, lines      # the other line: how long nothing took
    said = [line for line in lines if "not installed (diffusers, deepinv, azula)" in line]
    assert len(said) == 1 and "run `make test`, or `pip install -r requirements-dev.txt`" in said[0]


def test_tests_without_a_reference_need_none(tmp_path):
    code, lines = run_without("tests/test_noise.py", tmp_path)
    assert code == 0, lines
