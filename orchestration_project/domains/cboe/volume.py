"""Rules of Cboe's market volume: claims of a day, and shares off exchange by day and week.

Letters of a participant that begin with D are FINRA's: its Alternative Display Facility, and Trade
Reporting Facilities (TRF) with Nasdaq, NYSE and, until 2013, NSX. Formulas of the shares are what
evidence recomputes them by.
"""

from collections.abc import Collection, Mapping
from datetime import date, timedelta
from functools import cache
from typing import Any

import polars as pl

from orchestration_project.domains.cboe.tables import (
    TAPES,
    market_volume_daily,
    off_exchange_share_daily,
    off_exchange_share_weekly,
)
from orchestration_project.engine.contracts.balance import Conservation, Measure
from orchestration_project.engine.contracts.contract import Claim
from orchestration_project.engine.contracts.formulas import Formula, TableRules
from orchestration_project.engine.contracts.frame_types import QUANTITY
from orchestration_project.engine.contracts.partitioning import (
    A_DAY,
    NEW_YORK,
    Calendar,
    Partitioning,
)
from orchestration_project.engine.contracts.values import fit_to_table

WORST_NOTIONAL_ROUNDING = 3 * 5_000
"""Half a cent for each tape, in 10^-6 US dollars."""

OFF_EXCHANGE_CODES = ("D", "DB", "DC", "DN", "DQ")


@cache
def _find_closed_days(year: int) -> frozenset[date]:
    import holidays  # not at the top: most commands read no calendar

    return frozenset(holidays.financial_holidays("NYSE", years=year))


def is_closed(day: date) -> bool:
    """Whether the exchanges keep a holiday on ``day``; on other federal holidays they trade."""
    return day in _find_closed_days(day.year)


def is_off_exchange(code: pl.Expr) -> pl.Expr:
    """Return whether a participant's code is one of FINRA's facilities."""
    return code.str.starts_with("D")


WEEKS = Partitioning(
    "off_exchange_share_weekly",
    Calendar(weekday=0, delay_days=7, zone=NEW_YORK),
    day_column="week_start",
)


def _compute_excess(amount: str) -> pl.Expr:
    """Return the total of an amount less the sum of its tapes."""
    return pl.col(f"total_{amount}") - pl.sum_horizontal(f"tape_{text}_{amount}" for text in TAPES)


CLAIMS = (
    Claim(
        "has_totals_of_shares_and_trades",
        "Total shares and total trades are the sums of the tapes.",
        (_compute_excess("share_quantity") != 0) | (_compute_excess("trade_count") != 0),
    ),
    Claim(
        "has_totals_of_notional",
        "Total notional is the sum of the tapes, within half a cent for each.",
        _compute_excess("notional_usd").abs() > WORST_NOTIONAL_ROUNDING,
        only_warns=True,
    ),
    Claim(
        "has_known_off_exchange_codes",
        f"A code that begins with D is one of {', '.join(OFF_EXCHANGE_CODES)}.",
        is_off_exchange(pl.col("participant_code"))
        & ~pl.col("participant_code").is_in(OFF_EXCHANGE_CODES),
        only_warns=True,
    ),
)

AMOUNTS = {"share_quantity": "share", "notional_usd": "notional", "trade_count": "trade"}
"""Measured amounts, and the name of the ratio of each."""

SUMS = tuple(f"{side}_{amount}" for amount in AMOUNTS for side in ("exchange", "off_exchange"))
WEEK_DAYS = 5


def monday_of(day: date) -> date:
    """Return the Monday of the week that holds ``day``."""
    return day - timedelta(days=day.weekday())


def week_days(week_start: date) -> list[date]:
    """Return the days from Monday to Friday of a week."""
    return [week_start + number * A_DAY for number in range(WEEK_DAYS)]


def session_days(week_start: date) -> list[date]:
    """Return the days of a week on which the exchanges trade."""
    return [day for day in week_days(week_start) if not is_closed(day)]


