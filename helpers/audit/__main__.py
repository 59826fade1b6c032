"""The audit's command line.

    python -m helpers.audit --model A [--model B] --data fashion-mnist|FOLDER [--html FILE]

A model is a file of the zoo, a folder that a diffusers pipeline saved, or module:function, which returns a denoiser
D(x, sigma, label=None). Works offline.
"""

import argparse
import sys
from pathlib import Path

import matplotlib

from helpers.audit.measures import audit
from helpers.audit.report import as_page, as_text, sections
from helpers.audit.rulers import choose_ruler
from helpers.audit.subjects import load_subject
from helpers.data import load
from helpers.models.devices import find_device
from helpers.report.files import refuse_unwritable, replace_all
from helpers.report.kernel import UsageError
from helpers.samplers import SOLVERS

STOPPED = 130                                            # what a shell reports for Ctrl-C


def parser() -> argparse.ArgumentParser:
    """What can be asked for."""
    made = argparse.ArgumentParser(prog="python -m helpers.audit", description="Does a model memorize, and do two agree?")
    made.add_argument("--model", action="append", required=True, metavar="MODEL", dest="models",
                      help="a file of the zoo, a saved diffusers folder, or module:function; once or twice")
    made.add_argument("--data", required=True, help="fashion-mnist, or FOLDER, or FOLDER@CxHxW: what the models learned "
                      "from, in train/ and test/; without these a fifth is held out, which no model must have seen")
    made.add_argument("--train", type=int, metavar="N", help="the models learned from the first N training images "
                      "(default: all; a file of the zoo knows)")
    made.add_argument("--samples", type=int, default=256, help="noises that are sampled (default: 256)")
    made.add_argument("--steps", type=int, default=18, help="time steps of the solver (default: 18)")
    made.add_argument("--solver", choices=[name for name, s in SOLVERS.items() if not s.stochastic and s.evaluations],
                      default="heun")
    made.add_argument("--seed", type=int, default=0, help="of the noises (default: 0)")
    made.add_argument("--descriptor", metavar="FILE", help="SSCD's TorchScript file, or a descriptor of your own")
    made.add_argument("--threshold", type=float, help="the similarity above which two images are the same")
    made.add_argument("--device", default="cpu")
    made.add_argument("--html", type=Path, metavar="FILE", help="also write the report as one page, with figures")
    return made


def main(argv: list[str] | None = None) -> int:
    """Audit one or two models and print the report: 0, or 1 with one line on stderr, 2 for wrong usage."""
    options = parser().parse_args(argv)
    try:
        return _run(options)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return STOPPED
    except UsageError as error:
        return _fail(error, 2)
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        return _fail(error, 1)


def _run(options: argparse.Namespace) -> int:
    if len(options.models) > 2:
        raise UsageError(f"one or two models are audited at a time, not {len(options.models)}")
    if options.train is not None and options.train < 1:
        raise UsageError(f"--train: the models learned from 1 image or more, not {options.train}")
    if options.html:
        refuse_unwritable(options.html)
    try:
        find_device(options.device)
    except (RuntimeError, ValueError) as error:
        raise UsageError(f"--device {options.device!r} {error}") from error
    subjects = [load_subject(name, source, options.data, options.train, options.device)
                for name, source in zip("AB", options.models)]
    held_out = load(options.data, "test")
    ruler = choose_ruler(subjects[0].images, options.data, options.descriptor, options.threshold)
    found = audit(subjects, held_out.images, held_out.labels, ruler, options.samples, options.steps, options.solver,
                  options.seed, options.device)
    parts = sections(found)
    print(as_text(parts))
    if options.html:
        matplotlib.use("agg")                            # figures go into the page; no window is wanted
        replace_all({options.html: as_page(parts)})
    return 0


def _fail(error: Exception, code: int) -> int:
    named = isinstance(error, OSError) and error.filename and error.strerror
    what = f"{error.filename}: {error.strerror}" if named else error
    print(f"error: {' '.join(str(what).split())}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
