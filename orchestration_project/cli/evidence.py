"""`evidence verify`: whether an archive is what it was when it was made, from the file alone."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from orchestration_project.cli.console import echo
from orchestration_project.domains.operations.evidence import MANIFEST
from orchestration_project.services.evidence.verifying import verify


def main(arguments: Sequence[str]) -> int:
    """Verify; return 0 if every member is there as it was, and no other."""
    options = _parser().parse_args(arguments)
    found = verify(Path(options.file))
    wrong = [str(each) for each in found.problems]
    if options.sha256 and options.sha256.lower() != found.manifest_sha256:
        wrong.append(f"{MANIFEST} is not the one with SHA-256 {options.sha256.lower()}")
    about = ", ".join(f"{name} {value}" for name, value in found.manifest.about.items())
    echo(f"evidence of {ascii(about)[1:-1]}")
    echo(f"{len(found.manifest.members)} members; SHA-256 of {MANIFEST}: {found.manifest_sha256}")
    echo("\n".join(wrong) or "whole: every member is there as it was, and no other")
    return int(bool(wrong))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project evidence",
        description="Compare every member of an evidence archive with its manifest, and name those "
        "that are missing, changed or extra. Needs no database, network or setting.",
    )
    parser.add_argument("what", choices=["verify"], help="verify: is the archive whole?")
    parser.add_argument("file", metavar="FILE", help="the archive")
    parser.add_argument(
        "--sha256",
        metavar="HEX",
        help=f"the SHA-256 of {MANIFEST} as its maker told it: finds what was altered on purpose",
    )
    return parser
