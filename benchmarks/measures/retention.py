"""How fast what is old is freed: logs of runs, on both of Dagster's storages, and artifacts."""

from typing import Any

from benchmarks.bench import Bench
from benchmarks.child import call
from benchmarks.report import Line, informative_line
from benchmarks.rig import Place

ARTIFACT_BYTES = 4096


def pruning(bench: Bench) -> list[Line]:
    """Runs a second whose logs are freed, once: what was freed is gone."""
    with bench.rig.place() as place:
        server = _pruned(place, bench.sizes.old_runs, DAGSTER_DATABASE_URL=str(place.database_url))
    with bench.rig.sqlite_place() as place:
        file = _pruned(place, bench.sizes.old_runs)
    return [
        informative_line(
            f"prune, Dagster's storage in {name}",
            "runs/s",
            found["runs"] / found["seconds"],
            note=f"{found['runs']:,} runs, {found['megabytes']:,.1f} MB; {_speed(found):,.1f} MB/s",
        )
        for name, found in (("PostgreSQL", server), ("SQLite", file))
    ]


def _speed(found: dict[str, Any]) -> float:
    return found["megabytes"] / found["seconds"]


def _pruned(place: Place, runs: int, **settings: str) -> dict[str, Any]:
    return call("benchmarks.old_runs:pruned", _settings(place, **settings), runs=runs)


def cleanup(bench: Bench) -> list[Line]:
    """Artifacts a second that are found, recorded and deleted, once."""
    count = bench.sizes.old_artifacts
    with bench.rig.sqlite_place() as place:
        found = call(
            "benchmarks.old_runs:cleaned_up",
            _settings(place),
            artifacts=count,
            byte_count=ARTIFACT_BYTES,
        )
    speed = found["artifacts"] / found["seconds"]
    note = f"{found['artifacts']:,} of {count:,} staged files in a folder, recorded in SQLite"
    return [informative_line("clean-up of artifacts", "artifacts/s", speed, note=note)]


def _settings(place: Place, **more: str) -> dict[str, str]:
    """Return the settings of a process there; its source is never asked."""
    state = {"STATE_DIR": str(place.state), "DAGSTER_HOME": str(place.state / "dagster")}
    return {**state, "FINRA_SOURCE": "api", "LOG_LEVEL": "ERROR", **more}
