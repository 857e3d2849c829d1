"""The gateway: what it adds to a request, webhooks that are committed, a scrape over many runs."""

from collections.abc import Sequence
from statistics import median

from benchmarks.bench import Bench
from benchmarks.child import call
from benchmarks.gateway import SOURCES, Answered, deliver, served, ui
from benchmarks.gateway_memory import SAMPLES, growth, measure_memory
from benchmarks.report import Line, at_least, at_most, line
from benchmarks.rig import Place
from benchmarks.ui_requests import QUERIES, Asked, both, requested
from orchestration_project.tables.spine import inbox

CONNECTIONS = 32
P99_SECONDS = 0.1
SCRAPE_SECONDS = 0.3
START_SECONDS = 7.0
LOADED_PER_SECOND = 200
ADDED_MILLISECONDS = 1.0
TIMES_AS_LONG = 1.1
WARM_UP_SAMPLES = SAMPLES // 6
FLAT_MEBIBYTES = 0.05
"""Growth in a minute below which memory counts as flat: 3 MiB in an hour."""
DEMO = {"DEMO_SAAS_TASKS": "5", "DEMO_IDLE_SECONDS": "60", "LOG_LEVEL": "ERROR"}


def gateway(bench: Bench) -> list[Line]:
    """A request of Dagster's UI through the gateway, beside the same to the bare web server."""
    with bench.rig.place() as place:
        server = _asked(place, bench, DAGSTER_DATABASE_URL=str(place.database_url))
    with bench.rig.sqlite_place() as place:
        file = _asked(place, bench)
    return [*_ui_lines("PostgreSQL", server), *_ui_lines("SQLite", file)]


def _asked(place: Place, bench: Bench, **more: str) -> list[list[Asked]]:
    """Ask in so many repeats, of the same programs."""
    settings = {**settings_of(place), "LOG_LEVEL": "ERROR", **more}
    sizes = bench.sizes
    prepared = call("benchmarks.ui_requests:prepared", settings, runs=sizes.ui_runs)
    with both(settings, prepared["key"]) as (ours, bare):
        return [
            requested(ours, bare, prepared["run_id"], sizes.ui_rounds) for _ in range(bench.repeats)
        ]


def _ui_lines(name: str, repeats: Sequence[Sequence[Asked]]) -> list[Line]:
    added = [median(1000 * (each.gateway - each.bare) for each in answers) for answers in repeats]
    whole = line(
        f"what the gateway adds to a request of the UI, {name}, against {ADDED_MILLISECONDS:g} ms",
        "ms",
        added,
        [ADDED_MILLISECONDS],
        at_most(1),
        note=f"median of {len(repeats[0])} pairs of {len(QUERIES)} queries, session in {name}",
    )
    return [whole, *(_query_line(name, query, repeats) for query in ("", *QUERIES))]


def _query_line(name: str, query: str, repeats: Sequence[Sequence[Asked]]) -> Line:
    """Return the line of one query, or of all of them where none is named."""
    of_query = [[each for each in answers if query in ("", each.query)] for answers in repeats]
    return line(
        f"{query or 'requests of the UI'} by the gateway, {name}, against the bare web server",
        "ms",
        [1000 * median(each.gateway for each in answers) for answers in of_query],
        [1000 * median(each.bare for each in answers) for answers in of_query],
        at_most(TIMES_AS_LONG),
    )


def webhooks(bench: Bench) -> list[Line]:
    """Deliveries a second on both databases, each in the inbox before it is answered."""
    with bench.rig.place() as place:
        server = [_delivered(place, bench) for _ in range(bench.repeats)]
        kept = bench.rig.count(str(place.database_url), inbox.name)
    with bench.rig.sqlite_place() as place:
        file = [_delivered(place, bench) for _ in range(bench.repeats)]
    answered = sum(len(each.waits) for each in server)
    return [
        *_lines("PostgreSQL", server, 1000, rows=[kept, answered]),
        *_lines("SQLite", file, 300),
    ]


def _delivered(place: Place, bench: Bench) -> Answered:
    """Deliver with ids that no repeat before has used."""
    with served(settings_of(place)) as port:
        return deliver(
            port,
            connections=CONNECTIONS,
            seconds=bench.sizes.delivering_seconds,
            begin=bench.rig.new_name(),
        )


def settings_of(place: Place) -> dict[str, str]:
    """Return the settings of a gateway at a place, with sources of webhooks."""
    sources = place.state / "webhooks.yaml"
    sources.write_text(SOURCES)
    database = {"DATABASE_URL": place.database_url} if place.database_url else {}
    return {
        "STATE_DIR": str(place.state),
        "DAGSTER_HOME": str(place.state / "dagster"),
        "WEBHOOKS_FILE": str(sources),
        "WEBHOOK_INBOX_ROWS": "10000000",
        **database,
    }


