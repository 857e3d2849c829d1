"""Loading again: nothing changed, a hundredth changed; and many partitions, and what follows."""

import psycopg

from benchmarks.bench import TABLE, Bench, Report, key, seconds
from benchmarks.report import Line, at_least, at_most, line
from benchmarks.rig import Place, Source, source

TIERS = ("OTCE", "T1", "T2")


def again(bench: Bench) -> list[Line]:
    """A second load of the same, by probes and in full, then one after a restatement of 1 %."""
    count = bench.sizes.middle
    found = [_again(bench, count) for _ in range(bench.repeats)]
    first, unchanged, full, restated = (
        [each[name] for each in found] for name in ("first", "unchanged", "full", "restated")
    )
    loads, probes = ([1 / each for each in seconds(side)] for side in (first, unchanged))
    in_full = [1 / each for each in seconds(full)]
    wal, first_wal = ([each["wal_bytes"] for each in side] for side in (unchanged, first))
    written = {name: found[0][name]["rows_written"] for name in ("first", "unchanged", "full")}
    return [
        line(
            "nothing changed, against the first load, 1 M rows",
            *("loads/s", probes, loads, at_least(10)),
            note=f"pages fetched: {max(each['pages'] for each in unchanged)}",
        ),
        line(
            "nothing changed: probes, against partitions",
            *("requests", [each["probes"] for each in unchanged], [count], at_most(1)),
        ),
        line(
            "nothing changed: write-ahead log, against the first load's",
            *("bytes", wal, first_wal, at_most(0.001)),
            note=f"rows written to FINRA's tables: {written['unchanged']}, at first "
            f"{written['first']:,}; what is logged is the server's own housekeeping",
        ),
        line(
            "nothing changed, but read in full, against the first load",
            *("loads/s", in_full, loads, None),
            note=f"pages fetched: {full[0]['pages']}; rows written: {written['full']}",
        ),
        line(
            "1 % restated, against the first load",
            *("s", seconds(restated), seconds(first), at_most(2)),
            note=f"rows that went to the history: {restated[0]['history']:,}",
        ),
    ]


def _again(bench: Bench, count: int) -> dict[str, Report]:
    with source(bench.sizes.rows, count) as src, bench.rig.place() as place:
        url = str(place.database_url)

        def load(**options: bool) -> Report:
            before, written, _ = bench.rig.wal_position(), _written(url), src.figures()
            report = bench.load_at(place, src, count, **options)
            wal = bench.rig.wal_position() - before
            rows = _written(url) - written
            bench.rig.settle(url)
            return {**report, **src.figures(), "wal_bytes": wal, "rows_written": rows}

        found = {"first": load(), "unchanged": load(), "full": load(full=True)}
        src.restate()
        restated = load()
        history = bench.rig.count(url, f"{TABLE}_history")
        return found | {"restated": restated | {"history": history}}


def _written(url: str) -> int:
    """Return how many rows FINRA's tables ever had inserted, updated or deleted."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)"
            " FROM pg_stat_user_tables WHERE relname LIKE 'finra%'"
        ).fetchone()
    return int(found[0]) if found else 0


def history(bench: Bench) -> list[Line]:
    """A backfill of a year over three tiers; a run for each partition; gold on top of the year."""
    weeks = bench.sizes.backfill_weeks
    count = weeks * len(TIERS)
    with source(bench.sizes.rows, weeks) as src, bench.rig.place() as place:
        first, last = src.weeks[0], src.weeks[-1]
        runs = [
            place.call("load", src, first=key(first, tier), last=key(last, tier)) for tier in TIERS
        ]
        rows = bench.rig.count(str(place.database_url), TABLE)
        bench.rig.settle(str(place.database_url))
        total, work = sum(seconds(runs)), sum(sum(run["stages"].values()) for run in runs)
        measure = f"backfill of {count} partitions, against its summed data work"
        note = f"{rows:,} rows, a run for each tier"
        return [
            line(measure, "s", [total], [work], at_most(1.3), note=note),
            _a_run_each(bench, src, total / count),
            _gold(bench, src, place, rows),
        ]


def _a_run_each(bench: Bench, src: Source, in_one_run: float) -> Line:
    """Load partitions in a run of their own each, one after the other in a warm process."""
    keys = [key(week) for week in src.weeks[-bench.sizes.single_runs :]]
    with bench.rig.place() as place:
        alone = place.call("load_each", src, keys=keys)["seconds"] / len(keys)
    measure = "a partition in a run of its own, against one of the backfill"
    return line(measure, "s", [alone], [in_one_run], None, note=f"mean of {len(keys)}")


def _gold(bench: Bench, src: Source, place: Place, rows: int) -> Line:
    """Restate a partition that has gold, load it, and derive what looks across weeks again."""
    step = len(src.weeks) // (bench.repeats + 1) or 1
    chosen = [key(week) for week in src.weeks[step::step][: bench.repeats]]
    for each in chosen:
        place.call("gold", src, key=each)
    src.restate()
    found, same_partition = [], []
    for each in chosen:
        loaded = place.call("load", src, first=each, last=each)
        same_partition.append(loaded["stages"]["derive"])
        found.append(place.call("gold", src, key=each))
    note = (
        f"{rows:,} rows loaded; a Dagster run, six weeks derived; gold of the partition itself, "
        f"within its load: {max(same_partition):.2f} s at most"
    )
    measure = "gold across weeks of one changed partition, against 0.5 s"
    return line(measure, "s", seconds(found), [0.5], at_most(1), note=note)
