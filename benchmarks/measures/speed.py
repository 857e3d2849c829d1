"""Loading new partitions: against peers and the limit, how it grows, and how pages are fetched."""

import tempfile
from importlib.util import find_spec
from pathlib import Path

from benchmarks.bench import Bench, Report, key, seconds, speeds
from benchmarks.child import call
from benchmarks.report import Bound, Line, at_least, at_most, line, unmeasured
from benchmarks.rig import Source, source
from benchmarks.source import lines_of_a_week, pages_of

ROWS_A_SECOND = "rows/s"
LATENCY_SECONDS = 0.03
FINRA_LIMIT = 20
IN_FLIGHT = 8


def copies(bench: Bench) -> list[Line]:
    """Against COPY at 1 M and 5 M rows; memory and time from one to the other."""
    sizes = bench.sizes
    with source(sizes.rows, sizes.large) as src:
        middle = bench.in_turns(
            {
                "ours": lambda: bench.load(src, sizes.middle),
                "raw": lambda: bench.peer("raw_copy", src, sizes.middle),
                "binary": lambda: bench.peer("binary_copy", src, sizes.middle),
            }
        )
        large = bench.in_turns(
            {
                "ours": lambda: bench.load(src, sizes.large),
                "raw": lambda: bench.peer("raw_copy", src, sizes.large),
            }
        )
    return [
        _speed("raw COPY of the HTTP body, 1 M rows", middle, "raw", at_least(1.0)),
        _speed("raw COPY of the HTTP body, 5 M rows", large, "raw", at_least(1.0)),
        _speed("binary COPY of parsed, sorted rows, 1 M rows", middle, "binary", at_least(0.7)),
        *_growth(middle["ours"], large["ours"]),
        _overlap(large["ours"]),
    ]


def _speed(measure: str, found: dict[str, list[Report]], peer: str, required: Bound) -> Line:
    ours, theirs = found["ours"], found[peer]
    rows = (ours[0]["firm_rows"], theirs[0]["firm_rows"])
    return line(measure, ROWS_A_SECOND, speeds(ours), speeds(theirs), required, rows=rows)


def _growth(middle: list[Report], large: list[Report]) -> list[Line]:
    peaks = [[each["peak_mebibytes"] for each in reports] for reports in (middle, large)]
    return [
        line("peak memory at 5 M rows, against 400 MiB", "MiB", peaks[1], [400], at_most(1)),
        line("peak memory, 5 M rows against 1 M", "MiB", peaks[1], peaks[0], at_most(1.1)),
        line("time, 5 M rows against 1 M", "s", seconds(large), seconds(middle), at_most(5.5)),
    ]


def _overlap(reports: list[Report]) -> Line:
    """Fetch, check, load and derive would take their sum if they did not overlap."""
    summed = [sum(each["stages"].values()) for each in reports]
    parts = {name: round(value, 1) for name, value in reports[-1]["stages"].items()}
    note = f"against the sum of its stages; of one run, in seconds: {parts}"
    return line(
        "run of 5 M rows, its stages overlapping",
        "s",
        seconds(reports),
        summed,
        at_most(1),
        note=note,
    )


def one_partition(bench: Bench) -> list[Line]:
    """A partition that is too large to be held in memory, by ranges of symbols."""
    with source(bench.sizes.large_partition_rows, 1) as src:
        reports = bench.in_turns({"ours": lambda: bench.load(src, 1)}, at_most=1)["ours"]
    peaks = [each["peak_mebibytes"] for each in reports]
    measure = "peak memory of one partition of 5 M rows, against 600 MiB"
    note = f"{reports[0]['firm_rows']:,} rows in {reports[0]['seconds']:.0f} s"
    return [line(measure, "MiB", peaks, [600], at_most(1), note=note)]


def peers(bench: Bench) -> list[Line]:
    """Against the ways that others load such pages, at 100 k rows, and dlt at 1 M."""
    small, middle = bench.sizes.small, bench.sizes.middle
    found = []
    with source(bench.sizes.rows, middle) as src:
        for name, count, size, bound, needs, most in (
            ("dlt_default", small, "100 k", 12, "dlt", None),
            ("dlt_default", middle, "1 M", 25, "dlt", 1),
            ("dlt_tuned", small, "100 k", 3.5, "dlt", None),
            ("to_sql", small, "100 k", 8, "pandas", None),
            ("write_database", small, "100 k", 2, "adbc_driver_postgresql", None),
        ):
            measure = f"{NAMES[name]}, {size} rows"
            if find_spec(needs) is None:
                note = f"{needs} is not installed; `make bench` installs it"
                found.append(unmeasured(measure, at_least(bound), note))
            else:
                found.append(_against(bench, src, name, count, measure, at_least(bound), most))
    return found


NAMES = {
    "dlt_default": "dlt, its default merge",
    "dlt_tuned": "dlt, tuned (Arrow, Parquet, ADBC, merge)",
    "to_sql": "pandas to_sql (psycopg2)",
    "write_database": "polars write_database (ADBC)",
}


