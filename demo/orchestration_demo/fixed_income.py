"""The demo's further datasets: which partitions there are on a day, and their rows.

All of it follows from the seed. Some partitions are corrected later, relative to the anchor: their
values differ from then on, one row is gone and another is new.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache, partial

import numpy as np
import polars as pl

from orchestration_demo import equities, short_interest, treasuries
from orchestration_demo.faults import Place
from orchestration_demo.fields import (
    ATS_BLOCKS,
    BONDS,
    BREADTH,
    OTC_BLOCKS,
    OTC_MONTHLY,
    REG_SHO,
    SHORT_INTEREST,
    THRESHOLD_LIST,
    TREASURY,
    TREASURY_DAILY,
    TREASURY_MONTHLY,
    Dataset,
)
from orchestration_demo.market import Market
from orchestration_demo.publication import TIERS, WEEK, is_holiday
from orchestration_demo.query import Selection

DAY = timedelta(days=1)
RETAINED_DAYS = 400
CORRECTED_ONE_IN = 9
CORRECTED_AFTER = 8 * DAY
BONDS_OF_A_TIER = {"T1": 5200, "T2": 700, "OTCE": 300}
"""The first makes two pages."""

_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#"


@dataclass(frozen=True)
class Issue:
    """One state of a partition: its dataset, what names it, and whether it is corrected."""

    dataset: str
    values: tuple[str, ...]
    is_corrected: bool


class FixedIncome:
    """Datasets that are whole partition by partition; ``anchor`` is the day of the first start."""

    def __init__(self, market: Market, anchor: date) -> None:
        self._seed = market.seed
        self._anchor = anchor
        positions = partial(short_interest.rows, seed=market.seed)
        self._makers = {**_ROWS, SHORT_INTEREST.name: positions, **equities.makers(market)}
        self._rows = lru_cache(8)(self._make_rows)

    def available(self, dataset: Dataset, today: date) -> list[tuple[str, ...]]:
        """Return what names each partition of ``dataset`` on ``today``, oldest first."""
        return [issue.values for issue in self._issues(dataset, today)]

    def editions(self, dataset: Dataset, selection: Selection, today: date) -> tuple[Issue, ...]:
        """Return the partitions that ``selection`` finds rows in: without filters, the oldest."""
        issues = self._issues(dataset, today)
        if not selection.conditions:
            return tuple(issues[:1])
        columns = list(dataset.partition_fields)
        index = pl.DataFrame(
            [(*issue.values, place) for place, issue in enumerate(issues)],
            schema=[*columns, "place"],
            orient="row",
        )
        places = index.filter(selection.predicate(columns))["place"]
        return tuple(issues[place] for place in places)

    def select(
        self, dataset: Dataset, selection: Selection, editions: tuple[Issue, ...]
    ) -> pl.DataFrame:
        """Return all rows of ``selection`` in ``editions``, in order, with the fields asked for."""
        empty = pl.DataFrame(schema=dict.fromkeys(selection.fields, pl.String))
        found = []
        for issue in editions:
            rows = self._rows(issue)
            rows = rows.filter(selection.predicate(rows.columns))
            if selection.order:
                names, descending = zip(*selection.order, strict=True)
                rows = rows.sort(names, descending=descending, maintain_order=True)
            found.append(rows.select(selection.fields))
        return pl.concat(found) if found else empty

    def place(self, issue: Issue) -> Place | None:
        """Return where a partition of bonds lies, its weeks counted back from the anchor."""
        if issue.dataset != BONDS.name:
            return None
        week, tier = issue.values
        return f"bonds {tier}", (self._newest_friday() - date.fromisoformat(week)) // WEEK + 1

    def _newest_friday(self) -> date:
        days = (self._anchor - n * DAY for n in range(14))
        return next(day for day in days if _friday_is_out(day, self._anchor))

    def _issues(self, dataset: Dataset, today: date) -> list[Issue]:
        retained = [today - n * DAY for n in range(RETAINED_DAYS, -1, -1)]
        days = treasuries.WEEKS if dataset is TREASURY else retained
        published = [day for day in days if _PUBLISHED[dataset.name](day, today)]
        tiers = _TIERS.get(dataset.name, ())
        values = [
            (day.isoformat(), *tier)
            for day in published
            for tier in ([(each,) for each in tiers] or [()])
        ]
        if dataset is SHORT_INTEREST:
            revised = [short_interest.is_revised(day, today) for day in published]
        else:
            revised = [self._is_corrected(each, today) for each in values]
        return [Issue(dataset.name, *each) for each in zip(values, revised, strict=True)]

    def _is_corrected(self, values: tuple[str, ...], today: date) -> bool:
        """Whether a partition is one of those that are corrected, which is not before a week on."""
        is_chosen = self._random(*values, "correction").integers(CORRECTED_ONE_IN) == 0
        return bool(is_chosen) and today >= self._anchor + CORRECTED_AFTER

    def _random(self, *words: str) -> np.random.Generator:
        numbers = [int.from_bytes(word.encode()[:16].ljust(1)) % 2**63 for word in words]
        return np.random.Generator(np.random.Philox(np.random.SeedSequence([self._seed, *numbers])))

    def _make_rows(self, issue: Issue) -> pl.DataFrame:
        rng = self._random(issue.dataset, *issue.values)
        rows = self._makers[issue.dataset](rng, *issue.values)
        if not issue.is_corrected:
            return rows
        is_short_interest = issue.dataset == SHORT_INTEREST.name
        return short_interest.revised(rows) if is_short_interest else _corrected(rows)


def _bonds(rng: np.random.Generator, week_ending: str, tier: str) -> pl.DataFrame:
    count = BONDS_OF_A_TIER[tier]
    first = list(BONDS_OF_A_TIER).index(tier) * 100_000
    trades = rng.integers(1, 400, count)
    rows = pl.DataFrame(
        {
            "weekEnding": [week_ending] * count,
            "tierIdentifier": [tier] * count,
            "cusip": [_cusip(first + number) for number in range(count)],
            "totalVolume": trades * rng.integers(1, 500, count) * 1000,
            "tradeCount": trades,
        }
    )
    is_bad = pl.int_range(pl.len()) == count // 2  # its check digit is that of another
    spoilt = pl.col("cusip").str.slice(0, 8) + "X"
    return rows.with_columns(cusip=pl.when(is_bad).then(spoilt).otherwise("cusip"))


def _cusip(number: int) -> str:
    """Return a synthetic CUSIP: a base of eight characters, and its check digit."""
    base = f"{number:06d}A{_ALPHABET[10 + number % 26]}"
    added = 0
    for place, mark in enumerate(base):
        value = _ALPHABET.index(mark) * (1 + place % 2)
        added += value // 10 + value % 10
    return f"{base}{-added % 10}"


def _corrected(rows: pl.DataFrame) -> pl.DataFrame:
    """Return other numbers in every third row, without the last row but one.

    A sum of binary fractions is rounded: 0.64 + 1 is 1.6400000000000001.
    """
    kinds = rows.drop("firmCRDNumber", strict=False).schema.items()
    is_changed = pl.int_range(pl.len()) % 3 == 0
    changed = rows.with_columns(
        pl.when(is_changed)
        .then((pl.col(name) + 1).round(6) if kind.is_float() else pl.col(name) + 1)
        .otherwise(name)
        .alias(name)
        for name, kind in kinds
        if kind.is_numeric()
    )
    return changed.filter(pl.int_range(pl.len()) != pl.len() - 2)


def _friday_is_out(day: date, today: date) -> bool:
    return day.weekday() == 4 and day + 5 * DAY <= today


def _breadth(rng: np.random.Generator, day: str) -> pl.DataFrame:
    bonds = {"all securities": 9000, "investment grade": 6000, "high yield": 2700}
    moves = np.array([rng.multinomial(count, (0.5, 0.42, 0.08)) for count in bonds.values()])
    return pl.DataFrame(
        {
            "tradeReportDate": [day] * len(bonds),
            "productCategory": list(bonds),
            "totalTrades": moves.sum(axis=1) + rng.integers(0, 90, len(bonds)),
            "advances": moves[:, 0],
            "declines": moves[:, 1],
            "unchanged": moves[:, 2],
            "fiftyTwoWeekHigh": rng.integers(0, 300, len(bonds)),
            "fiftyTwoWeekLow": rng.integers(0, 300, len(bonds)),
            "totalVolume": rng.uniform(5_000, 30_000, len(bonds)).round(2),
        }
    )


def _day_is_out(day: date, today: date) -> bool:
    return day.weekday() < 5 and not is_holiday(day) and day < today


_PUBLISHED: Mapping[str, Callable[[date, date], bool]] = {
    TREASURY.name: treasuries.week_is_out,
    TREASURY_DAILY.name: _day_is_out,
    TREASURY_MONTHLY.name: treasuries.month_is_out,
    BONDS.name: _friday_is_out,
    BREADTH.name: _day_is_out,
    SHORT_INTEREST.name: short_interest.is_out,
    REG_SHO.name: _day_is_out,
    THRESHOLD_LIST.name: _day_is_out,
    OTC_MONTHLY.name: equities.month_is_out,
    ATS_BLOCKS.name: equities.month_is_out,
    OTC_BLOCKS.name: equities.month_is_out,
}
_TIERS = {BONDS.name: TIERS, OTC_MONTHLY.name: equities.MONTHLY_TIERS}
_ROWS: Mapping[str, Callable[..., pl.DataFrame]] = {
    TREASURY.name: treasuries.weekly,
    TREASURY_DAILY.name: treasuries.daily,
    TREASURY_MONTHLY.name: treasuries.monthly,
    BONDS.name: _bonds,
    BREADTH.name: _breadth,
}
