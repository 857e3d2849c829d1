"""Audits of a delivery of a week: those that decide whether it may be loaded, and warnings.

Warnings are about rows whose shares and trades cannot both be right, or are too many to be. FINRA
publishes such rows now and then, and corrects them later.

All that is asked of rows is asked of those of one symbol, or adds up. So a week may come in pieces
of any order, be spilled sorted by symbol, and be read back range by range.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

import polars as pl

from orchestration_project.domains.finra.contract import (
    KEY,
    WeekRows,
    added_up,
    check_week,
    in_key_order,
)
from orchestration_project.domains.finra.gold import quantities_of, refuse_overflow
from orchestration_project.domains.finra.tables.weekly import MARKETS
from orchestration_project.engine.contracts.audits import (
    BALANCE_HELP,
    COMPLETE_HELP,
    MAX_OFFENDERS,
    Audit,
    AuditHelp,
    Validated,
    format_outcome,
)
from orchestration_project.engine.contracts.contract import (
    AuditFinding,
    check_reject_ratio,
    find_repeated_keys,
    judge_repeated_keys,
    record_total_audit,
)
from orchestration_project.engine.contracts.key_ranges import (
    KeyRange,
    SpilledRanges,
    SpilledRows,
    SpillStore,
    split_keys,
)
from orchestration_project.engine.contracts.parts import Part

MAX_RANGE_ROWS = 2**18
"""So many rows and sums are held in memory; a week with more is checked and loaded in ranges."""

MAX_HELD_RANGES = 4
"""A range is a fourth of that: what it is put together from is there several times."""


class KeyRangePlanner:
    """The pieces of a week, one at least, taken in one by one and given back by symbol.

    A week that is small enough is never spilled.

    Attributes:
        rejects: Those of the pieces so far, in their order.
        foreign_rows: The first of each piece.
        foreign_row_count: How many there are.
        received_count: Lines that came.
        filtered: Sums that FINRA made, by their summary type.
        is_named: Whether all rows name their week.
    """

    def __init__(self, spill: SpillStore, rows_at_once: int) -> None:
        self.rejects: list[pl.DataFrame] = []
        self.foreign_rows: list[pl.DataFrame] = []
        self.foreign_row_count = self.received_count = 0
        self.filtered = Counter[str]()
        self.is_named = True
        self._rows_at_once = rows_at_once
        self._held: list[WeekRows] = []
        self._rows, self._totals, self._firm_sums = (
            SpilledRanges(spill, "symbol") for _ in range(3)
        )
        self._counts = pl.DataFrame(schema={"symbol": pl.String, "row_count": pl.Int64})

    @property
    def is_shelved(self) -> bool:
        """Whether the rows are spilled."""
        return not self._held

    def add(self, week: WeekRows) -> None:
        """Take in a piece."""
        is_held = bool(self._held) or not self.rejects
        self.rejects.append(week.rejects)
        self.foreign_rows.append(week.foreign_rows.head(MAX_OFFENDERS))
        self.foreign_row_count += len(week.foreign_rows)
        self.received_count += week.received_count
        self.filtered.update(week.filtered)
        self.is_named &= week.is_named
        self._held.append(week)
        if is_held and sum(map(_count_rows, self._held)) <= self._rows_at_once:
            return
        for week_rows in self._held:
            self._put(week_rows)
        self._held = []

    def _put(self, week: WeekRows) -> None:
        self._rows.add(week.rows)
        self._totals.add(week.totals)
        self._firm_sums.add(week.firm_sums)
        remaining_frame = week.rows.group_by("symbol").agg(row_count=pl.len().cast(pl.Int64))
        frame = pl.concat([self._counts, remaining_frame])
        self._counts = frame.group_by("symbol").agg(pl.col("row_count").sum())

    def ranges(self) -> Iterator[tuple[KeyRange, WeekRows]]:
        """Yield rows in key order and sums, range by range; the rest of each `WeekRows` is empty.

        A symbol's rows are in one range, whichever pieces they came in; the same rows make the
        same ranges.
        """
        if len(self._held) == 1:
            yield KeyRange(), self._held[0]
        elif self._held:
            rows = pl.concat(week_rows.rows for week_rows in self._held)
            totals = pl.concat(week_rows.totals for week_rows in self._held)
            firm_sums = pl.concat(week_rows.firm_sums for week_rows in self._held)
            yield KeyRange(), self._together(rows, totals, firm_sums)
        else:
            for span in split_keys(self._counts, max(self._rows_at_once // MAX_HELD_RANGES, 1)):
                frames = (self._rows, self._totals, self._firm_sums)
                yield span, self._together(*(frame.within(span) for frame in frames))

    def _together(
        self, rows: pl.DataFrame, totals: pl.DataFrame, firm_sums: pl.DataFrame
    ) -> WeekRows:
        """Return the rows and totals of several pieces as one piece."""
        return WeekRows(
            rows=in_key_order(rows),
            rejects=self.rejects[0].clear(),
            totals=added_up(totals),
            firm_sums=added_up(firm_sums),
            foreign_rows=self.foreign_rows[0].clear(),
            received_count=0,
            filtered={},
        )


def _count_rows(week: WeekRows) -> int:
    return len(week.rows) + len(week.totals) + len(week.firm_sums)


PLAUSIBILITY = {
    "has_shares_where_it_has_trades": "No row has trades and 0 shares.",
    "has_trades_where_it_has_shares": "No row has shares and 0 trades.",
    "has_no_more_trades_than_shares": "No row has fewer shares than trades; 0 shares count above.",
    "has_trading_in_every_row": "No row has 0 shares and 0 trades.",
    "has_no_implausible_share_quantity": "No row has more shares than the limit max_row_shares.",
    "has_no_implausible_update_date": "No lastUpdateDate is before its week or after its download: "
    "--published-by relies on it.",
}
"""Each audit that looks at single rows and only warns, and what it claims."""

OFFENDER_COLUMNS = (
    *("market", "symbol", "venue_id", "share_quantity", "trade_count", "last_update_date"),
)

AUDITS = {
    "has_all_rows_of_record_total": "As many rows came as Record-Total promised.",
    "holds_only_its_week_and_tier": "Every row names the week and tier of its partition, and of a "
    "file its market.",
    "has_unique_keys": "No two rows share market, symbol and venue.",
    "reconciles_with_symbol_totals": "Firm rows add up to FINRA's own total for each symbol.",
    "has_few_rejects": "The share of rejected lines is within the limit.",
    "has_firm_rows": "Rows of firms came: a week of sums alone would empty what is published.",
}
"""Each blocking audit and what it claims."""

HELP = {
    "has_all_rows_of_record_total": AuditHelp("run the partition again; files are not checked"),
    "holds_only_its_week_and_tier": AuditHelp(
        "compare the rows with the file's name, or its line in manifest.csv; report it to FINRA"
    ),
    "has_unique_keys": AuditHelp("load the partition again; report it to the source"),
    "reconciles_with_symbol_totals": AuditHelp(
        "run the week again once FINRA has corrected it; files have no totals"
    ),
    "has_few_rejects": AuditHelp(
        "read the table rejects; report it, or raise the limit", ("FINRA_MAX_REJECT_RATIO",)
    ),
    "has_firm_rows": AuditHelp(
        "run the partition again later; report it to the source if it stays so"
    ),
    **COMPLETE_HELP,
    **BALANCE_HELP,
    "is_not_a_copy": AuditHelp(
        "find which of the two names is right; `allow_conflicts: true` in the run's config loads it"
    ),
    "is_of_usual_size": AuditHelp(
        "compare with the source; if it is short there, report it and load it again later",
        (
            "finra_otc_weekly.outliers.weeks",
            "finra_otc_weekly.outliers.min_weeks",
            "finra_otc_weekly.outliers.sigma",
            "finra_otc_weekly.outliers.min_factor",
            "finra_otc_weekly.outliers.max_factor",
        ),
    ),
    "has_all_large_venues": AuditHelp(
        "check whether the venue closed or changed its MPID; otherwise report it to FINRA",
        (
            "finra_otc_weekly.large_venues.min_ratio",
            "finra_otc_weekly.large_venues.weeks",
        ),
    ),
    "has_no_implausible_share_quantity": AuditHelp(
        "compare with FINRA's page; raise the limit if the row is right",
        ("finra_otc_weekly.max_row_shares",),
    ),
    "has_no_implausible_update_date": AuditHelp(
        "compare with FINRA's page; do not rely on --published-by for these rows"
    ),
}
"""What to do about each audit, also those that warn; of others: compare the rows."""


def checked_week(
    pieces: Iterable[Sequence[Part]],
    spill: SpillStore,
    *,
    week_start: date,
    tier: str,
    record_total: int | None,
    max_reject_ratio: float,
    rows_at_once: int = MAX_RANGE_ROWS,
) -> Validated:
    """Return a delivery's rows, rejects and the verdict of every audit in `AUDITS`, in that order.

    It comes in pieces, one at least, which are requested one by one; see `check_week`. Of more rows
    than are held ``rows_at_once``, they are spilled. ``record_total`` is None where the source
    promises no number, as a file does. A file may lack weeks and symbol totals, too: audits that
    need what it lacks say "not_applicable".

    Raises:
        ContractError: A header is not that of the weekly data, or totals do not fit 64 bits.
    """
    spread = KeyRangePlanner(spill, rows_at_once)
    for parts in pieces:
        spread.add(check_week(parts, week_start=week_start, tier=tier))
    is_file = record_total is None
    sums: Counter[str] = Counter()
    repeated: list[AuditFinding] = []
    differing: list[AuditFinding] = []
    places: list[tuple[Mapping[str, object], int]] = []
    row_count, rows = 0, pl.DataFrame()
    for span, week in spread.ranges():
        sums.update(quantities_of(week.rows))
        repeated.append(find_repeated_keys(week.rows, KEY))
        differing.append(_find_differing(week))
        row_count += len(week.rows)
        if spread.is_shelved:
            # both, so that the key's index finds them
            condition = {"market": MARKETS, "symbol": span}
            places.append((condition, spill.put(week.rows)))
        rows = week.rows
    refuse_overflow(sums)
    rejects = pl.concat(spread.rejects)
    audits = [
        record_total_audit(spread.received_count, record_total),
        _check_own_rows(spread, week_start, tier),
        judge_repeated_keys(_merge_findings(repeated)),
        _check_totals(_merge_findings(differing), is_file=is_file),
        check_reject_ratio(rejects, spread.received_count, max_reject_ratio),
        _check_firm_rows(row_count, spread.received_count),
    ]
    filtered = dict(sorted(spread.filtered.items()))
    if len(places) > 1:
        ranges = SpilledRows(spill, places, row_count)
        return Validated(rows.clear(), rejects, audits, ranges, filtered)
    return Validated(rows, rejects, audits, filtered=filtered)


def _merge_findings(found: Sequence[AuditFinding]) -> AuditFinding:
    """Put together what was found in several ranges, the first in key order."""
    offenders = sorted(
        (offender for audit_finding in found for offender in audit_finding.offenders),
        key=lambda offender: [str(offender[name]) for name in KEY if name in offender],
    )
    return AuditFinding(
        sum(audit_finding.count for audit_finding in found),
        sum(audit_finding.of for audit_finding in found),
        offenders[:MAX_OFFENDERS],
    )


def _check_own_rows(spread: KeyRangePlanner, week_start: date, tier: str) -> Audit:
    name, expected = "holds_only_its_week_and_tier", "0 rows of other weeks or tiers"
    count = spread.foreign_row_count
    if not spread.is_named and not count:
        return Audit(name, "not_applicable", f"{expected}; files name no week", "no week")
    offenders = pl.concat(spread.foreign_rows, how="diagonal").head(MAX_OFFENDERS).to_dicts()
    if not count:
        return Audit(name, "passed", expected, f"{count}", offenders)
    first, values = offenders[0], {"weekStartDate": week_start, "tierIdentifier": tier}
    entries = {field: first[field] for field in values}
    if first.get("named_summary") is not None:
        values["summaryTypeCode"] = first["summaryTypeCode"]
        entries["summaryTypeCode"] = first["named_summary"]
    return Audit(
        name,
        "failed",
        f"0 rows of others than {_format_values(values)}",
        f"{count}, e.g. {_format_values(entries)}",
        offenders,
    )


def _format_values(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value or 'blank'}" for name, value in values.items())


def _find_differing(week: WeekRows) -> AuditFinding:
    frame = week.firm_sums.join(
        week.totals, on=["market", "symbol"], how="full", suffix="_of_finra", coalesce=True
    )
    differing = frame.filter(
        pl.col("share_quantity").ne_missing(pl.col("share_quantity_of_finra"))
        | pl.col("trade_count").ne_missing(pl.col("trade_count_of_finra"))
    ).sort("market", "symbol")
    return AuditFinding(len(differing), len(frame), differing.head(MAX_OFFENDERS).to_dicts())


def _check_totals(differing: AuditFinding, *, is_file: bool) -> Audit:
    name, expected = "reconciles_with_symbol_totals", "0 symbols whose firm rows differ"
    if is_file:
        return Audit(name, "not_applicable", f"{expected}; files have no totals", "no totals")
    return Audit(
        name,
        format_outcome(not differing.count),
        expected,
        f"{differing.count} of {differing.of}",
        differing.offenders,
    )


def _check_firm_rows(row_count: int, received_count: int) -> Audit:
    text = f"{row_count} of {received_count} lines"
    return Audit("has_firm_rows", format_outcome(row_count > 0), "at least 1", text)


def plausibility_audits(
    rows: Iterable[pl.DataFrame], *, max_row_shares: int, fetched_on: date
) -> list[Audit]:
    """Return the verdict of every audit in `PLAUSIBILITY` on a delivery's rows, in that order.

    Args:
        rows: The rows, which may come in several pieces.
        max_row_shares: More shares in one row are not plausible.
        fetched_on: The day in New York on which the delivery was downloaded.
    """
    rules = _match_implausible(max_row_shares, fetched_on)
    row_count, counts = 0, Counter[str]()
    offenders = defaultdict[str, list[dict[str, object]]](list)
    for piece in rows:
        row_count += len(piece)
        query = piece.select(breaks.sum().alias(name) for name, breaks in rules.items())
        for name, count in query.row(0, named=True).items():
            if count:
                counts[name] += count
                left = MAX_OFFENDERS - len(offenders[name])
                offenders[name] += (
                    piece.filter(rules[name]).select(OFFENDER_COLUMNS).head(left).to_dicts()
                )
    return [
        Audit(
            name,
            format_outcome(not counts[name]),
            _describe_claim(name, max_row_shares),
            f"{counts[name]} of {row_count}",
            offenders[name],
            severity="warning",
        )
        for name in PLAUSIBILITY
    ]


def _match_implausible(max_row_shares: int, fetched_on: date) -> Mapping[str, pl.Expr]:
    """Return the condition that breaks each claim; one row breaks at most one of the first four."""
    shares, trades = pl.col("share_quantity"), pl.col("trade_count")
    updated = pl.col("last_update_date")
    breaks = (
        (shares == 0) & (trades > 0),
        (shares > 0) & (trades == 0),
        (shares > 0) & (shares < trades),
        (shares == 0) & (trades == 0),
        shares > max_row_shares,
        ((updated < pl.col("week_start")) | (updated > fetched_on)).fill_null(value=False),
    )
    return dict(zip(PLAUSIBILITY, breaks, strict=True))


def _describe_claim(name: str, max_row_shares: int) -> str:
    if name == "has_no_implausible_share_quantity":
        return f"0 rows with more than {max_row_shares} shares"
    return f"0 rows that break it: {PLAUSIBILITY[name]}"
