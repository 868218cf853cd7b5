"""``python -m reclab.datasets check PATH``: what is in this folder or file, which rows were
rejected and why, and what lessons can do with it. Exit code 0; 1 where it cannot be used.

Reference: datasets/README.md.

Simplified: industry runs such checks on a schedule.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from reclab.core.errors import ReclabError
from reclab.datasets.check import describe
from reclab.datasets.recognise import load


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m reclab.datasets")
    verbs = parser.add_subparsers(dest="verb", required=True)
    check = verbs.add_parser("check", help="what is in this folder or file?")
    check.add_argument("path", type=Path)
    check.add_argument("--rejected", type=Path, help="CSV for the rows that are set aside")
    check.add_argument("--catalogue-only", action="store_true", help="users and items alone")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = _parser().parse_args(arguments)
    try:
        print(describe(load(given.path, given.rejected, given.catalogue_only)))
    except ReclabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
