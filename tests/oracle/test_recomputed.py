"""Tables, history and states of the past are those that the oracle recomputes from bytes."""

import io
import json
import runpy
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from decimal import localcontext
from fractions import Fraction
from functools import cache
from itertools import pairwise
from pathlib import Path
from random import Random
from struct import unpack
from typing import Any
from zipfile import BadZipFile, ZipFile

import pytest

from tests import programs
from tests.oracle import mqtt, readers, site_items
from tests.oracle.derived import Derived
from tests.oracle.history import Folded, compare, difference, fold
from tests.oracle.inputs import Row, is_dated, key_of, read_deliveries, read_lines
from tests.oracle.mqtt import canonical
from tests.oracle.readers import PARSERS, WEEKLY, ParsedWeek
from tests.oracle_state import DemoState, demo_state
from tests.prepared import Prepared

REAL_FILES = Path(__file__).parents[3] / "shared" / "data" / "finra"
ROOT = Path(__file__).parents[2]
KINDS = ROOT / "config/kinds"
RULES = json.loads((ROOT / "orchestration_project" / "rules.json").read_text())["tables"]
MAX_REJECT_RATIO = "0.05"
SETTINGS = {
    "DEMO_ROWS_PER_WEEK": "300",
    "DEMO_SHOP_PRODUCTS": "20",
    "DEMO_MQTT_EVENTS": "100",
    "FINRA_MAX_REJECT_RATIO": MAX_REJECT_RATIO,
}
SYMBOLS = "AMVK,BKIO,ETDX,UWYR"
"""The largest of the demo: one with a split, one whose close is revised, and one with dividends."""

RESTATED = {
    "fx_rates_daily": "2026-03-02",
    "cboe_market_volume_daily": "2026-03-02",
    "prices_daily": "2026-02-01",
    "finra_treasury_weekly": "2023-02-06",
    "finra_treasury_daily": "2026-01-08",
    "finra_treasury_monthly": "2025-09-01",
    "finra_corporate_market_breadth": "2026-01-08",
    "finra_short_interest": "2026-02-01",
    "finra_reg_sho_daily": "2026-01-08",
    "finra_threshold_list": "2026-01-08",
    "finra_otc_monthly": "OTCE|2026-01-01",
    "finra_ats_blocks": "2025-09-01",
    "finra_otc_blocks": "2025-09-01",
    "finra_bond_trade_activity": "T2|2026-01-09",
}
"""Partitions by job that the demo restates between the two days of loads."""

BEFORE, AFTER = "2026-03-10T00:00:00.000000Z", "2026-03-14T00:00:00.000000Z"
"""Times after the first load of each table, and after its restatement."""

PUBLICATION_DAYS = ("2026-02-02", "2026-03-09", "2026-03-11")

FEW = {
    "fx_rates_daily": ("2025-09-01", "2025-09-02"),
    "cboe_market_volume_daily": ("2026-01-05", "2026-01-09"),
    "finra_reg_sho_daily": ("2026-01-05", "2026-01-09"),
    "finra_short_interest": ("2025-12-16", "2025-12-16"),
    "prices_daily": ("2026-01-01", "2026-01-01"),
}
HISTORY, DOCUMENT = "2025-09-01", "2026-03-06"
"""Days of rates that are captured as the ECB's zipped CSV, and as XML."""

PARTITIONS = ("T1|2026-01-12", "OTCE|2025-12-22", "OTCE|2025-12-29", "T2|2026-01-05")
PROGRAM_TABLES = ("finra_otc_weekly", "finra_symbol_week", "finra_venue_week")
"""Tables whose numbers the program of an archive recomputes here."""

MANY = FEW | {
    "finra_treasury_daily": ("2026-01-05", "2026-01-06"),
    "finra_otc_monthly": ("NMS|2025-12-01", "NMS|2025-12-01"),
    "finra_bond_trade_activity": ("T1|2026-01-09", "T1|2026-01-09"),
    "fx_rates_daily": ("2026-01-02", "2026-01-30"),
    "finra_reg_sho_daily": ("2026-01-05", "2026-01-16"),
    "finra_threshold_list": ("2026-01-05", "2026-01-09"),
    "finra_short_interest": ("2025-12-16", "2026-01-01"),
    "finra_treasury_monthly": ("2025-12-01", "2026-01-01"),
    "finra_corporate_market_breadth": ("2026-01-05", "2026-01-09"),
    "finra_ats_blocks": ("2025-12-01", "2026-01-01"),
    "finra_otc_blocks": ("2025-12-01", "2026-01-01"),
    "prices_daily": ("2025-11-01", "2026-01-01"),
}
"""Partitions by job, in the order of their loads."""

RARE = ("finra_symbol_anomalies_week", "finra_symbol_changes", "finra_symbol_renames")
"""Tables of which the demo has rows over other seeds alone."""

WEEK = "2026-01-05"
OF_A_WEEK = {
    "finra_symbol_week_short": "finra_symbol_week_short",
    "finra_symbol_week_value": "finra_symbol_week_value",
    "off_exchange_share_weekly": "cboe_off_exchange_share_weekly",
}
"""Tables that are derived of one week, and their jobs."""

