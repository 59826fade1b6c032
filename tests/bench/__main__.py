"""What the book's computations cost, as ratios against a peer or a limit that is measured in the same run.

    python -m tests.bench --out data/results/bench.json        about ten minutes on one idle core
    python -m tests.bench --only trajectory                    some of it; with --out, brought up to date in that file
    python -m tests.bench --device cuda                        the same on a GPU, and what only a GPU has; a minute or two

A measurement that fails leaves its error in the file, and the others go on; the exit code is then 1.
"""

import argparse
import sys
import time
from functools import partial
from pathlib import Path

import torch

from helpers.chapters.profiles import PAPER, SMOKE
from tests.bench.forms import FORMS, Sizes
from tests.bench.loops import LOOPS
from tests.bench.networks import NETWORKS, Widths
from tests.bench.paper_cost import COST, STORED
from tests.bench.recipes import RECIPES
from tests.bench.record import Record
from tests.bench.solvers import SOLVING, Budget

TINY = Sizes(n=256, batch=8, n_color=64, batch_color=4, batch_naive=2, most_n=2**13, most_side=32, most_batch=64, scored=50,
             gallery=200)
CPU = Sizes(batch_color=64, batch_naive=2, most_n=2**16, most_side=64, most_batch=2**10, scored=2000)
GPU = Sizes(most_n=2**18, most_side=128)
SIZES = {"tiny": (TINY, Widths((8,), 8, (8,), 2, 1)), "cpu": (CPU, Widths((16, 32), 64, (), 0, 2)), "cuda": (GPU, Widths())}
GPU_ONLY = ("loops: ", "networks: forward", "networks: training")
CPU_ONLY = ("training: ", "paper: ", "chapters: ")
LAST = ("forms: growth", "loops: CUDA graph")            # what a failed recording leaves behind, others might feel


def measurements(device: str, tiny: bool = False) -> dict:
    """All of a device by name, the most wanted first."""
    sizes, widths = SIZES["tiny" if tiny else device]
    budget = Budget(4, (6, 8), 16) if tiny else Budget()
    rooms = {"loops": LOOPS, "forms": {name: partial(act, sizes=sizes) for name, act in FORMS.items()},
             "solvers": SOLVING | {"evaluations": partial(SOLVING["evaluations"], budget=budget)},
             "training": RECIPES, "networks": {name: partial(act, widths=widths) for name, act in NETWORKS.items()},
             "chapters": STORED,
             "paper": {name: partial(act, profile=SMOKE if tiny else PAPER) for name, act in COST.items()}}
    every = {f"{room}: {name}": act for room, acts in rooms.items() for name, act in acts.items()}
    left_out = CPU_ONLY if device == "cuda" else GPU_ONLY
    every = {name: act for name, act in every.items() if not name.startswith(left_out)}
    return {name: every[name] for name in (*(n for n in every if n not in LAST), *LAST) if name in every}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__.splitlines()[0],
                                     formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--out", type=Path, help="the JSON file to write; nothing is written without it")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each number is measured, at least three calls")
    parser.add_argument("--deadline", type=float, default=3600.0, help="seconds after which no further measurement begins")
    parser.add_argument("--threads", type=int, help="threads of the CPU; 1, beside a GPU 8")
    parser.add_argument("--tiny", action="store_true", help="sizes that show that it runs, and nothing else")
    parser.add_argument("--only", default="", help="measurements whose name has this in it")
    wanted = parser.parse_args(argv)
    if wanted.device == "cuda" and not torch.cuda.is_available():
        print("error: torch sees no CUDA GPU here: nothing was checked or measured", file=sys.stderr)
        return 2
    chosen = {name: act for name, act in measurements(wanted.device, wanted.tiny).items() if wanted.only in name}
    if not chosen:
        parser.error(f"no measurement has {wanted.only!r} in its name: {', '.join(measurements(wanted.device))}")
    torch.set_num_threads(wanted.threads or (8 if wanted.device == "cuda" else 1))
    record, begun = Record(torch.device(wanted.device), wanted.seconds, wanted.out), time.perf_counter()
    if wanted.only and wanted.out is not None and wanted.out.exists():
        try:
            record.go_on(wanted.out)
        except ValueError as error:
            print(f"error: {error}", file=sys.stderr)
            return 2
    record.run(chosen, wanted.deadline)
    print("\n".join(record.lines()))
    failed = record.content["failed"] | {name: text for name, text in record.content["checks"].items() if text != "ok"}
    print(f"{record.content['machine']['device']}: {len(record.content['figures'])} ratios in "
          f"{time.perf_counter() - begun:.0f} s, {len(failed)} failed")
    for name, text in failed.items():
        print(f"error: {name}: {text}", file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
