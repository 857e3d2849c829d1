"""Speed of exports as a service against the command that writes the same rows to a file."""

from typing import Any

from benchmarks.bench import Bench
from benchmarks.child import call
from benchmarks.report import Line, at_least, at_most, line


def exports(bench: Bench) -> list[Line]:
    """Rows a second to Parquet, by the service into the artifact store and by the command."""
    count = bench.sizes.export_rows
    with bench.rig.place() as place:
        environment = {"STATE_DIR": str(place.state), "DATABASE_URL": str(place.database_url)}
        call("benchmarks.export_sides:fill_week", environment, count=count)
        bench.rig.settle(str(place.database_url))

        def side(function: str) -> dict[str, Any]:
            return call(f"benchmarks.export_sides:{function}", environment)

        found = bench.in_turns(
            {each: lambda each=each: side(f"export_by_{each}") for each in ("service", "command")}
        )
    speeds = {name: [count / each["seconds"] for each in some] for name, some in found.items()}
    memory = {name: [each["peak_mebibytes"] for each in some] for name, some in found.items()}
    rows = f"{count:,} rows"
    return [
        line(
            "export to Parquet by the service, against the command",
            "rows/s",
            speeds["service"],
            speeds["command"],
            at_least(0.8),
            note=f"{rows}; as of the latest load",
        ),
        line(
            "peak memory of the service's export, against the command's",
            "MiB",
            memory["service"],
            memory["command"],
            at_most(1.1),
            note=rows,
        ),
    ]
