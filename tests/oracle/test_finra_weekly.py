"""Rows, rejects, history and derived tables of FINRA's weeks, recomputed from captured bytes."""

import json
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from random import Random
from zipfile import ZipFile

import pytest

from tests.oracle import finra_weekly, gold, gold_across_weeks, history, symbols
from tests.oracle.archive import Delivery, Row, read_deliveries, read_lines
from tests.oracle.compare import compare
from tests.oracle.fold import WEEKLY, Folded, fold, weekly_loads
from tests.oracle_state import DemoState, demo_state
from tests.prepared import Prepared

MAX_REJECT_RATIO = "0.05"
SETTINGS = {"DEMO_ROWS_PER_WEEK": "300", "FINRA_MAX_REJECT_RATIO": MAX_REJECT_RATIO}
PARTITIONS = ("T1|2026-01-12", "OTCE|2025-12-22", "OTCE|2025-12-29", "T2|2026-01-05")
RECOMPUTED = ("finra_otc_weekly", "finra_symbol_week", "finra_venue_week")
KEYS = (
    *("week_start", "tier", "market", "symbol", "venue_id", "trade_date", "tape", "kind"),
    *("rate_date", "currency_code", "participant_code", "capture_id", "line_number"),
)
"""Columns by which tables are compared, where a table has no other key."""


def derive(rows: list[Row], loads: gold.Loads) -> dict[str, list[Row]]:
    """Derive the tables of the weeks and tiers."""
    weeks, venues = gold.symbol_weeks(rows, loads), gold.venue_weeks(rows, loads)
    movers = gold_across_weeks.movers
    first = gold_across_weeks.FIRST_MOVERS
    return {
        "finra_symbol_week": weeks,
        "finra_venue_week": venues,
        "finra_tier_week": gold.tier_weeks(rows, loads),
        "finra_venue_week_all_tiers": gold.venue_weeks_all_tiers(rows, loads),
        "finra_symbol_rolling_6w": gold_across_weeks.rolling(weeks, loads),
        "finra_concentration_week": gold_across_weeks.concentration_weeks(weeks, loads),
        "finra_symbol_movers_week": movers(
            weeks, loads, "total_share_quantity", ("symbol",), first
        ),
        "finra_venue_movers_week": movers(venues, loads, "share_quantity", ("market", "venue_id")),
        "finra_symbol_anomalies_week": gold_across_weeks.anomalies(weeks, loads),
        "finra_symbols": symbols.symbols(rows, loads),
    }


def load(state: DemoState, first: str, last: str) -> None:
    """Load a range of weeks of a tier and derive its tables."""
    state.run(WEEKLY, first, last)
    state.run("finra_gold", first, last)


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> Iterator[DemoState]:
    """Weeks of two days: one with rejects, one quarantined, and two that are restated between."""
    with demo_state(tmp_path_factory.mktemp("oracle"), SETTINGS, prepared) as state:
        state.set_clock("2026-03-02T15:00")
        load(state, "OTCE|2025-12-01", "OTCE|2026-01-12")
        load(state, "T1|2026-01-05", "T1|2026-01-12")
        state.run(WEEKLY, "T2|2025-12-01")
        load(state, "T2|2026-01-05", "T2|2026-01-12")
        state.run("finra_tier_week", "2026-01-05", "2026-01-12")
        state.set_clock("2026-03-11T15:00")
        load(state, "OTCE|2025-12-22", "OTCE|2025-12-29")
        load(state, "T1|2026-01-12", "T1|2026-01-12")
        state.run("finra_tier_week", "2026-01-12")
        state.run("finra_symbols")
        yield state


@pytest.fixture(scope="module")
def deliveries(state: DemoState) -> list[Delivery]:
    """The deliveries of the state's archive."""
    return read_deliveries([state.archive()])


