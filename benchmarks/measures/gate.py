"""Cost of the pre-flight check of a load: with all probes, and with cached results."""

from benchmarks.bench import Bench
from benchmarks.report import Line, at_most, line
from benchmarks.rig import source

ROWS = 600
"""Rows of the source's partition, which is not loaded."""

LIMIT_SECONDS = 1.0


def gate(bench: Bench) -> list[Line]:
    """Pre-flight check of a load, over a healthy source and PostgreSQL, against 1 s."""
    with source(ROWS, 1) as src, bench.rig.place() as place:
        found = [place.call("gate", src) for _ in range(bench.repeats)]
    return [
        line(
            f"pre-flight check, {when}, against {LIMIT_SECONDS:g} s",
            "s",
            [each[name] for each in found],
            [LIMIT_SECONDS],
            at_most(1),
            note=note,
        )
        for name, when, note in (
            ("looking", "all probes", "every 15 minutes at most"),
            ("knowing", "cached results", "all other runs"),
        )
    ]
