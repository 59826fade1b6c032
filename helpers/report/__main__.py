"""The report's command line.

    python -m helpers.report readme          rewrites the README's table
    python -m helpers.report show            prints the verdicts
    python -m helpers.report other-noises    keeps what runs with `-p seed 1` claim, for the protocol page
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
    """`readme`, `show` or `other-noises`: 0, 1 for a failure, 2 for a request that cannot be met."""
    parser = argparse.ArgumentParser(prog="python -m helpers.report", description="Verdicts of all chapters.")
    parser.add_argument("what", choices=["readme", "show", "other-noises"],
                        help="rewrite the README's table, print the verdicts, or keep those of runs with seed 1")
    wanted = parser.parse_args(argv)
    try:
        refuse_another_checkout(Path.cwd())
        if wanted.what == "readme":
            print("README.md rewritten" if update_readme() else "README.md is up to date")
        elif wanted.what == "other-noises":
            print(f"{gather()} rewritten")
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
