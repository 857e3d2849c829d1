"""Speed of exports: by the service, by the command, by pandas, and as frames of the client."""

from typing import Any

from benchmarks.bench import Bench
from benchmarks.child import call
from benchmarks.measures.gateway import settings_of
from benchmarks.report import Line, at_least, at_most, line
from benchmarks.ui_requests import programs

FRAME_SECONDS = 0.5


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


def frames(bench: Bench) -> list[Line]:
    """Seconds of a tier-week as a frame of the client, and Parquet of SQLite against pandas."""
    with bench.rig.sqlite_place() as place:
        file = _framed(bench, settings_of(place))
    with bench.rig.place() as place:
        server = _framed(bench, settings_of(place))
    with bench.rig.sqlite_place() as place:
        speeds = _beside_pandas(bench, {"STATE_DIR": str(place.state)})
    rows = f"{bench.sizes.frame_rows:,} rows"
    return [
        *(
            line(
                f"a tier-week as a frame of the client, {name}, against {FRAME_SECONDS:g} s",
                "s",
                seconds,
                [FRAME_SECONDS],
                at_most(1),
                note=f"{rows}, 19 columns, by the gateway",
            )
            for name, seconds in (("SQLite", file), ("PostgreSQL", server))
        ),
        line(
            "export to Parquet from SQLite, against pandas",
            "rows/s",
            speeds["command"],
            speeds["pandas"],
            at_least(2),
            note=f"{bench.sizes.sqlite_export_rows:,} rows; read_sql_query in pieces",
        ),
    ]


def _framed(bench: Bench, environment: dict[str, str]) -> list[float]:
    """Return the seconds of each frame."""
    count = bench.sizes.frame_rows
    settings = {**environment, "LOG_LEVEL": "ERROR"}
    call("benchmarks.export_sides:fill_week", settings, count=count)
    key = call("benchmarks.export_sides:api_key", settings)["key"]
    with programs(settings, "gateway") as found:
        requested = {"url": f"http://127.0.0.1:{found['gateway'].port}", "key": key}
        report = call(
            "benchmarks.export_sides:frames_by_client", settings, repeats=bench.repeats, **requested
        )
    if report["rows"] != count:
        raise RuntimeError(f"a frame has {report['rows']} rows of {count}")
    return report["each"]


def _beside_pandas(bench: Bench, environment: dict[str, str]) -> dict[str, list[float]]:
    """Return the rows a second of the command and of pandas."""
    count = bench.sizes.sqlite_export_rows
    call("benchmarks.export_sides:fill_week", environment, count=count)

    def side(name: str) -> dict[str, Any]:
        return call(f"benchmarks.export_sides:export_by_{name}", environment)

    found = bench.in_turns({each: lambda each=each: side(each) for each in ("command", "pandas")})
    return {name: [count / each["seconds"] for each in some] for name, some in found.items()}
