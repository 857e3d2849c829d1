"""Plugins: the start of a process, and rows through its pipe."""

from benchmarks.bench import Bench
from benchmarks.child import call
from benchmarks.measures.gateway import DEMO
from benchmarks.report import Line, at_least, at_most, line


def plugins(bench: Bench) -> list[Line]:
    """A plugin's start against bare Python; rows of a plugin against the same rows in memory."""
    with bench.rig.sqlite_place() as place:
        settings = {
            "STATE_DIR": str(place.state),
            "DAGSTER_HOME": str(place.state / "dagster"),
            **DEMO,
        }
        folder = place.state / "started_plugin"
        folder.mkdir(parents=True)
        started = call(
            "benchmarks.plugin_sides:starts",
            settings,
            folder=str(folder),
            count=bench.sizes.plugin_starts,
        )
        count = bench.sizes.plugin_rows
        loaded = [
            call(
                "benchmarks.plugin_sides:loads",
                {**settings, "STATE_DIR": str(place.state / f"load_{number}")},
                row_count=count,
            )
            for number in range(bench.repeats)
        ]
    return [
        line(
            "start of a plugin to its first line, against a bare python -I -c pass",
            "ms",
            [1000 * started["ours"]],
            [1000 * started["bare"]],
            at_most(1.5),
            note=f"{started['level']}; it imports json; median of {bench.sizes.plugin_starts}",
        ),
        line(
            f"load of {count:,} rows of a plugin, against the same load without one",
            "rows/s",
            [each["piped"] for each in loaded],
            [each["alone"] for each in loaded],
            at_least(0.5),
            note="SQLite; start, pipe, schema, capture and history",
        ),
    ]