@pytest.fixture(scope="module")
def weekly(deliveries: list[Delivery]) -> Folded:
    """The weekly table, recomputed."""
    return fold(deliveries, WEEKLY)


def assert_equal(table: str, expected: list[Row], exported: list[Row], *more: str) -> int:
    """Fail with the first differences; return how many values were compared."""
    assert bool(expected) == bool(exported), table
    names = (*KEYS, *more) if exported else ()
    result = compare(table, expected, exported, [name for name in names if name in exported[0]])
    assert not result.differences, (table, len(result.differences), result.differences[:20])
    return result.value_count


def assert_table(state: DemoState, folded: Folded, name: str) -> int:
    """Compare current rows and history of a table."""
    key = [column for column in folded.table.key if column not in KEYS]
    count = assert_equal(name, folded.rows, state.export(name), *key)
    past = state.export(f"{name}_history")
    return count + assert_equal(name, folded.table.history, past, "known_from", *key)


def test_rows_rejects_and_history_are_those_of_the_captured_lines(state, weekly):
    assert_table(state, weekly, WEEKLY)
    assert {row["change_cause"] for row in weekly.table.history} == {"source", "metadata"}
    assert_equal("rejects", weekly.rejects, state.export("rejects"))


def test_loads_have_the_counts_publications_and_outcomes_of_their_lines(state, weekly, deliveries):
    names = ("rows_added", "rows_changed", "rows_removed", "rows_unchanged")
    assert weekly.counts == {
        row["group_id"]: tuple(row[name] for name in names)
        for row in state.export("landings", "--where", f"table_name={WEEKLY}")
    }
    exported = state.export("deliveries", "--where", f"table_name={WEEKLY}")
    assert weekly.table.published == {
        row["group_id"]: (row["published_on"], row["is_load_day"])
        for row in exported
        if row["outcome"] == "landed"
    }
    limit = Fraction(MAX_REJECT_RATIO)
    quarantined = {
        delivery.group_id
        for delivery in deliveries
        if finra_weekly.parse_delivery(delivery).is_quarantined(limit)
    }
    held_back = {row["group_id"] for row in exported if row["outcome"] == "held_back"}
    assert quarantined == held_back != set()


def test_states_of_the_past_and_their_differences_are_those_of_the_captured_lines(state, weekly):
    table, keys = weekly.table, finra_weekly.KEY
    before, after = "2026-03-05T00:00:00.000000Z", "2026-03-12T00:00:00.000000Z"
    assert_equal("as of", table.as_of(before), state.export(WEEKLY, "--as-of", before))
    assert_equal(
        "difference",
        history.difference(table.as_of(before), table.as_of(after), keys),
        state.diff(WEEKLY, "--from", before, "--to", after),
    )
    for day in ("2026-02-02", "2026-03-09", "2026-03-11"):
        exported = state.export(WEEKLY, "--published-by", day)
        assert_equal(f"published by {day}", table.published_by(day), exported)
    published = history.difference(
        table.published_by("2026-03-09"), table.published_by("2026-03-11"), keys
    )
    days = ("--published-from", "2026-03-09", "--published-by", "2026-03-11")
    assert_equal("difference", published, state.diff(WEEKLY, *days))


@pytest.mark.parametrize("table", derive([], {}))
def test_derived_tables_are_those_of_the_rows(state, weekly, table):
    assert_equal(table, derive(weekly.rows, weekly_loads(weekly))[table], state.export(table))


def test_an_evidence_archive_of_a_partition_has_all_that_its_rows_are_recomputed_from(
    state, weekly
):
    partition = "T1|2026-01-12"
    archive = state.evidence(partition, weekly.loads[partition])
    folded = fold(read_deliveries([archive]), WEEKLY)
    where = ("--where", "tier=T1", "--where", "week_start=2026-01-12")
    assert_equal(partition, folded.rows, state.export(WEEKLY, *where))