OF_A_TIER = (
    *("finra_symbol_week", "finra_venue_week", "finra_symbol_rolling_6w"),
    *("finra_concentration_week", "finra_symbol_anomalies_week"),
    *("finra_symbol_movers_week", "finra_venue_movers_week"),
)
OF_ALL_TIERS = ("finra_tier_week", "finra_venue_week_all_tiers")
OF_SYMBOLS = ("finra_symbols", "finra_symbol_changes", "finra_symbol_renames")
OF_PRICES = ("prices_returns", "prices_corporate_actions")
DERIVED = (
    *(*OF_A_TIER, *OF_ALL_TIERS, *OF_SYMBOLS, *OF_PRICES, *OF_A_WEEK),
    *("finra_firms", "off_exchange_share_daily"),
)
"""Tables that are derived of a tier's weeks, of all tiers' weeks, and of other rows."""

GOLD_BEFORE: dict[str, dict[str, str]] = {
    **{table: {"tier": "T1", "week_start": "2026-01-12"} for table in OF_A_TIER},
    **{table: {"week_start": "2026-01-12"} for table in OF_ALL_TIERS},
    **{table: {} for table in OF_SYMBOLS},
    **{table: {"symbol": "ETDX"} for table in OF_PRICES},
    "finra_symbol_week_short": {"week_start": WEEK},
    "off_exchange_share_daily": {"trade_date": "2026-03-02"},
    "off_exchange_share_weekly": {"week_start": "2026-03-02"},
}
"""A partition of each table that the command `gold` derives of the rows of a time."""

UNDATED = (*OF_PRICES, "off_exchange_share_daily", "off_exchange_share_weekly")
"""Tables of rows that their source does not date: the command refuses a day of publication."""

QUICK = ("finra_symbol_week", "finra_concentration_week", *OF_ALL_TIERS, "finra_symbols")
GOLD_CASES = [
    table if table in QUICK else pytest.param(table, marks=pytest.mark.slow)
    for table in GOLD_BEFORE
]
PUBLISHED_CASES = [
    table if table in QUICK else pytest.param(table, marks=pytest.mark.slow)
    for table in GOLD_BEFORE
    if table not in UNDATED
]


def load(state: DemoState, first: str, last: str) -> None:
    """Load a range of weeks of a tier and derive its tables."""
    state.run(WEEKLY, first, last)
    state.run("finra_gold", first, last)


def load_restated_without_failure(state: DemoState) -> None:
    """Load the partitions that the demo restates, also months of prices that are loaded."""
    full = {"prices_daily_load": {"config": {"full": True}}}
    for job, partition in RESTATED.items():
        ops = full if job == "prices_daily" else {}
        assert state.run(job, partition, ops=ops), job


def load_others_without_failure(state: DemoState, jobs: dict[str, tuple[str, str]]) -> None:
    """Load partitions of other jobs, and what is derived of them and the weeks."""
    for job, (first, last) in jobs.items():
        state.run(job, first, last)  # may fail: the demo has faults
    assert state.run("finra_daily")
    assert state.run("prices_gold")
    for job in OF_A_WEEK.values():
        assert state.run(job, WEEK), job


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, prepared: Prepared) -> Iterator[DemoState]:
    """Loads of two days: restated between; of weeks, one has rejects and one is quarantined."""
    settings = SETTINGS | {"PRICES_SYMBOLS": SYMBOLS}
    with demo_state(tmp_path_factory.mktemp("oracle"), settings, prepared) as state:
        state.set_clock("2026-03-02T15:00")
        load(state, "OTCE|2025-12-01", "OTCE|2026-01-12")
        load(state, "T1|2026-01-05", "T1|2026-01-12")
        state.run(WEEKLY, "T2|2025-12-01")
        load(state, "T2|2026-01-05", "T2|2026-01-12")
        state.run("finra_tier_week", "2026-01-05", "2026-01-12")
        state.set_clock("2026-03-04T15:00")
        load_restated_without_failure(state)
        state.set_clock("2026-03-13T15:00")
        load(state, "OTCE|2025-12-22", "OTCE|2025-12-29")
        load(state, "T1|2026-01-12", "T1|2026-01-12")
        state.run("finra_tier_week", "2026-01-12")
        load_restated_without_failure(state)
        load_others_without_failure(state, FEW)
        assert state.run("fx_rates_daily", DOCUMENT)
        for day in ("2026-11-01", "2026-11-02", "2026-11-03"):
            state.set_clock(f"{day}T09:00")
            state.run("web_shop", day)
        state.run("web_shop_api", "2026-11-03")
        state.load("mqtt")
        yield state


@pytest.fixture(scope="module")
def deliveries(state: DemoState) -> list[Row]:
    """The deliveries of the state's archive."""
    return read_deliveries(state.archive())


@pytest.fixture(scope="module")
def folded(deliveries: list[Row]) -> dict[str, Folded]:
    """The tables that are loaded by partitions, recomputed."""
    return {name: fold(deliveries, name) for name in PARSERS}


