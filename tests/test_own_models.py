"""The page "Your own models and images": its examples run as they stand, in a folder of their own."""

import re
import shlex
import sys

import torch

from helpers.audit import __main__ as command
from helpers.data import load
from helpers.paths import ROOT

PAGE = (ROOT / "book" / "own-models.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.M | re.S)


def test_the_examples_of_the_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    *examples, mine = blocks("python")
    names = {}
    for example in examples:
        exec(compile(example, "own-models.md", "exec"), names)
    assert names["images"].shape == (2, 3, 8, 8) and names["denoiser"].sampling["sigma_max"] > 100
    x = names["z"]
    torch.testing.assert_close(names["again"](x, 1.0), names["denoiser"](x, 1.0), atol=1e-5, rtol=0)
    torch.testing.assert_close(names["edm"](x, 2.0), x / 5)
    torch.testing.assert_close(names["noise"](x, 2.0), x - 2 * x / 5**0.5)
    (tmp_path / "mine.py").write_text(mine)
    (line,) = [line for block in blocks("bash") for line in block.splitlines()]
    python, module, name, *words = shlex.split(line)
    assert (python, module, name) == ("python", "-m", "helpers.audit")
    monkeypatch.setattr(command, "load", lambda name, split: load(name, split).first(100))       # 10,000 take a while
    assert command.main(words) == 0
    assert "A memorizes" in capsys.readouterr().out and (tmp_path / "audit.html").exists()
