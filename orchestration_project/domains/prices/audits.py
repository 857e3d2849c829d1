"""The audits of a delivery of prices: what holds it back, and what only warns."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date

import polars as pl

from orchestration_project.domains.prices.calendar import session_days, sessions_from
from orchestration_project.domains.prices.contract import IMPLAUSIBLE_REASONS, ONE, PriceRows
from orchestration_project.engine.contracts.audits import (
    BALANCE_HELP,
    COMPLETE_HELP,
    MAX_OFFENDERS,
    Acceptance,
    Audit,
    AuditHelp,
    CompletenessLimits,
    Validated,
    format_outcome,
)
from orchestration_project.engine.contracts.values import BATCH_INDEX, count_by_batch, split_batches

SECOND_SOURCE = "agrees_with_second_source"

AUDITS = {
    "holds_only_its_symbol": "No day of the answer is another symbol's.",
    "has_unique_days": "No two rows are of the same day.",
    "has_few_rejects": "The share of rejected days is within the limit.",
}
"""Each blocking audit and what it claims."""

WARNINGS = {
    "has_sound_bars": "High is at least, low at most every price of the day, and all are positive.",
    "follows_the_calendar": "Each session since the first price has one, and no other day.",
    "has_no_unexplained_jump": "No price jumps from one session to the next without an action.",
    "is_adjusted_as_its_actions_say": "Adjusted prices move apart from prices by actions alone.",
    "is_not_stale": "The newest price is of one of the latest sessions.",
    SECOND_SOURCE: "A second source has the same returns, where one is set, and answers.",
}
"""Each audit that only warns."""

HELP = {
    **COMPLETE_HELP,
    **BALANCE_HELP,
    "holds_only_its_symbol": AuditHelp("report it to the vendor"),
    "has_unique_days": AuditHelp("report it to the vendor"),
    "has_few_rejects": AuditHelp(
        "read the table rejects; report it, or raise the limit", ("PRICES_MAX_REJECT_RATIO",)
    ),
    "has_sound_bars": AuditHelp("compare the day with another vendor; the row is rejected"),
    "follows_the_calendar": AuditHelp("load the month again; compare with another vendor"),
    "has_no_unexplained_jump": AuditHelp(
        "compare with another vendor; look for a missing split", ("prices_daily.jump_ratio",)
    ),
    "is_adjusted_as_its_actions_say": AuditHelp("load the months again with `full: true`"),
    "is_not_stale": AuditHelp(
        "load the present month; check whether the symbol was delisted",
        ("prices_daily.stale_sessions",),
    ),
    "agrees_with_second_source": AuditHelp(
        "compare both; correct the symbol's override",
        ("PRICES_SECOND_SOURCE", "prices_daily.disagreement_ratio"),
    ),
}
"""What to do about each audit."""

LEAST_REJECTS = 1
"""So many days may be rejected whatever their share: a month has twenty."""

ADJUSTMENT_TOLERANCE = 0.001
"""Vendors round factors and prices; a dividend that is left out moves more."""

DAYS = 10_000_000
"""More than there are days before and after 1970."""


@dataclass(frozen=True)
class PriceLimits:
    """When to quarantine and when to warn; the settings PRICES_… say why.

    Attributes:
        max_reject_ratio: Share of days, 0-1, above which rejects hold a delivery back; one day may
            be rejected whatever its share.
        jump_ratio: Move of a close (0.4: 40 %) above which a day without an action warns.
        stale_sessions: How many sessions the newest price may be behind the latest one.
        disagreement_ratio: How far a day's returns may differ between two sources (0.01: 1 %).
        completeness: When a delivery lacks too many loaded days.
        acceptance: A delivery that is loaded although it lacks them.
    """

    max_reject_ratio: float
    jump_ratio: float
    stale_sessions: int
    disagreement_ratio: float
    completeness: CompletenessLimits = field(default_factory=CompletenessLimits)
    acceptance: Acceptance | None = None


def checked_prices(prices: PriceRows, limits: PriceLimits) -> list[Validated]:
    """Return each delivery with the verdicts of `AUDITS`, and of what its rejects warn of."""
    number = len(prices.requested)
    audits = zip(
        _check_own_symbol(prices),
        _check_unique_days(prices),
        _check_rejects(prices, limits.max_reject_ratio),
        _check_bars(prices),
        strict=True,
    )
    rows, rejects = split_batches(prices.rows, number), split_batches(prices.rejects, number)
    delivered = [
        Validated(good, broken, verdicts, filtered=filtered)
        for good, broken, verdicts, filtered in zip(
            rows, rejects, audits, prices.filtered_counts, strict=True
        )
    ]
    return [
        validated.balanced(requested.count.balances(validated.went_to))
        if requested.count
        else validated
        for requested, validated in zip(prices.requested, delivered, strict=True)
    ]


@dataclass(frozen=True)
class PriceComparison:
    """Deliveries' rows, and what they are looked at beside; all frames have `BATCH_INDEX`.

    Attributes:
        rows: The rows of each delivery by day, each day once.
        before: The row of the symbol's last loaded day before them, where there is one.
        second: What another source has of the same days.
        without_second: Why there is nothing of another source, by place; None where there is.
        through: The last day of each delivery's range.
    """

    rows: pl.DataFrame
    before: pl.DataFrame
    second: pl.DataFrame
    without_second: Sequence[str | None]
    through: Sequence[date]


def warnings_about(
    batch: PriceComparison, *, newest_session: date, limits: PriceLimits
) -> list[Sequence[Audit]]:
    """Return the verdicts of `WARNINGS` that look at days beside each other, of each delivery.

    ``newest_session`` is the latest session that was over.
    """
    number = len(batch.through)
    together = pl.concat([batch.before.select(batch.rows.columns), batch.rows])
    together = together.sort(BATCH_INDEX, maintain_order=True)
    steps = _derive_steps(together)
    return list(
        zip(
            _check_calendar(together, batch.through),
            _check_jumps(steps, limits.jump_ratio, number),
            _check_adjustment(steps, number),
            _check_stale(together, newest_session, limits.stale_sessions, number),
            _compare_second(batch, limits.disagreement_ratio),
            strict=True,
        )
    )


def _judge_places(
    name: str, expected: str, offenders: pl.DataFrame, *, of: Sequence[int]
) -> list[Audit]:
    """Return the verdict of each place that it has no offender."""
    return [
        Audit(
            name,
            format_outcome(place_rows.is_empty()),
            expected,
            f"{len(place_rows)} of {count}",
            place_rows.head(MAX_OFFENDERS).to_dicts() if len(place_rows) else (),
            severity="error" if name in AUDITS else "warning",
        )
        for place_rows, count in zip(split_batches(offenders, len(of)), of, strict=True)
    ]


def _skip_audit(name: str, expected: str, why: str) -> Audit:
    return Audit(name, "not_applicable", expected, why, severity="warning")


def _check_own_symbol(prices: PriceRows) -> list[Audit]:
    audits = _judge_places(
        "holds_only_its_symbol", "", prices.foreign_rows, of=prices.received_counts
    )
    return [
        replace(audit, expected=f"0 days of other symbols than {item.spelled}")
        for audit, item in zip(audits, prices.requested, strict=True)
    ]


def _check_unique_days(prices: PriceRows) -> list[Audit]:
    alike = (
        prices.rows.group_by(BATCH_INDEX, "trade_date")
        .agg(rows=pl.len())
        .filter(pl.col("rows") > 1)
    )
    expected, counts = (
        "0 days with several rows",
        count_by_batch(prices.rows, len(prices.requested)),
    )
    return _judge_places("has_unique_days", expected, alike.sort("trade_date"), of=counts)


def _check_rejects(prices: PriceRows, most: float) -> list[Audit]:
    query = prices.rejects.select(
        "part_number", "line_number", "reason_code", "reason", BATCH_INDEX
    )
    return [
        Audit(
            "has_few_rejects",
            format_outcome(len(rejected) <= max(LEAST_REJECTS, most * received)),
            f"at most {LEAST_REJECTS}, or {most:.4%} of days rejected",
            f"{len(rejected)} of {received}",
            rejected.head(MAX_OFFENDERS).to_dicts() if len(rejected) else (),
        )
        for rejected, received in zip(
            split_batches(query, len(prices.requested)), prices.received_counts, strict=True
        )
    ]


def _check_bars(prices: PriceRows) -> list[Audit]:
    unsound = prices.rejects.filter(pl.col("reason_code").is_in(IMPLAUSIBLE_REASONS))
    expected = "0 days whose prices contradict each other; such days are rejected"
    query = unsound.select("line_number", "reason", BATCH_INDEX)
    return _judge_places("has_sound_bars", expected, query, of=prices.received_counts)


def _check_calendar(rows: pl.DataFrame, through: Sequence[date]) -> list[Audit]:
    name = "follows_the_calendar"
    expected = "a price for each session of the exchange, and for no other day"
    present = rows.select(_pack_day(pl.col("trade_date"))).to_series().unique()
    first = dict(rows.group_by(BATCH_INDEX).agg(pl.col("trade_date").min()).rows())
    sessions = {span: session_days(*span) for span in {(first[at], through[at]) for at in first}}
    days_of_ranges = [sessions[first[at], through[at]] for at in first]
    due = pl.concat(
        [pl.Series(dtype=pl.Int64)]
        + [
            days.to_physical().cast(pl.Int64) + DAYS // 2 + at * DAYS
            for at, days in zip(first, days_of_ranges, strict=True)
        ]
    )
    counts = dict(zip(first, map(len, days_of_ranges), strict=True))
    odd = pl.concat(
        pl.DataFrame({"number": numbers.filter(~numbers.is_in(series.implode()))}).select(
            (pl.col("number") % DAYS - DAYS // 2).cast(pl.Int32).cast(pl.Date).alias("trade_date"),
            pl.lit(what).alias("what"),
            (pl.col("number") // DAYS).alias(BATCH_INDEX),
        )
        for numbers, series, what in ((due, present, "no price"), (present, due, "no session"))
    )
    shown_frame = odd.select("trade_date", "what", BATCH_INDEX).sort("trade_date")
    audits = _judge_places(
        name, expected, shown_frame, of=[counts.get(at, 0) for at in range(len(through))]
    )
    return [
        audit if index in first else _skip_audit(name, expected, "no price yet")
        for index, audit in enumerate(audits)
    ]


def _pack_day(day: pl.Expr) -> pl.Expr:
    """Return a place and a day as one number: that is compared faster than both."""
    return pl.col(BATCH_INDEX) * DAYS + day.to_physical().cast(pl.Int64) + DAYS // 2


def _derive_steps(rows: pl.DataFrame) -> pl.DataFrame:
    """Return each row but a symbol's first, beside close and adjusted close of the row before."""
    return rows.with_columns(
        close_before=pl.col("close").shift(),
        adjusted_before=pl.col("adjusted_close").shift(),
    ).filter(pl.col(BATCH_INDEX) == pl.col(BATCH_INDEX).shift())