def _against(
    bench: Bench,
    src: Source,
    name: str,
    count: int,
    measure: str,
    required: Bound,
    most: int | None,
) -> Line:
    def theirs() -> Report:
        with tempfile.TemporaryDirectory() as folder:
            more = {"folder": folder} if name.startswith("dlt") else {}
            return bench.peer(name, src, count, **more)

    sides = {"ours": lambda: bench.load(src, count), name: theirs}
    return _speed(measure, bench.in_turns(sides, at_most=most), name, required)


def sqlite(bench: Bench) -> list[Line]:
    """Against the fastest insert that SQLite has."""
    measure = "SQLite: bare ADBC insert of sorted rows, 1 M rows"
    if find_spec("adbc_driver_sqlite") is None:
        note = "adbc_driver_sqlite is not installed; `make bench` installs it"
        return [unmeasured(measure, at_least(0.7), note)]
    count = bench.sizes.middle
    with source(bench.sizes.rows, count) as src, tempfile.TemporaryDirectory() as folder:

        def theirs() -> Report:
            file = f"{folder}/{bench.rig.new_name()}.sqlite"
            weeks = src.weeks[-count:]
            return call(
                "benchmarks.peers:sqlite_adbc", {}, url=src.url, file=file, weeks=weeks, tier="T1"
            )

        found = bench.in_turns({"ours": lambda: bench.load_sqlite(src, count), "adbc": theirs})
    return [_speed(measure, found, "adbc", at_least(0.7))]


def balance(bench: Bench) -> list[Line]:
    """CPU time of the equations that balance, against that of a load of 1 M rows."""
    count = bench.sizes.middle
    reports = []
    with source(bench.sizes.rows, count) as src:
        for _ in range(bench.repeats):
            with bench.rig.sqlite_place() as place:
                weeks = {"first": key(src.weeks[-count]), "last": key(src.weeks[-1])}
                reports.append(place.call("load_sampled", src, **weeks))
    counted = [sum(report["counting"].values()) for report in reports]
    parts = {name: round(spent, 2) for name, spent in reports[-1]["counting"].items()}
    return [
        line(
            "equations that balance, against the load of 1 M rows",
            *("CPU s", counted, [report["spent_seconds"] for report in reports], at_most(0.03)),
            note=f"of one run, by function: {parts}",
        )
    ]


def contract(bench: Bench) -> list[Line]:
    """All rules with rejects and reasons, on the bytes of one partition."""
    with tempfile.TemporaryDirectory() as folder:
        for number, page in enumerate(pages_of(lines_of_a_week(bench.sizes.rows))):
            Path(folder, f"{number:04}").write_bytes(page)
        report = call("benchmarks.ours:contract", {}, pages=folder, repeats=5 * bench.repeats)
    rules, in_all = (
        [report["lines"] / each for each in report[of]] for of in ("judging", "checking")
    )
    note = f"{report['rejects']} of {report['lines']} lines rejected, each with its reason"
    return [
        line(
            "contract with rejects and reasons, against 2 M rows/s",
            *(ROWS_A_SECOND, rules, [2e6], at_least(1)),
            note=f"values from text, all rules, rejects with place and record; {note}",
        ),
        line(
            "parsing, contract, rows in key order and sums, against 2 M rows/s",
            *(ROWS_A_SECOND, in_all, [2e6], None),
        ),
    ]


def pages(bench: Bench) -> list[Line]:
    """Pages in flight at 30 ms latency: against one at a time, and never over FINRA's limit."""
    with source(bench.sizes.rows, 3, LATENCY_SECONDS) as src:

        def fetch(in_flight: int, limit: str | None = None) -> Report:
            src.figures()
            more = {"FINRA_REQUESTS_PER_SECOND": limit} if limit else {}
            keys = [key(week) for week in src.weeks]
            with bench.rig.sqlite_place() as place:
                report = call(
                    "benchmarks.ours:fetch",
                    place.environment(src, **more),
                    keys=keys,
                    concurrent_requests=in_flight,
                )
            return report | {"source": src.figures()}

        sides = {"many": lambda: fetch(IN_FLIGHT), "one": lambda: fetch(1)}
        before = src.figures()["cpu_seconds"]
        found = bench.in_turns(sides)
        limited = fetch(IN_FLIGHT, str(FINRA_LIMIT))["source"]
    spent = found["one"][-1]["source"]["cpu_seconds"] - before
    requested = sum(each["source"]["pages"] for side in found.values() for each in side)
    many, one = (
        [each["source"]["pages"] / each["seconds"] for each in found[side]] for side in sides
    )
    most = limited["most_pages_in_a_second"]
    return [
        line(
            "8 pages in flight at 30 ms, against one",
            "pages/s",
            many,
            one,
            at_least(3),
            note=f"kept on disk; the source spent {1000 * spent / requested:.1f} ms of CPU a page",
        ),
        line(
            "most pages in a second, against FINRA's limit",
            "pages",
            [most],
            [FINRA_LIMIT],
            at_most(1),
        ),
    ]
