"""What the load of a week and its replay have in common: it is validated, loaded and reported."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from io import BufferedRandom
from pathlib import Path

from sqlalchemy import ColumnElement, Connection, func, select

from orchestration_project.connections.artifacts import ArtifactStore, as_parquet, write_parquet
from orchestration_project.contracts.rules import Audit, SpillStore, Validated
from orchestration_project.domains.finra.anomaly_bands import (
    Earlier,
    Limits,
    Size,
    VenueWeek,
    size_of_derived,
    size_of_rows,
    warnings_about,
)
from orchestration_project.domains.finra.audits import checked_week
from orchestration_project.domains.finra.calendar import WEEK
from orchestration_project.domains.finra.contract import RULE_VERSION
from orchestration_project.domains.finra.copies import copies_audit, not_a_file
from orchestration_project.domains.finra.gold import symbol_week, venue_sums, venue_week
from orchestration_project.domains.finra.plausible import plausibility_audits
from orchestration_project.domains.finra.ranges import ROWS_AT_ONCE
from orchestration_project.domains.finra.restatement import (
    ReportedChange,
    WeekChange,
    merged,
    sentence,
    week_change,
)
from orchestration_project.domains.finra.selection import TierWeek, tier_week
from orchestration_project.engine.captures import Captures
from orchestration_project.engine.environment import open_all
from orchestration_project.engine.loads import Intake, IntakeFigures, Read, take
from orchestration_project.engine.spill import DiskSpill
from orchestration_project.engine.warehouse import (
    Delivery,
    RecordedLanding,
    ScopeState,
    Transform,
    Warehouse,
    WriteRequest,
    WriteResult,
    WriteTarget,
)
from orchestration_project.engine.warehouse.frames import Scope, shown_scope, within
from orchestration_project.resources.finra.copies import find_copies
from orchestration_project.resources.finra.preview import WrittenPreview, read_preview
from orchestration_project.resources.finra.unreported_changes import IsReported, UnreportedChanges
from orchestration_project.tables.finra import (
    MARKETS,
    METADATA_COLUMNS,
    finra_otc_weekly,
    finra_otc_weekly_history,
    finra_symbol_week,
    finra_venue_week,
)

DERIVED = {
    finra_symbol_week: Transform(symbol_week),
    finra_venue_week: Transform(venue_sums, venue_week),
}


@dataclass(frozen=True)
class TakenWeek:
    """A partition that was read and checked; without intake, what is landed is current."""

    order: WriteTarget[WeekChange]
    partition: TierWeek
    source: str
    source_version: str
    intake: Intake | None = None
    staged_name: str = ""

    @property
    def before(self) -> ScopeState:
        """What was landed when it was taken."""
        return self.order.before or ScopeState(self.order.token)


@dataclass(frozen=True)
class LoadedWeek:
    """How a partition was loaded, in figures: a run over many keeps one of these for each.

    Without ``landed``, there was nothing new since ``earlier`` landed.

    Attributes:
        changes: What its landing changed, if it wrote rows; before that, what an earlier landing
            did of which nobody was told.
        known_from: Of what is landed now, unless the run that landed it is still to tell of it.
    """

    source: str
    source_version: str
    row_counts: Mapping[str, int]
    figures: IntakeFigures | None = None
    landed: WriteResult[WeekChange] | None = None
    staged_name: str = ""
    changes: Sequence[ReportedChange] = ()
    preview: WrittenPreview | None = None
    earlier: RecordedLanding | None = None
    known_from: datetime | None = None

    def __str__(self) -> str:
        if self.landed is None or self.figures is None:
            return f"unchanged; source {self.source}"
        rejected = f"{self.figures.rejects} rejected; source {self.source}{self._warned}"
        return f"{self.landed.in_words}, {rejected}"

    @property
    def _warned(self) -> str:
        warnings = self.landed.warnings if self.landed else ()
        return f"; unusual: {', '.join(warnings)}" if warnings else ""


@dataclass(frozen=True)
class WeekLanding:
    """Checks and lands deliveries of `finra_otc_weekly`, wherever their bytes come from.

    Of more rows than ``rows_at_once``, a file in ``scratch`` holds them meanwhile. What ``knows``
    nobody was told of an earlier landing is told with the next look at its partition.
    """

    warehouse: Warehouse
    artifacts: ArtifactStore
    today: date
    run_id: str
    max_reject_ratio: float
    limits: Limits
    scratch: Path
    knows: IsReported
    rows_at_once: int = ROWS_AT_ONCE

    def ready(self) -> None:
        """Open the database and the artifact store.

        Raises:
            OrchestrationError: One of them cannot be opened.
        """
        open_all(self.warehouse, self.artifacts)

    def partition(self, key: str) -> TierWeek:
        """Return the partition that ``key`` names.

        Raises:
            ConfigurationError: It is none, or not over yet.
        """
        return tier_week(key, today=self.today)

    def order(self, partition: TierWeek, before: ScopeState) -> WriteTarget[WeekChange]:
        """Return where and how a partition is landed of which that much was landed ``before``."""
        return WriteTarget(
            table=finra_otc_weekly,
            history=finra_otc_weekly_history,
            partition_key=partition.key,
            partition={"tier": partition.tier, "week_start": partition.week_start},
            token=before.token,
            metadata_columns=METADATA_COLUMNS,
            rule_version=RULE_VERSION,
            run_id=self.run_id,
            derive=DERIVED,
            summarise=week_change,
            before=before,
            merge=merged,
        )

    def take(
        self, partition: TierWeek, order: WriteTarget[WeekChange], intended: Delivery, read: Read
    ) -> Intake:
        """Read a delivery and check it.

        Raises:
            OrchestrationError: As ``read`` does, or the bytes are not weekly data.
        """
        shelf = DiskSpill(self.scratch)
        check = partial(self._check, partition, shelf)
        return take(self.warehouse, order, intended, read, check, partial(_as_parquet, shelf))

    def staged(
        self, partition: TierWeek, order: WriteTarget[WeekChange], intake: Intake
    ) -> TakenWeek:
        """Store the checked rows as Parquet, and return what is to be landed."""
        name = staged_name(partition.key, intake.prepared.content_sha256)
        self.artifacts.put(name, intake.prepared.staged)
        delivery = intake.delivery
        return TakenWeek(order, partition, delivery.source, delivery.source_version, intake, name)

    def land(self, taken: TakenWeek, *, force: bool = False) -> LoadedWeek:
        """Land a taken partition and derive from it, in one transaction.

        ``force`` lands also a file that holds what another week or market has.

        Raises:
            HeldBackError: An audit failed.
            SupersededError: Another run delivered the partition meanwhile.
        """
        stays, before = taken.intake is None, taken.before
        untold = UnreportedChanges(self.warehouse, self.knows)
        known_from, changes = untold.changes(taken.partition, before, stays=stays)
        if taken.intake is None:
            return LoadedWeek(
                taken.source,
                taken.source_version,
                self._row_counts(taken),
                changes=changes,
                earlier=self._earlier(before, taken.partition),
                known_from=known_from,
            )
        delivery = taken.intake.delivery
        warn = partial(self._audits, taken.partition, force)
        landed = self.warehouse.land(taken.order, delivery, taken.intake.prepared, warn)
        with self.warehouse.reading() as connection:
            seen = read_preview(connection, taken.partition, taken.intake)
        return LoadedWeek(
            taken.source,
            taken.source_version,
            self._row_counts(taken),
            taken.intake.figures,
            landed,
            taken.staged_name,
            (*changes, *_change(landed, taken.partition, delivery)),
            seen,
            known_from=landed.known_from,
        )

    def _earlier(self, before: ScopeState, partition: TierWeek) -> RecordedLanding | None:
        if before.landed_at is None:
            return None
        at = before.landed_at
        return self.warehouse.recorded_landing(finra_otc_weekly, partition.key, at)

    def _row_counts(self, taken: TakenWeek) -> Mapping[str, int]:
        """Count the partition's rows; of a whole one that was just landed they are at hand."""
        prepared = taken.intake.prepared if taken.intake else None
        if prepared is None or prepared.derived is None:
            tables = (finra_otc_weekly, *DERIVED)
            return self.warehouse.row_counts(tables, taken.order.partition)
        derived = {table.name: len(frame) for table, frame in prepared.derived.items()}
        return {finra_otc_weekly.name: prepared.checked.row_count, **derived}

    def _check(self, partition: TierWeek, shelf: SpillStore, delivery: Delivery) -> Validated:
        return checked_week(
            Captures(self.artifacts).pieces(delivery.captures),
            shelf,
            week_start=partition.week_start,
            tier=partition.tier,
            record_total=delivery.record_total,
            max_reject_ratio=self.max_reject_ratio,
            rows_at_once=self.rows_at_once,
        )

    def _audits(
        self,
        partition: TierWeek,
        force: bool,
        connection: Connection,
        batch: Sequence[WriteRequest],
    ) -> Sequence[Sequence[Audit]]:
        """Compare a delivery with the weeks before its own, and its files with all others.

        Its rows are looked at one by one as well.
        """
        weeks = self.limits.weeks
        return [
            [
                *warnings_about(
                    _size(each),
                    read_earlier(connection, partition, each.delivery.scope, weeks=weeks),
                    week_start=partition.week_start,
                    limits=self.limits,
                ),
                *plausibility_audits(
                    each.checked.pieces(), max_row_shares=self.limits.max_row_shares
                ),
                _copies(connection, partition, each, is_forced=force),
            ]
            for each in batch
        ]


