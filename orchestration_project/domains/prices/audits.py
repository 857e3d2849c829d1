"""The audits of a delivery of prices: what holds it back, and what only warns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import polars as pl

from orchestration_project.contracts import OFFENDERS_KEPT, Audit, Checked
from orchestration_project.domains.prices.calendar import session_days, sessions_from
from orchestration_project.domains.prices.contract import ONE, UNSOUND, PriceRows, actions_of

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
    "agrees_with_second_source": "A second source has the same returns, where one is set.",
}
"""Each audit that only warns."""

LEAST_REJECTS = 1
"""So many days may be rejected whatever their share: a month has twenty."""

ADJUSTMENT_TOLERANCE = 0.001
"""Vendors round factors and prices; a dividend that is left out moves more."""


@dataclass(frozen=True)
class Limits:
    """When to hold back and when to warn, see settings."""

    max_reject_ratio: float
    jump_ratio: float
    stale_sessions: int
    disagreement_ratio: float


def checked_prices(prices: PriceRows, *, spelled: str, limits: Limits) -> Checked:
    """Return a delivery with the verdicts of `AUDITS`, and of whatever its rejects warn of."""
    audits = [
        _own_symbol(prices, spelled),
        _unique_days(prices),
        _few_rejects(prices, limits.max_reject_ratio),
        _sound_bars(prices),
    ]
    return Checked(prices.rows, prices.rejects, audits)


def together(deliveries: Sequence[Checked]) -> Checked:
    """Return deliveries of other days each, checked one by one, as one: no one may fail."""
    return Checked(
        pl.concat(each.rows for each in deliveries).sort("trade_date", "part_number"),
        pl.concat(each.rejects for each in deliveries),
        [
            next((audit for audit in named if audit.outcome == "failed"), named[0])
            for named in zip(*(each.audits for each in deliveries), strict=True)
        ],
    )


def warnings_about(
    rows: pl.DataFrame,
    before: pl.DataFrame,
    second: pl.DataFrame | None,
    *,
    through: date,
    newest_session: date,
    limits: Limits,
) -> Sequence[Audit]:
    """Return the verdicts of `WARNINGS` that look at days beside each other.

    Args:
        rows: The delivery's rows, by day.
        before: The row of the symbol's last landed day before them, if there is one.
        second: What another source has of the same days; None: there is none.
        through: The last day of the delivery's range.
        newest_session: The latest session that was over.
        limits: When to warn.
    """
    together = pl.concat([before.select(rows.columns), rows])
    return [
        _calendar(together, through),
        _jumps(together, limits.jump_ratio),
        _adjustment(together),
        _stale(together, newest_session, limits.stale_sessions),
        _second(rows, second, limits.disagreement_ratio),
    ]


def _verdict(holds: bool) -> Literal["passed", "failed"]:
    return "passed" if holds else "failed"


def _of(name: str, expected: str, offenders: pl.DataFrame, *, of: int) -> Audit:
    """Return the verdict that there is no offender."""
    return Audit(
        name,
        _verdict(offenders.is_empty()),
        expected,
        f"{len(offenders)} of {of}",
        offenders.head(OFFENDERS_KEPT).to_dicts(),
        severity="error" if name in AUDITS else "warning",
    )


def _without_ground(name: str, expected: str, why: str) -> Audit:
    return Audit(name, "not_applicable", expected, why, severity="warning")


def _own_symbol(prices: PriceRows, spelled: str) -> Audit:
    expected = f"0 days of other symbols than {spelled}"
    return _of("holds_only_its_symbol", expected, prices.strangers, of=prices.received_count)


def _unique_days(prices: PriceRows) -> Audit:
    days = prices.rows.group_by("trade_date").agg(rows=pl.len()).filter(pl.col("rows") > 1)
    expected = "0 days with several rows"
    return _of("has_unique_days", expected, days.sort("trade_date"), of=len(prices.rows))


def _few_rejects(prices: PriceRows, most: float) -> Audit:
    rejected, received = len(prices.rejects), prices.received_count
    return Audit(
        "has_few_rejects",
        _verdict(rejected <= max(LEAST_REJECTS, most * received)),
        f"at most {LEAST_REJECTS}, or {most:.4%} of days rejected",
        f"{rejected} of {received}",
        prices.rejects.head(OFFENDERS_KEPT)
        .select("part_number", "line_number", "reason_code", "reason")
        .to_dicts(),
    )


def _sound_bars(prices: PriceRows) -> Audit:
    unsound = prices.rejects.filter(pl.col("reason_code").is_in(UNSOUND))
    expected = "0 days whose prices contradict each other; such days are rejected"
    shown = unsound.select("line_number", "reason")
    return _of("has_sound_bars", expected, shown, of=prices.received_count)


def _calendar(rows: pl.DataFrame, through: date) -> Audit:
    expected = "a price for each session of the exchange, and for no other day"
    first = rows["trade_date"].min()
    if not isinstance(first, date):
        return _without_ground("follows_the_calendar", expected, "no price yet")
    due, present = session_days(first, through), rows["trade_date"].unique()
    odd = pl.concat(
        pl.DataFrame({"trade_date": days.filter(~days.is_in(others.implode()))}).with_columns(
            what=pl.lit(what)
        )
        for days, others, what in ((due, present, "no price"), (present, due, "no session"))
    )
    return _of("follows_the_calendar", expected, odd.sort("trade_date"), of=len(due))


def _steps(rows: pl.DataFrame) -> pl.DataFrame:
    """Return each row but the first, beside the close and adjusted close of the row before."""
    return rows.with_columns(
        close_before=pl.col("close").shift(),
        adjusted_before=pl.col("adjusted_close").shift(),
        date_before=pl.col("trade_date").shift(),
    ).slice(1)


def _has_action() -> pl.Expr:
    has_dividend = (pl.col("dividend") > 0).fill_null(value=False)
    return has_dividend | (pl.col("split_ratio") != ONE).fill_null(value=False)


def _jumps(rows: pl.DataFrame, most: float) -> Audit:
    move = pl.col("close") / pl.col("close_before") - 1
    steps = _steps(rows)
    jumps = steps.filter(~_has_action(), move.abs() > most).select(
        "trade_date", "close_before", "close", move=move
    )
    expected = f"no close that moves by more than {most:.0%} on a day without dividend or split"
    return _of("has_no_unexplained_jump", expected, jumps, of=len(steps))


def _adjustment(rows: pl.DataFrame) -> Audit:
    """Compare how adjusted and plain returns differ with what the day's actions explain.

    A price may be written as of its day or after all later splits: either explains a split.
    """
    name = "is_adjusted_as_its_actions_say"
    expected = f"adjusted returns as the actions say, within {ADJUSTMENT_TOLERANCE:.1%}"
    steps = _steps(rows).drop_nulls(["adjusted_close", "adjusted_before"])
    if steps.is_empty():
        return _without_ground(name, expected, "no adjusted prices, or just one")
    adjusted = pl.col("adjusted_close") / pl.col("adjusted_before")
    dividend = pl.col("dividend").fill_null(0)
    ratio = pl.col("split_ratio").fill_null(ONE) / ONE
    after_split, as_of_day = (
        pl.col("close") * times / (pl.col("close_before") - dividend) for times in (1.0, ratio)
    )
    # a rounded adjusted price moves its return by half a place of it
    slack = ADJUSTMENT_TOLERANCE + 1.0 / pl.min_horizontal("adjusted_close", "adjusted_before")
    off = pl.min_horizontal((adjusted / each - 1).abs() for each in (after_split, as_of_day))
    odd = steps.filter(off > slack).select("trade_date", "close", "adjusted_close", difference=off)
    return _of(name, expected, odd, of=len(steps))


def _stale(rows: pl.DataFrame, newest_session: date, most: int) -> Audit:
    oldest_allowed = sessions_from(newest_session, -most)
    newest = rows["trade_date"].max()
    return Audit(
        "is_not_stale",
        _verdict(isinstance(newest, date) and newest >= oldest_allowed),
        f"a price of one of the last {most + 1} sessions, from {oldest_allowed} on",
        f"the newest is of {newest}",
        severity="warning",
    )


def _second(rows: pl.DataFrame, second: pl.DataFrame | None, most: float) -> Audit:
    """Compare returns, not prices: one source may write them after later splits."""
    name = "agrees_with_second_source"
    expected = f"returns that differ by at most {most:.2%} on days without dividend or split"
    if second is None:
        return _without_ground(name, expected, "no second source, or it has nothing of these days")
    both = rows.join(second, on="trade_date", suffix="_second").sort("trade_date")
    moves = both.with_columns(
        first_return=pl.col("close") / pl.col("close").shift() - 1,
        second_return=pl.col("close_second") / pl.col("close_second").shift() - 1,
    ).slice(1)
    if moves.is_empty():
        return _without_ground(name, expected, "no two days that both have")
    difference = (pl.col("first_return") - pl.col("second_return")).abs()
    calm = moves.filter(~_has_action())
    odd = calm.filter(difference > most).select(
        "trade_date", "first_return", "second_return", difference=difference
    )
    return _of(name, expected, odd, of=len(calm))


@dataclass(frozen=True)
class Verdict:
    """How one audit stands over many symbols; ``failed`` are rows of `audits`."""

    audit: str
    passed_count: int
    not_applicable_count: int
    failed: Sequence[Mapping[str, object]]


def verdicts(latest: pl.DataFrame) -> list[Verdict]:
    """Summarise rows of `audits`, those of each symbol's latest delivery, by audit."""
    outcome = pl.col("outcome")
    return [
        Verdict(
            audit,
            len(rows.filter(outcome == "passed")),
            len(rows.filter(outcome == "not_applicable")),
            rows.filter(outcome == "failed").to_dicts(),
        )
        for audit in (*AUDITS, *WARNINGS)
        for rows in [latest.filter(pl.col("name") == audit)]
    ]


def is_new_action(rows: pl.DataFrame, known: pl.DataFrame) -> bool:
    """Say whether ``rows`` tell of an action that ``known`` rows, by their values, do not."""
    told = ["trade_date", "dividend", "split_ratio"]
    return (
        not actions_of(rows)
        .select(told)
        .join(known, on=told, how="anti", nulls_equal=True)
        .is_empty()
    )