@pytest.fixture(scope="module")
def weekly(folded: dict[str, Folded]) -> Folded:
    """The weekly table, recomputed."""
    return folded[WEEKLY]


@pytest.fixture(scope="module")
def derived(folded: dict[str, Folded]) -> Derived:
    """The derived tables, recomputed."""
    return Derived(folded)


@pytest.fixture(scope="module")
def derived_by_publication(folded: dict[str, Folded]) -> Derived:
    """The derived tables of what FINRA had published by a day, recomputed."""
    published = {WEEKLY: folded[WEEKLY].published_table(PUBLICATION_DAYS[1])}
    return Derived(folded | published)


@pytest.fixture(scope="module")
def derived_before(deliveries: list[Row]) -> Derived:
    """The derived tables of what was loaded before the restatement, recomputed."""
    earlier = [delivery for delivery in deliveries if delivery["recorded_at"] <= BEFORE]
    return Derived({name: fold(earlier, name) for name in PARSERS})


def assert_equal(table: str, expected: Iterable[Row], exported: list[Row], *more: str) -> int:
    """Fail with the first differences; return how many values were compared."""
    count, differences = compare(expected, exported, (*key_of(table), *more))
    assert not differences, (table, len(differences), differences[:20])
    return count


def assert_folded(state: DemoState, folded: dict[str, Folded]) -> int:
    """Compare current rows, history and rejects of loaded tables; return the count."""
    count = 0
    for name, table in folded.items():
        count += assert_equal(name, table.rows, state.export(name))
        past = state.export(f"{name}_history")
        count += assert_equal(name, table.history, past, "known_from")
    rejects = [row for table in folded.values() for row in table.rejects]
    exported = [row for row in state.export("rejects") if row["table_name"] in folded]
    return count + assert_equal("rejects", rejects, exported)


def compare_past(state: DemoState, table: Folded) -> set[str]:
    """Compare a state of the past and a difference of a table; return its kinds of changes."""
    before, after = (table.as_of(moment) for moment in (BEFORE, AFTER))
    assert_equal(table.name, before, state.export(table.name, "--as-of", BEFORE))
    exported = state.diff(table.name, "--from", BEFORE, "--to", AFTER)
    assert_equal(table.name, difference(before, after, key_of(table.name)), exported)
    return {row["change"] for row in exported}


def derive(derived: Derived, table: str) -> list[Row]:
    """Return the rows of a table, or those of the week that the tests derive."""
    return derived.rows(table, f"week_start = '{WEEK}'" if table in OF_A_WEEK else "1")


def test_rows_rejects_and_history_are_those_of_the_captured_bytes(state, folded, weekly):
    assert assert_folded(state, folded) > 5000
    assert {row["change_cause"] for row in weekly.history} == {"source", "metadata"}
    assert weekly.rejects


def test_loads_have_the_counts_publications_and_outcomes_of_their_lines(state, weekly, deliveries):
    kinds = ("added", "changed", "removed", "unchanged")
    assert weekly.counts == {
        row["group_id"]: Counter({kind: row[f"rows_{kind}"] for kind in kinds})
        for row in state.export("landings", "--where", f"table_name={WEEKLY}")
    }
    exported = state.export("deliveries", "--where", f"table_name={WEEKLY}")
    assert weekly.published == {
        row["group_id"]: (row["published_on"], row["is_load_day"])
        for row in exported
        if row["outcome"] == "landed"
    }
    limit = Fraction(MAX_REJECT_RATIO)
    quarantined = {
        delivery["group_id"]
        for delivery in deliveries
        if delivery["table_name"] == WEEKLY
        and ParsedWeek(delivery).read_lines().is_quarantined(limit)
    }
    quarantined = {row["group_id"] for row in exported if row["outcome"] == "held_back"}
    assert quarantined == quarantined != set()


@pytest.mark.parametrize("table", PARSERS)
def test_states_of_the_past_and_their_differences_are_those_of_the_captured_lines(
    state, folded, table
):
    assert compare_past(state, folded[table]) & {"changed", "removed"}


@pytest.mark.parametrize("table", [name for name in PARSERS if is_dated(name)])
def test_published_states_and_their_differences_are_those_of_the_captured_lines(
    state, folded, table
):
    published = {day: folded[table].published_by(day) for day in PUBLICATION_DAYS}
    for day, rows in published.items():
        assert assert_equal(table, rows, state.export(table, "--published-by", day))
    for first, last in pairwise(PUBLICATION_DAYS):
        expected = difference(published[first], published[last], key_of(table))
        options = ("--published-from", first, "--published-by", last)
        assert assert_equal(table, expected, state.diff(table, *options))


@pytest.mark.parametrize("table", DERIVED)
def test_derived_tables_are_those_of_the_rows(state, derived, table):
    exported = state.export(table)
    assert_equal(table, derive(derived, table), exported)
    assert exported or table in RARE


@pytest.mark.parametrize("table", GOLD_CASES)
def test_derived_tables_of_the_past_are_those_of_the_rows_known_then(state, derived_before, table):
    assert_derived_before(state, derived_before, table, "--as-of", BEFORE)