def off_exchange_daily(rows: pl.DataFrame) -> pl.DataFrame:
    """Return `off_exchange_share_daily` of a day, by its rows of `market_volume_daily`."""
    is_off = is_off_exchange(pl.col("participant_code"))
    sides = {"exchange": ~is_off, "off_exchange": is_off}
    scopes = {text.upper(): f"tape_{text}" for text in TAPES} | {"all": "total"}
    by_tape = [
        rows.group_by("trade_date")
        .agg(
            pl.col(f"{scope}_{amount}").filter(of_side).sum().alias(f"{side}_{amount}")
            for amount in AMOUNTS
            for side, of_side in sides.items()
        )
        .with_columns(tape=pl.lit(tape))
        for tape, scope in scopes.items()
    ]
    unloaded = pl.lit(None, pl.Datetime("us", "UTC"))  # the load writes its own time
    return fit_to_table(
        pl.concat(by_tape).with_columns(*_build_ratios(), known_from=unloaded),
        off_exchange_share_daily,
    )


CONSERVATION = Conservation(
    source=market_volume_daily,
    derived=off_exchange_share_daily,
    partition=["trade_date"],
    measures=[
        Measure(
            name,
            [f"{scope}_{amount}" for scope in (*(f"tape_{tape}" for tape in TAPES), "total")],
            [f"{side}_{amount}" for side in ("exchange", "off_exchange")],
        )
        for name, amount in {"shares": "share_quantity", "trades": "trade_count"}.items()
    ],
)
"""Shares and trades of the tapes and of all of them are those on and off exchange."""


def off_exchange_weekly(
    days: pl.DataFrame, tiers: pl.DataFrame, *, week_start: date
) -> pl.DataFrame:
    """Return `off_exchange_share_weekly` of a week.

    Args:
        days: Its rows of `off_exchange_share_daily`; at least those of one day.
        tiers: A row for each loaded one of FINRA's tiers T1 and T2: ats_share_quantity,
            non_ats_share_quantity, published_at, known_from.
        week_start: Its Monday.
    """
    sessions = len(session_days(week_start))
    finra = ("ats_share_quantity", "non_ats_share_quantity")
    has_finra = pl.lit(len(tiers) == len(NMS_TIERS)) & (pl.col("tape") == "all")
    is_whole = pl.col("day_count") == sessions
    known_from = max(filter(None, [*days["known_from"], *tiers["known_from"]]), default=None)
    published_at = max(filter(None, tiers["published_at"]), default=None)
    return fit_to_table(
        days.group_by("tape")
        .agg(day_count=pl.len().cast(pl.Int64), **{name: pl.col(name).sum() for name in SUMS})
        .with_columns(
            *_build_ratios(),
            *(
                pl.when(has_finra).then(pl.lit(tiers[name].sum(), QUANTITY)).alias(f"finra_{name}")
                for name in finra
            ),
            week_start=pl.lit(week_start),
            session_count=pl.lit(sessions, pl.Int64),
            known_from=pl.lit(known_from, pl.Datetime("us", "UTC")),
            published_at=pl.lit(published_at, pl.Datetime("us", "UTC")),
            is_stale=False,
        )
        .with_columns(
            _compute_ratio(
                pl.when(is_whole).then(f"finra_{name}"), _sum_sides("share_quantity")
            ).alias(f"finra_{name.removesuffix('_quantity')}_ratio")
            for name in finra
        ),
        off_exchange_share_weekly,
    )


def _build_ratios() -> list[pl.Expr]:
    return [
        _compute_ratio(
            pl.col(f"off_exchange_{amount}"),
            _sum_sides(amount),
        ).alias(f"off_exchange_{name}_ratio")
        for amount, name in AMOUNTS.items()
    ]