def staged_name(partition_key: str, content_sha256: str) -> str:
    """Return where the file lies that is staged of a partition's rows."""
    folder = f"staged/{finra_otc_weekly.name}/{partition_key.replace('|', '/')}"
    return f"{folder}/{content_sha256}.parquet"


def _copies(
    connection: Connection, partition: TierWeek, ready: WriteRequest, *, is_forced: bool
) -> Audit:
    """Return the verdict on a delivery's files; rows of another source name their week."""
    if any(each.fetched.market is None for each in ready.delivery.captures):
        return not_a_file()
    return copies_audit(find_copies(connection, partition, ready), is_forced=is_forced)


def _size(ready: WriteRequest) -> Size:
    """Return how large a delivery is: of a whole one by what was derived, which is far less."""
    derived = ready.prepared.derived
    if derived is None:
        return size_of_rows(ready.checked.pieces())
    return size_of_derived(derived[finra_symbol_week], derived[finra_venue_week])


def _as_parquet(
    shelf: DiskSpill, checked: Validated, columns: Sequence[str]
) -> tuple[bytes | BufferedRandom, str]:
    """Return the file that is staged, in memory if the rows are, and its SHA-256."""
    if checked.ranges is None:
        content = as_parquet(checked.rows.select(columns))
        return content, hashlib.sha256(content).hexdigest()
    file = shelf.new_file()
    with shelf.explained():
        write_parquet((rows.select(columns) for rows in checked.pieces()), file)
        file.seek(0)
        return file, hashlib.file_digest(file, "sha256").hexdigest()