def _has_action() -> pl.Expr:
    has_dividend = (pl.col("dividend") > 0).fill_null(value=False)
    return has_dividend | (pl.col("split_ratio") != ONE).fill_null(value=False)


def _check_jumps(steps: pl.DataFrame, most: float, of: int) -> list[Audit]:
    move = pl.col("close") / pl.col("close_before") - 1
    jumps = steps.filter(~_has_action(), move.abs() > most).select(
        "trade_date", "close_before", "close", BATCH_INDEX, move=move
    )
    query = jumps.select("trade_date", "close_before", "close", "move", BATCH_INDEX)
    expected = f"no close that moves by more than {most:.0%} on a day without dividend or split"
    return _judge_places("has_no_unexplained_jump", expected, query, of=count_by_batch(steps, of))


def _check_adjustment(steps: pl.DataFrame, of: int) -> list[Audit]:
    """Compare how adjusted and plain returns differ with what the day's actions explain.

    A price may be written as of its day or after all later splits: either explains a split.
    """
    name = "is_adjusted_as_its_actions_say"
    expected = f"adjusted returns as the actions say, within {ADJUSTMENT_TOLERANCE:.1%}"
    nulls = steps.drop_nulls(["adjusted_close", "adjusted_before"])
    adjusted = pl.col("adjusted_close") / pl.col("adjusted_before")
    dividend = pl.col("dividend").fill_null(0)
    ratio = pl.col("split_ratio").fill_null(ONE) / ONE
    after_split, as_of_day = (
        pl.col("close") * times / (pl.col("close_before") - dividend) for times in (1.0, ratio)
    )
    # a rounded adjusted price moves its return by half a place of it
    slack = ADJUSTMENT_TOLERANCE + 1.0 / pl.min_horizontal("adjusted_close", "adjusted_before")
    off = pl.min_horizontal(
        (adjusted / expression - 1).abs() for expression in (after_split, as_of_day)
    )
    odd = nulls.filter(off > slack).select(
        "trade_date", "close", "adjusted_close", off.alias("difference"), BATCH_INDEX
    )
    counts = count_by_batch(nulls, of)
    return [
        audit if count else _skip_audit(name, expected, "no adjusted prices, or just one")
        for audit, count in zip(_judge_places(name, expected, odd, of=counts), counts, strict=True)
    ]