@pytest.mark.parametrize("table", PUBLISHED_CASES)
def test_derived_tables_by_publication_are_those_of_the_rows_published_then(
    state, derived_by_publication, table
):
    day = PUBLICATION_DAYS[1]
    assert_derived_before(state, derived_by_publication, table, "--published-by", day)


def assert_derived_before(state: DemoState, derived: Derived, table: str, *moment: str) -> None:
    """Compare a partition that the command `gold` derives of the rows of a moment."""
    partition = GOLD_BEFORE[table]
    condition = " AND ".join(f"{name} = '{part}'" for name, part in partition.items()) or "1"
    exported = state.gold(table, "|".join(partition.values()) or "all", *moment)
    assert_equal(table, derived.rows(table, condition), exported)
    assert exported or table in RARE


def test_spellings_of_vendors_are_those_of_the_symbols_and_their_overrides(
    state, derived, tmp_path
):
    symbols = sorted(row["symbol"] for row in derived.rows("finra_symbols"))
    overrides = {"yahoo": {symbols[0]: "ABC-WI", symbols[1]: ""}, "alpha_vantage": {}}
    (tmp_path / "prices.yaml").write_text(json.dumps(overrides))
    state.set("PRICES_SYMBOLS_FILE", str(tmp_path / "prices.yaml"))
    assert state.run("prices_gold")
    exported = state.export("prices_symbol_spellings")
    expected = readers.spell_symbols(symbols, overrides)
    assert assert_equal("prices_symbol_spellings", expected, exported)
    assert {row["is_override"] for row in exported} == {True, False}


def test_an_evidence_archive_of_a_partition_has_all_that_its_rows_are_recomputed_from(
    state, weekly
):
    partition = "T1|2026-01-12"
    archive = state.evidence(partition, weekly.loads[partition])
    rows = fold(read_deliveries(archive), WEEKLY).rows
    where = ("--where", "tier=T1", "--where", "week_start=2026-01-12")
    assert assert_equal(WEEKLY, rows, state.export(WEEKLY, *where)) > 100


def without_brand(row: Row) -> Row:
    """Return an exported item without its brand, which the oracle does not recompute."""
    payload = {name: value for name, value in json.loads(row["payload"]).items() if name != "brand"}
    return row | {"payload": canonical(payload)}


def test_items_of_the_shop_are_those_of_the_captured_pages(state, deliveries):
    table, quarantined = site_items.items(deliveries)
    assert len(quarantined) == 1  # the shop has another layout on its third day
    exported = [without_brand(row) for row in state.export("web_items")]
    assert assert_equal("web_items", table.rows, exported)
    past = [without_brand(row) for row in state.export("web_items_history")]
    assert assert_equal("web_items", table.history, past, "known_from")
    exported = [row for row in state.export("web_item_fields") if row["field"] != "brand"]
    assert assert_equal("web_item_fields", site_items.item_fields(table.rows), exported)
    assert assert_equal("web_changes", site_items.changes(table), state.export("web_changes"))


def test_events_and_entities_are_those_of_the_captured_messages(state, deliveries):
    events, dead = mqtt.mirror(deliveries, mqtt.read_kinds(KINDS))
    assert assert_equal("mqtt_mirror", events, state.export("mqtt_mirror"))
    exported = state.export("mqtt_dead_letters")
    letters = [{name: row[name] for name in dead[0]} for row in exported]
    assert assert_equal("mqtt_dead_letters", dead, letters)
    for table in mqtt.ENTITIES:
        assert assert_equal(table, mqtt.fold_entities(table, events), state.export(table)), table


def assert_explained(state: DemoState, table: str) -> None:
    """Fail where a formula does not give a value of the first rows of a table."""
    rules = RULES[table]
    for row in state.export(table)[:3]:
        key = "|".join(row[part] for part in rules["key"])
        for name, column in rules["columns"].items():
            if is_declared(column):
                assert state.explain(table, key, name)["is_equal"], (key, name)


@pytest.mark.slow
@pytest.mark.parametrize("seed", ["1", "7", "20250106"])
def test_restated_and_late_loads_of_other_seeds_are_recomputed(tmp_path, prepared, seed):
    more = {"DEMO_SEED": seed, "DEMO_ROWS_PER_WEEK": "2500", "PRICES_UNIVERSE_SIZE": "25"}
    more["PRICES_SYMBOLS"] = ""  # the largest of the seed, not those of the other state
    with demo_state(tmp_path, SETTINGS | more, prepared) as state:
        minutes = ("2026-02-24T15:00", "2026-03-02T15:00", "2026-03-13T15:00", "2026-05-04T15:00")
        for minute in minutes:
            state.set_clock(minute)
            for tier in ("T1", "T2", "OTCE"):
                load(state, f"{tier}|2025-11-24", f"{tier}|2026-01-12")
            state.run("finra_tier_week", "2025-11-24", "2026-01-12")
            load_others_without_failure(state, MANY)
        deliveries = read_deliveries(state.archive())
        folded = {name: fold(deliveries, name) for name in PARSERS}
        count, derived = assert_folded(state, folded), Derived(folded)
        changes = [compare_past(state, table) for table in folded.values()]
        assert {"changed", "removed"} & set().union(*changes)
        for table in DERIVED:
            count += assert_equal(table, derive(derived, table), state.export(table))
        assert count > 500_000
        assert folded["prices_daily"].rows
        assert_explained(state, "finra_symbol_anomalies_week")
        for day in ("2026-01-20", "2026-03-01", "2026-03-11"):
            exported = state.export(WEEKLY, "--published-by", day)
            assert_equal(WEEKLY, folded[WEEKLY].published_by(day), exported)


