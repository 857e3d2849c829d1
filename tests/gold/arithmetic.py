"""Exact sums, ratios and groups of rows, and the comparison of a table with what is expected."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time
from fractions import Fraction
from typing import Any

import pandas as pd
import pytest

from orchestration_project.tables.schema import QUANTITY_SUFFIX, as_quantity

Row = dict[str, Any]
Table = dict[tuple[Any, ...], Row]
"""Rows without their key, by key."""

DE_MINIMIS = "CRD:0"

KEYS: Mapping[str, tuple[str, ...]] = {
    "finra_symbol_week": ("week_start", "tier", "symbol"),
    "finra_venue_week": ("week_start", "tier", "market", "venue_id"),
    "finra_tier_week": ("week_start", "tier"),
    "finra_venue_week_all_tiers": ("week_start", "market", "venue_id"),
    "finra_firms": ("market", "venue_id", "participant_name", "firm_crd_number"),
    "finra_symbol_rolling_6w": ("week_start", "tier", "symbol"),
    "finra_concentration_week": ("week_start", "tier", "symbol"),
    "finra_symbol_movers_week": ("week_start", "tier", "symbol"),
    "finra_venue_movers_week": ("week_start", "tier", "market", "venue_id"),
    "finra_symbol_anomalies_week": ("week_start", "tier", "symbol"),
    "finra_symbol_week_value": ("week_start", "tier", "symbol"),
    "finra_symbol_week_short": ("week_start", "symbol"),
    "finra_symbols": ("symbol",),
    "finra_symbol_changes": ("symbol", "week_start", "kind"),
    "finra_symbol_renames": ("symbol", "new_symbol"),
    "off_exchange_share_daily": ("trade_date", "tape"),
    "off_exchange_share_weekly": ("week_start", "tape"),
}
"""Key columns of each gold table that is computed again."""


def frame(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = ()) -> pd.DataFrame:
    """Return rows as Python's own values: what pandas guesses would lose digits."""
    given = [dict(row) for row in rows]
    names = list(given[0]) if given else list(columns)
    values = {name: pd.Series([row[name] for row in given], dtype=object) for name in names}
    return pd.DataFrame(values)


def groups(rows: pd.DataFrame, *by: str) -> Iterator[tuple[tuple[Any, ...], pd.DataFrame]]:
    """Yield groups of rows with their values of ``by``, NULL too."""
    places: dict[tuple[Any, ...], list[int]] = {}
    for place, key in enumerate(zip(*(rows[name] for name in by), strict=True)):
        places.setdefault(key, []).append(place)
    for key, found in places.items():
        yield key, rows.iloc[found]


def chosen(rows: pd.DataFrame, is_chosen: Iterable[bool]) -> pd.DataFrame:
    """Return the rows for which a flag is set."""
    return rows.iloc[[place for place, flag in enumerate(is_chosen) if flag]]


def total(values: Iterable[Any]) -> Any:
    """Return an exact sum of integers or decimals."""
    return sum(values)


def whole_total(values: Iterable[Any]) -> int | None:
    """Return an exact sum, None where a value is missing."""
    given = list(values)
    return None if any(amount is None for amount in given) else total(given)


def ratio(part: Any, whole: Any) -> float | None:
    """Return part / whole, None where one is missing or the whole is 0."""
    return None if part is None or not whole else float(Fraction(part) / Fraction(whole))


def sums(rows: pd.DataFrame, column: str, *by: str) -> dict[Any, int]:
    """Return the exact sums of a column by one column's value, or by the values of several."""
    found: dict[Any, int] = {}
    keys = zip(*(rows[name] for name in by), strict=True)
    for key, amount in zip(keys, rows[column], strict=True):
        place = key if len(by) > 1 else key[0]
        found[place] = found.get(place, 0) + int(amount)
    return found


def greatest(values: Iterable[Any]) -> Any:
    """Return the greatest value, None if there is none."""
    return max((value for value in values if value is not None), default=None)


def moment(days: Iterable[date | None]) -> datetime | None:
    """Return the beginning of the latest day."""
    day = greatest(days)
    return None if day is None else datetime.combine(day, time(), UTC)


def ranks(amounts: Mapping[Any, Any]) -> dict[Any, int]:
    """Return the rank of each, from 1; equal ones have the same."""
    given = sorted(amounts.values(), reverse=True)
    places: dict[Any, int] = {}
    for place, amount in enumerate(given, 1):
        places.setdefault(amount, place)
    return {key: places[amount] for key, amount in amounts.items()}


def hhi(shares: Mapping[Any, int], *, with_lump: bool) -> float | None:
    """Return the sum of squared shares, with De Minimis Firms as one venue or as many tiny ones."""
    squares = sum(n * n for key, n in shares.items() if with_lump or key != DE_MINIMIS)
    return ratio(squares, sum(shares.values()) ** 2)


READ: Mapping[str, Callable[[Any], Any]] = {
    **dict.fromkeys(
        [
            *("week_start", "trade_date", "settlement_date", "first_week", "last_week"),
            *("previous_week", "last_update_date"),
        ],
        lambda value: date.fromisoformat(value) if isinstance(value, str) else value,
    ),
    **dict.fromkeys(
        ("known_from", "published_at"),
        lambda value: _utc(datetime.fromisoformat(value) if isinstance(value, str) else value),
    ),
}
"""By column: what makes a value of SQLite the one that it stands for."""


def _utc(value: datetime) -> datetime:
    return value if value.tzinfo else value.replace(tzinfo=UTC)


def as_values(row: Mapping[str, Any]) -> Row:
    """Return a row of a database with days and times as such."""
    return {
        name: READ[name](value) if name in READ and value is not None else value
        for name, value in map(_exact, row.items())
    }


def _exact(column: tuple[str, Any]) -> tuple[str, Any]:
    name, value = column
    if value is None or not name.endswith(QUANTITY_SUFFIX):
        return name.removesuffix(QUANTITY_SUFFIX), value
    return name.removesuffix(QUANTITY_SUFFIX), as_quantity(value)


def assert_same(name: str, found: Iterable[Mapping[str, Any]], expected: Table) -> None:
    """Compare every row and every column of a table; integers and texts are equal, not close."""
    key = KEYS[name]
    rows = [as_values(row) for row in found]
    by_key = {tuple(row[each] for each in key): row for row in rows}
    assert len(by_key) == len(rows)
    assert sorted(map(str, by_key)) == sorted(map(str, expected)), name
    for place, columns in expected.items():
        row = {column: value for column, value in by_key[place].items() if column not in key}
        assert sorted(row) == sorted(columns), name
        for column, value in columns.items():
            wanted = value
            if isinstance(value, float):
                wanted = pytest.approx(value, rel=1e-13, abs=1e-15)
            assert row[column] == wanted, (name, place, column)
            assert (row[column] is None) == (value is None), (name, place, column)
