"""kills.py: a few random kills, and that it would see what a kill must not leave behind."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.paths import ROOT
from tests import kills


def test_what_is_killed_at_random_moments_ends_as_if_nothing_had_happened(tmp_path):
    assert kills.rounds("zoo", 2, 0, tmp_path / "zoo") >= 0
    assert kills.rounds("chapter", 1, 0, tmp_path / "chapter") >= 0


PROGRAM = """
import pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
{body}
"""


@pytest.mark.parametrize("body, complaint", [
    ("(folder / 'zoo.tmp').touch(); (folder / 'a.json').write_text('{}')", "zoo.tmp"),
    ("import time; (folder / 'a.json').write_text(str(time.time()))", "a.json differ")])
def test_it_sees_what_a_run_leaves_and_what_differs(monkeypatch, tmp_path, body, complaint):
    body += "; time.sleep(0.5)"
    kind = kills.Kind(PROGRAM.format(body=body), (), lambda folder: None, ("*.json",))
    monkeypatch.setitem(kills.KINDS, "made up", kind)
    monkeypatch.setattr(kills, "_content", Path.read_bytes)
    with pytest.raises(AssertionError, match=complaint):
        kills.rounds("made up", 2, 0, tmp_path)


def test_it_sees_who_goes_on_and_half_a_file(monkeypatch, tmp_path):
    monkeypatch.setattr(kills, "LIMIT", 3.0)
    body = "import subprocess; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(30)']); time.sleep(30)"
    kind, chance = kills.Kind(PROGRAM.format(body=body), (), lambda folder: None, ()), random.Random(0)
    process = kind.start(tmp_path)
    with pytest.raises((AssertionError, subprocess.TimeoutExpired)):
        kills.kill_after(process, tmp_path, 1.0, "parent", chance)
    for one in kills.relatives(tmp_path):
        one.kill()
    (tmp_path / "a.safetensors").write_bytes(b"half")
    with pytest.raises(Exception, match="header"):
        kills.readable(tmp_path)


def test_its_command_line_refuses_what_makes_no_sense():
    done = subprocess.run([sys.executable, "-m", "tests.kills", "--kills", "0"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "--kills must be 1 or more" in done.stderr
