"""The datasets behind the API: finds the partitions a selection touches, and keeps them at hand."""

import threading
from datetime import date
from functools import lru_cache

import polars as pl

from orchestration_demo.catalogue import Catalogue, Edition
from orchestration_demo.fields import HISTORIC, Dataset
from orchestration_demo.market import Market
from orchestration_demo.partitions import partition_rows
from orchestration_demo.query import Selection

_PARTITIONS_AT_HAND = 3  # of up to 80,000 rows, about 15 MB each
_SELECTIONS_AT_HAND = 6  # the pages in flight are of few selections


class Source:
    """Both datasets of one market; safe to ask from several threads."""

    def __init__(self, market: Market, anchor: date) -> None:
        self._market = market
        self._anchor = anchor
        self._catalogue = Catalogue(market, anchor)
        self._lock = threading.Lock()
        self._rows = lru_cache(_PARTITIONS_AT_HAND)(self._make_rows)
        self._selected = lru_cache(_SELECTIONS_AT_HAND)(self._select)

    def available(self, dataset: Dataset, today: date) -> list[tuple[str, str]]:
        """Return week and tier of every partition of ``dataset`` on ``today``, oldest first."""
        editions = self._catalogue.listing(dataset, today).editions
        return [(edition.week.isoformat(), edition.tier) for edition in editions]

    def editions(self, dataset: Dataset, selection: Selection, today: date) -> tuple[Edition, ...]:
        """Return the editions that ``selection`` can find rows in: without filters, the oldest."""
        listing = self._catalogue.listing(dataset, today)
        if not selection.conditions:
            return tuple(listing.editions[:1])
        positions = listing.index.filter(selection.predicate(listing.index.columns))["position"]
        return tuple(listing.editions[position] for position in positions.unique().sort())

    def select(
        self, dataset: Dataset, selection: Selection, editions: tuple[Edition, ...]
    ) -> pl.DataFrame:
        """Return all rows of ``selection`` in ``editions``, in order, with the fields asked for."""
        with self._lock:
            return self._selected(dataset, selection, editions)

    def _select(
        self, dataset: Dataset, selection: Selection, editions: tuple[Edition, ...]
    ) -> pl.DataFrame:
        found = [self._find(dataset, selection, edition) for edition in editions]
        if not found:
            return pl.DataFrame(schema=dict.fromkeys(selection.fields, pl.String))
        return pl.concat(found)

    def _find(self, dataset: Dataset, selection: Selection, edition: Edition) -> pl.DataFrame:
        rows = self._rows(edition)
        if dataset is HISTORIC:
            rows = rows.with_columns(
                historicalweek="weekStartDate",
                historicalmonth=pl.lit(edition.week.replace(day=1).isoformat()),
            )
        found = rows.filter(selection.predicate(rows.columns))
        if selection.order:
            names, descending = zip(*selection.order, strict=True)
            found = found.sort(names, descending=descending, maintain_order=True)
        return found.select(selection.fields)

    def _make_rows(self, edition: Edition) -> pl.DataFrame:
        return partition_rows(self._market, self._anchor, edition)