@pytest.fixture(scope="module")
def archives(state) -> dict[str, Path]:
    """Evidence archives of partitions: restated, with rejects, and loaded once."""
    at = "2026-11-03T12:00:00Z"
    state.set_clock("2026-11-03T13:00")
    return {partition: state.evidence(partition, at) for partition in PARTITIONS}


def recompute(archive: Path, *number: str) -> tuple[int, str, str]:
    """Run the program of an archive; return its status, its output and its errors."""
    program = archive.with_suffix(".py")
    program.write_bytes(ZipFile(archive).read("recompute.py"))
    done = subprocess.run(  # noqa: S603 - the program of our archive
        [sys.executable, "-I", program, archive, *number], capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


def recompute_here(archive: Path, *number: str) -> tuple[int, str, str]:
    """Do the same in this process, where a new one takes longer than the program."""
    program = archive.with_suffix(".py")
    program.write_bytes(ZipFile(archive).read("recompute.py"))
    output, errors = io.StringIO(), io.StringIO()
    with redirect_stdout(output), redirect_stderr(errors), localcontext():
        names = runpy.run_path(str(program))
        try:
            try:
                status = names["explain"](names["Archive"](str(archive)), *number)
            except BadZipFile as error:  # which ends the program so, too
                status = names["fail"]("archive", "a whole one of evidence", repr(error))
        except SystemExit as ended:
            status = int(str(ended.code))
    return status, output.getvalue(), errors.getvalue()


@cache
def read_published(archive: Path, table: str) -> tuple[Row, list[Row]]:
    """Return the rules and the published rows of a table of an archive."""
    with ZipFile(archive) as members:
        rules = json.loads(members.read("rules.json"))["tables"][table]
        return rules, read_lines(members, f"rows/{table}.jsonl")


def is_declared(column: Row) -> bool:
    """Return whether a column of the rules of an archive has a formula."""
    return column["formula"] != "not declared"


def choose_number(
    archive: Path, table: str, random: Random, partition: str = ""
) -> tuple[str, str, str, str]:
    """Return table, partition, key and column of a random published number of an archive.

    The partition is the given one where the key of the rows does not name it.
    """
    rules, rows = read_published(archive, table)
    row = random.choice(rows)
    parts, count = [row[name] for name in rules["key"]], len(rules["partition"])
    column = random.choice([name for name, rule in rules["columns"].items() if is_declared(rule)])
    return table, "|".join(parts[:count]) or partition, "|".join(parts[count:]), column


def test_random_published_numbers_are_recomputed_by_the_program_of_their_archive(archives):
    random = Random(66)  # noqa: S311 - a sample
    verdicts = []
    for table in PROGRAM_TABLES * 2:
        archive = archives[random.choice(PARTITIONS)]
        status, output, errors = recompute(archive, *choose_number(archive, table, random))
        verdicts.append((status, output.splitlines()[-1:], errors))
    assert verdicts == [(0, ["equal"], "")] * 6


def check_and_count_equal(
    archives: Iterable[Path],
    count: int,
    seed: int,
    capsys: Any,
    tables: Sequence[str] = PROGRAM_TABLES,
    partition: str = "",
) -> int:
    """Return of how many random published numbers the program of the archives prints *equal*."""
    random, paths = Random(seed), list(archives)  # noqa: S311 - a sample
    program = paths[0].with_suffix(".py")
    program.write_bytes(ZipFile(paths[0]).read("recompute.py"))
    names = runpy.run_path(str(program))
    opened = {path: names["Archive"](path) for path in paths}
    equal_count = 0
    for _ in range(count):
        path = random.choice(paths)
        number = choose_number(path, random.choice(tables), random, partition)
        status, printed = names["explain"](opened[path], *number), capsys.readouterr().out
        assert status == 0, (number, printed)
        equal_count += printed.endswith("\nequal\n")
    assert not names["FINDINGS"]
    return equal_count


@pytest.mark.slow
def test_a_thousand_published_numbers_are_recomputed_by_the_program_of_their_archive(
    archives, capsys
):
    assert check_and_count_equal(archives.values(), 1_000, 67, capsys) == 1_000


@pytest.mark.slow
@pytest.mark.skipif(not REAL_FILES.is_dir(), reason="the folder of real FINRA files is absent")
def test_a_thousand_numbers_of_the_real_file_are_recomputed(tmp_path, capsys):
    archive, files = tmp_path / "real.zip", {"FINRA_FILES_DIR": str(REAL_FILES)}
    at = ("--at", "2026-03-02T15:30:00Z", "--output", str(archive))
    commands = {
        "2026-03-02T15:00:00Z": ("run", "--weeks", "8"),
        "2026-03-02T16:00:00Z": (
            *("evidence", "export", "--partition", "OTCE|2025-11-10", "--include-bytes"),
            *at,
        ),
    }
    for now, command in commands.items():
        status, _, error = programs.run(
            *(tmp_path / "state", "orchestration_project", *command),
            **files | {"FINRA_SOURCE": "files", "DEMO_CLOCK_NOW": now},
        )
        assert status == 0, error
    assert check_and_count_equal([archive], 1_000, 66, capsys) == 1_000


def expect_first_symbol(archive: Path) -> tuple[str, str]:
    """Return the first symbol of an archive, and the member with the lines of its rows."""
    with ZipFile(archive) as members:
        symbol = read_lines(members, "rows/finra_symbol_week.jsonl")[0]["symbol"]
        weekly = read_lines(members, "rows/finra_otc_weekly.jsonl")[0]
        [sha256] = [
            row["sha256"]
            for row in read_lines(members, "captures.jsonl")
            if row["capture_id"] == weekly["capture_id"]
        ]
    assert weekly["symbol"] == symbol
    return symbol, f"bytes/{sha256}"


def test_a_recomputed_number_names_its_formula_rows_and_places_in_the_captures(archives):
    archive = archives["T1|2026-01-12"]
    symbol, member = expect_first_symbol(archive)
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
    for table in PROGRAM_TABLES * 2:
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


DERIVED_OF = ("finra_symbol_week", "finra_venue_week")
OF_SEVERAL_WEEKS = [
    name for name, rules in RULES.items() if rules["rows_of"] in DERIVED_OF and name not in RARE
]


@pytest.mark.parametrize("table", OF_SEVERAL_WEEKS)
def test_explanations_of_tables_of_several_weeks_or_tiers_have_the_published_number(state, table):
    random, rules, rows = Random(70), RULES[table], state.export(table)  # noqa: S311 - a sample
    keys = ["|".join(row[part] for part in rules["key"]) for row in rows]
    for name in (name for name, rule in rules["columns"].items() if is_declared(rule)):
        key = random.choice(keys)
        assert state.explain(table, key, name)["is_equal"], (key, name)
    explanation = state.explain(table, keys[0], "known_from")
    assert explanation["input_count"] >= len(explanation["inputs"]) > 0
    assert explanation["last_change"]["loaded_at"] <= explanation["published"]


@pytest.fixture(scope="module")
def wide_archive(state) -> Path:
    """An evidence archive of a partition with all that its derived rows are made of."""
    state.set_clock("2026-11-03T13:00")
    return state.evidence("T1|2026-01-12", "2026-11-03T12:00:00Z", "--include-inputs")


@pytest.mark.parametrize("table", OF_SEVERAL_WEEKS)
def test_numbers_of_several_weeks_or_tiers_are_recomputed_by_the_program(
    wide_archive, table, capsys
):
    assert check_and_count_equal([wide_archive], 20, 71, capsys, [table]) == 20


def test_the_symbols_of_a_tier_are_counted_in_another_table(state, wide_archive):
    [row] = [
        row
        for row in read_published(wide_archive, "finra_tier_week")[1]
        if (row["week_start"], row["tier"]) == ("2026-01-12", "T1")
    ]
    number = ("finra_tier_week", "2026-01-12", "T1", "symbol_count")
    status, output, errors = recompute(wide_archive, *number)
    assert (status, errors, output.splitlines()[-1]) == (0, "", "equal")
    assert f"published  {row['symbol_count']}\nrecomputed {row['symbol_count']}\n" in output
    explanation = state.explain("finra_tier_week", "2026-01-12|T1", "symbol_count")
    assert (explanation["rows_of"], explanation["is_equal"]) == ("finra_symbol_week", True)
    assert explanation["recomputed"] == explanation["input_count"] == int(row["symbol_count"])
    member = f"bytes/{output.split('SHA-256 ')[1][:64]}"
    damaged = damage(wide_archive, member, lambda content: content.replace(b"|CORP|", b"|C0RP|"))
    status, output, _ = recompute(damaged, *number)
    assert status == 1
    assert f"changed member: {member}" in output


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
    "a filter": ("rules.json", '"^(ATS_W_SMBL|', '"^(ATS_W_SMB1|', "finra_otc_weekly/filters"),
    "a formula": ("rules.json", '["sum", "trade_count"]', '["max", "trade_count"]', TRADES_RULE),
    "a record": ("captures.jsonl", '"http_status"', '"http_statuz"', "member: captures.jsonl"),
}  # fmt: skip
"""By place: member, text, another text, and what is reported."""


