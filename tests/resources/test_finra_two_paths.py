"""The same week by a file and by the Query API."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pytest

from orchestration_project.domains.finra.contract import FILE_FIELDS
from orchestration_project.domains.finra.tables.weekly import (
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.connections.artifacts import FolderStore
from orchestration_project.engine.warehouse import Warehouse
from orchestration_project.resources.finra.files import FinraFiles
from orchestration_project.resources.finra.source import FinraSource
from orchestration_project.settings import PROJECT_ROOT
from orchestration_project.tables.spine import audits, rejects
from tests.resources.finra_server import Finra, is_page, record
from tests.resources.weeks import PartitionLoader, StoppedClock, week_load

NAME = "finra_otc_weekly_otc_20251215.csv"
REAL_FILE = PROJECT_ROOT.parent / "shared" / "data" / "finra" / NAME
MONDAY, TIER = "2025-11-10", "OTCE"
KEY = f"{TIER}|{MONDAY}"
SHARES, TRADES = "totalWeeklyShareQuantity", "totalWeeklyTradeCount"
SUMS = {
    "ATS_W_SMBL": ("issueSymbolIdentifier", "issueName"),
    "ATS_W_FIRM": ("MPID", "marketParticipantName"),
    "ATS_W_VOL_STATS": (),
}
"""FINRA's own sums of firm rows, and the fields that each of them fills in."""

NOT_IN_A_FILE = (
    *("firmCRDNumber", "totalNotionalSum", "productTypeCode"),
    *("initialPublishedDate", "lastReportedDate"),
)


def as_finra_has_them(lines: Iterable[str]) -> list[dict[str, object]]:
    """Return the records of the API for the lines of a file, with all sums of them.

    FINRA has no total of a row without a symbol.
    """
    week = {"weekStartDate": MONDAY, "tierIdentifier": TIER, "summaryStartDate": MONDAY}
    given = [dict(zip(FILE_FIELDS, line.split("|"), strict=True)) for line in lines]
    rows = [
        record(None, **{**week, **dict.fromkeys(NOT_IN_A_FILE), **fields})
        | {SHARES: int(fields[SHARES]), TRADES: int(fields[TRADES])}
        for fields in given
    ]
    return [*rows, *(total for code, fields in SUMS.items() for total in sums(rows, code, fields))]


def sums(
    rows: Sequence[Mapping[str, object]], code: str, fields: Sequence[str]
) -> Iterable[dict[str, object]]:
    shares, trades = Counter[tuple[object, ...]](), Counter[tuple[object, ...]]()
    for row in rows:
        key = tuple(row[name] for name in fields)
        shares[key] += int(str(row[SHARES]))
        trades[key] += int(str(row[TRADES]))
    for key in shares:
        if code == "ATS_W_SMBL" and not key[0]:
            continue
        blank = dict.fromkeys(name for names in SUMS.values() for name in names)
        own = {**blank, **dict(zip(fields, key, strict=True)), "summaryTypeCode": code}
        yield {**rows[0], **own, SHARES: shares[key], TRADES: trades[key]}


def loaded(source: FinraSource, warehouse: Warehouse, below: Path) -> PartitionLoader:
    """Load the week as a run does."""
    store = FolderStore(below / "artifacts")
    load = week_load(source, warehouse, store, below)
    load.write_batch(load.take(KEY))
    return PartitionLoader(warehouse, below / "artifacts", tier=TIER)


def tables_of(partition_loader: PartitionLoader) -> list[list[tuple[object, ...]]]:
    """Return all rows of the week's tables, but for the capture that each was read from."""
    return [
        partition_loader.rows(
            table, *(column.key for column in table.columns if column.name != "capture_id")
        )
        for table in (finra_otc_weekly, finra_symbol_week, finra_venue_week)
    ]


@pytest.mark.skipif(not REAL_FILE.parent.is_dir(), reason="the folder of real data is absent")
@pytest.mark.parametrize(
    "last_line",
    [None, "OTC||||OTCX|1|1|2025-12-15"],
    ids=["as_it_is", "with_a_row_without_a_symbol"],
)
def test_the_real_file_and_the_api_give_the_same_rows(ask, tmp_path, prepared, last_line):
    lines = REAL_FILE.read_text().splitlines()
    if last_line:  # with a blank symbol and name, as in other real files
        lines = [*lines, last_line]
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / NAME).write_text("\n".join(lines))
    finra = Finra(
        as_finra_has_them(lines[1:]),
        published={"weeklySummary": [(MONDAY, TIER)], "weeklySummaryHistoric": []},
    )
    api, requests = ask(finra)
    files = FinraFiles(
        tmp_path / "files", Captures(FolderStore(tmp_path / "artifacts")), StoppedClock()
    )
    found = []
    for source in (api, files):
        with Warehouse(
            prepared.sqlite(tmp_path / f"{source.name}.sqlite"), clock=StoppedClock()
        ) as warehouse:
            warehouse.prepare(holds="real")
            partition_loader = loaded(source, warehouse, tmp_path)
            reasons = partition_loader.rows(rejects, "reason_code")
            assert reasons == ([("blank_symbol",)] if last_line else [])
            assert not [
                row for row in partition_loader.rows(audits, "name", "outcome") if "failed" in row
            ]
            found.append(tables_of(partition_loader))
    assert found[0] == found[1]
    assert len(found[0][0]) == 5328
    assert sum(row[10] for row in found[0][0]) == 1_335_995_901  # share_quantity
    assert len([request for request in requests if is_page(request)]) > 1
