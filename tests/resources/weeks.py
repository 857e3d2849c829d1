"""Partitions of `finra_otc_weekly` in the making: rows, and loading them as a run does."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import polars as pl
from sqlalchemy import Table, func, select

from orchestration_project.domains.finra.anomaly_bands import BandLimits
from orchestration_project.domains.finra.gold import (
    symbol_sums,
    symbols_of_tier,
    venue_sums,
    venue_week,
)
from orchestration_project.domains.finra.restatement import WeekChange, merged, week_change
from orchestration_project.domains.finra.tables.weekly import (
    METADATA_COLUMNS,
    finra_otc_weekly,
    finra_symbol_week,
    finra_venue_week,
)
from orchestration_project.engine.captures import Capture, Captures
from orchestration_project.engine.connections.artifacts import ArtifactStore, FolderStore
from orchestration_project.engine.connections.clock import Clock
from orchestration_project.engine.contracts.audits import Audit, Validated
from orchestration_project.engine.contracts.frame_types import REJECT_SCHEMA
from orchestration_project.engine.contracts.key_ranges import SpilledRows, split_keys
from orchestration_project.engine.contracts.values import derive_schema
from orchestration_project.engine.deliveries import Deliveries, RecordedDeliveries, SourceDeliveries
from orchestration_project.engine.loader import DatasetLoader
from orchestration_project.engine.warehouse import (
    Delivery,
    TableSpec,
    Transform,
    Warehouse,
    WriteResult,
    WriteTarget,
    prepare,
)
from orchestration_project.engine.warehouse.delivery import (
    AfterWrite,
    WarningCheck,
    skip_note,
    skip_warnings,
)
from orchestration_project.resources.finra.preview import WrittenPreview
from orchestration_project.resources.finra.source import FinraSource
from orchestration_project.resources.finra.weekly import DEPENDENTS, WeeklyDataset
from tests.domains.weekly import Listed
from tests.expecting import expect_type

MONDAY = date(2025, 11, 10)
NOON = datetime(2026, 1, 5, 12, 0, 0, 123456, tzinfo=UTC)
PUBLISHED = date(2025, 12, 1)
BOTH = {
    finra_symbol_week: Transform(symbol_sums, symbols_of_tier),
    finra_venue_week: Transform(venue_sums, venue_week),
}

INCOMING = {
    name: kind
    for name, kind in derive_schema(finra_otc_weekly).items()
    if name not in ("capture_id", "known_from")
} | {"part_number": pl.Int64()}


class StoppedClock(Clock):
    """A clock that stands still, until a test moves it."""

    def __init__(self, at: datetime = NOON) -> None:
        super().__init__()
        self.at = at

    def now(self) -> datetime:
        """Return the moment at which it stands."""
        return self.at


def row(symbol: str = "AAA", venue: str = "XATS", **changes: Any) -> dict[str, Any]:
    """Return an incoming row with 100 shares in one trade, of the ATS market."""
    usual = {
        "week_start": MONDAY,
        "tier": "T1",
        "market": "ATS",
        "symbol": symbol,
        "venue_id": venue,
        "week_end": MONDAY + timedelta(days=4),
        "mpid": venue,
        "firm_crd_number": None,
        "participant_name": f"{venue} LLC",
        "issue_name": f"{symbol} Inc. Common Stock",
        "share_quantity": 100,
        "trade_count": 1,
        "notional_usd": None,
        "product_type": None,
        "initial_published_date": PUBLISHED,
        "last_update_date": PUBLISHED,
        "last_reported_date": None,
        "part_number": 1,
    }
    return usual | changes


def known(_run_id: str, _partition_key: str, _known_from: datetime) -> Literal["yes"]:
    """Answer that every load was reported."""
    return "yes"


def frame(rows: Sequence[Mapping[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(
        [[record[name] for name in INCOMING] for record in rows], INCOMING, orient="row"
    )


def in_ranges(validated: Validated, most_rows: int = 1) -> Validated:
    """Return a delivery in ranges of so many rows."""
    counts = validated.rows.group_by("symbol").agg(row_count=pl.len().cast(pl.Int64))
    shelf = Listed()
    places = [
        (
            {"market": ("ATS", "NON_ATS"), "symbol": span},
            shelf.put(validated.rows.filter(span.holds(pl.col("symbol")))),
        )
        for span in split_keys(counts, most_rows)
    ]
    ranges = SpilledRows(shelf, places, len(validated.rows))
    return replace(validated, rows=validated.rows.clear(), ranges=ranges)


def rejected(*lines: int, part_number: int = 1) -> pl.DataFrame:
    """Return rejects of these lines, whose symbol was blank."""
    rows = [
        {
            "part_number": part_number,
            "line_number": line,
            "reason_code": "blank_symbol",
            "reason": "issueSymbolIdentifier is blank",
            "byte_offset": 100 * line,
            "record": r"|\xe9|x",
        }
        for line in lines
    ]
    return pl.DataFrame(rows, REJECT_SCHEMA)


LIMITS = BandLimits(
    weeks=12,
    min_weeks=4,
    width=4.0,
    floor=1.5,
    cap=2.0,
    large_venue_share=0.02,
    large_venue_weeks=4,
    max_row_shares=100_000_000_000,
)
"""When to warn, as the settings have it by default."""

WeekLoader = DatasetLoader[WeekChange, WrittenPreview]


def week_loader(
    warehouse: Warehouse,
    store: ArtifactStore,
    scratch: Path,
    deliveries_of: Callable[[WeeklyDataset], Deliveries],
    *,
    run_id: str = "run",
    max_reject_ratio: float = 0.005,
    **dataset: Any,
) -> WeekLoader:
    """Return a loader of weeks as a run makes it."""
    weekly = WeeklyDataset(limits=LIMITS, **dataset)
    return DatasetLoader(
        weekly,
        deliveries_of(weekly),
        warehouse,
        store,
        today=date(2026, 1, 5),
        run_id=run_id,
        max_reject_ratio=max_reject_ratio,
        scratch=scratch,
        is_reported=known,
    )


def week_load(
    source: FinraSource,
    warehouse: Warehouse,
    store: ArtifactStore,
    scratch: Path,
    *,
    full: bool = False,
    force: bool = False,
    **more: Any,
) -> WeekLoader:
    """Return a loader of weeks from their source."""
    return week_loader(
        warehouse,
        store,
        scratch,
        lambda weekly: SourceDeliveries(weekly, source, warehouse, StoppedClock(), force, full),
        force=force,
        **more,
    )


def from_source(load: WeekLoader, source: FinraSource, *, force: bool = False) -> WeekLoader:
    """Return the loader with another source."""
    deliveries = expect_type(load.deliveries, SourceDeliveries)
    return replace(load, deliveries=replace(deliveries, resource=source, force=force))


def week_replay(
    warehouse: Warehouse,
    store: ArtifactStore,
    scratch: Path,
    group_id: str | None = None,
    *,
    allow_older: bool = False,
    **more: Any,
) -> WeekLoader:
    """Return a loader of recorded deliveries of weeks."""
    return week_loader(
        warehouse,
        store,
        scratch,
        lambda weekly: RecordedDeliveries(weekly, warehouse, store, group_id, allow_older),
        **more,
    )


PASSED = Audit("has_unique_keys", "passed", "0 keys with several rows", "0")
FAILED = Audit("has_few_rejects", "failed", "at most 1", "2", [{"line_number": 7}])
WARNED = Audit("is_as_usual", "failed", "about 100", "7", severity="warning")


@dataclass
class PartitionLoader:
    """Loads deliveries of one partition into ``warehouse``."""

    warehouse: Warehouse
    folder: Path
    tier: str = "T1"
    week_start: date = MONDAY

    @property
    def partition_key(self) -> str:
        return f"{self.tier}|{self.week_start}"

    def target(
        self, token: int | None = None, rule_version: str = "1", run_id: str = "run"
    ) -> WriteTarget[WeekChange]:
        """Return a target that saw ``token``; by default the present one."""
        if token is None:
            token = self.warehouse.state(finra_otc_weekly, self.partition_key).token
        spec = TableSpec(
            table=finra_otc_weekly,
            rule_version=rule_version,
            metadata_columns=METADATA_COLUMNS,
            transforms=BOTH,
            dependents=DEPENDENTS,
            summarise=week_change,
            merge=merged,
        )
        partition = {"tier": self.tier, "week_start": self.week_start}
        return WriteTarget(spec, self.partition_key, partition, token, run_id)

    def capture(self, body: bytes = b"header\nrow\n", **changes: Any) -> Capture:
        usual: dict[str, Any] = {
            "url": "https://api.finra.org/data",
            "request": {"offset": 0},
            "response_headers": {"record-total": "1"},
            "http_status": 200,
            "row_count": 1,
            "fetched_at": NOON,
        }
        return Captures(FolderStore(self.folder)).keep(body, **usual | changes)

    def delivery(
        self, version: str = "v1", captures: Sequence[Capture] | None = None, **changes: Any
    ) -> Delivery:
        usual: dict[str, Any] = {
            "source": "api",
            "dataset": "weeklySummary",
            "source_version": version,
            "record_total": None,
            "scope": {},
            "captures": [self.capture()] if captures is None else captures,
        }
        return Delivery(**usual | changes)

    def write_batch(
        self,
        *rows: Mapping[str, Any],
        target: WriteTarget[WeekChange] | None = None,
        audits: Sequence[Audit] = (PASSED,),
        rejects: pl.DataFrame | None = None,
        rule_version: str = "1",
        warn: WarningCheck = skip_warnings,
        ranges_of: int = 0,
        recorder: Callable[[WriteTarget[WeekChange], Delivery], AfterWrite] = lambda *_: skip_note,
        **delivery: Any,
    ) -> WriteResult[WeekChange]:
        own = [{**record, "tier": self.tier, "week_start": self.week_start} for record in rows]
        rejects = pl.DataFrame(schema=REJECT_SCHEMA) if rejects is None else rejects
        target = target or self.target(rule_version=rule_version)
        delivered = self.delivery(**delivery)
        validated = Validated(frame(own), rejects, audits)
        if ranges_of:
            validated = in_ranges(validated, ranges_of)
        batch, note = prepare(target, delivered, validated), recorder(target, delivered)
        return self.warehouse.write_batch(batch, warn, note)

    def rows(self, table: Table, *names: str) -> list[tuple[Any, ...]]:
        """Return these columns of all rows of ``table``, in the order of its key."""
        columns = [table.c[name] for name in names]
        statement = select(*columns).order_by(*table.primary_key.columns)
        return self.warehouse.frame(statement, table).rows()

    def quantities(self) -> dict[str, int]:
        """Return the published shares by symbol."""
        return dict(self.rows(finra_otc_weekly, "symbol", "share_quantity"))

    def count(self, table: Table) -> int:
        with self.warehouse.reading() as connection:
            return connection.execute(select(func.count()).select_from(table)).scalar_one()
