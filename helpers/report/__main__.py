"""The report's command line: `python -m helpers.report readme` rewrites the README's table, `show` prints the verdicts."""

import argparse
import sys
from pathlib import Path

from helpers.report.kernel import UsageError, refuse_another_checkout
from helpers.report.readme import update_readme
from helpers.report.record import read_all
from helpers.report.tables import Table


def main(argv: list[str] | None = None) -> int:
    """`readme` or `show`: 0, 1 for a failure, 2 for a request that cannot be met."""
    parser = argparse.ArgumentParser(prog="python -m helpers.report", description="Verdicts of all chapters.")
    parser.add_argument("what", choices=["readme", "show"], help="rewrite the README's table, or print the verdicts")
    wanted = parser.parse_args(argv)
    try:
        refuse_another_checkout(Path.cwd())
        if wanted.what == "readme":
            print("README.md rewritten" if update_readme() else "README.md is up to date")
        else:
            for content in read_all():
                print(Table(content["claims"]))
    except UsageError as error:
        return complain(error, 2)
    except (OSError, ValueError, KeyError) as error:
        return complain(error, 1)
    return 0


def complain(error: Exception, code: int) -> int:
    """One line on stderr, and the exit code."""
    what = f"a file in data/results lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())
    print(f"error: {what}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
