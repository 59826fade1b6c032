"""How far training is: a bar on a terminal; in a log, where bars would fill pages, a line now and then."""

import sys
import time
from collections.abc import Iterable

from tqdm import tqdm

EVERY = 60.0                                             # seconds between two lines of a log


def show(loop: Iterable, name: str, steps: int, position: int = 0, place: str = "", every: float = EVERY) -> None:
    """Run a training loop that yields (step, loss), and tell on stderr how far it is.

    position   which line of the terminal the bar has, from 0
    place      "3 of 90" if the model is one of many; a log then has a line at its end, too
    """
    title = f"{place} models: {name}" if place else name
    if sys.stderr.isatty():
        _bar(loop, title, steps, position)
    else:
        _lines(loop, title, steps, bool(place), every)


def _bar(loop: Iterable, title: str, steps: int, position: int) -> None:
    with tqdm(total=steps, desc=title, position=position, unit="step", mininterval=2) as bar:
        for step, loss in loop:
            bar.set_postfix(loss=f"{loss:.3g}", refresh=False)
            bar.update(step - bar.n)


def _lines(loop: Iterable, title: str, steps: int, at_end: bool, every: float) -> None:
    told, line = time.monotonic(), ""
    for step, loss in loop:
        line = f"{title}, step {step:,} of {steps:,}, loss {loss:.3g}"
        if time.monotonic() - told >= every:
            say(line)
            told, line = time.monotonic(), ""
    if at_end and line:
        say(line)


def say(line: str) -> None:
    """One line on stderr, also between bars."""
    tqdm.write(line, file=sys.stderr)
    sys.stderr.flush()