@pytest.mark.parametrize("place", DAMAGE)
def test_a_changed_byte_is_named_by_its_place(archives, place):
    named, old, new, finding = DAMAGE[place]
    archive = archives["T1|2026-01-12"]
    symbol, capture = expect_first_symbol(archive)
    member = capture if named == "bytes/" else named
    damaged = damage(archive, member, lambda content: content.replace(old.encode(), new.encode()))
    number = ("finra_symbol_week", "T1|2026-01-12", symbol, "total_trade_count")
    status, output, errors = recompute_here(damaged, *number)
    assert status == 1
    assert finding in output + errors
    assert f"changed member: {member}" in output + errors


@pytest.mark.parametrize("named", ["bytes/", GOLD_ROWS, "captures.jsonl", "rules.json"])
def test_a_changed_byte_of_the_zip_file_is_named_by_its_member(archives, named):
    archive = archives["T1|2026-01-12"]
    symbol, capture = expect_first_symbol(archive)
    member = capture if named == "bytes/" else named
    damaged, content = archive.with_name("damaged.zip"), bytearray(archive.read_bytes())
    with ZipFile(archive) as members:
        found = members.getinfo(member)
    sizes = content[found.header_offset + 26 : found.header_offset + 30]
    begin = found.header_offset + 30 + sum(unpack("<HH", sizes))
    content[begin + found.compress_size // 2] ^= 1
    damaged.write_bytes(content)
    number = ("finra_symbol_week", "T1|2026-01-12", symbol, "total_trade_count")
    status, output, errors = recompute(damaged, *number)
    assert status == 1
    assert f"changed member: {member}" in output + errors


WINDOW_RULE = "changed rule: finra_symbol_rolling_6w/columns/max_trade_count"
DAMAGE_OF_WINDOW = {
    "a capture of a week before": ("bytes/", "|T1|", "|T2|", "changed member: bytes/"),
    "a row of a week before": (WEEKLY_ROWS, '"2026-01-05"', '"2026-01-06"', "finra_otc_weekly T1|"),
    "a published value": (
        *("rows/finra_symbol_rolling_6w.jsonl", '"max_trade_count":"', '"max_trade_count":"1'),
        "not equal",
    ),
    "a formula": (
        "rules.json",
        '["max", "total_trade_count"]',
        '["min", "hhi_lower"]',
        WINDOW_RULE,
    ),
    "a window": ("rules.json", '["week_start", -35, 0]', '["week_start", -28, 0]', "6w/window"),
}
"""Of the archive with its inputs, by place: member, text, another text, and what is reported."""


@pytest.mark.parametrize("place", DAMAGE_OF_WINDOW)
def test_a_changed_byte_of_a_window_is_named_by_its_place(wide_archive, place):
    named, old, new, finding = DAMAGE_OF_WINDOW[place]
    with ZipFile(wide_archive) as members:
        row = read_lines(members, "rows/finra_symbol_rolling_6w.jsonl")[0]
        past = [
            line
            for line in read_lines(members, "rows/finra_otc_weekly.jsonl")
            if (line["tier"], line["week_start"]) == ("T1", "2026-01-05")
        ]
        [sha256] = {
            capture["sha256"]
            for capture in read_lines(members, "captures.jsonl")
            if capture["capture_id"] == past[0]["capture_id"]
        }
    member = f"bytes/{sha256}" if named == "bytes/" else named
    damaged = damage(
        wide_archive, member, lambda content: content.replace(old.encode(), new.encode())
    )
    number = ("finra_symbol_rolling_6w", "T1|2026-01-12", row["symbol"], "max_trade_count")
    status, output, errors = recompute_here(damaged, *number)
    assert status == 1
    assert finding in output + errors
    assert f"changed member: {member}" in output + errors


def test_an_archive_without_the_weeks_of_a_window_says_which_it_lacks(archives):
    number = ("finra_symbol_rolling_6w", "T1|2026-01-12", "A", "max_trade_count")
    status, output, errors = recompute(archives["T1|2026-01-12"], *number)
    assert (status, output) == (2, "")
    found = "invalid archive: expected finra_otc_weekly T1|2026-01-05, found none: --include-inputs"
    assert errors == f"{found}\n"


WRONG = {
    "nothing": ((), "invalid arguments: expected ARCHIVE TABLE PARTITION KEY COLUMN, found "),
    "a table": (("finra_x", "T1|2026-01-12", "A", "b"), "invalid column: expected one with "),
    "a key": (("finra_symbol_week", "T1|2026-01-12", "?", "vwap"), "invalid key: expected that of"),
}  # fmt: skip


@pytest.mark.parametrize("number", WRONG)
def test_a_number_that_an_archive_does_not_have_is_invalid(archives, number):
    arguments, message = WRONG[number]
    status, output, errors = recompute(archives["T1|2026-01-12"], *arguments)
    assert (status, output) == (2, "")
    assert errors.startswith(message)


OF_DATASETS = (
    ("finra_reg_sho_daily", "2026-01-05"),
    ("finra_otc_monthly", "OTCE|2026-01-01"),
    ("finra_short_interest", "2025-12-16"),
    ("fact_bond_trade_activity", "T2|2026-01-09"),
    ("market_volume_daily", "2026-01-05"),
    ("off_exchange_share_daily", "2026-01-05"),
    ("fx_rates_daily", HISTORY),
    ("fx_rates_daily", DOCUMENT),
    ("prices_daily", ""),
    ("prices_corporate_actions", ""),
    ("prices_returns", ""),
)
"""Tables and partitions; blank: the first symbol with a corporate action."""

LARGE = ("finra_short_interest", "fact_bond_trade_activity")
DATASET_CASES = [
    pytest.param(table, partition, marks=[pytest.mark.slow] if table in LARGE else [])
    for table, partition in OF_DATASETS
]


@pytest.fixture(scope="module")
def of_datasets(state) -> Callable[[str], tuple[str, Path]]:
    """Return a partition, and its evidence archive."""
    state.set_clock("2026-11-03T13:00")
    symbol = state.export("prices_corporate_actions")[0]["symbol"]

    @cache
    def export(partition: str) -> Path:
        return state.evidence(partition, "2026-11-03T12:00:00Z")

    return lambda partition: (partition or symbol, export(partition or symbol))


@pytest.mark.parametrize(("table", "partition"), DATASET_CASES)
def test_numbers_of_datasets_are_recomputed_and_explained(
    state, of_datasets, table, partition, capsys
):
    partition, archive = of_datasets(partition)
    assert check_and_count_equal([archive], 30, 69, capsys, [table], partition) == 30
    rules, rows = read_published(archive, table)
    key = "|".join(rows[0][name] for name in rules["key"])
    for name in (name for name, rule in rules["columns"].items() if is_declared(rule)):
        explanation = state.explain(table, key, name)
        assert explanation["is_equal"], (key, name)
        assert explanation["last_change"]["loaded_at"] <= "2026-11-03T12:00:00"
        assert explanation["inputs"]


@pytest.mark.slow
def test_a_thousand_rates_and_prices_are_recomputed_by_the_program(of_datasets, capsys):
    rates = [of_datasets(day)[1] for day in (HISTORY, DOCUMENT)]
    assert check_and_count_equal(rates, 500, 73, capsys, ["fx_rates_daily"]) == 500
    symbol, archive = of_datasets("")
    tables = ["prices_daily", "prices_corporate_actions", "prices_returns"]
    assert check_and_count_equal([archive], 500, 74, capsys, tables, symbol) == 500


@pytest.mark.parametrize(("table", "partition"), DATASET_CASES)
def test_a_changed_byte_row_or_rule_of_a_dataset_is_named(of_datasets, table, partition):
    partition, archive = of_datasets(partition)
    number = choose_number(archive, table, Random(72), partition)  # noqa: S311 - a sample
    status, output, _ = recompute_here(archive, *number)
    assert status == 0
    capture = f"bytes/{output.split('SHA-256 ')[1][:64]}"
    rules, rows = read_published(archive, table)
    changed_rows = [row | {name: "0" for name in row if name == number[-1]} for row in rows]
    place = f"{table}/columns/{number[-1]}"
    changes = {
        capture: (lambda content: content.replace(b"0", b"1", 1), f"changed member: {capture}"),
        f"rows/{table}.jsonl": (
            lambda _: "".join(f"{json.dumps(row)}\n" for row in changed_rows).encode(),
            f"changed member: rows/{table}.jsonl",
        ),
        "rules.json": (
            lambda content: change_formula(content, *place.split("/")),
            f"changed rule: {place}",
        ),
    }
    assert is_declared(rules["columns"][number[-1]])
    for member, (change, finding) in changes.items():
        status, output, errors = recompute_here(damage(archive, member, change), *number)
        assert status == 1, member
        assert finding in output + errors


def test_a_changed_rate_is_named_with_its_row(of_datasets):
    _, archive = of_datasets(DOCUMENT)
    number = ("fx_rates_daily", DOCUMENT, "USD", "rate")
    output = recompute(archive, *number)[1]
    place, shown = output.split("SHA-256 ")[1].splitlines()[:2]
    rate = f'rate="{shown.split(", ")[-1]}"'.encode()
    member = f"bytes/{place}"
    damaged = damage(archive, member, lambda content: content.replace(rate, b'rate="1.5"', 1))
    status, output, _ = recompute(damaged, *number)
    assert (status, output.splitlines()[-1]) == (1, "not equal")
    assert f"changed row: fx_rates_daily {DOCUMENT}|USD: rate" in output


def test_a_changed_price_is_named_where_a_return_is_recomputed(of_datasets):
    symbol, archive = of_datasets("")
    row = read_published(archive, "prices_returns")[1][0]
    number = ("prices_returns", symbol, row["trade_date"], "simple_return")
    output = recompute(archive, *number)[1]
    assert output.splitlines()[-1] == "equal"
    member = f"bytes/{output.split('SHA-256 ')[1][:64]}"
    before, after = (f'"adjclose": [{{"adjclose": [{digit}'.encode() for digit in ("", "1"))
    damaged = damage(archive, member, lambda content: content.replace(before, after))
    status, output, _ = recompute(damaged, *number)
    assert (status, output.splitlines()[-1]) == (1, "not equal")
    day = row["previous_date"]
    assert f"changed row: prices_daily {symbol}|{day}: adjusted_close" in output


def change_formula(content: bytes, table: str, _: str, column: str) -> bytes:
    """Return rules in which the formula of a column is null."""
    rules = json.loads(content)
    rules["tables"][table]["columns"][column]["formula"] = None
    return json.dumps(rules).encode()