def _sum_sides(amount: str) -> pl.Expr:
    """Return an amount on and off exchange, as a float: of notional it may exceed 64 bits."""
    return pl.sum_horizontal(
        pl.col(f"{side}_{amount}").cast(pl.Float64) for side in ("exchange", "off_exchange")
    )


def _compute_ratio(part: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """Return a part of a whole as a float, NULL where the whole is 0."""
    return pl.when(whole > 0).then(part.cast(pl.Float64) / whole.cast(pl.Float64))


GOLD_VERSION = "1"
"""Version of the definition of `off_exchange_weekly`; another one makes every week out of date."""

NMS_TIERS = ("T1", "T2")
TIERS = (*NMS_TIERS, "OTCE")
"""FINRA's tiers; a load of any marks the week stale, so each is part of its version."""


class Weekly:
    """A week is made of its loaded days, and of FINRA's tiers of that week."""

    def required(self, key: str) -> list[str]:
        """Return the mark of a week with a loaded day."""
        return [f"week {key}"]

    def inputs(self, key: str) -> list[str]:
        """Return the days of a week, and FINRA's tiers of it."""
        days = [day.isoformat() for day in week_days(date.fromisoformat(key))]
        return [*days, *(f"{tier}|{key}" for tier in TIERS)]

    def reached(
        self, key: str, *, requested: Collection[str], loaded: Mapping[str, Any]
    ) -> list[str]:
        """Return the week: no other has anything of it."""
        return [key]

    def candidates(self, loaded: Mapping[str, Any]) -> list[str]:
        """Return the weeks of which a day is loaded."""
        return sorted(key.removeprefix("week ") for key in loaded if key.startswith("week "))

    def version(self, key: str, loaded: Mapping[str, Any]) -> str:
        """Return the present inputs of a week, in words."""
        names = " ".join(f"{text}#{loaded[text]}" for text in self.inputs(key) if text in loaded)
        return f"off exchange {GOLD_VERSION}: {names}"


def find_loaded_inputs(days: Mapping[str, int], tiers: Mapping[str, int]) -> dict[str, int]:
    """Return the inputs of weeks, each with its last change, and a mark of weeks with a day."""
    weeks = {f"week {monday_of(date.fromisoformat(key))}": 0 for key in days}
    return {**days, **tiers, **weeks}


IS_OFF = ["matches", "participant_code", "^D"]


def _select_by_tape(amount: str) -> Formula:
    """Return an amount of a row by the tape that is given."""
    formula: Formula = f"total_{amount}"
    for tape in reversed(TAPES):
        is_tape = ["equal", ["given", "tape"], ["text", tape.upper()]]
        formula = ["if", is_tape, f"tape_{tape}_{amount}", formula]
    return formula


def _build_formulas(amount: str, name: str) -> dict[str, Formula]:
    """Return the formulas of an amount on and off exchange, and of its part off exchange."""
    total = ["sum", _select_by_tape(amount)]
    exchange, off_exchange = ["where", ["not", IS_OFF], total], ["where", IS_OFF, total]
    whole = ["add", ["ratio", exchange, 1], ["ratio", off_exchange, 1]]  # of doubles
    return {
        f"exchange_{amount}": exchange,
        f"off_exchange_{amount}": off_exchange,
        f"off_exchange_{name}_ratio": ["ratio", off_exchange, whole],
    }


OFF_EXCHANGE_FORMULAS: Mapping[str, Formula] = {
    "trade_date": "trade_date",
    "tape": ["given", "tape"],
    **{
        column: formula
        for amount, name in AMOUNTS.items()
        for column, formula in _build_formulas(amount, name).items()
    },
    "known_from": ["given", "loaded_at"],
}

OFF_EXCHANGE_RULES: Mapping[str, TableRules] = {
    off_exchange_share_daily.name: TableRules(
        off_exchange_share_daily,
        market_volume_daily.name,
        ("trade_date",),
        OFF_EXCHANGE_FORMULAS,
    )
}
"""By table; its rows are made of those of the market volume."""