def _check_stale(rows: pl.DataFrame, newest_session: date, most: int, of: int) -> list[Audit]:
    oldest_allowed = sessions_from(newest_session, -most)
    newest = dict(rows.group_by(BATCH_INDEX).agg(pl.col("trade_date").max()).rows())
    return [
        Audit(
            "is_not_stale",
            format_outcome(position in newest and newest[position] >= oldest_allowed),
            f"a price of one of the last {most + 1} sessions, from {oldest_allowed} on",
            f"the newest is of {newest.get(position)}",
            severity="warning",
        )
        for position in range(of)
    ]


def _compare_second(batch: PriceComparison, most: float) -> list[Audit]:
    """Compare returns, not prices: one source may write them after later splits."""
    name = SECOND_SOURCE
    expected = f"returns that differ by at most {most:.2%} on days without dividend or split"
    number = len(batch.through)
    frame = batch.rows.join(batch.second, on=[BATCH_INDEX, "trade_date"], suffix="_second")
    moves = (
        frame.sort(BATCH_INDEX, "trade_date")
        .with_columns(
            first_return=pl.col("close") / pl.col("close").shift() - 1,
            second_return=pl.col("close_second") / pl.col("close_second").shift() - 1,
        )
        .filter(pl.col(BATCH_INDEX) == pl.col(BATCH_INDEX).shift())
    )
    difference = (pl.col("first_return") - pl.col("second_return")).abs()
    calm = moves.filter(~_has_action())
    odd = calm.filter(difference > most).select(
        "trade_date", "first_return", "second_return", difference.alias("difference"), BATCH_INDEX
    )
    return [
        audit if count else _skip_audit(name, expected, why or "no two days that both have")
        for audit, count, why in zip(
            _judge_places(name, expected, odd, of=count_by_batch(calm, number)),
            count_by_batch(moves, number),
            batch.without_second,
            strict=True,
        )
    ]


def symbols_with_other_actions(reported: pl.DataFrame, known: pl.DataFrame) -> set[str]:
    """Return the symbols with ``reported`` actions that are not ``known``, or the reverse."""
    new, removed = (
        one.join(other, on=other.columns, how="anti", nulls_equal=True)
        for one, other in ((reported, known), (known, reported))
    )
    return {*new["symbol"], *removed["symbol"]}