def _lines(
    name: str, answers: Sequence[Answered], least: int, rows: Sequence[int] = ()
) -> list[Line]:
    note = f"{CONNECTIONS} connections, bodies of 1 kB; senders and database on the same cores"
    return [
        line(
            f"webhooks verified and committed, {name}, against {least}/s",
            "deliveries/s",
            [each.per_second for each in answers],
            [least],
            at_least(1),
            rows=rows,
            note=note,
        ),
        line(
            f"a webhook's answer, {name}, p99, against {P99_SECONDS:g} s",
            "s",
            [each.p99_seconds for each in answers],
            [P99_SECONDS],
            at_most(1),
            note=note,
        ),
    ]


def webhook_runs(bench: Bench) -> list[Line]:
    """How long after a delivery its run begins, under `ui`, whose daemon comes round every 5 s.

    Until the issue has what the delivery reports, in the demo of both systems. And how many
    deliveries a second are loaded, from their arrival on.
    """
    count = bench.sizes.webhook_runs
    with bench.rig.sqlite_place() as place:
        settings = {**settings_of(place), **DEMO}
        with ui(settings):
            starts = call("benchmarks.gateway:run_starts", settings, count=count)
            issues = call("benchmarks.saas:webhooks", settings, count=count)
    return [
        *(
            line(
                f"from a webhook to {until}, against {START_SECONDS:g} s",
                "s",
                answers["seconds"],
                [START_SECONDS],
                at_most(1),
                note="the sensor's interval and 2 s; the start of `ui` is before the clock",
            )
            for until, answers in (("its run's start", starts), ("the issue of its task", issues))
        ),
        _loads(bench),
    ]


def _loads(bench: Bench) -> Line:
    """Load as many deliveries as arrive together, on PostgreSQL, in each repeat others."""
    count = bench.sizes.webhook_loads
    found = []
    for _ in range(bench.repeats):
        with bench.rig.place() as place:
            settings = {**settings_of(place), **DEMO}
            with ui(settings):
                answers = call("benchmarks.gateway:loads", settings, count=count)
        found.append(answers["per_second"])
    return line(
        f"webhooks from arrival to loaded, PostgreSQL, against {LOADED_PER_SECOND}/s",
        "deliveries/s",
        found,
        [LOADED_PER_SECOND],
        at_least(1),
        note=f"{count:,} bodies of 1 kB in order; the sensor's tick and the run's start count",
    )


def gateway_memory(bench: Bench) -> list[Line]:
    """Memory of the gateway under a steady load of queries, API requests, webhooks and websockets.

    What it takes up in the first sixth of the time, ten minutes of an hour, does not count.
    """
    with bench.rig.sqlite_place() as place:
        settings = {**settings_of(place), "LOG_LEVEL": "ERROR"}
        prepared = call("benchmarks.ui_requests:prepared", settings, runs=bench.sizes.ui_runs)
        samples = measure_memory(
            settings, prepared["key"], prepared["run_id"], bench.sizes.gateway_memory_minutes
        )
    steady = samples[WARM_UP_SAMPLES:]
    return [
        line(
            f"growth of the gateway's memory in a minute of load, against {FLAT_MEBIBYTES:g} MiB",
            "MiB",
            [growth(steady)],
            [FLAT_MEBIBYTES],
            at_most(1),
            note=f"from minute {steady[0].minute:.0f} to {steady[-1].minute:.0f}: "
            f"{steady[0].mebibytes:.1f} to {steady[-1].mebibytes:.1f} MiB",
        )
    ]


def metrics(bench: Bench) -> list[Line]:
    """A scrape that reads everything again, on both databases."""
    count = bench.sizes.scraped_runs
    with bench.rig.place() as place:
        server = _scrapes(place, count, bench)
    with bench.rig.sqlite_place() as place:
        file = _scrapes(place, count, bench)
    return [
        line(
            f"a scrape of the metrics, {name}, against {SCRAPE_SECONDS:g} s",
            "s",
            took,
            [SCRAPE_SECONDS],
            at_most(1),
            note=f"{count:,} runs in the ledger and in Dagster, all read again",
        )
        for name, took in (("PostgreSQL", server), ("SQLite", file))
    ]


def _scrapes(place: Place, count: int, bench: Bench) -> list[float]:
    answers = call(
        "benchmarks.gateway:scrapes", settings_of(place), count=count, repeats=bench.repeats
    )
    return answers["seconds"]