def _change(
    landed: WriteResult[WeekChange], partition: TierWeek, delivery: Delivery
) -> Sequence[ReportedChange]:
    """Return what a landing changed, if anything."""
    if landed.change is None:
        return ()
    said = sentence(
        landed.change_cause,
        landed.change,
        partition,
        part=shown_scope(delivery.scope),
        turns_back=delivery.turns_back,
    )
    return (ReportedChange(landed.change_cause, landed.change, said),)


_venue, _symbol = finra_venue_week.c, finra_symbol_week.c

TRADED_IN = {"ATS": _symbol.ats_trade_count > 0, "NON_ATS": _symbol.non_ats_trade_count > 0}


def read_earlier(
    connection: Connection, partition: TierWeek, scope: Scope, *, weeks: int
) -> Earlier:
    """Return the ``weeks`` before a partition's, by date, as far as they are landed.

    Of a delivery whose ``scope`` names markets, only these are compared.
    """
    found = scope.get("market", MARKETS)
    markets = found if isinstance(found, tuple) else (found,)
    before = tuple(partition.week_start - number * WEEK for number in range(1, weeks + 1))
    in_tier = {"week_start": before, "tier": partition.tier}
    venues = select(*(_venue[name] for name in VenueWeek._fields)).where(
        within(finra_venue_week, {**in_tier, "market": markets})
    )
    return Earlier(
        [VenueWeek(*row) for row in connection.execute(venues)],
        _symbols(connection, in_tier, [TRADED_IN[str(market)] for market in markets]),
        [str(market) for market in markets],
    )


def _symbols(
    connection: Connection, in_tier: Scope, traded: list[ColumnElement[bool]]
) -> Mapping[date, int]:
    """Return how many symbols traded in each week, in one market or in both."""
    only = traded if len(traded) == 1 else []
    counted = (
        select(_symbol.week_start, func.count().label("symbol_count"))
        .where(within(finra_symbol_week, in_tier), *only)
        .group_by(_symbol.week_start)
    )
    return {row.week_start: row.symbol_count for row in connection.execute(counted)}
