"""Partitions that exist on a day, each as first published, or restated."""

from dataclasses import dataclass
from datetime import date
from functools import lru_cache

import polars as pl

from orchestration_demo import faults
from orchestration_demo.fields import WEEKLY_SUMMARY, Dataset
from orchestration_demo.market import Market
from orchestration_demo.publication import (
    NMS,
    RECENT,
    RETAINED,
    TIERS,
    publication_date,
    published_weeks,
)
from orchestration_demo.restatements import Restatement, restatement


@dataclass(frozen=True)
class Edition:
    """One state of a partition: a tier's week, when it came out, and its correction if any."""

    tier: str
    week: date
    published: date
    restatement: Restatement | None

    @property
    def update_dates(self) -> set[date]:
        """Return every lastUpdateDate that a row of this edition can have."""
        return {self.published} | ({self.restatement.day} if self.restatement else set())


@dataclass(frozen=True, eq=False)
class Listing:
    """The editions of one dataset on one day, oldest first, and ``index`` to find them by filters.

    ``index`` has the columns weekStartDate, tierIdentifier, initialPublishedDate, lastUpdateDate,
    historicalweek, historicalmonth and position (in ``editions``): a row per edition and date of
    update.
    """

    editions: list[Edition]
    index: pl.DataFrame


class Catalogue:
    """All editions of a market whose faults lie relative to the ``anchor`` day."""

    def __init__(self, market: Market, anchor: date) -> None:
        self._market = market
        self._anchor = anchor
        self._restatement = lru_cache(maxsize=4096)(self._find_restatement)
        self._listing = lru_cache(maxsize=4)(self._list)

    def listing(self, dataset: Dataset, today: date) -> Listing:
        """Return what ``dataset`` holds on ``today``."""
        return self._listing(dataset, today)

    def _list(self, dataset: Dataset, today: date) -> Listing:
        is_recent_wanted = dataset is WEEKLY_SUMMARY
        editions = [
            edition
            for edition in self._published(today)
            if (edition.week >= today - RECENT) == is_recent_wanted
        ]
        editions.sort(key=lambda edition: (edition.week, edition.tier))
        return Listing(editions, _index(editions))

    def _published(self, today: date) -> list[Edition]:
        """Return every edition of either dataset on ``today``."""
        editions = [
            self._edition(tier, week, today)
            for tier in TIERS
            for week in published_weeks(today, tier)
        ]
        odd = faults.week_at(self._anchor, faults.UNDOCUMENTED_TIER)
        published = publication_date(odd, NMS)
        if published <= today and odd >= today - RETAINED:
            editions.append(Edition(NMS, odd, published, None))
        return editions

    def _edition(self, tier: str, week: date, today: date) -> Edition:
        found = self._restatement(tier, week)
        in_force = found if found and found.day <= today else None
        return Edition(tier, week, publication_date(week, tier), in_force)

    def _find_restatement(self, tier: str, week: date) -> Restatement | None:
        return restatement(self._market, self._anchor, tier, week)


def _index(editions: list[Edition]) -> pl.DataFrame:
    """Return the index of ``editions``; see `Listing`."""
    records = [
        (
            edition.week.isoformat(),
            edition.tier,
            edition.published.isoformat(),
            updated.isoformat(),
            edition.week.isoformat(),
            edition.week.replace(day=1).isoformat(),
            position,
        )
        for position, edition in enumerate(editions)
        for updated in edition.update_dates
    ]
    columns = (
        "weekStartDate",
        "tierIdentifier",
        "initialPublishedDate",
        "lastUpdateDate",
        "historicalweek",
        "historicalmonth",
    )
    schema = dict.fromkeys(columns, pl.String) | {"position": pl.Int64}
    return pl.DataFrame(records, schema=schema, orient="row")
