"""`python -m benchmarks.structure`: sizes and qualities of the package, each with its place.

`--list NAME` prints every place of a quality. `--qualities` prints those that need no run as JSON,
for `.ci/bounds.py`; `--ways` the others, too.
"""

import argparse
import json
from collections.abc import Mapping

from benchmarks.structure.modules import read_modules
from benchmarks.structure.qualities import (
    COMMANDS,
    FILES,
    STATIC,
    WAYS,
    Quality,
    measure_static,
    measure_ways,
)
from benchmarks.structure.shapes import count_by_folder, find_functions_named_once
from benchmarks.structure.ways import LOADS, load_seconds

APART = ("migrations",)
"""Folders that tell the past, and are no part of what loads data."""


def main() -> None:
    """Print the page, or the qualities alone as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--qualities", action="store_true", help="JSON of what needs no run")
    parser.add_argument("--ways", action="store_true", help="JSON of all qualities")
    parser.add_argument("--list", metavar="NAME", choices=[*STATIC, *FILES, *WAYS, *COMMANDS])
    arguments = parser.parse_args()
    if arguments.list:
        measure = measure_ways if arguments.list in (*WAYS, *COMMANDS) else measure_static
        print("\n".join(measure()[arguments.list].places))
        return
    if arguments.qualities or arguments.ways:
        qualities = measure_static() | (measure_ways() if arguments.ways else {})
        values = {name: quality.value for name, quality in qualities.items()}
        print(
            json.dumps({"values": values, "unmeasured": sorted({*WAYS, *COMMANDS} - values.keys())})
        )
        return
    _print_sizes()
    print("\nqualities, bounded by .ci/bounds.json")
    _print_qualities(measure_static())
    _print_qualities(measure_ways())
    print("\nshown, without a bound")
    named_once = find_functions_named_once(read_modules())
    print(f"  functions of modules that are named once: {len(named_once):,}")
    print(f"  load of the code location: {load_seconds():.2f} s, best of {LOADS} processes")


def _print_sizes() -> None:
    counts = count_by_folder(read_modules())
    totals = [sum(count[part] for count in counts.values()) for part in (0, 1)]
    print("folder of orchestration_project: modules, code lines without docstrings and comments")
    for folder, (modules, lines) in sorted(counts.items(), key=lambda item: -item[1][1]):
        print(f"  {folder:<22} {modules:>5} {lines:>8,}")
    apart = [sum(counts[folder][part] for folder in APART) for part in (0, 1)]
    print(f"  {'in all':<22} {totals[0]:>5} {totals[1]:>8,}")
    print(f"  without {' and '.join(APART)} {totals[0] - apart[0]:>2} {totals[1] - apart[1]:>8,}")


def _print_qualities(qualities: Mapping[str, Quality]) -> None:
    for name, quality in qualities.items():
        print(f"  {name:<32} {quality.value:>6g}  {quality.summary}", flush=True)


if __name__ == "__main__":
    main()
