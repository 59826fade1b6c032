"""How far training is: a bar on a terminal, a few lines in a log."""

import io
import sys

import pytest

from helpers.zoo import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def loop(steps=1000):
    yield from ((step, 1 / step) for step in range(1, steps + 1))


@pytest.mark.parametrize("place, seconds, lines", [
    ("", 1e6, []), ("2 of 9", 1e6, ["2 of 9 models: unet, step 1,000 of 1,000, loss 0.001"]),
    ("", 300, [f"unet, step {step} of 1,000, loss {1 / step:.3g}" for step in (300, 600, 900)])])
def test_a_log_has_a_line_now_and_then(monkeypatch, capsys, place, seconds, lines):
    clock = iter(range(10**6))                           # a second passes at each look
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    progress.show(loop(), "unet", 1000, place=place, every=seconds)
    out, err = capsys.readouterr()
    assert out == "" and err.splitlines() == lines


def test_a_terminal_has_a_bar_that_says_which_of_how_many(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    progress.show(loop(), "unet", 1000, place="2 of 9")
    assert "2 of 9 models: unet: 100%" in sys.stderr.getvalue() and "1000/1000" in sys.stderr.getvalue()
