"""`python -m orchestration_demo.documents --into DIR`: writes synthetic documents."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestration_demo.documents.corpus import write_corpus


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the corpus that the options ask for, and print its number of files by state."""
    parser = argparse.ArgumentParser(prog="orchestration_demo.documents", description=__doc__)
    add = parser.add_argument
    add("--into", type=Path, required=True, metavar="DIR", help="files/ and manifest.jsonl in it")
    add("--seed", type=int, default=20_260_101, help="decides every byte")
    add("--count", type=int, default=300, help="number of files")
    options = parser.parse_args(arguments)
    if options.count < 1:
        parser.error("--count must be at least 1")
    states = write_corpus(options.into, seed=options.seed, count=options.count)
    shown = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    sys.stdout.write(f"{options.count} synthetic files in {options.into / 'files'}: {shown}\n")


if __name__ == "__main__":
    main()
