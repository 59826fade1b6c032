"""The options of every benchmark, so that `make bench ARGS="..."` can hand the same ones to all."""

import argparse


def positive(text: str) -> int:
    """A whole number of 1 or more."""
    number = int(text)
    if number < 1:
        raise ValueError
    return number


def parse(module: str, description: str, argv: list[str] | None = None, **defaults) -> argparse.Namespace:
    """images, batch, threads, seconds: from the command line, else `defaults`, else the ones below."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=description,
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--images", type=positive, default=2**15, help="training images that are held or learned from")
    parser.add_argument("--batch", type=positive, default=256, help="noisy images, or noises, in one call")
    parser.add_argument("--threads", type=positive, default=1, help="threads that torch computes with")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each number is measured, at least one call")
    parser.set_defaults(**defaults)
    return parser.parse_args(argv)
