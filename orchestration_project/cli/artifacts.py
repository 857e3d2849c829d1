"""`artifacts get`: the bytes of a capture, as they were received."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestration_project.engine.captures import Captures
from orchestration_project.engine.environment import open_store, open_warehouse
from orchestration_project.errors import ConfigurationError
from orchestration_project.services.export import whole_file
from orchestration_project.services.inventory import find_blob
from orchestration_project.settings import load_settings


def main(arguments: Sequence[str]) -> int:
    """Write the bytes; return 0 when they are those that were received."""
    options = _parser().parse_args(arguments)
    settings = load_settings()
    with open_warehouse(settings) as warehouse:
        blob = find_blob(warehouse, options.capture)
    body = Captures(open_store(settings)).verified(
        sha256=blob.sha256, byte_count=blob.byte_count, storage_uri=blob.storage_uri
    )
    if options.output == "-":
        _to_standard_output(body)
    else:
        with whole_file(Path(options.output), replace=options.force) as file:
            file.write(body)
    sys.stderr.write(f"{len(body)} bytes with SHA-256 {blob.sha256} to {options.output}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m orchestration_project artifacts",
        description="Get captured bytes as they were received, having made sure of their SHA-256.",
    )
    parser.add_argument("what", choices=["get"], help="get: write the bytes of one capture")
    parser.add_argument("capture", metavar="CAPTURE", help="a capture_id, or a SHA-256")
    parser.add_argument("--output", default="-", metavar="FILE", help="a file, or - (the default)")
    parser.add_argument("--force", action="store_true", help="replace a file that is there")
    return parser


def _to_standard_output(body: bytes) -> None:
    if sys.stdout is None:  # closed before we were started
        raise _unwritable("it is closed")
    try:
        sys.stdout.buffer.write(body)
        sys.stdout.buffer.flush()
    except OSError as error:
        raise _unwritable(str(error.strerror)) from error


def _unwritable(found: str) -> ConfigurationError:
    return ConfigurationError(
        "standard output cannot be written", found=found, remedy="name a file: --output"
    )
