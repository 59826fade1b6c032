"""The report's command line: `python -m helpers.report readme` rewrites the README's table, `show` prints the verdicts."""

import argparse
import sys
from pathlib import Path

from helpers.report.kernel import UsageError, refuse_another_checkout
from helpers.report.readme import update_readme
from helpers.report.record import read_all
from helpers.report.tables import Table


def main(argv: list[str] | None = None) -> int:
    """The command line: `readme` or `show`; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m helpers.report", description="Verdicts of all chapters.")
    parser.add_argument("what", choices=["readme", "show"], help="rewrite the README's table, or print the verdicts")
    wanted = parser.parse_args(argv)
    try:
        refuse_another_checkout(Path.cwd())
    except UsageError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if wanted.what == "readme":
        print("README.md rewritten" if update_readme() else "README.md is up to date")
    else:
        for content in read_all():
            print(Table(content["claims"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