@pytest.fixture(scope="module")
def archives(state) -> dict[str, Path]:
    """Evidence archives of partitions: restated, with rejects, and loaded once."""
    at = "2026-03-11T15:30:00Z"
    state.set_clock("2026-03-11T16:00")
    return {partition: state.evidence(partition, at) for partition in PARTITIONS}


def recompute(archive: Path, *number: str) -> tuple[int, str, str]:
    """Run the program of an archive; return its status, its output and its errors."""
    program = archive.with_suffix(".py")
    program.write_bytes(ZipFile(archive).read("recompute.py"))
    done = subprocess.run(  # noqa: S603 - the program of our archive
        [sys.executable, "-I", program, archive, *number], capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def choose_number(archive: Path, table: str, random: Random) -> tuple[str, str, str, str]:
    """Return table, partition, key and column of a random published number of an archive."""
    with ZipFile(archive) as members:
        rules = json.loads(members.read("rules.json"))["tables"][table]
        row = random.choice(list(read_lines(members, f"rows/{table}.jsonl")))
    parts, count = [row[name] for name in rules["key"]], len(rules["partition"])
    column = random.choice(list(rules["columns"]))
    return table, "|".join(parts[:count]), "|".join(parts[count:]), column


def test_random_published_numbers_are_recomputed_by_the_program_of_their_archive(archives):
    random = Random(66)  # noqa: S311 - a sample
    verdicts = []
    for table in RECOMPUTED * 2:
        archive = archives[random.choice(PARTITIONS)]
        status, output, errors = recompute(archive, *choose_number(archive, table, random))
        verdicts.append((status, output.splitlines()[-1:], errors))
    assert verdicts == [(0, ["equal"], "")] * 6


@pytest.mark.slow
def test_a_thousand_published_numbers_are_recomputed_by_the_program_of_their_archive(
    archives, capsys
):
    random = Random(67)  # noqa: S311 - a sample
    program = archives[PARTITIONS[0]].with_suffix(".py")
    program.write_bytes(ZipFile(archives[PARTITIONS[0]]).read("recompute.py"))
    run = runpy.run_path(str(program))["main"]
    equal = 0
    for _ in range(1_000):
        archive = archives[random.choice(PARTITIONS)]
        number = choose_number(archive, random.choice(RECOMPUTED), random)
        assert run([archive, *number]) == 0, (number, capsys.readouterr().out)
        equal += capsys.readouterr().out.endswith("\nequal\n")
    assert equal == 1_000


def first_symbol(archive: Path) -> tuple[str, str]:
    """Return the first symbol of an archive, and the member with the lines of its rows."""
    with ZipFile(archive) as members:
        symbol = next(read_lines(members, "rows/finra_symbol_week.jsonl"))["symbol"]
        weekly = next(read_lines(members, "rows/finra_otc_weekly.jsonl"))
        [sha256] = [
            row["sha256"]
            for row in read_lines(members, "captures.jsonl")
            if row["capture_id"] == weekly["capture_id"]
        ]
    assert weekly["symbol"] == symbol
    return symbol, f"bytes/{sha256}"


def test_a_recomputed_number_names_its_formula_rows_and_places_in_the_captures(archives):
    archive = archives["T1|2026-01-12"]
    symbol, member = first_symbol(archive)
    number = ("finra_symbol_week", "T1|2026-01-12", symbol, "total_trade_count")
    status, output, _ = recompute(archive, *number)
    assert status == 0
    assert 'formula    ["sum", "trade_count"]' in output
    [line, *_] = [
        line
        for line in ZipFile(archive).read(member).decode().split("\n")
        if f"|{symbol}|" in line and line.endswith("|ATS_W_SMBL_FIRM")
    ]
    assert line in output
    offset = ZipFile(archive).read(member).index(line.encode())
    assert f"byte {offset}, SHA-256 {member.removeprefix('bytes/')}" in output


def test_explanations_have_the_published_number_its_lines_and_its_last_change(state, archives):
    random = Random(68)  # noqa: S311 - a sample
    runs = {row["run_id"]: row for row in state.export("landings")}
    assert runs
    for table in RECOMPUTED * 2:
        partition = random.choice(PARTITIONS)
        _, partition, rest, column = choose_number(archives[partition], table, random)
        explanation = state.explain(table, f"{partition}|{rest}", column)
        assert explanation["is_equal"], explanation
        change = explanation["last_change"]
        assert change["cause"] == runs[change["run_id"]]["change_cause"]
        for row in explanation["inputs"]:
            content = ZipFile(archives[partition]).read(f"bytes/{row['sha256']}")
            assert content[row["byte_offset"] :].startswith(row["line"].encode())
            assert content.split(b"\n")[row["line_number"] - 1] == row["line"].encode()


def damage(archive: Path, member: str, change: Callable[[bytes], bytes]) -> Path:
    """Return a copy of an archive in which one member is changed."""
    copy = archive.with_name("damaged.zip")
    with ZipFile(archive) as whole, ZipFile(copy, "w") as damaged:
        for name in whole.namelist():
            content = whole.read(name)
            damaged.writestr(name, change(content) if name == member else content)
    return copy


GOLD_ROWS, WEEKLY_ROWS = "rows/finra_symbol_week.jsonl", "rows/finra_otc_weekly.jsonl"
TRADES_RULE = "changed rule: finra_symbol_week/columns/"
DAMAGE = {
    "a capture": ("bytes/", "|T1|", "|T2|", "changed member: bytes/"),
    "a value in a capture": ("bytes/", "|CORP|", "|C0RP|", "changed row: finra_otc_weekly T1|"),
    "an input row": (WEEKLY_ROWS, '"trade_count":"', '"trade_count":"1', ": trade_count"),
    "a row that is not JSON": (WEEKLY_ROWS, '{"', '{{"', f"changed row: {WEEKLY_ROWS}, line 1"),
    "a published row": (GOLD_ROWS, '"total_trade_count":"', '"total_trade_count":"1', "not equal"),
    "a filter": ("rules.json", '["ATS_W_SMBL",', '["ATS_W_SMB1",', "finra_otc_weekly/filters"),
    "a formula": ("rules.json", '["sum", "trade_count"]', '["max", "trade_count"]', TRADES_RULE),
    "a record": ("captures.jsonl", '"http_status"', '"http_statuz"', "member: captures.jsonl"),
}  # fmt: skip
"""By place: member, text, another text, and what is reported."""


@pytest.mark.parametrize("place", DAMAGE)
def test_a_changed_byte_is_named_by_its_place(archives, place):
    named, old, new, finding = DAMAGE[place]
    archive = archives["T1|2026-01-12"]
    symbol, capture = first_symbol(archive)
    member = capture if named == "bytes/" else named
    damaged = damage(archive, member, lambda content: content.replace(old.encode(), new.encode()))
    number = ("finra_symbol_week", "T1|2026-01-12", symbol, "total_trade_count")
    status, output, errors = recompute(damaged, *number)
    assert status == 1
    assert finding in output + errors
    assert f"changed member: {member}" in output + errors


WRONG = {
    "nothing": ((), "invalid arguments: expected ARCHIVE TABLE PARTITION KEY COLUMN, found "),
    "a table": (("finra_x", "T1|2026-01-12", "A", "b"), "invalid column: expected one of "),
    "a key": (("finra_symbol_week", "T1|2026-01-12", "?", "vwap"), "invalid key: expected that of"),
}  # fmt: skip


@pytest.mark.parametrize("number", WRONG)
def test_a_number_that_an_archive_does_not_have_is_invalid(archives, number):
    arguments, message = WRONG[number]
    status, output, errors = recompute(archives["T1|2026-01-12"], *arguments)
    assert (status, output) == (2, "")
    assert errors.startswith(message)
