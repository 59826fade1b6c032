"""The report's command line.

    python -m helpers.report readme          rewrites the README's table
    python -m helpers.report show            prints the verdicts
    python -m helpers.report other-noises    keeps what runs with `-p seed 1` claim, for the protocol page
    python -m helpers.report pdf             prints the built pages into one PDF
"""

import argparse
import sys
from pathlib import Path

from helpers.report.kernel import UsageError, refuse_another_checkout
from helpers.report.other_noises import gather
from helpers.report.readme import update_readme
from helpers.report.record import read_all
from helpers.report.tables import Table


def main(argv: list[str] | None = None) -> int:
    """`readme`, `show`, `other-noises` or `pdf`: 0, 1 for a failure, 2 for a request that cannot be met."""
    parser = argparse.ArgumentParser(prog="python -m helpers.report", description="Verdicts of all chapters.")
    parser.add_argument("what", choices=["readme", "show", "other-noises", "pdf"],
                        help="rewrite the README's table, print the verdicts or the book, or keep the verdicts of seed 1")
    wanted = parser.parse_args(argv)
    try:
        refuse_another_checkout(Path.cwd())
        if wanted.what == "readme":
            print("README.md rewritten" if update_readme() else "README.md is up to date")
        elif wanted.what == "other-noises":
            print(f"{gather()} rewritten")
        elif wanted.what == "pdf":
            print(f"{_print_book()} printed")
        else:
            for content in read_all():
                print(Table(content["claims"]))
    except UsageError as error:
        return complain(error, 2)
    except (OSError, ValueError, KeyError) as error:
        return complain(error, 1)
    return 0


def _print_book() -> Path:
    """`pdf.print_book`, whose packages only the tests install."""
    try:
        from helpers.report.pdf import print_book
    except ModuleNotFoundError as error:
        raise UsageError(f"a PDF needs the package {error.name}: run `make pdf`, or pip install '.[pdf]'") \
            from error
    return print_book()


def complain(error: Exception, code: int) -> int:
    """One line on stderr, and the exit code."""
    what = f"a file in data/results lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
    print(f"error: {what}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
